"""What this process measured since it was last asked: one short step a request, under a short lock.

Fields of what is taken are those of ``store/scripts/measure.lua``: a letter, and what it is of.
"""

import itertools
import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Final

from pulse.conf import conf
from pulse.core.claims import Store
from pulse.core.endpoints import METHODS
from pulse.core.histogram import MAX_US, bucket_of
from pulse.core.measures import OTHERS, UNRESOLVED
from pulse.core.targets import MAX_ENDPOINT_ID
from pulse.logging import say

logger = logging.getLogger(__name__)

#: By field: of one endpoint, or of pulse itself.
Fields = dict[str, int]
#: Fields by endpoint; those of pulse itself are by ``OWN``.
Groups = dict[str, Fields]

OWN: Final = ""
#: Stands for a method that no standard names: clients may invent them.
OTHER_METHOD: Final = "OTHER"
KNOWN_METHODS: Final = frozenset(METHODS)
#: What is counted apart.
APART = PROBES, PULSE, STREAMS = "probes", "pulse", "streams"
#: Endpoints whose eviction is told in a second; all are counted.
MAX_TOLD: Final = 10
#: Rules of one endpoint in a second, and names of other things that are counted.
MAX_NAMES: Final = 1000

#: The letters of fields.
STATUS, BUCKET, REFUSED, WOULD_REFUSE = "c", "h", "r", "w"
SUM, SATISFIED, TOLERATED, SLOW = "u", "a", "o", "l"
BYTES_IN, BYTES_OUT, QUERIES, QUERY_US = "i", "b", "q", "y"
#: These two are compared, not added.
LEAST, MOST = "n", "m"
#: In the sums of all time: latencies by how many bits they have as microseconds.
DOUBLING: Final = "d"

#: Status and bucket are one number while they are counted; this one stands for no bucket.
SHIFT: Final = 10
UNTIMED: Final = (1 << SHIFT) - 1
MAX_STATUS: Final = 999


