"""Origins as browsers write them, and as operators name them.

Source: RFC 6454; the Fetch standard, 3.3 (CORS protocol); the URL standard, 4.8 (serialising).
"""

import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from pulse.exceptions import InvalidOrigin

#: Stands for every origin.
ANY: Final = "*"
#: What a page without an origin of its own sends: a sandboxed frame, a file, a data URL.
NULL: Final = "null"
#: Begins a host that stands for every host under it.
WILDCARD: Final = "*."
#: The longest origin worth looking at: a host has 253 characters at most.
LONGEST: Final = 300

LABEL_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
#: The ports that browsers leave out.
DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
#: Schemes whose pages send ``null``, or that are never the scheme of a page.
NO_ORIGINS: Final = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"})
SCHEME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.")
DIGITS: Final = frozenset("0123456789")
HEX_DIGITS: Final = frozenset("0123456789abcdef")
MAX_HOST: Final = 253
MAX_LABEL: Final = 63
#: Under these anybody gets a host; the Public Suffix List has thousands, these are met most.
SHARED_SUFFIXES: Final = frozenset(
    {
        *("azurewebsites.net", "blogspot.com", "cloudfront.net", "codeberg.page", "deno.dev"),
        *("edgekey.net", "edgesuite.net", "firebaseapp.com", "fly.dev", "github.dev", "github.io"),
        *("gitlab.io", "gitpod.io", "glitch.me", "herokuapp.com", "hf.space", "lhr.life"),
        *("loca.lt", "lovable.app", "myshopify.com", "netlify.app", "ngrok-free.app"),
        *("ngrok-free.dev", "ngrok.app", "ngrok.dev", "ngrok.io", "eu.ngrok.io", "us.ngrok.io"),
        *("now.sh", "onrender.com"),
        *("pages.dev", "pythonanywhere.com", "r2.dev", "readthedocs.io", "repl.co"),
        *("replit.app", "replit.dev", "serveo.net", "stackblitz.io", "streamlit.app", "surge.sh"),
        *("trycloudflare.com", "up.railway.app", "vercel.app", "web.app", "webflow.io"),
        *("wixsite.com", "wordpress.com", "workers.dev"),
        # Of countries, where SECOND_LEVELS would take in names of somebody's own.
        *("asn.au", "go.jp", "go.kr", "gob.ar", "gob.mx", "gouv.fr", "id.au", "ltd.uk", "me.uk"),
        *("ne.jp", "ne.kr", "nom.br", "plc.uk", "re.kr", "sch.uk", "web.za"),
    }
)
#: Under these, names of regions and services stand between, under which anybody gets a host, too:
#: ``s3.eu-west-1.amazonaws.com``.
SHARED_CLOUDS: Final = frozenset(
    {
        *("amazonaws.com", "amazonaws.com.cn", "appspot.com", "awsapprunner.com", "awsapps.com"),
        *("azure-api.net", "azurecontainerapps.io", "azureedge.net", "azurefd.net"),
        *("azurestaticapps.net", "backblazeb2.com", "cloudapp.azure.com", "cloudapp.net"),
        *("cloudfunctions.net", "digitaloceanspaces.com", "elasticbeanstalk.com", "googleapis.com"),
        *("googleusercontent.com", "linodeobjects.com", "on.aws", "ondigitalocean.app"),
        *("oraclecloud.com", "run.app", "scw.cloud", "wasabisys.com", "windows.net"),
    }
)
#: Before a country's two letters they are no name either, as in ``co.uk``.
SECOND_LEVELS: Final = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})
CAPITALS: Final = "has capital letters, which browsers send as small ones."
NO_HOST: Final = "has no host that there can be."
#: Full stops of other scripts, which browsers read as one.
FULL_STOPS: Final = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))


