"""Versions in ``ETag``: who has read the newest is told so, and who has not cannot overwrite it."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.api.errors import VersionMismatch, invalid
from pulse.api.parameters import LONGEST
from pulse.core.document import canonical

ANY: Final = "*"
#: Between a version and what names the rest of an answer, in hexadecimal digits.
BESIDE: Final = "."
DIGITS: Final = 16


def tag(version: object, told: Mapping[str, Any] | None = None) -> str:
    """Return the strong ``ETag`` of a version.

    Args:
        version: Of what is written; a write is let through by it alone.
        told: The whole answer, where more than writes changes it, such as how a probe stands.
    """
    if told is None:
        return f'"{version}"'
    return f'"{version}{BESIDE}{hashlib.sha256(canonical(told).encode()).hexdigest()[:DIGITS]}"'


def answer(request: Request, data: Any, etag: str, status: int = 200) -> Response:
    """Answer with what was asked for; 304 to who has it already."""
    headers = {"ETag": etag}
    known = _tags(request, "If-None-Match")
    is_read = request.method in {"GET", "HEAD"}
    if is_read and (ANY in known or etag in map(_strong, known)):
        return Response(status=304, headers=headers)
    return Response(data, status=status, headers=headers)


def require_match(
    request: Request,
    version: int,
    sent: object = None,
    *,
    tags: Callable[[], set[str]] | None = None,
) -> None:
    """Let nobody write over what they have not read.

    Args:
        request: Its ``If-Match`` names the version that was read, if it has one.
        version: The current one, locked until the write is done.
        sent: The ``version`` of the body, if it has one.
        tags: Tells by which tags the current one is known, where it is not by its version alone.

    Raises:
        VersionMismatch: Either names another version, or ``If-None-Match`` this one.
    """
    if sent is not None and (isinstance(sent, bool) or sent != version):
        raise VersionMismatch(version)
    conditions = [name for name in ("If-Match", "If-None-Match") if name in request.headers]
    if not conditions:
        return
    current = {tag(version)} if tags is None else tags()
    for header in conditions:
        known = _tags(request, header)
        # Compressed on its way, a tag becomes weak; it names the same version all the same.
        is_named = ANY in known or not current.isdisjoint(map(_version, known))
        if is_named is not (header == "If-Match"):
            raise VersionMismatch(version, is_drafted=tag(version) not in current)


def _tags(request: Request, header: str) -> list[str]:
    written = request.headers.get(header, "")
    if len(written) > LONGEST:
        raise invalid({header: [_("Write at most %d characters.") % LONGEST]})
    return parse_etags(written)


def _strong(etag: str) -> str:
    return etag.removeprefix("W/")


def _version(etag: str) -> str:
    """Return a tag without what names the rest of the answer."""
    version, beside, _rest = _strong(etag).partition(BESIDE)
    return f'{version}"' if beside else version
