"""What probes, schedules and windows do, in words; as ``policies.words``, of items alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.core.bounds import format_size
from pulse.core.document import Item
from pulse.core.expectations import DEFAULT_STATUS, PARSERS
from pulse.core.quotas import SECOND_US
from pulse.core.schedules import parse_every
from pulse.core.snapshot import Mode
from pulse.exceptions import InvalidSchedule
from pulse.policies.words import Writer, join, say_duration, say_times, sentences
from pulse.probes.validators import payload_size

#: So many names are told of a long list.
IN_WORDS: Final = 5


def say_place(item: Item) -> str:
    """Say what a target sends, and where to: ``GET to /api/products/``."""
    place = item.get("url") or item.get("path") or item.get("url_name") or _("nowhere")
    params = item.get("path_params") or {}
    told = _("%(method)s to %(place)s") % {"method": item["method"], "place": place}
    if not params:
        return told
    values = [f"{name}={value}" for name, value in params.items()]
    return _("%(place)s with %(values)s") % {"place": told, "values": join(values)}


def say_expectations(expect: Mapping[str, Any]) -> str:
    """Say what is expected of an answer, without an end; empty for nothing in particular."""
    parts = []
    # Not in the order of the mapping: a database may keep another one.
    for name in PARSERS:
        value = expect.get(name)
        if value is None:
            continue
        if name == "status":
            parts.append(_("status %s") % join([str(status) for status in value]))
        elif name == "max_latency_ms":
            parts.append(_("an answer within %s ms") % f"{value:g}")
        elif name == "contains":
            parts.append(_("“%s” in the body") % value)
        elif name == "headers":
            parts += [
                _("“%(text)s” in %(name)s") % {"text": text, "name": header}
                if text
                else _("a header %s") % header
                for header, text in value.items()
            ]
        elif name == "json":
            parts += [
                _("%(path)s to be %(value)s")
                % {"path": path, "value": json.dumps(wanted, ensure_ascii=False)}
                for path, wanted in value.items()
            ]
        elif name == "certificate_days":
            parts.append(_("a certificate for %s days more") % f"{value:g}")
        elif name == "schema" and value:
            parts.append(_("a body as its schema says"))
    return join(parts)


def say_when(item: Item) -> str:
    """Say when a schedule runs: ``Every 15 s``."""
    if item.get("every"):
        try:
            return _("Every %s") % _say_seconds(parse_every(item["every"]))
        except InvalidSchedule:
            return str(_("Every %s") % item["every"])
    if item.get("cron"):
        return _("At %(cron)s in %(zone)s") % {"cron": item["cron"], "zone": item["time_zone"]}
    return _("Never")


def say_names(names: Sequence[str], most: int = IN_WORDS) -> str:
    """Write the first names of a list, and how many more there are."""
    shown, more = list(names[:most]), len(names) - most
    if more > 0:
        shown.append(ngettext("%d more", "%d more", more) % more)
    return join(shown)


def _target(item: Item) -> str:
    own = say_expectations(item["expect"])
    expected = (
        _("It expects %s.") % own
        if own
        else _("It expects what its schedule does, or status %s.") % DEFAULT_STATUS
    )
    unsafe = _("It may change things.") if item["allow_unsafe"] else ""
    inside = ""
    if item["transport"] == "in_process":
        inside = _("It runs in a process beside the worker, without a network.")
    public = ""
    if item.get("public_name"):
        public = _("The status page calls it %s.") % item["public_name"]
    does = f"{say_place(item)}."
    return sentences(does, expected, unsafe, inside, public, _say_mode(item), say_times(item))


def _schedule(item: Item) -> str:
    names = item["targets"]
    does = _("%(when)s: %(targets)s.") % {
        "when": say_when(item),
        "targets": say_names(names) if names else _("nothing"),
    }
    own = say_expectations(item["expect"])
    expected = _("It expects %s.") % own if own else ""
    retries = ""
    if item["retries"]:
        retries = (
            _("What fails is tried once more.")
            if item["retries"] == 1
            else _("What fails is tried up to %d times more.") % item["retries"]
        )
    verdicts = []
    if item["failure_threshold"] > 1:
        verdicts.append(_("Down after %d failures in a row.") % item["failure_threshold"])
    if item["success_threshold"] > 1:
        verdicts.append(_("Up after %d successes in a row.") % item["success_threshold"])
    return sentences(does, expected, retries, *verdicts, _say_mode(item), say_times(item))


def _payload(item: Item) -> str:
    parts = []
    if item.get("body") is not None:
        parts.append(_("a body of %s") % format_size(payload_size(item["body"])))
    for name, one, many in (
        ("path_params", _("%d path parameter"), _("%d path parameters")),
        ("query", _("%d query parameter"), _("%d query parameters")),
        ("headers", _("%d header"), _("%d headers")),
    ):
        number = len(item[name])
        if number:
            parts.append((one if number == 1 else many) % number)
    does = _("%(target)s is sent %(parts)s.") % {
        "target": item["target"],
        "parts": join(parts) or _("nothing"),
    }
    return sentences(does, _say_off(item), say_times(item))


def _budget(item: Item) -> str:
    return sentences(
        _("At most %(all)d probes at once over all workers, and %(host)d of one host.")
        % {"all": item["max_concurrency"], "host": item["max_per_host"]},
        _("At most %(jobs)d jobs that were started by hand, each for %(time)s at most.")
        % {"jobs": item["max_jobs"], "time": _say_seconds(item["job_timeout_s"])},
        _say_off(item),
    )


def _window(item: Item) -> str:
    scopes = [
        text % say_names(item[name])
        for name, text in (
            ("targets", _("the targets %s")),
            ("groups", _("the groups %s")),
            ("rules", _("the alert rules %s")),
        )
        if item[name]
    ]
    what = join(scopes) or _("everything")
    if item.get("cron"):
        does = _("At %(cron)s in %(zone)s, for %(time)s each: maintenance of %(what)s.") % {
            "cron": item["cron"],
            "zone": item["time_zone"],
            "time": _say_seconds(item.get("duration_s") or 0),
            "what": what,
        }
    else:
        does = _("Maintenance of %s.") % what
    shadow = _("In shadow: it does nothing.") if item["mode"] == Mode.SHADOW else ""
    return sentences(does, say_times(item), shadow, _say_off(item))


def _say_seconds(seconds: float) -> str:
    return say_duration(round(seconds * SECOND_US))


def _say_mode(item: Item) -> str:
    """Say the mode of what is probed: in shadow it is, and nobody is told."""
    if item["mode"] == Mode.SHADOW:
        return _("In shadow: it runs and is recorded, and nobody is told.")
    return _("Off: it does not run.") if item["mode"] == Mode.OFF else ""


def _say_off(item: Item) -> str:
    """Say the mode of what has no shadow: there it acts as if it were enforced."""
    return _("Off: it does nothing.") if item["mode"] == Mode.OFF else ""


WRITERS: Final[Mapping[str, Writer]] = {
    "probe_targets": _target,
    "probe_schedules": _schedule,
    "probe_payloads": _payload,
    "probe_budgets": _budget,
    "maintenance_windows": _window,
}
