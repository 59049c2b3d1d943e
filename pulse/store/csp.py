"""What browsers reported of Content-Security-Policies, by hour: added up, never kept one by one.

As in ``buckets``: a report adds to a dictionary, the heartbeat to what all processes know. Whoever
can reach the site can report anything, so what is kept is bounded, and what finds no more room is
counted in one entry.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from pulse.store.connection import Script
from pulse.store.hourly import HOUR_S, Hourly

#: Distinct reports of an hour, in a process and in Redis.
MAX_FIELDS: Final = 1000
#: No name, directive, origin or route is longer; together at most 1 MB an hour.
MAX_TEXT: Final = 255
#: Stands for what found no more room.
OVERFLOW: Final = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """What was reported of one policy in the last day, the same reports added up.

    Attributes:
        policy: The name of the header policy.
        page: The route of the page; empty for a page that is none of the site's.
        first: The hour of the first report, in epoch seconds, and ``last`` of the last.
    """

    policy: str
    directive: str
    source: str
    page: str
    count: int
    first: int
    last: int


_gathered: Final = Hourly(
    "csp reports", "csp", Script("collect"), lambda: MAX_FIELDS, rest=OVERFLOW
)


def add(policy: str, directive: str, source: str, page: str) -> None:
    """Count one report, in this process."""
    _gathered.add("\n".join(text[:MAX_TEXT] for text in (policy, directive, source, page)))


def forget() -> None:
    """Drop what this process gathered and did not yet add."""
    _gathered.forget()


def flush() -> None:
    """Add what this process gathered to what all did, as the heartbeat does each second.

    Raises:
        StoreUnavailable: Redis failed. What was not sent yet stays here.
    """
    _gathered.flush()


def last_day() -> tuple[list[Reported], int]:
    """Return what was reported in the last 24 hours, most often first; of all processes with Redis.

    Makes one call for each hour.

    Returns:
        The reports, and how many more found no room.

    Raises:
        StoreUnavailable: Redis cannot be asked for what it holds.
    """
    counts: Counter[str] = Counter()
    hours: dict[str, set[int]] = {}
    for hour, found in _gathered.last_hours().items():
        counts.update(found)
        for field in found:
            hours.setdefault(field, set()).add(hour)
    rest = counts.pop(OVERFLOW, 0)
    reported = []
    for field, count in counts.most_common():
        policy, directive, source, page = field.split("\n", 3)
        first, last = min(hours[field]) * HOUR_S, max(hours[field]) * HOUR_S
        reported.append(Reported(policy, directive, source, page, count, first, last))
    return reported, rest
