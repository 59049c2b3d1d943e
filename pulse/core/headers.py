"""Security headers: presets, and what each policy makes of an answer."""

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from pulse.core.clients import in_percent
from pulse.core.csp import (
    POLICY,
    REPORT_ONLY,
    as_report_only,
    endpoint_at,
    for_plain_http,
    reporting,
    reports_elsewhere,
)
from pulse.core.document import Item
from pulse.core.endpoints import PathIndex, Remembered
from pulse.exceptions import InvalidHeader

HSTS: Final = "Strict-Transport-Security"
REPORTING_ENDPOINTS: Final = "Reporting-Endpoints"
#: Proxies give all headers of an answer 4 to 8 KB.
MAX_VALUE: Final = 4096

NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
#: What cannot stand in a value (RFC 9110, 5.5), and whatever else has no shape.
UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MAX_AGE: Final = re.compile(r"max-age\s*=\s*\"?(\d{1,12})", re.IGNORECASE | re.ASCII)

#: What an answer is, where it leads and how it travels: the view's, the server's, or pulse's own.
TAKEN: Final = frozenset(
    {
        "accept-ranges",
        "age",
        "allow",
        "connection",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expires",
        "keep-alive",
        "last-modified",
        "location",
        "proxy-authenticate",
        "proxy-connection",
        "refresh",
        "retry-after",
        "set-cookie",
        "set-cookie2",
        "status",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "www-authenticate",
        "x-lighttpd-send-file",
        "x-request-id",
        "x-sendfile",
    }
)
TAKEN_FAMILIES: Final = (
    "access-control-",
    "ratelimit",
    "sec-websocket-",
    "x-accel-",
    "x-ratelimit-",
)
#: Headers that such policies are about; what is nearly one of them is probably misspelt.
KNOWN: Final = (
    "Cache-Control",
    "Clear-Site-Data",
    POLICY,
    REPORT_ONLY,
    "Cross-Origin-Embedder-Policy",
    "Cross-Origin-Embedder-Policy-Report-Only",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Opener-Policy-Report-Only",
    "Cross-Origin-Resource-Policy",
    "Integrity-Policy",
    "Integrity-Policy-Report-Only",
    "NEL",
    "Origin-Agent-Cluster",
    "Permissions-Policy",
    "Referrer-Policy",
    "Report-To",
    REPORTING_ENDPOINTS,
    HSTS,
    "Timing-Allow-Origin",
    "X-Content-Type-Options",
    "X-DNS-Prefetch-Control",
    "X-Download-Options",
    "X-Frame-Options",
    "X-Permitted-Cross-Domain-Policies",
    "X-Powered-By",
    "X-Robots-Tag",
    "X-UA-Compatible",
    "X-XSS-Protection",
)


class Preset(StrEnum):
    """A set of headers to begin with."""

    OWASP = "owasp"
    LEGACY = "legacy"
    API = "api"
    HTML = "html"


#: Seconds for which browsers are held to HTTPS in each stage.
HSTS_STAGES: Final = {"5m": 300, "1d": 86_400, "1w": 604_800, "30d": 2_592_000}

NOTHING_AT_ALL: Final = "default-src 'none'; frame-ancestors 'none'"
YEAR: Final = "max-age=31536000; includeSubDomains"

