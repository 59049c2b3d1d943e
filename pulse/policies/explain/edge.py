"""What the edge makes of a request, for ``explain``: each step by the core that enforces it."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from corsheaders.conf import conf as host
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.access import ACCESS, AccessRule, Action, Admission
from pulse.core.bounds import LENGTH, SITE, SLOW, Bound, Effective, parse_length
from pulse.core.charging import Facts
from pulse.core.clients import came_over_https
from pulse.core.cors import (
    ALLOW_CREDENTIALS,
    ALLOW_ORIGIN,
    ALLOW_PRIVATE_NETWORK,
    ASKED_METHOD,
    KIND,
    Found,
)
from pulse.core.cors import CorsRule as Cors
from pulse.core.origins import ANY
from pulse.core.snapshot import Snapshot
from pulse.policies import current, django_headers, origins, texts
from pulse.policies.django_headers import Given
from pulse.policies.headers import carried

#: Of thousands of rules around one address, this many are listed.
MAX_COVERING: Final = 100
ASKED_HEADERS: Final = "Access-Control-Request-Headers"
ASKED_NETWORK: Final = "Access-Control-Request-Private-Network"


class Early(NamedTuple):
    """An answer that is given before any limit is asked.

    Attributes:
        by: What refuses, as kind and name; empty for a preflight that is allowed.
        body: None for a preflight, which has none.
        at_front: The host's middlewares see neither the request nor the answer.
    """

    status: int
    by: str = ""
    body: dict[str, Any] | None = None
    at_front: bool = True

    @property
    def refused(self) -> bool:
        """Whether the client does not get what it asked for."""
        return self.status >= 400


class Edge(NamedTuple):
    """What the steps of the edge say of a request.

    Attributes:
        early: What answers before the limits; None where the request comes as far as these.
        access: The rules around the client, as rows of an explanation.
        cors: What a browser is told; None for a request without ``Origin``.
        bounds: The largest body and the longest time, and what says so.
        effective: The endpoint limits that do.
        size: The length that the request tells of its body, in bytes.
        header_policy: The header policy that holds; None where none does.
        headers: What goes with the answer by CORS, by it and by Django's settings.
        by_settings: Those of Django's settings, by name.
    """

    early: Early | None
    access: list[dict[str, Any]]
    cors: dict[str, Any] | None
    bounds: dict[str, Any]
    effective: Effective
    size: int
    header_policy: str | None
    headers: dict[str, str]
    by_settings: dict[str, str]


def judge(snapshot: Snapshot, facts: Facts, *, secure: bool) -> Edge:
    """Take a request through every step of the edge, in the order of the middleware.

    Args:
        snapshot: The policy.
        facts: The request.
        secure: It came over HTTPS.
    """
    origin = facts.header("Origin")
    found = _find(snapshot, facts.path, origin)
    preflight = _preflight(facts, found)
    admission = snapshot.access.judge(facts.address, facts.path, facts.secret)
    effective = _effective(snapshot, facts)
    length = facts.header("Content-Length")
    size = parse_length(length) if length else 0
    early = (
        preflight
        or _denial(admission)
        or _refused_coding(facts, length)
        or _refused_body(snapshot, facts, effective, size)
    )
    is_secure = _is_secure(facts, secure=secure)
    passes = early is None or not early.at_front
    first = django_headers.given(secure=is_secure) if passes else {}
    policy, security = _security(snapshot, facts, first, secure=is_secure or _is_told_secure(facts))
    return Edge(
        early=early,
        # A preflight is answered before anybody asks where it comes from.
        access=[] if preflight else _access_rows(snapshot, facts, admission),
        cors=None if origin is None else _cors(facts, found, origin, asked=preflight is not None),
        bounds=_bounds(snapshot, facts, effective),
        effective=effective,
        size=size or 0,
        header_policy=policy,
        headers=_cors_headers(facts, found, preflight)
        | {header.name: header.value for header in security},
        by_settings={header.name: header.setting for header in security if header.setting},
    )


def switched_off() -> Edge:
    """Return what the edge says while pulse is told to do nothing."""
    names = ("max_body_bytes", "max_body_by", "timeout_s", "timeout_by", "slow_ms", "slow_by")
    bounds = dict.fromkeys(names)
    return Edge(None, [], None, bounds, Effective(), 0, None, {}, {})


# CORS


def _find(snapshot: Snapshot, path: str, origin: str | None) -> Found:
    if not conf.CORS:
        return Found()
    rules = snapshot.cors
    develops = settings.DEBUG and not origins.has_host_settings()
    if (
        not rules
        and develops
        and not check_request_enabled.receivers
        and not current.document_in_force().get(KIND)
    ):
        rules = origins.default_index()
    return rules.find(path, origin)


def _has_base() -> bool:
    """Whether the host's own settings may allow somebody."""
    named = (host.CORS_ALLOWED_ORIGINS, host.CORS_ALLOWED_ORIGIN_REGEXES)
    return bool(host.CORS_ALLOW_ALL_ORIGINS or any(named) or check_request_enabled.receivers)


