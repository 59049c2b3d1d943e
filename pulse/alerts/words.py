"""What rules and channels do, in words; as ``policies.words``, of items alone."""

from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext as _

from pulse.alerts.measured import PROBE_DOWN
from pulse.core.document import Item
from pulse.core.quotas import SECOND_US
from pulse.core.snapshot import Mode
from pulse.policies.words import Writer, join, say_duration, sentences


def _rule(item: Item) -> str:
    return sentences(_when(item), _whom(item), _say_off(item))


def _when(item: Item) -> str:
    if item["metric"] == PROBE_DOWN:
        told = _("When %s is down") % (item.get("endpoint") or _("any target"))
    else:
        what = item["metric"]
        if item.get("endpoint"):
            what = _("%(metric)s of %(endpoint)s") % {
                "metric": what,
                "endpoint": item.get("endpoint"),
            }
        window = _say_seconds(item["window_s"])
        if item["op"] == "absent":
            told = _("When nothing is measured of %(what)s in %(window)s")
            told %= {"what": what, "window": window}
        else:
            more = "" if item.get("baseline_s") is None else _(" times what it was before")
            told = _("When %(what)s in %(window)s is %(op)s %(threshold)s%(more)s") % {
                "what": what,
                "window": window,
                "op": item["op"],
                "threshold": f"{item.get('threshold', 0):g}",
                "more": more,
            }
    if item["for_s"]:
        told = _("%(told)s for %(time)s") % {"told": told, "time": _say_seconds(item["for_s"])}
    return told


def _whom(item: Item) -> str:
    if not item["channels"]:
        return _("an incident is opened, and nobody is told")
    return _("an incident is opened, and %s told") % join(list(item["channels"]))


def _channel(item: Item) -> str:
    if item["type"] == "email":
        told = _("Sends email to %s") % join(list(item["to"]))
    else:
        url = str(item.get("url", ""))
        host = url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url
        told = (_("Posts to Slack at %s") if item["type"] == "slack" else _("Posts to %s")) % host
    return sentences(told, _say_off(item))


def _say_seconds(seconds: float) -> str:
    return say_duration(round(seconds * SECOND_US))


def _say_off(item: Item) -> str:
    mode = item.get("mode")
    if mode == Mode.OFF:
        return _("Off: nobody looks")
    return _("In shadow: nobody is told") if mode == Mode.SHADOW else ""


WRITERS: Final[Mapping[str, Writer]] = {"alert_rules": _rule, "alert_channels": _channel}
