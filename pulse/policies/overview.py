"""The whole policy at a glance: what is in force, waits or ends, and how close its limits are."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pulse.core.document import Document, Item
from pulse.core.snapshot import Mode
from pulse.policies import kinds, words
from pulse.policies.headroom import UNUSED, Headroom
from pulse.policies.kinds import Kind

#: What ends so soon is told apart.
SOON: Final = timedelta(days=7)
PER_PAGE: Final = 50


class State(StrEnum):
    """What a rule does at a moment."""

    ENFORCED = "enforced"
    SHADOW = "shadow"
    SCHEDULED = "scheduled"
    ENDED = "ended"
    OFF = "off"


class Sort(StrEnum):
    """In which order rules are shown."""

    POLICY = "policy"
    REFUSED = "refused"
    PEAK = "peak"
    ENDS = "ends"


#: In force, and no longer so in seven days: a filter beside the states.
EXPIRING: Final = "expiring"


@dataclass(frozen=True, slots=True)
class Line:
    """One rule.

    Attributes:
        name: Its natural key, as a person writes it.
        is_expiring: It is in force or in shadow, and ends soon.
    """

    kind: str
    key: Mapping[str, Any]
    item: Item
    state: State
    ends_at: datetime | None
    starts_at: datetime | None
    headroom: Headroom
    is_expiring: bool

    @property
    def name(self) -> str:
        return " ".join(str(value) for value in self.key.values())

    @property
    def words(self) -> str:
        """What it does."""
        return words.describe(self.kind, self.item)

    def as_dict(self) -> dict[str, Any]:
        """Return what machines are told of it."""
        return {
            "kind": self.kind,
            "key": dict(self.key),
            "state": str(self.state),
            "expiring": self.is_expiring,
            "starts_at": kinds.time_to_text(self.starts_at),
            "ends_at": kinds.time_to_text(self.ends_at),
            "words": self.words,
            "peak_24h": self.headroom.peak,
            "refused_24h": self.headroom.refused,
            "would_refuse_24h": self.headroom.would_refuse,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the list is narrowed and sorted."""

    kind: str = ""
    state: str = ""
    q: str = ""
    sort: Sort = Sort.POLICY
    page: int = 1


@dataclass(slots=True)
class Tally:
    """The rules of a kind, counted.

    Attributes:
        states: By state.
        expiring: How many end soon.
    """

    kind: str
    states: Counter[State] = field(default_factory=Counter)
    expiring: int = 0
    refused: int = 0
    would_refuse: int = 0

    def add(self, line: Line) -> None:
        """Count a rule."""
        self.states[line.state] += 1
        self.expiring += line.is_expiring
        self.refused += line.headroom.refused
        self.would_refuse += line.headroom.would_refuse

    @property
    def total(self) -> int:
        """How many there are."""
        return self.states.total()


@dataclass(frozen=True, slots=True)
class Overview:
    """A page of rules, and all of them counted.

    Attributes:
        tallies: Of every kind, whatever is wanted.
        found: How many are wanted, of which ``lines`` are one page.
    """

    tallies: Sequence[Tally]
    lines: Sequence[Line]
    found: int
    page: int
    pages: int

    @property
    def states(self) -> Counter[State]:
        """All rules by state."""
        return sum((tally.states for tally in self.tallies), Counter())

    @property
    def expiring(self) -> int:
        """How many end soon."""
        return sum(tally.expiring for tally in self.tallies)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(tally.total for tally in self.tallies)


def overview(
    document: Document, headroom: Mapping[str, Headroom], now: datetime, wanted: Wanted
) -> Overview:
    """Look a document over; queries nothing.

    Args:
        document: The policy in force.
        headroom: Of its rules, by kind and name.
        now: The time.
        wanted: Which rules are shown.
    """
    tallies: list[Tally] = []
    found: list[Line] = []
    for kind in kinds.all_kinds():
        tally = Tally(kind.name)
        tallies.append(tally)
        for line in _lines(kind, document.get(kind.name, ()), headroom, now):
            tally.add(line)
            if _is_wanted(line, wanted):
                found.append(line)
    if wanted.sort is not Sort.POLICY:
        found.sort(key=_ORDERS[wanted.sort])
    pages = max(1, -(-len(found) // PER_PAGE))
    page = min(wanted.page, pages)
    shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
    return Overview(tallies, shown, len(found), page, pages)


def _lines(
    kind: Kind, items: Iterable[Item], headroom: Mapping[str, Headroom], now: datetime
) -> Iterable[Line]:
    for item in items:
        key = kind.key_of(item)
        name = " ".join(str(value) for value in key.values())
        starts_at, ends_at = _moment(item.get("starts_at")), _moment(item.get("ends_at"))
        state = _state(item, starts_at, ends_at, now)
        acts = state in {State.ENFORCED, State.SHADOW}
        yield Line(
            kind=kind.name,
            key=key,
            item=item,
            state=state,
            starts_at=starts_at,
            ends_at=ends_at,
            headroom=headroom.get(f"{kind.name}:{name}", UNUSED),
            is_expiring=acts and ends_at is not None and ends_at - now <= SOON,
        )


def _state(
    item: Item, starts_at: datetime | None, ends_at: datetime | None, now: datetime
) -> State:
    if ends_at is not None and ends_at <= now:
        return State.ENDED
    mode = item.get("mode", Mode.ENFORCE)
    if mode == Mode.OFF:
        return State.OFF
    if starts_at is not None and starts_at > now:
        return State.SCHEDULED
    return State.SHADOW if mode == Mode.SHADOW else State.ENFORCED


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _is_wanted(line: Line, wanted: Wanted) -> bool:
    if wanted.kind and line.kind != wanted.kind:
        return False
    if wanted.state == EXPIRING:
        if not line.is_expiring:
            return False
    elif wanted.state and line.state != wanted.state:
        return False
    if not wanted.q:
        return True
    texts = (value for value in line.item.values() if isinstance(value, str))
    return wanted.q.lower() in " ".join((line.name, *texts)).lower()


def _by_refused(line: Line) -> tuple[int, int]:
    return -line.headroom.refused, -line.headroom.would_refuse


def _by_peak(line: Line) -> float:
    return 1.0 if line.headroom.peak is None else -line.headroom.peak


def _by_end(line: Line) -> float:
    return float("inf") if line.ends_at is None else line.ends_at.timestamp()


_ORDERS: Final[Mapping[Sort, Callable[[Line], Any]]] = {
    Sort.REFUSED: _by_refused,
    Sort.PEAK: _by_peak,
    Sort.ENDS: _by_end,
}
