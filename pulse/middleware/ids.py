"""Request ids: random UUIDs (RFC 9562, version 4), made some ahead.

The noise for one costs a system call, which is most of what an id costs.
"""

import os
from struct import Struct
from typing import Final

AHEAD: Final = 128
#: Of an id's sixteen bytes the bits that are noise, and those that tell the version and variant.
NOISE: Final = bytes.fromhex("ffffffff ffff 0fff 3fff ffffffffffff")
FIXED: Final = bytes.fromhex("00000000 0000 4000 8000 000000000000")
GROUPS: Final = Struct("8s4s4s4s12s")

_made: Final[list[str]] = []


def new_id() -> str:
    """Return an id that no other request has."""
    try:
        return _made.pop()
    except IndexError:
        _made.extend(_make(AHEAD))
        # Other threads may have taken them all.
        return next(iter(_make(1)))


def _make(count: int) -> list[str]:
    # All as one number, which costs as much as one of them.
    bits = int.from_bytes(os.urandom(16 * count)) & int.from_bytes(NOISE * count)
    digits = (bits | int.from_bytes(FIXED * count)).to_bytes(16 * count).hex()
    return [b"-".join(groups).decode() for groups in GROUPS.iter_unpack(digits.encode())]


if hasattr(os, "register_at_fork"):
    # What the parent made ahead is the parent's to give.
    os.register_at_fork(after_in_child=_made.clear)