#: ``owasp`` is the add-list of the OWASP Secure Headers Project as generated on 2026-07-19
#: (ci/headers_add.json, commit 0bdb31e), but for three headers:
#:
#: - Clear-Site-Data on every answer would log everybody out at every request.
#: - Cache-Control is left to the views: ``no-store`` on static files has them loaded again
#:   for each page.
#: - Referrer-Policy is same-origin: with ``no-referrer`` browsers send ``Origin: null`` with a
#:   form, which Django's protection against CSRF refuses, the login included.
#:
#: X-XSS-Protection is not on the list: deprecated, and harmful in old browsers.
PRESETS: Final[Mapping[Preset, Mapping[str, str]]] = MappingProxyType(
    {
        Preset.OWASP: {
            POLICY: (
                "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; "
                "frame-ancestors 'none'; upgrade-insecure-requests"
            ),
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": (
                "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), "
                "display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), "
                "gyroscope=(), keyboard-map=(), magnetometer=(), microphone=(), midi=(), "
                "payment=(), picture-in-picture=(), publickey-credentials-get=(), "
                "screen-wake-lock=(), sync-xhr=(self), usb=(), web-share=(), "
                "xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(), gamepad=(), "
                "hid=(), idle-detection=(), interest-cohort=(), serial=(), unload=()"
            ),
            "Referrer-Policy": "same-origin",
            HSTS: "max-age=63072000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
            "X-DNS-Prefetch-Control": "off",
            "X-Frame-Options": "deny",
            "X-Permitted-Cross-Domain-Policies": "none",
        },
        # Byte for byte what old scanners ask for.
        Preset.LEGACY: {
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "X-XSS-Protection": "1; mode=block",
            HSTS: YEAR,
            POLICY: NOTHING_AT_ALL,
        },
        Preset.API: {
            POLICY: NOTHING_AT_ALL,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            HSTS: YEAR,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        },
        Preset.HTML: {
            POLICY: (
                "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
                "form-action 'self'; frame-ancestors 'none'"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": (
                "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), "
                "hid=(), magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=()"
            ),
            "Referrer-Policy": "same-origin",
            HSTS: YEAR,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        },
    }
)


class Sent(NamedTuple):
    """One header of an answer, as Django keeps it."""

    name: str
    value: str


#: By the name in small letters.
Headers = Mapping[str, Sent]


def parse_header(name: str, value: str | None) -> None:
    """Check a header as an operator sets it; None removes one.

    Raises:
        InvalidHeader: It cannot be sent, or is not a policy's to set.
    """
    if any(mark in name + (value or "") for mark in "\r\n\0"):
        raise InvalidHeader(name, "has a line break or NUL in it.")
    if not NAME.fullmatch(name):
        raise InvalidHeader(name, "is not a header's name.")
    lower = name.lower()
    if lower in TAKEN or lower.startswith(TAKEN_FAMILIES):
        raise InvalidHeader(name, "is not a policy's to set: the view, the server or pulse does.")
    if value is not None:
        _check_value(name, value)


def parse_headers(text: str) -> dict[str, str | None]:
    """Read headers as people write them, one ``Name: value`` on a line.

    ``Name:`` alone, and ``-Name``, remove a header. Lines that are empty say nothing.

    Raises:
        InvalidHeader: A line is no header, cannot be sent, or names one again.
    """
    found: dict[str, str | None] = {}
    # On line feeds alone: what else breaks a line of text must not break a header in two.
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line.strip():
            continue
        name, colon, value = (part.strip(" \t") for part in line.partition(":"))
        if not colon and name.startswith("-"):
            name = name.removeprefix("-").strip(" \t")
        elif not colon:
            raise InvalidHeader(line.strip(" \t"), "has no colon. Write Name: value.")
        parse_header(name, value or None)
        if name.lower() in {known.lower() for known in found}:
            raise InvalidHeader(name, "is named twice.")
        found[name] = value or None
    return found


def write_headers(headers: Mapping[str, str | None]) -> str:
    """Write headers as ``parse_headers`` reads them."""
    return "\n".join(
        f"{name}:" if value is None else f"{name}: {value}" for name, value in headers.items()
    )


def misspelt(name: str) -> str | None:
    """Return the known header that a name was probably meant to be; None for any other."""
    known = {each.lower(): each for each in KNOWN}
    if name.lower() in known:
        return None
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.85)
    return known[close[0]] if close else None


