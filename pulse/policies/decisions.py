"""Decision ids: what a refusal was, sealed into a text that needs no storage."""

import json
from base64 import urlsafe_b64encode
from dataclasses import astuple, dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.encoding import force_bytes


@dataclass(frozen=True, slots=True)
class SealedDecision:
    """What a decision id tells to who holds the site's secret.

    Attributes:
        revision: The policy that decided.
        kind: The kind of the rule that refused, ``name`` its natural key.
        limit: The rate that was spent.
        client: The hashed key under which the client was counted.
        at_us: When, in epoch microseconds.
        unavailable: The rule had no counters to ask, and was told to refuse then.
    """

    revision: int
    kind: str
    name: str
    limit: str
    client: str
    method: str
    route: str
    at_us: int
    unavailable: bool = False


def seal(decision: SealedDecision) -> str:
    """Write a decision as an id: encrypted, so that the site alone can read or make one."""
    text = json.dumps(astuple(decision), separators=(",", ":"), ensure_ascii=False)
    return _box().encrypt(text.encode("utf-8", "replace")).decode()


def unseal(text: str) -> SealedDecision | None:
    """Read a decision id; None if it is not ours."""
    try:
        values: Any = json.loads(_box().decrypt(text))
        return SealedDecision(*values)
    except (InvalidToken, TypeError, ValueError):
        return None


def _box() -> MultiFernet:
    return _box_of(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@lru_cache(maxsize=4)
def _box_of(*secrets: str | bytes) -> MultiFernet:
    """Seal by a key derived from the first secret, and open by each."""
    keys = [
        blake2b(force_bytes(secret), person=b"pulse.decision", digest_size=32).digest()
        for secret in secrets
    ]
    return MultiFernet([Fernet(urlsafe_b64encode(key)) for key in keys])