def _preflight(facts: Facts, found: Found) -> Early | None:
    """Answer a preflight; None for other requests, and where it is the view's to answer."""
    if not conf.CORS or not facts.is_preflight:
        return None
    rule, asked = found.rule, facts.header(ASKED_METHOD) or ""
    if rule is None:
        return Early(200) if found.path is not None or _has_base() else None
    strict = rule.strict and not rule.permission.covers(asked, facts.header(ASKED_HEADERS) or "")
    return Early(403, rule.name) if strict else Early(200)


def _cors(facts: Facts, found: Found, origin: str, *, asked: bool) -> dict[str, Any]:
    allowed, why = _cors_verdict(facts, found, asked=asked)
    return {
        "origin": origin,
        "preflight": asked,
        "allowed": allowed,
        "rule": _cors_key(found.rule),
        "would_allow": _cors_key(found.would),
        "why": why,
    }


def _cors_verdict(facts: Facts, found: Found, *, asked: bool) -> tuple[bool | None, str]:
    """Say whether a script may read the answer; None where the host's settings say it."""
    rule = found.rule
    if not conf.CORS:
        return None, _("pulse is told to leave CORS alone")
    if rule is not None:
        method, names = facts.header(ASKED_METHOD) or "", facts.header(ASKED_HEADERS) or ""
        if not asked or rule.permission.covers(method, names):
            return True, _("the rule for %s holds") % rule.origin
        text = _("the rule for %s does not have this method, or one of these headers")
        return False, text % rule.origin
    if _has_base():
        return None, _("no rule is for this origin here: the site's CORS_* settings answer")
    if found.path is None:
        return False, _("no rule is for this path")
    return False, _("no rule is for this origin under %s") % found.path


def _cors_key(rule: Cors | None) -> dict[str, str] | None:
    return None if rule is None else {"origin": rule.origin, "path": rule.path}


def _cors_headers(facts: Facts, found: Found, preflight: Early | None) -> dict[str, str]:
    """Return what goes with the answer; of the host's own settings nothing is known here."""
    if not conf.CORS:
        return {}
    vary = ["Origin"] if found.varies else []
    if preflight is not None:
        vary += [ASKED_METHOD, ASKED_HEADERS]
    headers = {"Vary": ", ".join(vary)} if vary else {}
    rule, origin = found.rule, facts.header("Origin")
    if rule is None or (preflight is not None and preflight.refused):
        return headers
    allowed = rule.allowed_origin(origin)
    if allowed is None or (origin is None and found.varies):
        return headers
    permission = rule.permission
    headers |= dict(permission.answer if preflight is None else permission.preflight)
    headers[ALLOW_ORIGIN] = allowed
    if allowed == ANY:
        headers.pop(ALLOW_CREDENTIALS, None)
    if preflight is not None and rule.private_network and facts.header(ASKED_NETWORK) == "true":
        headers[ALLOW_PRIVATE_NETWORK] = "true"
    return headers


# Access


def _denial(admission: Admission) -> Early | None:
    rule = admission.rule
    if rule is None or not admission.refused:
        return None
    return Early(403, rule.name, {"detail": texts.access_denied()})


def _access_rows(snapshot: Snapshot, facts: Facts, admission: Admission) -> list[dict[str, Any]]:
    """Tell of every rule around the client: the one that decides, and why the others do not."""
    address = facts.address.address
    if address is None:
        return []
    rows = []
    for rule, _number in zip(
        snapshot.access.covering(address, facts.path), range(MAX_COVERING), strict=False
    ):
        outcome, why = _access_outcome(rule, admission, facts)
        rows.append(access_row(rule, outcome, why))
    return rows