class _Tally:
    """What one endpoint did since the last time."""

    __slots__ = (
        *("name", "counts", "sum_us", "least_us", "most_us", "satisfied", "tolerated", "slow"),
        *("bytes_in", "bytes_out", "queries", "query_us", "by_rule"),
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: dict[int, int] = {}
        self.sum_us = self.most_us = 0
        self.least_us = MAX_US
        self.satisfied = self.tolerated = self.slow = 0
        self.bytes_in = self.bytes_out = self.queries = self.query_us = 0
        self.by_rule: Fields | None = None

    def fields(self) -> Fields:
        """Return what was counted as it is sent."""
        found: Fields = {}
        for key, count in self.counts.items():
            status, bucket = f"{STATUS}{key >> SHIFT}", key & UNTIMED
            found[status] = found.get(status, 0) + count
            if bucket != UNTIMED:
                name = f"{BUCKET}{bucket}"
                found[name] = found.get(name, 0) + count
        sums = (
            *((SUM, self.sum_us), (SATISFIED, self.satisfied), (TOLERATED, self.tolerated)),
            *((SLOW, self.slow), (BYTES_IN, self.bytes_in), (BYTES_OUT, self.bytes_out)),
            *((QUERIES, self.queries), (QUERY_US, self.query_us)),
        )
        found.update((letter, amount) for letter, amount in sums if amount)
        if self.least_us <= self.most_us:
            found[LEAST], found[MOST] = self.least_us, self.most_us
        if self.by_rule:
            found.update(self.by_rule)
        return found


class Recorder:
    """The counts of this process: bounded, and the same whichever thread adds to them.

    Attributes:
        began: Counts requests as they come; ``ended`` as they are answered.
        tracked: By method and route, the longest unused first.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: counts and lock are the parent's."""
        self.lock = threading.Lock()
        self.tracked: OrderedDict[tuple[str, str], _Tally] = OrderedDict()
        self.began = itertools.count()
        self.ended = itertools.count()
        self._looks = itertools.count()
        self._others: Fields = {}
        self._own: Counter[str] = Counter()
        self._decided: dict[tuple[bool, Store], int] = {}
        self._decision_bits = [0] * 64
        self._decision_us = 0
        self._evicted: set[str] = set()
        self._told = 0

    def add(  # noqa: C901 - every request comes by here: calls cost more than branches
        self,
        method: str,
        route: str,
        status: int,
        us: int,
        *,
        refused: str | None = None,
        would_refuse: tuple[str, ...] = (),
        is_slow: bool = False,
        bytes_in: int = 0,
        bytes_out: int = 0,
        queries: int = 0,
        query_us: int = 0,
    ) -> None:
        """Count one answer.

        Args:
            method: One of the standard's, or ``OTHER_METHOD``.
            route: As Django has it; ``UNRESOLVED`` where there is none.
            status: From 0 to 999.
            us: What it took, from 0 to ``MAX_US`` microseconds.
            refused: Why pulse refused it, and the rule that did, with a space between.
            would_refuse: Rules in shadow that would have.
            is_slow: It took longer than it may.
            bytes_in: Of the request's body.
            bytes_out: Of the answer's.
            queries: SQL statements.
            query_us: What they took.
        """
        good_us = conf.APDEX_MS * 1000
        key = (method, route)
        lost = None
        with self.lock:
            tracked = self.tracked
            tally = tracked.get(key)
            if tally is None:
                tally, lost = self._track(key)
            else:
                tracked.move_to_end(key)
            counts = tally.counts
            if refused is None:
                place = status << SHIFT | bucket_of(us)
                tally.sum_us += us
                # Every request comes by here, and calls of min and max cost more than this.
                if us < tally.least_us:  # noqa: PLR1730 - as above
                    tally.least_us = us
                if us > tally.most_us:  # noqa: PLR1730 - as above
                    tally.most_us = us
                if us <= good_us:
                    tally.satisfied += 1
                elif us <= 4 * good_us:
                    tally.tolerated += 1
                if is_slow:
                    tally.slow += 1
            else:
                place = status << SHIFT | UNTIMED
                _count_rule(tally, f"{REFUSED}{refused}")
            counts[place] = counts.get(place, 0) + 1
            for rule in would_refuse:
                _count_rule(tally, f"{WOULD_REFUSE}{rule}")
            tally.bytes_in += bytes_in
            tally.bytes_out += bytes_out
            if queries:
                tally.queries += queries
                tally.query_us += query_us
        if lost is not None:
            say(
                logger,
                logging.INFO,
                "Evicted endpoint metrics due to max_endpoints limit",
                extra={"endpoint": lost, "max_endpoints": conf.MAX_ENDPOINTS},
            )

    def decided(self, store: Store, us: int, *, allowed: bool) -> None:
        """Count one decision of limits, and what it took."""
        key = (allowed, store)
        bits = us.bit_length()
        with self.lock:
            self._decided[key] = self._decided.get(key, 0) + 1
            self._decision_bits[bits] += 1
            self._decision_us += us

    def count(self, name: str, amount: int = 1) -> None:
        """Count something else: what is apart, or what failed in pulse itself."""
        with self.lock:
            if name in self._own or len(self._own) < MAX_NAMES:
                self._own[name] += amount

    def in_flight(self) -> int:
        """How many requests are being answered."""
        with self.lock:
            looks = next(self._looks)  # Each look counts one, too.
            ended = next(self.ended) - looks
            return max(next(self.began) - looks - ended, 0)

    def take(self) -> tuple[Groups, set[str]]:
        """Return what was counted since the last time, and which endpoints were evicted."""
        with self.lock:
            groups: Groups = {}
            for key, tally in self.tracked.items():
                if tally.counts:
                    groups[tally.name] = tally.fields()
                    self.tracked[key] = _Tally(tally.name)
            if self._others:
                add_fields(groups.setdefault(OTHERS, {}), self._others)
            own = dict(self._own)
            for (allowed, store), count in self._decided.items():
                own[f"decided {'allowed' if allowed else 'refused'} {store}"] = count
            for bits, count in enumerate(self._decision_bits):
                if count:
                    own[f"decision_bits {bits}"] = count
            if self._decision_us:
                own["decision_us"] = self._decision_us
            if own:
                groups[OWN] = own
            evicted = self._evicted - {tally.name for tally in self.tracked.values()}
            self._others, self._own, self._evicted = {}, Counter(), set()
            self._decided, self._decision_bits = {}, [0] * len(self._decision_bits)
            self._decision_us = self._told = 0
        return groups, evicted

    def _track(self, key: tuple[str, str]) -> tuple[_Tally, str | None]:
        """Make room for an endpoint; return its tally, and whose eviction is to be told."""
        told = None
        while len(self.tracked) >= conf.MAX_ENDPOINTS:
            _, oldest = self.tracked.popitem(last=False)
            if oldest.counts:
                # What was answered stays in the sum of all.
                add_fields(self._others, oldest.fields())
            self._own["evicted"] += 1
            if len(self._evicted) < conf.MAX_ENDPOINTS:
                self._evicted.add(oldest.name)
            if self._told < MAX_TOLD:
                self._told, told = self._told + 1, oldest.name
        tally = self.tracked[key] = _Tally(name_of(*key))
        return tally, told


def name_of(method: str, route: str) -> str:
    """Return the endpoint id of a method and a route."""
    if route == UNRESOLVED:
        return UNRESOLVED
    return f"{method} /{' '.join(route.split())}"[:MAX_ENDPOINT_ID]


def add_fields(total: Fields, others: Mapping[str, int]) -> None:
    """Add fields up; the least and the most are compared."""
    for name, amount in others.items():
        before = total.get(name)
        if before is None:
            total[name] = amount
        elif name == LEAST:
            total[name] = min(before, amount)
        elif name == MOST:
            total[name] = max(before, amount)
        else:
            total[name] = before + amount


def _count_rule(tally: _Tally, field: str) -> None:
    if tally.by_rule is None:
        tally.by_rule = {}
    if field in tally.by_rule or len(tally.by_rule) < MAX_NAMES:
        tally.by_rule[field] = tally.by_rule.get(field, 0) + 1


#: The one of this process.
recorder: Final = Recorder()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=recorder.reset)
