"""The probes' part of the policy document."""

import math
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.document import Document, Item
from pulse.core.schedules import Schedule, make_schedule
from pulse.core.targets import NAME
from pulse.core.windows import Window, make_window
from pulse.exceptions import InvalidSchedule, InvalidWindow
from pulse.policies import kinds
from pulse.policies import words as policy_words
from pulse.policies.kinds import Kind, Problem
from pulse.probes import secrets, words
from pulse.probes.models import (
    MaintenanceWindow,
    ProbeBudget,
    ProbePayload,
    ProbeSchedule,
    ProbeTarget,
)
from pulse.probes.validators import payload_size, too_much_stored

TARGETS: Final = "probe_targets"
#: What windows silence; the kind is of a room above.
ALERT_RULES: Final = "alert_rules"
PAYLOADS: Final = "probe_payloads"
SCHEDULES: Final = "probe_schedules"
BUDGETS: Final = "probe_budgets"
WINDOWS: Final = "maintenance_windows"


def register() -> None:
    """Register the kinds of this room, what is named before what names it, and their words."""
    policy_words.register(words.WRITERS)
    kinds.register(
        Kind(
            BUDGETS,
            ProbeBudget,
            ("name",),
            ("name", "max_jobs", "max_concurrency", "max_per_host", "job_timeout_s"),
        ),
        Kind(
            TARGETS,
            ProbeTarget,
            ("name",),
            (
                "name",
                "url_name",
                "path_params",
                "path",
                "url",
                "method",
                "query",
                "headers",
                "secret_headers",
                "allow_unsafe",
                "allow_networks",
                "follow_redirects",
                "verify_tls",
                "transport",
                "timeout_s",
                "on_crash",
                "expect",
                "public_name",
                "public_group",
            ),
            check=_check_targets,
            alone=_missing_secrets,
        ),
        Kind(
            PAYLOADS,
            ProbePayload,
            ("target",),
            ("target", "path_params", "query", "headers", "body"),
            check=_check_payloads,
        ),
        Kind(
            SCHEDULES,
            ProbeSchedule,
            ("name",),
            (
                "name",
                "targets",
                "every",
                "cron",
                "time_zone",
                "expect",
                "timeout_s",
                "deadline_s",
                "retries",
                "retry_backoff_s",
                "cooldown_s",
                "max_concurrency",
                "failure_threshold",
                "success_threshold",
            ),
            check=_check_schedules,
        ),
        Kind(
            WINDOWS,
            MaintenanceWindow,
            ("name",),
            ("name", "cron", "time_zone", "duration_s", "targets", "groups", "rules"),
            check=_check_windows,
        ),
    )


def schedule_of(item: Item) -> Schedule:
    """Return when a schedule's item is due.

    Raises:
        InvalidSchedule: It says so in no way that this process can read.
    """
    return make_schedule(
        item["name"],
        every=item.get("every"),
        cron=item.get("cron"),
        time_zone=item["time_zone"],
    )


def window_of(item: Item) -> Window:
    """Return when a maintenance window's item is open, and for what.

    Raises:
        InvalidSchedule: Its cron expression or time zone is none.
        InvalidWindow: It is neither open once nor again and again.
    """
    once = not item.get("cron")
    return make_window(
        item["name"],
        starts_s=seconds_of(item["starts_at"], 0.0) if once else None,
        ends_s=seconds_of(item["ends_at"], math.inf) if once else None,
        cron=item.get("cron", ""),
        time_zone=item["time_zone"],
        duration_s=item.get("duration_s"),
        targets=item["targets"],
        groups=item["groups"],
        rules=item["rules"],
    )


def seconds_of(text: str | None, otherwise: float) -> float:
    """Return a time of the document in epoch seconds."""
    return otherwise if text is None else datetime.fromisoformat(text).timestamp()


def _check_targets(document: Document) -> Iterator[Problem]:
    """Find secrets that were written past ``save()``, as ``QuerySet.update()`` does."""
    for place, item in enumerate(document.get(TARGETS, ())):
        for name, value in item["secret_headers"].items():
            if not secrets.is_public(value):
                text = _("The value of %s would stand in every revision. Save it by its row.")
                yield Problem(place, "secret_headers", text % name)


def _missing_secrets(row: ProbeTarget) -> dict[str, list[str]]:
    """Ask for the values of secrets that nothing is stored of for where it leads now."""
    missing = _("Nothing is stored for %s that could be kept. Write its value.")
    elsewhere = _("It leads elsewhere now: write the value of %s again.")
    found = [missing % name for name in row.secrets_not_stored()]
    found += [elsewhere % name for name in row.secrets_for_elsewhere()]
    return {"secret_headers": found} if found else {}


def _check_payloads(document: Document) -> Iterator[Problem]:
    """Find payloads of nobody, and those that are too much together (S0-09)."""
    yield from _unknown(document, PAYLOADS, "target")
    total = 0
    for place, item in enumerate(document.get(PAYLOADS, ())):
        total += payload_size(item.get("body"))
        if total > conf.PROBE_PAYLOAD_TOTAL_BYTES:
            items = document[PAYLOADS]
            whole = sum(payload_size(other.get("body")) for other in items)
            yield Problem(place, "body", too_much_stored(whole))
            return


def _check_schedules(document: Document) -> Iterator[Problem]:
    yield from _unknown(document, SCHEDULES, "targets")
    yield from _unreadable(document, SCHEDULES, schedule_of)


def _check_windows(document: Document) -> Iterator[Problem]:
    yield from _unknown(document, WINDOWS, "targets")
    for place, name in kinds.unknown_names(document, WINDOWS, "rules", ALERT_RULES):
        yield Problem(place, "rules", _("Unknown alert rule: %s") % name)
    yield from _unreadable(document, WINDOWS, window_of)


def _unreadable(document: Document, kind: str, read: Callable[[Item], object]) -> Iterator[Problem]:
    """Find times that were written past every validator, as ``QuerySet.update()`` does."""
    for place, item in enumerate(document.get(kind, ())):
        try:
            read(item)
        except (InvalidSchedule, InvalidWindow) as error:
            yield Problem(place, "", str(error))


def _unknown(document: Document, kind: str, field: str) -> Iterator[Problem]:
    """Find names of targets that there are not.

    Endpoint ids are left to the forms: a route that a release took away must not keep every other
    policy from being edited.
    """
    known = {item["name"] for item in document.get(TARGETS, ())}
    for place, item in enumerate(document.get(kind, ())):
        named = item[field]
        for name in [named] if isinstance(named, str) else named:
            if NAME.fullmatch(name) and name not in known:
                yield Problem(place, field, _("Unknown target: %s") % name)
