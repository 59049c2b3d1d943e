"""What the doctor finds: each with its evidence, and what mends it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final


class Severity(StrEnum):
    """How bad it is, from well to worst."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """The higher, the worse."""
        return RANKS[self]


RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        title: What is so, in one sentence.
        evidence: What shows it.
        fix: What to do; empty where nothing is to be done.
    """

    topic: str
    severity: Severity
    title: str
    evidence: str = ""
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--format json`` prints."""
        return asdict(self)


#: So many of what is wrong are named.
NAMED: Final = 5


def name_some(names: Sequence[str], joint: str = ", ") -> str:
    """Name the first few of what was found, and say how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{joint.join(names[:NAMED])}{more}."


#: Told what is at hand, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]
#: Looks at one topic.
Examination = Callable[[Progress], Iterator[Finding]]
