"""Commands as Redis reads them, where the C packer of hiredis is not installed.

Source: the Redis serialization protocol, arrays of bulk strings.
"""

from collections.abc import Sequence


def pack_command(arguments: Sequence[str | bytes | int]) -> bytes:
    """Pack one command."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        value = argument if isinstance(argument, bytes) else str(argument).encode()
        parts += (b"$%d\r\n" % len(value), value, b"\r\n")
    return b"".join(parts)
