"""Request ids and trace contexts, as they come from outside."""

import re
from typing import Final, TypeGuard

#: Long enough to mean something, short enough for a log line, and nothing that breaks one.
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{6,128}")
#: Version 00; ids that are all zero name nothing.
TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_request_id(value: object) -> TypeGuard[str]:
    """Whether a value can stand as a request id in headers and log lines."""
    return isinstance(value, str) and REQUEST_ID.fullmatch(value) is not None


def is_traceparent(value: object) -> TypeGuard[str]:
    """Whether a value is a trace context of version 00.

    Source: W3C Trace Context, 3.2.
    """
    return isinstance(value, str) and TRACEPARENT.fullmatch(value) is not None


def trace_id_of(traceparent: str) -> str:
    """Return the id of the whole trace; empty where there is none."""
    return traceparent[3:35]
