"""Decision ids: what a refusal was, sealed into a text that needs no storage."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from django.core import signing

SALT: Final = "pulse.decision"


@dataclass(frozen=True, slots=True)
class SealedDecision:
    """What a decision id tells to who holds the site's secret.

    Attributes:
        revision: The policy that decided.
        kind: The kind of the rule that refused, ``name`` its natural key.
        limit: The rate that was spent.
        client: The hashed key under which the client was counted.
        at_us: When, in epoch microseconds.
    """

    revision: int
    kind: str
    name: str
    limit: str
    client: str
    method: str
    route: str
    at_us: int


def seal(decision: SealedDecision) -> str:
    """Write a decision as an id: signed, so that nobody can make one up."""
    return signing.dumps(list(asdict(decision).values()), salt=SALT, compress=True)


def unseal(text: str) -> SealedDecision | None:
    """Read a decision id; None if it is not ours."""
    try:
        values: Any = signing.loads(text, salt=SALT)
        return SealedDecision(*values)
    except (signing.BadSignature, TypeError, ValueError):
        return None