def access_row(rule: AccessRule, outcome: str, why: str) -> dict[str, Any]:
    """Write what an explanation tells of one access rule."""
    return {
        "kind": ACCESS,
        "key": {"network": rule.network, "path": rule.path},
        "mode": "enforce" if rule.enforced else "shadow",
        "matched": outcome not in {"not_matched", "off"},
        "why": why,
        "counted_by": None,
        "outcome": outcome,
        "limits": [],
    }


def _access_outcome(rule: AccessRule, admission: Admission, facts: Facts) -> tuple[str, str]:
    denies = rule.action is Action.DENY
    told = f" ({rule.reason})" if rule.reason else ""
    if rule is admission.rule:
        text = _("denies this network%s") if denies else _("allows this network%s")
        return "refused" if denies else "passed", text % told
    if rule is admission.would_refuse:
        return "would_refuse", _("would deny this network%s") % told
    if not rule.acts_on(facts.address, facts.secret):
        return "not_matched", _("in shadow for this client")
    return "not_matched", _("a more specific rule decides")


# Bounds


def _effective(snapshot: Snapshot, facts: Facts) -> Effective:
    if facts.match is None:
        return Effective()
    prefix = facts.address.prefix
    return snapshot.bounds.find(facts.match, facts.path, facts.method, prefix, facts.secret)


def _bounds(snapshot: Snapshot, facts: Facts, effective: Effective) -> dict[str, Any]:
    """Tell the largest body, the longest time and what is slow; None for what has no bound."""
    body, timeout, slow = effective.body, effective.timeout, effective.slow
    size: int | None = None if body is None else body.max_body_bytes
    if body is None and conf.MAX_BODY_BYTES:
        # What has no route is refused as late as the endpoint that takes most.
        largest = 0 if facts.match else snapshot.bounds.largest_body
        size = max(conf.MAX_BODY_BYTES, largest)
    return {
        "max_body_bytes": size,
        "max_body_by": _bound_name(body) or (None if size is None else SITE),
        "timeout_s": None if timeout is None else timeout.timeout_s,
        "timeout_by": _bound_name(timeout),
        "slow_ms": (conf.SLOW_REQUEST_MS if slow is None else slow.slow_ms) or None,
        "slow_by": _bound_name(slow) or SLOW,
    }


def _bound_name(bound: Bound | None) -> str | None:
    return None if bound is None else bound.rule


def _refused_coding(facts: Facts, length: str | None) -> Early | None:
    """Refuse a body that comes in chunks, as WSGI does: it has no way to know how large it is."""
    if facts.header("Transfer-Encoding") is None:
        return None
    if length:
        return Early(400, LENGTH, {"detail": texts.bad_length()})
    return Early(411, LENGTH, {"detail": texts.length_required()})


def _refused_body(
    snapshot: Snapshot, facts: Facts, effective: Effective, size: int | None
) -> Early | None:
    if size is None:
        return Early(400, LENGTH, {"detail": texts.bad_length()})
    site, largest = conf.MAX_BODY_BYTES, snapshot.bounds.largest_body
    if site and size > max(site, largest):
        return Early(413, SITE, {"detail": texts.body_too_large(max(site, largest))})
    if facts.match is None or not size:
        return None
    bounds = _bounds(snapshot, facts, effective)
    limit = bounds["max_body_bytes"]
    # A site without an endpoint's bound has had its say already.
    if limit is None or size <= limit:
        return None
    detail = texts.body_too_large(limit)
    return Early(413, bounds["max_body_by"], {"detail": detail}, at_front=False)


# Security headers


def _security(
    snapshot: Snapshot, facts: Facts, first: Mapping[str, Given], *, secure: bool
) -> tuple[str | None, list[Given]]:
    """Return the policy that holds, and what the answer carries by it and by Django's settings."""
    rule = snapshot.headers.find(facts.path, facts.address.prefix, facts.secret)
    found = carried(rule, first, secure=secure, hsts=not settings.DEBUG)
    return None if rule is None else rule.name, list(found.values())


def _is_secure(facts: Facts, *, secure: bool) -> bool:
    """Whether Django takes a request for one over HTTPS."""
    if not settings.SECURE_PROXY_SSL_HEADER:
        return secure
    meta, value = settings.SECURE_PROXY_SSL_HEADER
    told = facts.header(meta.removeprefix("HTTP_").replace("_", "-"))
    return secure if told is None else bool(told.split(",")[0].strip() == value)


def _is_told_secure(facts: Facts) -> bool:
    """Whether a trusted proxy says that the request came over HTTPS."""
    return facts.address.peer_trusted and came_over_https(facts.header("X-Forwarded-Proto") or "")
