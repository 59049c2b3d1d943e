"""How close each limit came to refusing of late, and how often it did."""

from dataclasses import dataclass
from typing import Final

from pulse.store import buckets, peaks


@dataclass(frozen=True, slots=True)
class Headroom:
    """One rule's last 24 hours, over all its clients.

    Attributes:
        peak: The highest share of its capacity that one client had used at an instant, 0 to 1; 1
            also where a client was refused. None where nobody was charged to it.
        refused: How many requests it refused.
        would_refuse: How many it would have refused, had it been enforced.
    """

    peak: float | None = None
    refused: int = 0
    would_refuse: int = 0


#: What nobody met.
UNUSED: Final = Headroom()


def headroom_of_rules() -> dict[str, Headroom]:
    """Return the headroom of every rule that was met in the last 24 hours, of all processes.

    Makes some fifty calls to Redis, however many rules there are.

    Returns:
        By kind and name, such as ``endpoint_limits:login``; ``UNUSED`` stands for the others.

    Raises:
        StoreUnavailable: Redis cannot be asked for what it holds.
    """
    highest = peaks.last_day()
    day = buckets.last_day()
    refused, would_refuse = day[buckets.REFUSED], day[buckets.WOULD_REFUSE]
    return {
        rule: Headroom(highest.get(rule), refused[rule], would_refuse[rule])
        for rule in {*highest, *refused, *would_refuse}
    }