def parse_origin(text: str) -> str:
    """Check an origin as an operator writes it: letter for letter as browsers send it.

    Nothing is put right in silence; where it is plain what was meant, the error says so.

    Args:
        text: An origin such as ``https://app.example.com:8443``; one with a wildcard for its
            first labels, such as ``https://*.example.com``; or ``*``.

    Raises:
        InvalidOrigin: No browser sends it, or it would match what it does not say.
    """
    if text == ANY:
        return text
    reason = _problem(text)
    if reason is None:
        return text
    if len(text) > LONGEST:
        raise InvalidOrigin(f"{text[:LONGEST]}…", reason)
    meant = _canonical(text)
    if meant not in (None, text) and _problem(meant) is None:
        reason += f" Did you mean {meant}?"
    raise InvalidOrigin(text, reason)


def is_wildcard(origin: str) -> bool:
    """Whether an operator's origin stands for every host under one."""
    return f"://{WILDCARD}" in origin


def wildcards_of(origin: str) -> list[str]:
    """Return every wildcard that an origin lies under, longest first.

    ``https://a.b.example.com`` lies under ``https://*.b.example.com``, ``https://*.example.com``
    and ``https://*.com``. One whole label, or several, stand before; so what is no label, such as
    a user's name and ``@``, lies under none.

    Args:
        origin: As a client sent it, which may be anything.
    """
    scheme, separator, host = origin.partition("://")
    found: list[str] = []
    if not separator or len(origin) > LONGEST:
        return found
    start = 0
    while (dot := host.find(".", start)) > start:
        if not LABEL_CHARACTERS.issuperset(host[start:dot]):
            break
        found.append(f"{scheme}://*{host[dot:]}")
        start = dot + 1
    return found


def to_ascii(host: str) -> str:
    """Write a host as browsers do: small letters, and Punycode for what is not ASCII.

    Raises:
        UnicodeError: It is longer than a host can be.
    """
    host = unicodedata.normalize("NFKC", host.translate(FULL_STOPS)).lower()
    if len(host) > LONGEST:  # One letter can become eighteen, and Punycode's time is the square.
        raise UnicodeError(host[:LONGEST], "is too long")
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
        for label in host.split(".")
    )


def _problem(text: str) -> str | None:
    """Say why a text is no origin; None if it is one."""
    if text == NULL:
        return "is what every sandboxed frame and local file sends: it names nobody."
    if not text.isprintable() or " " in text:
        return "has blanks or control characters."
    if len(text) > LONGEST:
        return "is too long."
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "is no origin. Write a scheme and a host, such as https://app.example.com."
    host, port = _split(rest)
    return (
        _scheme_problem(scheme)
        or _rest_problem(rest)
        or _port_problem(scheme, port)
        or _host_problem(scheme, host)
    )


def _scheme_problem(scheme: str) -> str | None:
    if scheme != scheme.lower():
        return CAPITALS
    if not scheme[:1].isalpha() or not SCHEME_CHARACTERS.issuperset(scheme):
        return "has no scheme such as https."
    if scheme in NO_ORIGINS:
        return f"has the scheme {scheme}, which no page's origin has."
    return None


def _rest_problem(rest: str) -> str | None:
    for mark, what in (("/", "a path"), ("?", "a query"), ("#", "a fragment"), ("\\", "a path")):
        if mark in rest:
            return f"has {what}; an origin ends with its host and port."
    return "has a user's name, which no origin has." if "@" in rest else None


def _split(rest: str) -> tuple[str, str | None]:
    """Part host and port; the port is None where there is no colon for one."""
    end = rest.find("]") + 1 if rest.startswith("[") else 0
    colon = rest.find(":", end)
    return (rest, None) if colon < 0 else (rest[:colon], rest[colon + 1 :])


def _port_problem(scheme: str, port: str | None) -> str | None:
    if port is None:
        return None
    if not port or not DIGITS.issuperset(port) or not 1 <= int(port[:6]) <= 65535:
        return "has no such port. Write a number from 1 to 65535, or none."
    if port.startswith("0"):
        return "has a port that begins with 0."
    if DEFAULT_PORTS.get(scheme) == port:
        return f"names the port that {scheme} has anyway, which browsers leave out."
    return None


