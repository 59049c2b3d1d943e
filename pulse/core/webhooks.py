"""Signatures of webhooks (Standard Webhooks 1.0.0, symmetric)."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

from pulse.exceptions import InvalidSecret

START: Final = "whsec_"
#: Bytes of a secret, as the specification bounds them.
MIN_BYTES: Final = 24
MAX_BYTES: Final = 64


def make_secret() -> str:
    """Make a secret of 256 random bits, as it is handed to the receiver."""
    return START + base64.b64encode(secrets.token_bytes(32)).decode()


def read_secret(text: str) -> bytes:
    """Read a secret.

    Args:
        text: ``whsec_`` and 24 to 64 bytes in base64.

    Raises:
        InvalidSecret: It is none.
    """
    if not text.startswith(START):
        raise InvalidSecret
    try:
        key = base64.b64decode(text.removeprefix(START), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSecret from None
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise InvalidSecret
    return key


def sign(key: bytes, ident: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """Return the headers that go with a body.

    Args:
        key: The secret, read.
        ident: The same over all attempts.
        timestamp: Of the attempt, in epoch seconds.
        body: As it is sent, to the byte.
    """
    signed = f"{ident}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {
        "webhook-id": ident,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{digest}",
    }
