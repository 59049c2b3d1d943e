"""URLs that pulse may call: read strictly, refused where two readers could differ.

Source: RFC 3986; the URL standard, 3 (hosts), where it reads more than that; the Fetch standard,
2.9 (port blocking).
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from pulse.core.networks import Address
from pulse.exceptions import ForbiddenUrl

MAX_URL: Final = 4096
MAX_HOST: Final = 253
MAX_LABEL: Final = 63
MAX_PORT: Final = 65_535
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

#: Ports of other protocols, which a request must not be sent to.
BLOCKED_PORTS: Final = frozenset(
    {
        *(0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95),
        *(101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161),
        *(179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563),
        *(587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060),
        *(5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
    }
)

GENERIC: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<authority>//[^/?#]*)?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:\#.*)?"
)
AUTHORITY: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]*))?"
)
LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
#: A last label by which the URL standard, and the C library, take a host for an IPv4 address.
NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
#: What may stand in a path as it is; a query may have the question mark too.
PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"
QUERY_SAFE: Final = f"{PATH_SAFE}?"


class Reason(StrEnum):
    """Why a URL may not be called."""

    SCHEME = "not http or https"
    USERINFO = "userinfo"
    ZONE = "zone"
    CONTROL = "control characters"
    DISAGREE = "parsers disagree"
    PORT = "a port on the Fetch standard's blocked list"
    NO_PORT = "no such port"
    HOST = "no host that there can be"
    LENGTH = "too long"


@dataclass(frozen=True, slots=True)
class Url:
    """A URL in parts, each as it is used.

    Attributes:
        scheme: ``http`` or ``https``.
        host: For the look-up and for certificates: in ASCII and small letters, without brackets
            and without a full stop at its end.
        target: Path and query as the request line has them.
        address: What the host is, where it is an address and no name.
    """

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None = None

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as the header ``Host`` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def is_plain(text: str) -> bool:
    """Whether anybody on the way may read what is sent to a URL."""
    return text.lower().startswith("http:")


@lru_cache(maxsize=4096)
def parse_url(text: str) -> Url:
    """Read a URL of http or https that every reader understands alike.

    Nothing is trimmed or mended. A fragment is left out, and what may not stand in a path or
    query as it is becomes percent-encoded UTF-8.

    Raises:
        ForbiddenUrl: It may not be called; ``reason`` says why.
    """
    _check_characters(text)
    match = GENERIC.fullmatch(text)
    if match is None or match["scheme"].lower() not in DEFAULT_PORTS:
        raise ForbiddenUrl(Reason.SCHEME)
    authority = match["authority"]
    if authority is None:  # Browsers find a host in http:host and http:/host.
        raise ForbiddenUrl(Reason.DISAGREE)
    scheme = match["scheme"].lower()
    host, address, port = _read_authority(authority.removeprefix("//"))
    port = DEFAULT_PORTS[scheme] if port is None else port
    if port in BLOCKED_PORTS:
        raise ForbiddenUrl(Reason.PORT)
    target = quote(match["path"] or "/", safe=PATH_SAFE)
    if match["query"] is not None:
        target += f"?{quote(match['query'], safe=QUERY_SAFE)}"
    url = Url(scheme, host, port, target, address)
    _check_second_reading(text, url)
    return url


def join_url(base: Url, location: str) -> Url:
    """Read where a redirect leads, which may be told relative to where it comes from.

    Raises:
        ForbiddenUrl: It may not be followed.
    """
    _check_characters(location)  # Before the standard library drops what it does not like.
    try:
        return parse_url(urljoin(str(base), location))
    except ValueError as error:
        if isinstance(error, ForbiddenUrl):
            raise
        raise ForbiddenUrl(Reason.DISAGREE) from None


def _check_characters(text: str) -> None:
    if len(text) > MAX_URL:
        raise ForbiddenUrl(Reason.LENGTH)
    if not text.isprintable() or any(character.isspace() for character in text):
        raise ForbiddenUrl(Reason.CONTROL)
    if "\\" in text:  # A slash to browsers, part of a name to others.
        raise ForbiddenUrl(Reason.DISAGREE)


def _read_authority(authority: str) -> tuple[str, Address | None, int | None]:
    """Return host, address and port; the address where the host is one, the port where told."""
    if "@" in authority:
        raise ForbiddenUrl(Reason.USERINFO)
    if "%" in authority:  # Of a zone, or a host that only some readers decode.
        raise ForbiddenUrl(Reason.ZONE if "[" in authority else Reason.DISAGREE)
    match = AUTHORITY.fullmatch(authority)
    if match is None:
        raise ForbiddenUrl(Reason.HOST if ":" not in authority else Reason.DISAGREE)
    port = _read_port(match["port"])
    if match["ipv6"] is None:
        host = _read_name(match["name"])
        if NUMERIC.fullmatch(host.rpartition(".")[2]):
            return host, _read_ipv4(host, authority), port
        return host, None, port
    try:
        address = IPv6Address(match["ipv6"])
    except AddressValueError:
        raise ForbiddenUrl(Reason.HOST) from None
    return str(address), address, port


def _read_port(text: str | None) -> int | None:
    if not text:
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(MAX_PORT)) or int(digits) > MAX_PORT:
        raise ForbiddenUrl(Reason.NO_PORT)
    return int(digits)


def _read_name(text: str) -> str:
    """Write a host's name in ASCII, where there is but one way to."""
    if len(text) > MAX_HOST + 1:
        raise ForbiddenUrl(Reason.LENGTH)
    name = text.lower()
    if not name.isascii():
        name = _to_ascii(name)
    name = name.removesuffix(".")
    if len(name) > MAX_HOST or not all(LABEL.fullmatch(label) for label in name.split(".")):
        raise ForbiddenUrl(Reason.HOST)
    return name


def _to_ascii(name: str) -> str:
    """Write each label in Punycode, where the IDNA of 2003, that of 2008 and browsers agree.

    They do where nothing but letters' case is mapped: not for ``ß``, nor for other scripts' full
    stops and digits.
    """
    if unicodedata.normalize("NFKC", name) != name:
        raise ForbiddenUrl(Reason.DISAGREE)
    written = ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
        for label in name.split(".")
    )
    try:
        agrees = name.encode("idna").decode() == written
    except UnicodeError:
        agrees = False
    if not agrees:
        raise ForbiddenUrl(Reason.DISAGREE)
    return written


def _read_ipv4(host: str, authority: str) -> IPv4Address:
    """Read four decimal numbers; the C library would read octal, hexadecimal and fewer, too."""
    try:
        address = IPv4Address(host)
    except AddressValueError:
        raise ForbiddenUrl(Reason.DISAGREE) from None
    if authority.partition(":")[0] != host:  # Other letters, or a full stop at its end.
        raise ForbiddenUrl(Reason.DISAGREE)
    return address


def _check_second_reading(text: str, url: Url) -> None:
    """Ask the standard library's parser, which reads otherwise where texts are odd."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ForbiddenUrl(Reason.DISAGREE) from None
    if url.address is None:
        agrees = not host.isascii() or host.removesuffix(".") == url.host
    else:
        try:
            agrees = type(url.address)(host) == url.address
        except AddressValueError:
            agrees = False
    default = DEFAULT_PORTS[url.scheme]
    if not agrees or parts.scheme != url.scheme or (default if port is None else port) != url.port:
        raise ForbiddenUrl(Reason.DISAGREE)
