"""Content-Security-Policy: reading one, what browsers report of it, and what that suggests."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from pulse.exceptions import InvalidReport

POLICY: Final = "Content-Security-Policy"
REPORT_ONLY: Final = "Content-Security-Policy-Report-Only"
#: The name that ``Reporting-Endpoints`` gives the collector.
ENDPOINT: Final = "pulse-csp"

#: Types of a report's body: of ``report-uri``, and of ``report-to``.
CSP_REPORT: Final = "application/csp-report"
REPORTS: Final = "application/reports+json"
MAX_BYTES: Final = 64 * 1024
MAX_REPORTS: Final = 20
#: A host's name has no more characters, nor has what stands for one here.
MAX_HOST: Final = 253

#: Which directives hold, in order, where a fetch directive is missing (CSP Level 3, 6.8.3).
FALLBACKS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "child-src": ("default-src",),
        "connect-src": ("default-src",),
        "fenced-frame-src": ("frame-src", "child-src", "default-src"),
        "font-src": ("default-src",),
        "frame-src": ("child-src", "default-src"),
        "img-src": ("default-src",),
        "manifest-src": ("default-src",),
        "media-src": ("default-src",),
        "object-src": ("default-src",),
        "script-src": ("default-src",),
        "script-src-attr": ("script-src", "default-src"),
        "script-src-elem": ("script-src", "default-src"),
        "style-src": ("default-src",),
        "style-src-attr": ("style-src", "default-src"),
        "style-src-elem": ("style-src", "default-src"),
        "worker-src": ("child-src", "script-src", "default-src"),
    }
)
FETCH: Final = frozenset(FALLBACKS)
DIRECTIVES: Final = FETCH | {
    "base-uri",
    "default-src",
    "form-action",
    "frame-ancestors",
    "prefetch-src",
    "report-to",
    "report-uri",
    "require-trusted-types-for",
    "sandbox",
    "trusted-types",
    "upgrade-insecure-requests",
}
#: What does something and reports nothing; browsers complain of it in a policy that only reports.
ACTING: Final = frozenset({"sandbox", "upgrade-insecure-requests"})
#: What a browser names where nothing was loaded from anywhere.
KEYWORDS: Final = frozenset(
    {"inline", "eval", "wasm-eval", "self", "trusted-types-policy", "trusted-types-sink"}
)
SCHEMES: Final = frozenset({"about", "blob", "data", "filesystem", "mediastream"})
WEB: Final = frozenset({"http", "https", "ws", "wss"})
EXTENSION: Final = "extension"
OTHER: Final = "other"
SELF: Final = "self"
HOST: Final = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", re.ASCII)
PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Violation:
    """What one report tells, and no more: no query, no credentials, no text of a page.

    Attributes:
        directive: The directive that was violated; ``other`` where it is none.
        source: What was blocked: an origin, ``self``, ``inline``, ``eval``, ``data`` and the like.
        page: The path of the page.
    """

    directive: str
    source: str
    page: str


def parse_csp(value: str) -> dict[str, list[str]]:
    """Read a policy: its directives, each with its sources. The first of a name holds."""
    found: dict[str, list[str]] = {}
    for part in value.split(";"):
        words = part.split()
        if words:
            found.setdefault(words[0].lower(), words[1:])
    return found


def unknown_directives(value: str) -> list[str]:
    """Return the directives of a policy that no browser knows: browsers ignore them."""
    return [name for name in parse_csp(value) if name not in DIRECTIVES]


def as_report_only(value: str) -> str:
    """Write a policy as one that only reports: without what does something else."""
    return _without(value, ACTING)


def for_plain_http(value: str) -> str:
    """Write a policy for a page over HTTP, whose own files may be had over HTTP alone."""
    return _without(value, frozenset({"upgrade-insecure-requests"}))


def reports_elsewhere(value: str) -> bool:
    """Whether a policy names a collector itself."""
    return not {"report-uri", "report-to"}.isdisjoint(parse_csp(value))


def reporting(value: str, address: str, *, endpoint: bool) -> str:
    """Have a policy report to an address.

    Args:
        value: The policy.
        address: Of the collector.
        endpoint: The answer names it in ``Reporting-Endpoints``, as it cannot over HTTP. Where it
            does not, browsers must not be told ``report-to``: they would ignore ``report-uri``.
    """
    told = f"{value}; report-uri {address}"
    return f"{told}; report-to {ENDPOINT}" if endpoint else told


def endpoint_at(address: str) -> str:
    """Write the collector's part of ``Reporting-Endpoints``."""
    return f'{ENDPOINT}="{address}"'


def loads_own_files(value: str) -> bool:
    """Whether a page may load scripts and styles of its own site."""
    csp = parse_csp(value)
    for name in ("script-src", "style-src"):
        sources = csp.get(f"{name}-elem", csp.get(name, csp.get("default-src")))
        if sources is not None and (not sources or "'none'" in sources):
            return False
    return True


