"""Security headers: presets, and what each policy makes of an answer."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from pulse.core.document import Item
from pulse.exceptions import InvalidHeader


class Preset(StrEnum):
    """A set of headers to begin with."""

    OWASP = "owasp"
    LEGACY = "legacy"
    API = "api"
    HTML = "html"


#: Seconds for which browsers are held to HTTPS in each stage.
HSTS_STAGES: Final = {"5m": 300, "1d": 86_400, "1w": 604_800, "30d": 2_592_000}


def parse_header(name: str, value: str | None) -> None:
    """Check a header as an operator sets it; None removes one.

    Raises:
        InvalidHeader: It cannot be sent, or is not a policy's to set.
    """
    if any(mark in name + (value or "") for mark in "\r\n\0"):
        raise InvalidHeader(name, "has a line break or NUL in it.")


class HeaderIndex:
    """The header policies of a policy by path."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


def header_index(items: Iterable[Item]) -> HeaderIndex:
    """Compile the header policies that are enforced now."""
    del items
    return HeaderIndex()