def _host_problem(scheme: str, host: str) -> str | None:
    if not host:
        return "has no host."
    if host.startswith("["):
        return _ipv6_problem(host)
    if not host.isascii():
        return "has letters that browsers send as Punycode."
    if host != host.lower():
        return CAPITALS
    if host.endswith("."):
        return "ends with a full stop, which makes it another origin than the one without."
    return _name_problem(scheme, host.removeprefix(WILDCARD), wildcard=host.startswith(WILDCARD))


def _name_problem(scheme: str, name: str, *, wildcard: bool) -> str | None:
    if "*" in name:
        return "has a wildcard that is not its whole first label, as in https://*.example.com."
    labels = name.split(".")
    fits = all(0 < len(label) <= MAX_LABEL for label in labels) and len(name) <= MAX_HOST
    if not fits or not all(map(LABEL_CHARACTERS.issuperset, labels)):
        return NO_HOST
    if _is_number(labels[-1]):
        return _ipv4_problem(name, wildcard=wildcard)
    return _wildcard_problem(scheme, name, labels) if wildcard else None


def _wildcard_problem(scheme: str, name: str, labels: list[str]) -> str | None:
    if scheme not in DEFAULT_PORTS:
        return "has a wildcard, which only http and https can have."
    if name == "localhost":
        return None
    shared = (
        name in SHARED_SUFFIXES
        or (len(labels) == 2 and labels[0] in SECOND_LEVELS and len(labels[1]) == 2)
        or any(".".join(labels[start:]) in SHARED_CLOUDS for start in range(len(labels)))
    )
    if len(labels) == 1 or shared:
        return f"stands for every host under {name}, where anybody gets one."
    return None


def _is_number(label: str) -> bool:
    """Whether browsers take a host for an IPv4 address because its last label is this."""
    return DIGITS.issuperset(label) or (
        label.startswith("0x") and HEX_DIGITS.issuperset(label.removeprefix("0x"))
    )


def _ipv4_problem(name: str, *, wildcard: bool) -> str | None:
    try:
        IPv4Address(name)
    except AddressValueError:
        return "ends with a number and is no IPv4 address such as 192.0.2.7."
    return "has a wildcard before an address." if wildcard else None


def _ipv6_problem(host: str) -> str | None:
    if not host.endswith("]"):
        return NO_HOST
    canonical = _ipv6(host[1:-1])
    if canonical is None:
        return "has brackets and no IPv6 address such as [2001:db8::7] within."
    return None if host == f"[{canonical}]" else "has an IPv6 address that browsers shorten."


def _ipv6(text: str) -> str | None:
    """Write an IPv6 address as browsers do; None if the text is none."""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return None
    if address.scope_id is not None:
        return None
    mapped = address.ipv4_mapped
    if mapped is None:
        return str(address)
    # Python writes the dotted form from 3.13 on, browsers never.
    high, low = divmod(int(mapped), 1 << 16)
    return f"::ffff:{high:x}:{low:x}"


def _canonical(text: str) -> str | None:
    """Guess what a text was meant to be; None where there is nothing to guess from."""
    text = text.strip()
    if not text.isprintable() or " " in text:
        return None  # Before the blank or after it, or both as one: each is another host.
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "https", text
    scheme = {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme.lower())
    for mark in "/?#\\":
        rest = rest.partition(mark)[0]
    if "@" in rest:
        return None  # Before it or after it: either may be what was meant.
    host, port = _split(rest)
    if host.startswith("["):
        address = _ipv6(host[1:-1])
        host = host if address is None else f"[{address}]"
    else:
        try:
            host = to_ascii(host).rstrip(".")
        except UnicodeError:
            return None
    port = (port or "").lstrip("0")
    if not separator and "." not in host and host != "localhost":
        return None
    if not port or DEFAULT_PORTS.get(scheme) == port:
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port}"
