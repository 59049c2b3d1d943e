"""Request ids: random UUIDs (RFC 9562, version 4), made some ahead.

The noise for one costs a system call, which is most of what an id costs.
"""

import os
from typing import Final

AHEAD: Final = 128
#: The digit with the variant's two bits, by the digit that it is made of.
VARIANT: Final = {digit: "89ab"[place % 4] for place, digit in enumerate("0123456789abcdef")}

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
    noise = os.urandom(16 * count).hex()
    return [_form(noise[at : at + 32]) for at in range(0, len(noise), 32)]


def _form(digits: str) -> str:
    return (
        f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}"
        f"-{VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"
    )


if hasattr(os, "register_at_fork"):
    # What the parent made ahead is the parent's to give.
    os.register_at_fork(after_in_child=_made.clear)
