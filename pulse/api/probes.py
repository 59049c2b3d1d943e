"""Kinds of probes by the API: what each row's run state says, beside what was decided."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.utils import timezone

from pulse.api.operations import TEXT, TIME, WHOLE, Schema, nullable, record
from pulse.api.policies import PolicyDetail, PolicyList, PolicyView
from pulse.core.snapshot import Mode
from pulse.policies.kinds import time_to_text
from pulse.probes import engine
from pulse.probes.kinds import PAYLOADS, SCHEDULES, TARGETS
from pulse.probes.plan import current_plan
from pulse.probes.state import (
    ProbeScheduleState,
    ProbeTargetState,
    ScheduleState,
    TargetStatus,
)
from pulse.probes.summary import history
from pulse.probes.summary.targets import status_of

SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}


#: What is told of a schedule that no worker has seen yet.
UNSEEN: Final[Mapping[str, Any]] = {
    "state": ScheduleState.IDLE.value,
    "next_run_at": None,
    "last_job": None,
    "missed": 0,
}


class TargetView(PolicyView):
    """How targets stand: three queries for the times, one for the states."""

    extra: ClassVar[Mapping[str, Schema]] = {
        "status": {"type": "string", "enum": [str(status) for status in TargetStatus]},
        "last_result_at": nullable(TIME),
        "uptime": record(dict.fromkeys(history.WINDOWS, nullable(SHARE))),
    }
    resting: ClassVar[Mapping[str, Any]] = {
        "status": TargetStatus.NOT_WATCHED.value,
        "last_result_at": None,
        "uptime": dict.fromkeys(history.WINDOWS),
    }

    def extras(self, listed: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Return how each target stands."""
        now, names = timezone.now(), [row.name for row in listed]
        plan = current_plan(now.timestamp())
        rows = ProbeTargetState.objects.using(engine.database()).filter(name__in=names)
        states = {state.name: state for state in rows}
        times = history.windows(names, now)
        found = []
        for row in listed:
            state = states.get(row.name)
            # Nobody looks at what is off, whatever it was before.
            status = (
                TargetStatus.NOT_WATCHED.value
                if row.mode == Mode.OFF
                else status_of(state, row.name, row.public_group, plan, now)
            )
            found.append(
                {
                    "status": str(status),
                    "last_result_at": time_to_text(state.last_at) if state else None,
                    "uptime": {window: tally.uptime for window, tally in times[row.name].items()},
                }
            )
        return found


class ScheduleView(PolicyView):
    """When schedules run next: one query."""

    extra: ClassVar[Mapping[str, Schema]] = {
        "state": {"type": "string", "enum": [str(state) for state in ScheduleState]},
        "next_run_at": nullable(TIME),
        "last_job": nullable(TEXT),
        "missed": WHOLE,
    }
    resting: ClassVar[Mapping[str, Any]] = UNSEEN

    def extras(self, listed: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Return where each schedule is; one that no worker has seen yet is idle."""
        names = [row.name for row in listed]
        rows = ProbeScheduleState.objects.using(engine.database()).filter(name__in=names)
        states = {state.name: state for state in rows}
        return [_told(states.get(name)) for name in names]


class PayloadView(PolicyView):
    """Where payloads come from, and how large they are."""

    extra: ClassVar[Mapping[str, Schema]] = {
        "source": {"type": "string", "enum": ["custom", "generated"]},
        "size": WHOLE,
    }

    def extras(self, listed: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Return both; no query."""
        return [{"source": row.source, "size": row.size} for row in listed]


class TargetList(TargetView, PolicyList):
    """All targets, and new ones."""


class TargetDetail(TargetView, PolicyDetail):
    """One target."""


class ScheduleList(ScheduleView, PolicyList):
    """All schedules, and new ones."""


class ScheduleDetail(ScheduleView, PolicyDetail):
    """One schedule."""


class PayloadList(PayloadView, PolicyList):
    """All payloads, and new ones."""


class PayloadDetail(PayloadView, PolicyDetail):
    """One payload."""


#: For ``urls.SPECIAL``.
VIEWS: Mapping[str, tuple[type[PolicyList], type[PolicyDetail]]] = {
    TARGETS: (TargetList, TargetDetail),
    SCHEDULES: (ScheduleList, ScheduleDetail),
    PAYLOADS: (PayloadList, PayloadDetail),
}


def _told(state: ProbeScheduleState | None) -> Mapping[str, Any]:
    if state is None:
        return UNSEEN
    return {
        "state": str(state.state),
        "next_run_at": time_to_text(state.next_at),
        "last_job": None if state.last_job_id is None else str(state.last_job_id),
        "missed": state.missed,
    }