class HeaderRule:
    """One header policy, compiled: what it puts into an answer and takes out.

    Raises:
        InvalidHeader: A header, the preset or the stage was written past every validator.

    Attributes:
        csp: The Content-Security-Policy, enforced or not; None where it has none.
        reports: Answers ask browsers to report to the collector.
        removed: The names of headers that go, in small letters.
    """

    __slots__ = (
        "_headers",
        "_made",
        "csp",
        "force",
        "name",
        "path",
        "percent",
        "removed",
        "report_only",
        "reports",
    )

    def __init__(self, item: Item) -> None:
        self.name: str = item["name"]
        self.path: str = item["path"]
        self.percent: int = item["percent"]
        self.force: bool = item["force"]
        headers = {
            name.lower(): Sent(name, value) for name, value in _preset(item.get("preset")).items()
        }
        for name, value in item["headers"].items():
            if not isinstance(value, str | None):
                raise InvalidHeader(name, "has a value that is not text.")
            parse_header(name, value)
            headers.pop(name.lower(), None)
            if value is not None:
                headers[name.lower()] = Sent(name, value)
        self.removed = tuple(name.lower() for name, v in item["headers"].items() if v is None)
        stage = _stage(item.get("hsts_stage"))
        if HSTS.lower() in headers and stage is not None:
            headers[HSTS.lower()] = Sent(HSTS, _staged(headers[HSTS.lower()].value, stage))
        csp = headers.get(POLICY.lower())
        self.csp = csp.value if csp else None
        self.report_only: bool = bool(item["csp_report_only"]) and csp is not None
        #: An operator's own collector is not added to.
        self.reports = (
            self.report_only
            and REPORT_ONLY.lower() not in self.removed
            and not reports_elsewhere(self.csp or "")
        )
        if self.report_only and self.csp:
            del headers[POLICY.lower()]
            own = headers.get(REPORT_ONLY.lower())
            value = as_report_only(self.csp)
            # A list of policies is what the header holds: each reports by itself.
            value = f"{own.value}, {value}" if own else value
            headers[REPORT_ONLY.lower()] = Sent(REPORT_ONLY, value)
        self._headers: Headers = headers
        self._made: dict[tuple[bool, bool, str], Headers] = {}

    def sent(self, *, secure: bool, hsts: bool = True, collector: str = "") -> Headers:
        """Return the headers of an answer.

        Args:
            secure: It goes out over HTTPS.
            hsts: Browsers may be held to HTTPS.
            collector: The address to which the reports of this policy are sent, without the
                policy's name; empty where there is none.
        """
        key = (secure, hsts, collector)
        found = self._made.get(key)
        if found is None:
            found = self._make(secure=secure, hsts=hsts, collector=collector)
            # A site is mounted in a few places; what a server makes up on the way is not kept.
            if len(self._made) < 16:
                self._made[key] = found
        return found

    def dress(
        self,
        fields: MutableMapping[str, tuple[str, str]],
        *,
        secure: bool,
        hsts: bool = True,
        collector: str = "",
    ) -> None:
        """Put the policy's headers into those of an answer, and take out what goes.

        Args:
            fields: The answer's, name and value by the name in small letters.
            secure: It goes out over HTTPS.
            hsts: Browsers may be held to HTTPS.
            collector: As ``sent`` is given it.
        """
        headers = self.sent(secure=secure, hsts=hsts, collector=collector)
        theirs = fields.get(REPORTING_ENDPOINTS.lower()) if self.reports else None
        if self.force or headers.keys().isdisjoint(fields):
            fields.update(headers)
        else:
            for name, header in headers.items():
                fields.setdefault(name, header)
        for name in self.removed:
            fields.pop(name, None)
        if theirs is not None and secure and collector:
            self._join(fields, headers, theirs, f"{collector}{self.name}/")

    def asks(self, collector: str) -> bool:
        """Whether reports are to come to the collector: by themselves, or as a header says."""
        address = f"{collector}{self.name}/"
        return bool(collector) and (
            self.reports or any(address in sent.value for sent in self._headers.values())
        )

    def _join(
        self,
        fields: MutableMapping[str, tuple[str, str]],
        headers: Headers,
        theirs: tuple[str, str],
        address: str,
    ) -> None:
        """Name the collector beside the endpoints that an answer has already.

        A browser that finds ``report-to`` without its endpoint ignores ``report-uri``, too.
        """
        lower = REPORTING_ENDPOINTS.lower()
        if lower in self.removed or (self.force and lower in self._headers):
            return
        # The view's own policy stays where nothing is forced, and reports to where it says.
        if fields.get(REPORT_ONLY.lower()) is headers[REPORT_ONLY.lower()]:
            name, value = theirs
            fields[lower] = (name, ", ".join(filter(None, (value, endpoint_at(address)))))

    def _make(self, *, secure: bool, hsts: bool, collector: str) -> Headers:
        headers = dict(self._headers)
        if not (secure and hsts):
            headers.pop(HSTS.lower(), None)
        csp = headers.get(POLICY.lower())
        if csp is not None and not secure:
            headers[POLICY.lower()] = Sent(csp.name, for_plain_http(csp.value))
        if self.reports and collector:
            address = f"{collector}{self.name}/"
            told = headers[REPORT_ONLY.lower()]
            endpoint = secure and REPORTING_ENDPOINTS.lower() not in self.removed
            value = reporting(told.value, address, endpoint=endpoint)
            headers[REPORT_ONLY.lower()] = Sent(told.name, value)
            if endpoint:
                own = headers.get(REPORTING_ENDPOINTS.lower())
                value = f"{own.value}, {endpoint_at(address)}" if own else endpoint_at(address)
                headers[REPORTING_ENDPOINTS.lower()] = Sent(REPORTING_ENDPOINTS, value)
        for name in self.removed:
            headers.pop(name, None)
        return headers


