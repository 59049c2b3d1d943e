"""Keys of the API as text: ``pulse_<prefix>_<secret>``, sent as a Bearer token, kept as a hash."""

import hashlib
import re
from typing import Final

START: Final = "pulse_"
#: A key whole: what it begins with, eight characters that name it, and 256 random bits.
KEY: Final = re.compile(r"pulse_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
SCHEME: Final = "bearer"
#: The hash of no text: what a key of an unknown prefix is compared with, so that it takes as long.
NO_HASH: Final = "-" * 64


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
