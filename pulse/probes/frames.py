"""What goes between a worker and a process of the site: a head in JSON, and a body of bytes.

Plain values in both directions: whatever a view does in its process, the worker reads no more than
this of it.
"""

import json
import struct
from typing import Any, Final

from pulse.core.attempts import MAX_BODY_BYTES

#: The lengths of the head and of the body, in front of both.
LENGTHS: Final = struct.Struct("!II")
#: Headers of at most 64 KB, written as JSON, and a little beside.
MAX_HEAD_BYTES: Final = 1024 * 1024
#: What a process says when it can take its first request.
READY: Final = b"\x01"


def packed(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Write a frame."""
    raw = json.dumps(head).encode()
    return LENGTHS.pack(len(raw), len(body)) + raw + body


def lengths_of(prefix: bytes) -> tuple[int, int]:
    """Read the lengths of a frame.

    Raises:
        ValueError: No frame is so long.
    """
    head, body = LENGTHS.unpack(prefix)
    if head > MAX_HEAD_BYTES or body > MAX_BODY_BYTES:
        raise ValueError("The frame is too long.")
    return head, body


def head_of(raw: bytes) -> dict[str, Any]:
    """Read the head of a frame.

    Raises:
        ValueError: It is none.
    """
    return dict(json.loads(raw))
