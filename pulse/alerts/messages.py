"""A word in the form of each type of channel."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.alerts.deliveries import Event

#: What Slack reads as marks (its formatting guide).
ESCAPED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
#: A subject has one line, and most readers show no more of it.
MAX_SUBJECT: Final = 150


@dataclass(frozen=True, slots=True)
class Email:
    """A message as text."""

    subject: str
    text: str


def of_webhook(body: Mapping[str, Any]) -> bytes:
    """Write the body as it is signed and sent; the same bytes for the same body."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def of_slack(body: Mapping[str, Any]) -> bytes:
    """Write what Slack and whoever speaks as it does show."""
    text = "\n".join(_lines(body))
    for mark, escaped in ESCAPED.items():
        text = text.replace(mark, escaped)
    return json.dumps({"text": text}, ensure_ascii=False).encode()


def of_email(body: Mapping[str, Any]) -> Email:
    """Write a subject and a text."""
    subject = " ".join(f"[pulse] {headline(body)}".split())
    return Email(subject[:MAX_SUBJECT], "\n".join([*_lines(body), ""]))


def headline(body: Mapping[str, Any]) -> str:
    """Say in a line what a word tells."""
    title = str(body["data"]["title"])
    if body["type"] == Event.TEST:
        return title
    if body["type"] == Event.RESOLVED:
        return _("Resolved: %s") % title
    is_critical = body["data"]["severity"] == "critical"
    return (_("Critical: %s") if is_critical else _("Warning: %s")) % title


def _lines(body: Mapping[str, Any]) -> list[str]:
    data = body["data"]
    lines = [headline(body)]
    if data["value"] is not None and data["threshold"] is not None:
        text = _("Measured when it began: %(value)s; threshold: %(threshold)s.")
        told = {"value": f"{data['value']:g}", "threshold": f"{data['threshold']:g}"}
        lines.append(text % told)
    lines.append(_("Since: %s") % data["started_at"])
    if data["resolved_at"]:
        lines.append(_("Until: %s") % data["resolved_at"])
    if data["url"]:
        lines.append(str(data["url"]))
    return lines
