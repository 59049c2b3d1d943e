"""A scanner for the known mistakes of CORS: it asks as an attacker's page would, and names them.

Source: the mistakes of CORScanner, Corsy and "Exploiting CORS misconfigurations" (PortSwigger),
and what browsers let stand in a host's name.
"""

import http.client
import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

STRANGER: Final = "https://stranger.invalid"
METHODS: Final = ("GET", "HEAD", "OPTIONS", "preflight")
TIMEOUT_S: Final = 10
AT_ONCE: Final = 8
#: Cyrillic and Greek letters that look the same.
TWINS: Final = {"a": "\u0430", "e": "\u0435", "o": "\u043e", "p": "\u0440", "i": "\u03b9"}
#: A server that does not read a request has no policy to vary its answer by.
UNREAD: Final = (0, 400, 431)


class Flaw(StrEnum):
    """What is wrong, in the words of a report."""

    ANY = "reflects any origin"
    NULL = "trusts null"
    SUFFIX = "matches only how an origin begins"
    PREFIX = "matches only how an origin ends"
    UNANCHORED = "matches what is only a part of an origin"
    DOT = "takes a dot for any character"
    CASE = "takes capitals for small letters"
    PORT = "takes no heed of the port"
    SCHEME = "takes no heed of the scheme"
    SUBDOMAIN = "takes every subdomain for the origin itself"
    SIBLING = "takes other hosts of the domain for the origin itself"
    APEX = "takes the parent domain for one of its subdomains"
    LABEL = "takes part of a label for a subdomain"
    USERINFO = "takes a user's name for a host"
    FORM = "tidies up what came before it compares"
    CHARACTERS = "takes characters that no host name has for a part of one"
    LIST = "takes several origins for one of them"
    HOST = "trusts what the Host header says"
    LENGTH = "compares only the beginning of what is very long"
    CREDENTIALS = "gives every origin the visitor's credentials"
    DOUBLED = "says it more than once"
    FOREIGN = "names an origin that did not ask"
    VARY_ALLOWED = "no Vary: Origin where it allows"
    VARY_REFUSED = "no Vary: Origin where it refuses"
    VARY_SILENT = "no Vary: Origin where no origin asks"
    PUBLIC = "lets every origin read"


