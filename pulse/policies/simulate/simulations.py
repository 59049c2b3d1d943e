"""What a draft would refuse of what was asked of late, and what the policy in force would."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pulse.core.clients import MARK_DIGITS
from pulse.core.document import Document, difference
from pulse.core.estimates import CONFIDENCE, Client, Estimate, estimate
from pulse.core.quotas import SECOND_US
from pulse.core.recording import (
    NOBODY,
    SLOT_S,
    SLOT_US,
    TIME,
    Recorded,
    Slot,
    decode,
    limit_of,
)
from pulse.core.snapshot import ENDPOINTS, TIERS, Snapshot
from pulse.policies import current, kinds, publisher
from pulse.policies import document as documents
from pulse.policies.publisher import Actor
from pulse.policies.simulate.replay import Policy, Tally, Traffic, replay
from pulse.policies.simulate.unknowns import (
    Unknown,
    across_clients,
    begun_full,
    memory_us,
    unknowns,
)
from pulse.store import sample

#: The windows that may be asked for, in seconds: a minute to a day.
MIN_WINDOW_S: Final = 60
MAX_WINDOW_S: Final = 86_400
WINDOW_S: Final = 3600
#: So many requests are replayed at most, and for so long.
MAX_EVENTS: Final = 60_000
MAX_S: Final = 10.0
#: Rather than fewer clients than these, a shorter time is looked at.
MIN_CLIENTS: Final = 64
#: So many of the clients that are refused most, and of the rules that refuse, are told.
TOP: Final = 5
MAX_RULES: Final = 100
MINUTE_S: Final = 60


@dataclass(slots=True)
class _Sample:
    """What is replayed, and how much of what came that is.

    Attributes:
        from_us: When the window begins that is told of; requests before it fill the counters.
        share: Which share of the clients is in it.
        requests: How many requests there were in the window, recorded or not.
        begin_us: Since when what is in it is known to be all.
        left_clients: How many clients came too often to be recorded, ``left`` their requests.
        cut: The window is shorter than was asked for, as there is too much in it.
    """

    from_us: int
    to_us: int
    traffic: Traffic = field(default_factory=Traffic)
    share: float = 1.0
    requests: int = 0
    begin_us: int = 0
    left_clients: int = 0
    left: int = 0
    cut: bool = False
    shared: bool = True
    unavailable: bool = False


def simulate(
    written: Document, actor: Actor, *, prune: bool = False, window_s: int = WINDOW_S
) -> dict[str, Any]:
    """Tell what a part of a document, applied, would refuse of what was recorded.

    Args:
        written: As for ``document.apply``.
        actor: Who asks; nothing is saved.
        prune: Leave out what the document does not name.
        window_s: How far back to look, in seconds.

    Raises:
        InvalidDocument: Something in it cannot be; every error by its place.
    """
    applied = documents.apply(written, actor, prune=prune, dry_run=True)
    return compare(publisher.newest_document(), applied.document, window_s)


def compare(before: Document, after: Document, window_s: int = WINDOW_S) -> dict[str, Any]:
    """Tell what two policies would refuse of what was recorded, as the API's ``simulate/`` does.

    Queries revisions, and makes two calls to Redis for each ten minutes. Takes some ten
    seconds at most.

    Args:
        before: The document in force.
        after: The draft; both whole, defaults written out.
        window_s: How far back to look, in seconds.

    Raises:
        InvalidDocument: One of them makes no policy.
    """
    until = time.monotonic() + MAX_S
    in_force, draft = map(current.compile_beside_keys, (before, after))
    found = _gather(window_s, _memory_us(in_force, draft))
    whole = found.share >= 1
    now, then = (Policy(snapshot, whole=whole) for snapshot in (in_force, draft))
    counts = Counter(number for at_us, number in found.traffic.events if at_us >= found.from_us)
    (tally_now, tally), stopped_us = replay(found.traffic, (now, then), found.from_us, until)
    if stopped_us is not None:
        _stop_at(found, stopped_us)
        counts = Counter(n for at_us, n in found.traffic.events if at_us >= found.from_us)
    each = [counts[number] for number in range(len(found.traffic.requests))]
    untold = unknowns(before, after, then, found.traffic, each) + _limits_of(found, then, each)
    held = Counter[str]()
    for mark, count in zip(found.traffic.marks, each, strict=True):
        held[mark] += count
    requests = found.requests
    return {
        "window": {"from_at": _time(found.from_us), "to_at": _time(found.to_us)},
        "requests": requests,
        "sampled": held.total(),
        "share": found.share,
        "confidence": CONFIDENCE,
        "draft": _told(tally, held, found.share, requests),
        "now": _told(tally_now, held, found.share, requests),
        "top_clients": [
            {"client": mark, "refused": count} for mark, count in tally.refused.most_common(TOP)
        ],
        "rules": _rules(before, after, tally, tally_now, requests / (held.total() or 1)),
        "not_simulated": [unknown.as_dict() for unknown in untold],
        "left_out": {"clients": found.left_clients, "requests": found.left},
        "cut": found.cut,
        "scope": "all" if found.shared else "process",
        "available": not found.unavailable,
    }


def _gather(window_s: int, memory_us: int) -> _Sample:
    now = time.time()
    # Whole minutes, by which requests are counted that are not kept.
    from_s = int(now - window_s) // MINUTE_S * MINUTE_S
    first, last = from_s // SLOT_S, int(now) // SLOT_S
    earliest = max((from_s - memory_us // SECOND_US) // SLOT_S, last - sample.SLOTS + 1)
    kept = sample.read(range(min(earliest, first), last + 1))
    found = _Sample(from_s * SECOND_US, int(now * SECOND_US))
    found.shared, found.unavailable = kept.shared, kept.unavailable
    window = {number: slot for number, slot in kept.slots.items() if number >= first}
    level = max((slot.level for slot in window.values()), default=0)
    # Further back for as long as no fewer clients were kept; where nothing is, nobody came.
    begin = first
    while begin > earliest and (
        begin - 1 not in kept.slots or kept.slots[begin - 1].level <= level
    ):
        begin -= 1
    slots = {number: slot for number, slot in kept.slots.items() if number >= begin}
    events = _events(slots, level)
    level, events = _thinned(events, level, found)
    found.share = 0.5**level if level < NOBODY else 0.0
    found.begin_us = begin * SLOT_US if len(events) < MAX_EVENTS else events[0][0]
    if first not in window and events:
        found.from_us = max(found.from_us, events[0][0])
    _number(events, found.traffic)
    found.left_clients = len({mark for slot in window.values() for mark in slot.left_out})
    found.left = sum(slot.left for slot in window.values())
    found.requests = _requests(found, window.values())
    return found


def _requests(found: _Sample, slots: Iterable[Slot]) -> int:
    """Return how many requests of clients who may be recorded came in the window."""
    held = sum(at_us >= found.from_us for at_us, _number in found.traffic.events)
    if found.share >= 1 or not found.share:
        return held
    if found.cut:
        return round(held / found.share)
    from_minute = found.from_us // SECOND_US // MINUTE_S
    counted = sum(
        count for slot in slots for minute, count in slot.minutes.items() if minute >= from_minute
    )
    return max(counted - round(found.left / found.share), held)


def _events(slots: Mapping[int, Slot], level: int) -> list[tuple[int, str]]:
    """Return when each request of those who are kept at a level came, and what it was, in order."""
    limit = limit_of(level)
    events = []
    for number, slot in slots.items():
        begin_us = number * SLOT_US
        for name, times in slot.times.items():
            if name[:MARK_DIGITS] < limit:
                events += [(begin_us + offset, name) for (offset,) in TIME.iter_unpack(times)]
    events.sort()
    return events


def _thinned(
    events: list[tuple[int, str]], level: int, found: _Sample
) -> tuple[int, list[tuple[int, str]]]:
    """Leave so many requests as can be replayed: of fewer clients, or of a shorter time."""
    while len(events) > MAX_EVENTS:
        limit = limit_of(level + 1)
        fewer = [event for event in events if event[1][:MARK_DIGITS] < limit]
        if len({name[:MARK_DIGITS] for _at, name in fewer}) < MIN_CLIENTS:
            events = events[-MAX_EVENTS:]
            if events[0][0] > found.from_us:
                found.from_us, found.cut = events[0][0], True
            break
        level, events = level + 1, fewer
    return level, events


def _number(events: Iterable[tuple[int, str]], traffic: Traffic) -> None:
    """Read what each request was, once for all that are equal."""
    numbers: dict[str, int | None] = {}
    for at_us, name in events:
        if name not in numbers:
            recorded: Recorded | None = decode(name[MARK_DIGITS:])
            numbers[name] = None if recorded is None else len(traffic.requests)
            if recorded is not None:
                traffic.requests.append(recorded)
                traffic.marks.append(name[:MARK_DIGITS])
        number = numbers[name]
        if number is not None:
            traffic.events.append((at_us, number))


def _stop_at(found: _Sample, stopped_us: int) -> None:
    """End the window where there was no more time to replay."""
    found.cut = True
    found.to_us = max(stopped_us, found.from_us)
    found.traffic.events = [event for event in found.traffic.events if event[0] < stopped_us]
    found.requests = _requests(found, ())


def _limits_of(found: _Sample, draft: Policy, counts: list[int]) -> list[Unknown]:
    """List what the sample itself is too small to tell."""
    if not found.traffic.events:
        return []
    untold = begun_full(draft, max(found.from_us - found.begin_us, 0))
    if found.share < 1:
        untold += across_clients(draft, found.traffic, counts)
    return untold


def _told(tally: Tally, held: Counter[str], share: float, requests: int) -> dict[str, Any]:
    if not requests or not share:
        return dict.fromkeys(("refused", "share", "low", "high", "clients", "would_refuse"))
    clients = [Client(count, tally.refused[mark]) for mark, count in held.items()]
    refused: Estimate = estimate(clients, share, requests)
    return {
        "refused": refused.total,
        "share": round(refused.total / requests, 6),
        "low": refused.low,
        "high": refused.high,
        "clients": round(len(tally.refused) / share),
        "would_refuse": round(tally.would_refuse * requests / held.total()) if held else 0,
    }


def _rules(
    before: Document, after: Document, tally: Tally, now: Tally, factor: float
) -> list[dict[str, Any]]:
    """Tell of each rule that refused, or that the draft changes: most refusals first."""
    names = {*tally.by_rule, *tally.by_shadow, *now.by_rule, *now.by_shadow}
    names |= {
        f"{change['kind']}:{change['key']['name']}:"
        for change in difference(before, after, kinds.keys())
        if change["kind"] in (TIERS, ENDPOINTS)
    }
    rows: list[dict[str, Any]] = []
    for prefix in sorted(names):
        kind, _colon, name = prefix.rstrip(":").partition(":")
        rows.append(
            {
                "kind": kind,
                "key": {"name": name},
                "draft": round(tally.by_rule[prefix] * factor),
                "now": round(now.by_rule[prefix] * factor),
                "draft_would": round(tally.by_shadow[prefix] * factor),
                "now_would": round(now.by_shadow[prefix] * factor),
            }
        )
    rows.sort(key=lambda row: (-row["draft"], -row["now"], -row["draft_would"], row["key"]["name"]))
    return rows[:MAX_RULES]


def _memory_us(*snapshots: Snapshot) -> int:
    """Return how long what clients did matters to policies, in microseconds; a day at most."""
    memories = (
        memory_us(quota)
        for snapshot in snapshots
        for rule in snapshot.rules
        for quota in rule.allowance.quotas
    )
    return min(max(memories, default=0), MAX_WINDOW_S * SECOND_US)


def _time(at_us: int) -> str:
    moment = datetime.fromtimestamp(at_us / SECOND_US, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