class HeaderIndex:
    """The header policies by path; one holds for a request."""

    __slots__ = ("_names", "_paths", "_remembered")

    def __init__(self, rules: Iterable[HeaderRule] = ()) -> None:
        ordered = sorted(rules, key=lambda rule: rule.name)
        self._paths = PathIndex((rule.path, rule) for rule in ordered)
        self._names = {rule.name: rule for rule in ordered}
        self._remembered: Remembered[str, list[HeaderRule]] = Remembered()

    def __bool__(self) -> bool:
        return bool(self._names)

    def __iter__(self) -> Iterator[HeaderRule]:
        return iter(self._names.values())

    def named(self, name: str) -> HeaderRule | None:
        """Return a policy by its name."""
        return self._names.get(name)

    def find(self, path: str, client: str, secret: bytes) -> HeaderRule | None:
        """Return the policy with the longest path; of several on one, the first by name.

        Args:
            path: As Django resolves it.
            client: The client's address, as it is counted.
            secret: Keys the share of clients for whom a policy is enforced.
        """
        found = self._remembered.get(path)
        if found is None:
            found = self._paths.find(path)
            self._remembered.keep(path, found, path)
        for rule in found:
            if rule.percent >= 100 or in_percent(
                f"header_policies:{rule.name}:", client, rule.percent, secret
            ):
                return rule
        return None


def header_index(items: Iterable[Item]) -> HeaderIndex:
    """Compile the header policies that are enforced now."""
    return HeaderIndex(HeaderRule(item) for item in items)


def _preset(name: str | None) -> Mapping[str, str]:
    if not name:
        return {}
    try:
        return PRESETS[Preset(name)]
    except ValueError:
        raise InvalidHeader(name, "is not a preset.") from None


def _stage(name: str | None) -> int | None:
    """Return the seconds of a stage; None for no stage."""
    if not name:
        return None
    if name not in HSTS_STAGES:
        raise InvalidHeader(name, "is not a stage of HSTS.")
    return HSTS_STAGES[name]


def _staged(value: str, seconds: int) -> str:
    """Hold browsers for no longer than a stage, and without what cannot be taken back."""
    found = MAX_AGE.search(value)
    return f"max-age={min(int(found[1]), seconds) if found else seconds}"


def _check_value(name: str, value: str) -> None:
    if name.lower() == "server":
        raise InvalidHeader(name, "is set by the web server, and would be there twice.")
    if not value.strip():
        raise InvalidHeader(name, "has no value.")
    # No part of a value (RFC 9110, 5.5): some servers fail with the whole answer.
    if value != value.strip(" \t"):
        raise InvalidHeader(name, "has a blank before or after its value.")
    if UNPRINTABLE.search(value):
        raise InvalidHeader(name, "has a control character in its value.")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError as error:
        mark = value[error.start]
        raise InvalidHeader(name, f"has {mark} in its value, which no header can have.") from None
    if len(value) > MAX_VALUE:
        raise InvalidHeader(name, f"is longer than {MAX_VALUE} characters.")
