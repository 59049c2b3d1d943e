"""Which process runs which revision, since when, and how long the slowest took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.exceptions import StoreUnavailable
from pulse.policies import current
from pulse.policies.kinds import time_to_text
from pulse.policies.models import PolicyRevision, PolicyState
from pulse.policies.publisher import database
from pulse.store import processes


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    Attributes:
        id: Host and process id, such as ``web-1:4711``.
        kind: ``web`` or ``worker``.
        revision: What is in force in it; None where nothing is yet.
        since: Since when; None as above.
        seen: When it was heard of last.
        is_first: It came up with that revision, rather than changed to it.
        resources: What it uses, as it tells it itself; None where it does not.
    """

    id: str
    kind: str
    revision: int | None
    since: datetime | None
    seen: datetime
    is_first: bool = False
    resources: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what the API tells of it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "revision": self.revision,
            "since_at": time_to_text(self.since),
            "seen_at": time_to_text(self.seen),
            "resources": self.resources,
        }


@dataclass(frozen=True, slots=True)
class Convergence:
    """How far the newest revision has come.

    Attributes:
        processes: All that are alive.
        revision: The newest; 0 before the first.
        published: When it was made.
        shared: Every process is heard of; else this one alone, as there is no Redis.
        unavailable: There is one, and it cannot be asked now.
    """

    processes: Sequence[Process]
    revision: int
    published: datetime | None = None
    shared: bool = True
    unavailable: bool = False

    @property
    def behind(self) -> list[Process]:
        """Those that have another policy in force than the newest."""
        return [process for process in self.processes if process.revision != self.revision]

    @property
    def slowest_s(self) -> float | None:
        """How long the slowest took to change to it, in seconds; None where none changed."""
        if self.published is None:
            return None
        took = [
            (process.since - self.published).total_seconds()
            for process in self.processes
            if process.revision == self.revision and process.since and not process.is_first
        ]
        # Two machines' clocks may differ by more than it took.
        return max(0.0, *took) if took else None

    def sentence(self) -> str:
        """Say it in one sentence."""
        count, on = len(self.processes), len(self.processes) - len(self.behind)
        parts = {"on": on, "count": count, "revision": self.revision}
        told = ngettext(
            "%(on)d of %(count)d process on revision %(revision)d",
            "%(on)d of %(count)d processes on revision %(revision)d",
            count,
        )
        took = self.slowest_s
        if took is not None:
            told += _(", slowest %s s") % f"{took:.1f}"
        if self.unavailable:
            told += _("; Redis cannot be asked now, so others are not seen")
        elif not self.shared:
            told += _("; this process alone, as there is no Redis to tell of others")
        return f"{told % parts}."


def convergence() -> Convergence:
    """Find out which processes run the newest revision; two queries and one call."""
    using = database()
    states = PolicyState.objects.using(using).filter(pk=1)
    number = states.values_list("revision", flat=True).first() or 0
    made = PolicyRevision.objects.using(using).filter(number=number)
    published = made.values_list("created_at", flat=True).first()
    unavailable = False
    try:
        found = processes.running()
    except StoreUnavailable:
        found, unavailable = None, True
    if found is None:
        current.current_snapshot()
        found, shared = [processes.this_process()], False
    else:
        shared = True
    return Convergence(
        [_process(one) for one in found], number, published, shared=shared, unavailable=unavailable
    )


def _process(one: processes.Running) -> Process:
    revision, since = one.said.get("revision"), one.said.get("since")
    used = one.said.get("resources")
    return Process(
        id=one.id,
        kind=one.kind,
        revision=revision if isinstance(revision, int) else None,
        since=_moment(since) if isinstance(since, int | float) else None,
        seen=_moment(one.seen),
        is_first=bool(one.said.get("first")),
        resources=used if isinstance(used, dict) else None,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
