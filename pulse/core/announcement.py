"""What the processes tell each other of the policy in force."""

import re
from dataclasses import dataclass
from typing import Final

TEXT: Final = re.compile(r"([^:\s]{1,64}):([0-9]{1,15}):([0-9]{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Announcement:
    """Which policy stands, in the least that tells two of them apart.

    Attributes:
        lineage: The identity of the database that the revisions are counted in.
        revision: The number of the newest revision.
        key_epoch: Counted up whenever an API key is withdrawn.
    """

    lineage: str
    revision: int
    key_epoch: int = 0

    def __str__(self) -> str:
        return f"{self.lineage}:{self.revision}:{self.key_epoch}"

    def supersedes(self, other: "Announcement") -> bool:
        """Whether it is of another lineage, or newer in the same."""
        return self.lineage != other.lineage or (
            (self.revision, self.key_epoch) > (other.revision, other.key_epoch)
        )

    def is_of_revision(self, other: "Announcement | None") -> bool:
        """Whether both are of one revision, though keys may have changed between them."""
        return other is not None and (self.lineage, self.revision) == (
            other.lineage,
            other.revision,
        )

    @classmethod
    def parse(cls, text: str | None) -> "Announcement | None":
        """Read what ``str()`` wrote; None for anything else, as if nothing had been announced."""
        match = TEXT.fullmatch(text or "")
        return cls(match[1], int(match[2]), int(match[3])) if match else None