@dataclass(frozen=True)
class Reply:
    """An answer as it came, repeated headers and all; status 0 for a connection that was cut."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def allows(self) -> list[str]:
        return self.values("access-control-allow-origin")

    @property
    def allows_credentials(self) -> bool:
        return bool(self.values("access-control-allow-credentials"))

    @property
    def varies(self) -> set[str]:
        return {
            name.strip().lower()
            for value in self.values("vary")
            for name in value.split(",")
            if name.strip()
        }


@dataclass(frozen=True)
class Trial:
    """Headers that an attacker brings about, and what it means if they get permission."""

    flaw: Flaw
    origins: tuple[bytes, ...]
    host: str | None = None


def trial(flaw: Flaw, *origins: str | bytes, host: str | None = None) -> Trial:
    return Trial(
        flaw, tuple(text if isinstance(text, bytes) else text.encode() for text in origins), host
    )


def ask(
    url: str,
    method: str = "GET",
    origins: Sequence[bytes] = (),
    *,
    host: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Reply:
    """Send what no client library would.

    Args:
        url: What to ask, over plain HTTP.
        method: Or ``preflight``.
        origins: An ``Origin`` header for each, byte by byte.
        host: Instead of the URL's.
        headers: Further ones.
        body: Sent with its length, if there is one.
    """
    parts = urlsplit(url)
    fields = [("Host", (host or parts.netloc).encode()), ("Connection", b"close")]
    fields += [("Origin", origin) for origin in origins]
    if method == "preflight":
        fields.append(("Access-Control-Request-Method", b"PUT"))
    fields += [(name, value.encode()) for name, value in headers]
    if body:
        fields.append(("Content-Length", str(len(body)).encode()))
    target = f"{parts.path or '/'}?{parts.query}".rstrip("?")
    verb = "OPTIONS" if method == "preflight" else method
    lines = [f"{verb} {target} HTTP/1.1".encode()]
    lines += [name.encode() + b": " + value for name, value in fields]
    address = (parts.hostname or "", parts.port or 80)
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        connection.sendall(b"\r\n".join([*lines, b"", b""]) + body)
        response = http.client.HTTPResponse(connection, method=verb)
        try:
            response.begin()
            response.read()
        except (http.client.HTTPException, ConnectionError):
            return Reply(0, ())
        return Reply(response.status, tuple(response.getheaders()))


def trials(allowed: str, *, wildcard: str | None = None) -> Iterator[Trial]:
    """Yield what to try against an origin that is allowed.

    Args:
        allowed: It may read, and others may not.
        wildcard: The rule it is allowed by, if that is one such as ``https://*.example.com``: the
            trials are for its edges then.
    """
    scheme, _, authority = allowed.partition("://")
    host, colon, port = authority.rpartition(":")
    if not colon:
        host, port = authority, ""
    tail = colon + port
    if wildcard is not None:
        yield from _wildcard_trials(wildcard)
    else:
        yield from _exact_trials(scheme, host, tail)
    yield trial(Flaw.NULL, "null")
    yield trial(Flaw.NULL, "NULL")
    yield from _port_trials(scheme, host, port)
    other = "http" if scheme == "https" else "https"
    for name in (other, "ftp", "file", "x-app", f"{scheme}s", f"x{scheme}", f"evil-{scheme}"):
        yield trial(Flaw.SCHEME, f"{name}://{host}{tail}")
    yield trial(Flaw.SCHEME, f"//{host}{tail}")
    yield trial(Flaw.SCHEME, f"{host}{tail}")
    yield from _form_trials(scheme, host, tail)
    yield from _several(allowed)
    yield trial(Flaw.LENGTH, f"{allowed}{'.' + 'a' * 60 + '.invalid' * 1000}")
    yield trial(Flaw.LENGTH, f"{allowed}{'/' * 8000}")


def _exact_trials(scheme: str, host: str, tail: str) -> Iterator[Trial]:
    first, _, rest = host.partition(".")
    for end in (".evil.invalid", "evil.invalid", "-evil.invalid", "x"):
        yield trial(Flaw.SUFFIX, f"{scheme}://{host}{end}{tail}")
    yield trial(Flaw.SUFFIX, f"{scheme}://{host}{tail}.evil.invalid")
    for start in ("evil", "evil-", "x"):
        yield trial(Flaw.PREFIX, f"{scheme}://{start}{host}{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}://evil{host}.evil.invalid{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}://evil.invalid.{host}.invalid{tail}")
    yield trial(Flaw.UNANCHORED, f"https://evil.invalid/{scheme}://{host}{tail}")
    for place in (place for place, mark in enumerate(host) if mark == "."):
        yield trial(Flaw.DOT, f"{scheme}://{host[:place]}x{host[place + 1 :]}{tail}")
        yield trial(Flaw.DOT, f"{scheme}://{host[:place]}-{host[place + 1 :]}{tail}")
    for name in ("www", "evil", "a.b", "_"):
        yield trial(Flaw.SUBDOMAIN, f"{scheme}://{name}.{host}{tail}")
    if rest:
        yield trial(Flaw.SIBLING, f"{scheme}://{rest}{tail}")
        yield trial(Flaw.SIBLING, f"{scheme}://evil.{rest}{tail}")
    # As it looks, and as browsers send it.
    for letter, twin in TWINS.items():
        if letter in first:
            look = first.replace(letter, twin, 1)
            puny = "xn--" + look.encode("punycode").decode()
            for name in (look, puny):
                yield trial(Flaw.CHARACTERS, f"{scheme}://{name}{'.' if rest else ''}{rest}{tail}")


def _wildcard_trials(wildcard: str) -> Iterator[Trial]:
    scheme, suffix = wildcard.split("*", 1)
    host, colon, port = suffix[1:].rpartition(":")
    if not colon:
        host, port = suffix[1:], ""
    tail = colon + port
    yield trial(Flaw.APEX, f"{scheme}{host}{tail}")
    yield trial(Flaw.APEX, f"{scheme}.{host}{tail}")
    yield trial(Flaw.APEX, f"{scheme}..{host}{tail}")
    yield trial(Flaw.APEX, f"{scheme}a..{host}{tail}")
    yield trial(Flaw.APEX, f"{scheme}.a.{host}{tail}")
    yield trial(Flaw.FORM, f"{scheme}*.{host}{tail}")
    for start in ("evil", "evil-", "a.evil"):
        yield trial(Flaw.LABEL, f"{scheme}{start}{host}{tail}")
    for end in (".evil.invalid", "evil.invalid", "x"):
        yield trial(Flaw.SUFFIX, f"{scheme}a.{host}{end}{tail}")
    yield trial(Flaw.SUFFIX, f"{scheme}a.{host}{tail}.evil.invalid")
    yield trial(Flaw.UNANCHORED, f"https://evil.invalid/{scheme}a.{host}{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}evil.invalid/.{host}{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}evil.invalid/a.{host}{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}evil.invalid?a.{host}{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}evil.invalid#.{host}{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}evil.invalid\\.{host}{tail}")
    yield trial(Flaw.UNANCHORED, f"{scheme}evil.invalid:80.{host}{tail}")
    yield trial(Flaw.USERINFO, f"{scheme}evil@a.{host}{tail}")
    place = host.find(".")
    if place > 0:
        yield trial(Flaw.DOT, f"{scheme}a.{host[:place]}x{host[place + 1 :]}{tail}")
    yield trial(Flaw.DOT, f"{scheme}ax{host}{tail}")
    for mark in "`{}|^~!$&'()+,;=%<>\" \t":
        yield trial(Flaw.CHARACTERS, f"{scheme}a{mark}b.{host}{tail}")
        yield trial(Flaw.CHARACTERS, f"{scheme}evil.invalid{mark}.{host}{tail}")
    yield trial(Flaw.CHARACTERS, f"{scheme}ä.{host}{tail}")


def _port_trials(scheme: str, host: str, port: str) -> Iterator[Trial]:
    default = {"http": "80", "https": "443"}.get(scheme, "")
    for other in ("8443", "1", "65535", "", default, f"0{port or default}", f"{port or default}0"):
        if other != port:
            yield trial(Flaw.PORT, f"{scheme}://{host}:{other}")
    if port:
        yield trial(Flaw.PORT, f"{scheme}://{host}")
        yield trial(Flaw.PORT, f"{scheme}://{host}:{port[:-1]}")
    yield trial(Flaw.PORT, f"{scheme}://{host}:")
    yield trial(Flaw.PORT, f"{scheme}://{host}:x")
    yield trial(Flaw.PORT, f"{scheme}://{host}:+{port or default}")


def _form_trials(scheme: str, host: str, tail: str) -> Iterator[Trial]:
    allowed = f"{scheme}://{host}{tail}"
    yield trial(Flaw.CASE, f"{scheme}://{host.upper()}{tail}")
    yield trial(Flaw.CASE, f"{scheme}://{host[0].upper()}{host[1:]}{tail}")
    yield trial(Flaw.CASE, f"{scheme}://{host[:-1]}{host[-1].upper()}{tail}")
    yield trial(Flaw.CASE, f"{scheme.upper()}://{host}{tail}")
    for user in ("evil", "evil:secret", "evil.invalid", ":"):
        yield trial(Flaw.USERINFO, f"{scheme}://{user}@{host}{tail}")
    yield trial(Flaw.USERINFO, f"{scheme}://{host}{tail}@evil.invalid")
    yield trial(Flaw.USERINFO, f"{scheme}://{host}%40evil.invalid{tail}")
    yield trial(Flaw.FORM, f"{scheme}://{host}.{tail}")
    yield trial(Flaw.FORM, f"{scheme}://{host}..{tail}")
    for end in ("/", "/x", "//", "?", "?a=b", "#", "#a", "\\", "/../", ";", "*"):
        yield trial(Flaw.FORM, f"{allowed}{end}")
    yield trial(Flaw.FORM, f"{scheme}:/{host}{tail}")
    yield trial(Flaw.FORM, f"{scheme}:///{host}{tail}")
    yield trial(Flaw.FORM, f"{scheme}:\\\\{host}{tail}")
    yield trial(Flaw.FORM, f'"{allowed}"')
    yield trial(Flaw.FORM, f"<{allowed}>")
    # A space or a tab at either end is no part of a header's value: those are the origin itself.
    for mark in (b"\x0b", b"\x0c", b"\x1c", b"\x1f", b"\x85", b"\xa0", b"\x00", b"\x7f", b"\x01"):
        yield trial(Flaw.FORM, allowed.encode() + mark)
        yield trial(Flaw.FORM, mark + allowed.encode())
        yield trial(Flaw.FORM, f"{scheme}://".encode() + mark + f"{host}{tail}".encode())
    for mark in "`_{}|^~!$&'()+;=%":
        yield trial(Flaw.CHARACTERS, f"{scheme}://{host}{mark}.evil.invalid{tail}")
        yield trial(Flaw.CHARACTERS, f"{scheme}://{host}{mark}{tail}")
    yield trial(Flaw.CHARACTERS, f"{scheme}://{host}\uff0eevil.invalid{tail}")
    yield trial(Flaw.CHARACTERS, f"{scheme}://{_wide(host)}{tail}")
    yield trial(Flaw.CHARACTERS, f"{scheme}://{host.replace('.', '%2e')}{tail}")


def _wide(host: str) -> str:
    """The same letters as full-width forms, which IDNA maps back."""
    return "".join(chr(ord(mark) + 0xFEE0) if mark.isalnum() else mark for mark in host)


def _trials_of_host(url: str) -> Iterator[Trial]:
    yield trial(Flaw.HOST, f"http://{urlsplit(url).netloc}")
    yield trial(Flaw.HOST, "http://x.localhost", host="x.localhost")


def _several(allowed: str) -> Iterator[Trial]:
    for between in (",", ", ", " ", ";", "|", "\t", "%0a", "%00", "%20"):
        yield trial(Flaw.LIST, f"{STRANGER}{between}{allowed}")
        yield trial(Flaw.LIST, f"{allowed}{between}{STRANGER}")
    yield trial(Flaw.LIST, STRANGER, allowed)
    yield trial(Flaw.LIST, allowed, STRANGER)
    yield trial(Flaw.LIST, allowed, allowed)
    yield trial(Flaw.LIST, "null", allowed)


def scan(
    url: str,
    allowed: str,
    *,
    wildcard: str | None = None,
    public: bool = False,
    also: Iterable[Trial] = (),
    methods: Sequence[str] = METHODS,
) -> dict[Flaw, list[str]]:
    """Try the known mistakes on a URL.

    Args:
        url: What to ask, over plain HTTP.
        allowed: An origin that may read it: what attackers write theirs after.
        wildcard: The rule it is allowed by, if that is a wildcard.
        public: Every origin may read it, without credentials.
        also: Further trials.
        methods: What to ask by, ``preflight`` among them.

    Returns:
        What each flaw was found by; empty if there is none.
    """
    found: dict[Flaw, list[str]] = {}
    for method in methods:
        for flaw, proof in _scan(url, method, allowed, wildcard, public, also):
            found.setdefault(flaw, []).append(f"{method} {url}: {proof}")
    return found


def _scan(
    url: str,
    method: str,
    allowed: str,
    wildcard: str | None,
    public: bool,
    also: Iterable[Trial],
) -> Iterator[tuple[Flaw, str]]:
    silent, friend = ask(url, method), ask(url, method, [allowed.encode()])
    stranger = ask(url, method, [STRANGER.encode()])
    for reply, who in ((silent, "no origin"), (friend, allowed), (stranger, STRANGER)):
        for flaw in wrong_by_itself(reply):
            yield flaw, who
    if public:
        return
    for reply, flaw in (
        (silent, Flaw.VARY_SILENT),
        (friend, Flaw.VARY_ALLOWED),
        (stranger, Flaw.VARY_REFUSED),
    ):
        if not reply.varies & {"origin", "*"}:
            yield flaw, str(reply.headers)
    if is_permission(stranger, STRANGER):
        # Then whatever is asked is granted, and nothing else is learnt.
        yield Flaw.PUBLIC if "*" in stranger.allows else Flaw.ANY, STRANGER
        return
    attempts = [*trials(allowed, wildcard=wildcard), *_trials_of_host(url), *also]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(
            pool.map(lambda each: ask(url, method, each.origins, host=each.host), attempts)
        )
    for each, reply in zip(attempts, replies, strict=True):
        shown = b" and ".join(each.origins).decode("latin-1")
        for flaw in _wrong_of(each, reply, shown):
            yield flaw, shown


def _wrong_of(each: Trial, reply: Reply, shown: str) -> Iterator[Flaw]:
    yield from wrong_by_itself(reply)
    if reply.allows:
        yield each.flaw if is_permission(reply, shown) else Flaw.FOREIGN
    elif reply.status not in UNREAD and not reply.varies & {"origin", "*"}:
        yield Flaw.VARY_REFUSED


def is_permission(reply: Reply, origin: str) -> bool:
    """Whether a page on that origin may read the answer; or one that is hidden in what it sent."""
    return any(value == "*" or value in origin or value == origin.lower() for value in reply.allows)


def wrong_by_itself(reply: Reply) -> Iterator[Flaw]:
    """Yield what is wrong with an answer whoever asked."""
    if "*" in reply.allows and reply.allows_credentials:
        yield Flaw.CREDENTIALS
    for name in ("access-control-allow-origin", "access-control-allow-credentials"):
        values = reply.values(name)
        if len(values) > 1 or any("," in value or " " in value for value in values):
            yield Flaw.DOUBLED