def parse_reports(content_type: str, body: bytes) -> list[Violation]:
    """Read what a browser sent; no more than twenty reports, those of other kinds left out.

    Raises:
        InvalidReport: It is none.
    """
    try:
        read: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidReport("The body is not JSON.") from error
    if content_type == REPORTS or isinstance(read, list):
        if not isinstance(read, list) or not all(isinstance(report, dict) for report in read):
            raise InvalidReport("The body is not a list of reports.")
        told = [report for report in read[:MAX_REPORTS] if report.get("type") == "csp-violation"]
        bodies = [report.get("body") for report in told]
        names = ("effectiveDirective", "blockedURL", "documentURL")
    else:
        bodies = [read.get("csp-report") if isinstance(read, dict) else None]
        names = ("effective-directive", "blocked-uri", "document-uri")
    if not all(isinstance(report, dict) for report in bodies):
        raise InvalidReport("A report has no body.")
    return [_violation(report, *names) for report in bodies]


def suggest(value: str, violations: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Say which directives would have allowed what was blocked.

    What stands in the page itself (``inline``, ``eval``) is left out: allowing it is giving the
    policy up. So is what a browser's extension did.

    Args:
        value: The policy.
        violations: Directive and source of each.

    Returns:
        Each directive that would differ, with all of its sources.
    """
    csp = parse_csp(value)
    found: dict[str, list[str]] = {}
    for directive, source in violations:
        allowed = _as_source(source)
        name = _directive_for(directive, csp)
        if allowed is None or name is None:
            continue
        sources = found.get(name)
        if sources is None:
            sources = [each for each in _in_force(name, csp) if each.lower() != "'none'"]
        if allowed not in sources:
            found[name] = [*sources, allowed]
    return found


def _violation(report: Mapping[str, Any], directive: str, blocked: str, page: str) -> Violation:
    # Old browsers tell the whole directive, under its old name.
    told = _text(report.get(directive)) or _text(report.get("violated-directive"))
    name = told[:200].split(" ", 1)[0].lower()
    document = _split(_text(report.get(page)))
    return Violation(
        directive=name if name in DIRECTIVES else OTHER,
        source=_source(_text(report.get(blocked)), document),
        page=document.path[:2000] if document is not None and document.scheme in WEB else "",
    )


def _source(blocked: str, document: SplitResult | None) -> str:
    text = blocked.strip()[:2000].lower()
    if text in KEYWORDS or text in SCHEMES or not text:
        return text or "inline"  # Level 1 says nothing of what stands in the page.
    url = _split(text)
    scheme = "" if url is None else url.scheme
    if text.endswith("-extension") or scheme.endswith("-extension"):
        return EXTENSION
    if scheme in SCHEMES:
        return scheme
    origin = None if url is None else _origin(url)
    if origin is not None and document is not None and origin == _origin(document):
        return SELF
    return origin or OTHER


def _origin(url: SplitResult) -> str | None:
    """Return the origin of an address, without credentials, path and usual port."""
    if url.scheme not in WEB:
        return None
    try:
        host, port = (url.hostname or "").rstrip("."), url.port
    except ValueError:
        return None
    host = f"[{host}]" if ":" in host else host
    if len(host) > MAX_HOST or not HOST.fullmatch(host):
        return None
    return f"{url.scheme}://{host}" + (f":{port}" if port not in (None, PORTS[url.scheme]) else "")


def _as_source(source: str) -> str | None:
    if source == SELF:
        return "'self'"
    if source in {"blob", "data", "filesystem", "mediastream"}:
        return f"{source}:"
    return source if "://" in source else None


def _directive_for(directive: str, csp: Mapping[str, object]) -> str | None:
    """Return the directive to write to: the general one, unless the policy has the particular."""
    if directive in {"frame-ancestors", OTHER}:
        return None
    if directive in csp:
        return directive
    general = directive.removesuffix("-elem").removesuffix("-attr")
    return general if general in FETCH | {"base-uri", "form-action"} else None


def _in_force(directive: str, csp: Mapping[str, list[str]]) -> list[str]:
    """Return the sources of a directive, or of the first that holds in its place."""
    names = (directive, *FALLBACKS.get(directive, ()))
    return next((csp[name] for name in names if name in csp), [])


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text[:4000])
    except ValueError:
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _without(value: str, names: frozenset[str]) -> str:
    parts = [part.strip() for part in value.split(";")]
    kept = [part for part in parts if part and part.split(None, 1)[0].lower() not in names]
    # Byte for byte as it was written where nothing goes.
    return value if len(kept) == len([part for part in parts if part]) else "; ".join(kept)
