"""Keys of the API: ``pulse_<prefix>_<secret>``, sent as a Bearer token, kept as a hash."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

START: Final = "pulse_"
#: A key whole: what it begins with, eight characters that name it, and 256 random bits.
KEY: Final = re.compile(r"pulse_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
SCHEME: Final = "bearer"
#: The hash of no text: what a key of an unknown prefix is compared with, so that it takes as long.
NO_HASH: Final = "-" * 64


class LiveKey(NamedTuple):
    """A key that counts, as the policy in force knows it.

    Attributes:
        hash: As ``hash_of`` makes it.
        tier: The name of the tier of requests that come with it; None for that of every client.
        expires_at: Its end in epoch seconds; None for none.
    """

    prefix: str
    hash: str
    tier: str | None = None
    expires_at: float | None = None


class KeyIndex:
    """The keys that count, by prefix."""

    __slots__ = ("_hashes",)

    def __init__(self, keys: Iterable[LiveKey] = ()) -> None:
        self._hashes = {key.prefix: key.hash for key in keys}

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def __contains__(self, prefix: str) -> bool:
        return prefix in self._hashes

    def find(self, authorization: str) -> str | None:
        """Return the prefix of the key in an ``Authorization`` header; None if it is no right one.

        What is compared is compared in constant time, and an unknown prefix takes as long.
        """
        if START not in authorization:
            return None
        text = bearer_of(authorization) or ""
        prefix = prefix_of(text)
        if prefix is None:
            return None
        kept = self._hashes.get(prefix, NO_HASH)
        return prefix if hmac.compare_digest(hash_of(text), kept) else None


def bearer_of(authorization: str) -> str | None:
    """Return the token of an ``Authorization`` header of the scheme Bearer; None of another."""
    scheme, _, token = authorization.partition(" ")
    return token.strip(" ") if scheme.lower() == SCHEME else None


def prefix_of(text: str) -> str | None:
    """Return the prefix that a key names itself by; None for what has not the form of one."""
    match = KEY.fullmatch(text)
    return match[1] if match else None


def hash_of(text: str) -> str:
    """Hash a key as it is kept: SHA-256, in hexadecimal digits.

    Of 256 random bits no slow hash is needed: there is nothing to guess.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
