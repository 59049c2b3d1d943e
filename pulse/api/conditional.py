"""Versions in ``ETag``: who has read the newest is told so, and who has not cannot overwrite it."""

from typing import Any, Final

from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.api.errors import VersionMismatch, invalid
from pulse.api.parameters import LONGEST

ANY: Final = "*"


def tag(version: object) -> str:
    """Return the strong ``ETag`` of a version."""
    return f'"{version}"'


def answer(request: Request, data: Any, etag: str, status: int = 200) -> Response:
    """Answer with what was asked for; 304 to who has it already."""
    headers = {"ETag": etag}
    known = _tags(request, "If-None-Match")
    is_read = request.method in {"GET", "HEAD"}
    if is_read and (ANY in known or etag in map(_strong, known)):
        return Response(status=304, headers=headers)
    return Response(data, status=status, headers=headers)


def require_match(
    request: Request, version: int, sent: object = None, *, draft: str | None = None
) -> None:
    """Let nobody write over what they have not read.

    Args:
        request: Its ``If-Match`` names the version that was read, if it has one.
        version: The current one, locked until the write is done.
        sent: The ``version`` of the body, if it has one.
        draft: What names the draft, where that may have been read in its place.

    Raises:
        VersionMismatch: Either names another version.
    """
    if sent is not None and (isinstance(sent, bool) or sent != version):
        raise VersionMismatch(version)
    if "If-Match" not in request.headers:
        return
    known = _tags(request, "If-Match")
    # Compressed on its way, an answer's tag becomes weak; it names the same version all the same.
    current = {tag(version)} if draft is None else {tag(version), tag(draft)}
    if ANY not in known and current.isdisjoint(map(_strong, known)):
        raise VersionMismatch(version)


def _tags(request: Request, header: str) -> list[str]:
    written = request.headers.get(header, "")
    if len(written) > LONGEST:
        raise invalid({header: [_("Write at most %d characters.") % LONGEST]})
    return parse_etags(written)


def _strong(etag: str) -> str:
    return etag.removeprefix("W/")
