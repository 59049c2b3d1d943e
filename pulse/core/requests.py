"""A request of HTTP/1.1 as it goes over the wire, and what a redirect makes of it.

Source: RFC 9110 and RFC 9112; the Fetch standard, 4.4 (HTTP-redirect fetch).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pulse.core.attempts import Call, Failure
from pulse.core.urls import Url, join_url, parse_url
from pulse.exceptions import CallFailed, InvalidHeader

#: What pulse may be asked to send. CONNECT and TRACE are no business of a probe's.
METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS: Final = 3

NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
#: What ends a line, and what no value may have (RFC 9110, 5.5).
FORBIDDEN_IN_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: How the request is framed and where it goes, which its sender alone can tell.
OWN: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: Sent unless the caller has others.
DEFAULTS: Final = {
    "User-Agent": "pulse",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}
#: What tells of a body, and goes with it.
OF_BODY: Final = frozenset(
    {"content-encoding", "content-language", "content-location", "content-type"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Its headers may be secret, and stand in no ``repr``."""

    method: str
    url: Url
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Write it as it is sent."""
        lines = [
            f"{self.method} {self.url.target} HTTP/1.1",
            f"Host: {self.url.authority}",
            "Connection: close",
        ]
        taken = {name.lower() for name in self.headers}
        lines += [
            f"{name}: {value}" for name, value in DEFAULTS.items() if name.lower() not in taken
        ]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method not in SAFE_METHODS:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    def redirected(self, status: int, location: str) -> "Request":
        """Return the request that follows an answer which leads elsewhere.

        To another origin none of the caller's headers go, for the rest of the way.

        Args:
            status: One of ``REDIRECTS``.
            location: The header of that name, each byte one character.

        Raises:
            ForbiddenUrl: Nobody may be sent there.
            CallFailed: It leads from https to http, or would hand a request that changes
                something, or its body, to another origin.
        """
        # Written as UTF-8 by those who do not write ASCII, as they should.
        url = join_url(self.url, location.encode("latin-1").decode(errors="replace"))
        if self.url.scheme == "https" and url.scheme == "http":
            raise CallFailed(Failure.REDIRECT_FORBIDDEN, "A redirect leads from https to http.")
        request = replace(self, url=url)
        becomes_get = (status in {301, 302} and self.method == "POST") or (
            status == 303 and self.method not in {"GET", "HEAD"}
        )
        if becomes_get:
            headers = {name: v for name, v in self.headers.items() if name.lower() not in OF_BODY}
            request = replace(request, method="GET", headers=headers, body=b"")
        if url.origin == self.url.origin:
            return request
        if request.body or request.method not in SAFE_METHODS:
            raise CallFailed(
                Failure.REDIRECT_FORBIDDEN,
                f"A redirect would hand a {request.method} with its body to another origin.",
            )
        return replace(request, headers={})


def request_of(call: Call) -> Request:
    """Make the request of a call.

    Raises:
        ForbiddenUrl: Its URL may not be called.
        CallFailed: Its method or one of its headers cannot be sent.
    """
    if call.method not in METHODS:
        raise CallFailed(Failure.INTERNAL, "The method is none that pulse sends.")
    url = parse_url(call.url)
    headers: dict[str, str] = {}
    seen: dict[str, str] = {}
    try:
        for name, value in _pairs(call.headers, call.secret_headers):
            check_header(name, value)
            headers.pop(seen.get(name.lower(), ""), None)  # The later one, if it is there twice.
            headers[name] = value
            seen[name.lower()] = name
    except InvalidHeader as error:
        raise CallFailed(Failure.INTERNAL, f"The header {error}") from None
    return Request(call.method, url, headers, call.body)


def check_header(name: str, value: str) -> None:
    """Refuse a header that cannot be sent, or would change what is sent beside it.

    Raises:
        InvalidHeader: It cannot. The value stands in no message, as it may be secret.
    """
    if not NAME.fullmatch(name):
        raise InvalidHeader(name[:128], "is no name of a header.")
    if name.lower() in OWN:
        raise InvalidHeader(name, "is set by pulse itself.")
    if FORBIDDEN_IN_VALUE.search(value):
        raise InvalidHeader(name, "has a line break or control character in its value.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidHeader(name, "has a character in its value that cannot be sent.") from None


def _pairs(*mappings: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for mapping in mappings:
        yield from mapping.items()
