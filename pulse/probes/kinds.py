"""The probes' part of the policy document."""

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.document import Document
from pulse.core.targets import NAME
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


def _check_targets(document: Document) -> Iterator[Problem]:
    """Find secrets that were written past ``save()``, as ``QuerySet.update()`` does."""
    for place, item in enumerate(document.get(TARGETS, ())):
        for name, value in item["secret_headers"].items():
            if not secrets.is_public(value):
                text = _("The value of %s would stand in every revision. Save it by its row.")
                yield Problem(place, "secret_headers", text % name)


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


def _check_windows(document: Document) -> Iterator[Problem]:
    yield from _unknown(document, WINDOWS, "targets")


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
