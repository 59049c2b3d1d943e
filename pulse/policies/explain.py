"""Why a request is refused or let through: the enforcement's own code on a throw-away store."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal
from urllib.parse import unquote

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.answers import (
    STORE_RETRY_S,
    ceil_s,
    rate_limit_headers,
    refusing,
    retry_after_s,
)
from pulse.core.bounds import FIELDS, SITE
from pulse.core.charging import Charge, Facts, charges, exempt_by
from pulse.core.claims import Decision, Outcome
from pulse.core.clients import ClientAddress, User, resolve_address
from pulse.core.document import Item
from pulse.core.endpoints import EndpointIndex, Matcher, prefixes
from pulse.core.snapshot import ENDPOINTS, TIERS, Mode, Rule, Snapshot
from pulse.policies import current, explain_edge, kinds, texts
from pulse.policies.explain_edge import Edge
from pulse.policies.routes import match_path
from pulse.store import limits

#: ``GET /api/search/ as kim from 203.0.113.9``; all but the path may be left out.
SENTENCE: Final = re.compile(
    r"\s*(?:(?P<method>[A-Za-z]+)\s+)?(?P<path>/\S*)"
    r"(?:\s+as\s+(?P<user>\S+))?(?:\s+from\s+(?P<address>\S+))?\s*"
)
ANONYMOUS: Final = "anonymous"
MAX_COUNT: Final = 10_000
#: Of ten thousand rules that do not match, this many are listed.
MAX_NOT_MATCHED: Final = 100


@dataclass(frozen=True, slots=True)
class Question:
    """A request to explain.

    Attributes:
        path: As in a URL: it may be percent-encoded and have a query.
        address: The socket's peer; ``X-Forwarded-For`` among the headers counts as it would.
        user: A user's name; None for nobody.
        secure: It comes over HTTPS, also where no header says so.
        count: How many such requests are made at one instant; the last is told of.
        counters: ``live``, or ``fresh`` for full buckets.
    """

    path: str
    method: str = "GET"
    address: str = "203.0.113.1"
    user: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    counters: Literal["live", "fresh"] = "live"
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of a request.

    Attributes:
        answer: As the API and ``--format json`` write it.
        address: How the client's address was found.
    """

    answer: dict[str, Any]
    address: ClientAddress


class UnknownUser(LookupError):
    """No user has that name."""


def parse(sentence: str) -> Question | None:
    """Read ``GET /api/search/ as anonymous from 203.0.113.9``; None if it is not one."""
    match = SENTENCE.fullmatch(sentence)
    if match is None:
        return None
    question = Question(match["path"])
    user = match["user"]
    return replace(
        question,
        method=(match["method"] or question.method).upper(),
        address=match["address"] or question.address,
        user=None if user is None or user == ANONYMOUS else user,
    )


def explain(question: Question) -> Explanation:
    """Tell what would become of a request now; nothing is charged.

    Raises:
        UnknownUser: The question names a user who is not there.
    """
    snapshot = current.current_snapshot()
    facts = _facts(snapshot, question)
    if not conf.ENABLED:
        return _switched_off(snapshot, facts, question)
    edge = explain_edge.judge(snapshot, facts, secure=question.secure)
    exemption = exempt_by(snapshot, facts)
    found = [] if exemption else charges(snapshot, facts)
    if edge.early is None:
        decision, refused = _decide(found, question)
        status, headers, body = _response(found, decision)
        told = _matched(found, decision)
    else:
        refused = question.count if edge.early.refused else 0
        status, headers, body = edge.early.status, {}, edge.early.body
        told = []
    asked = {charge.rule for charge in found} if edge.early is None else set()
    answer = {
        "verdict": "refused" if status >= 400 else "allowed",
        "status": status,
        "allowed": question.count - refused,
        "refused": refused,
        **_place(snapshot, facts),
        "exempt_by": exemption,
        "client": {
            "address": str(facts.address),
            "kind": found[0].counted_by if found else None,
            "tier": next(
                (c.rule.name for c in found if c.rule.kind == TIERS and c.claim.enforced), None
            ),
        },
        "rules": [
            *edge.access,
            *_site_rows(edge),
            *told,
            *_not_matched(snapshot, facts, edge, asked, exempt=bool(exemption)),
            *_elsewhere(snapshot, facts, edge),
        ],
        "headers": headers | edge.headers,
        "body": body,
        "cors": edge.cors,
        "bounds": edge.bounds,
        "header_policy": edge.header_policy,
        "headers_by_setting": edge.by_settings,
    }
    return Explanation(answer, facts.address)


def _place(snapshot: Snapshot, facts: Facts) -> dict[str, Any]:
    match = facts.match
    return {
        "revision": snapshot.revision,
        "route": match.route if match else None,
        "url_name": match.url_name or None if match else None,
    }


def _switched_off(snapshot: Snapshot, facts: Facts, question: Question) -> Explanation:
    """Tell that nothing acts, whatever the policy says."""
    why = _("pulse is switched off: PULSE['ENABLED'] is False")
    edge = explain_edge.switched_off()
    rules = islice(snapshot.access.rules.values(), MAX_NOT_MATCHED)
    answer = {
        "verdict": "allowed",
        "status": 200,
        "allowed": question.count,
        "refused": 0,
        **_place(snapshot, facts),
        "exempt_by": None,
        "client": {"address": str(facts.address), "kind": None, "tier": None},
        "rules": [
            *(explain_edge.access_row(rule, "off", why) for rule in rules),
            *(
                _row(rule, matched=False, why=why, outcome="off")
                for rule in snapshot.rules[:MAX_NOT_MATCHED]
            ),
        ],
        "headers": {},
        "body": None,
        "cors": edge.cors,
        "bounds": edge.bounds,
        "header_policy": edge.header_policy,
        "headers_by_setting": edge.by_settings,
    }
    return Explanation(answer, facts.address)


def _site_rows(edge: Edge) -> list[dict[str, Any]]:
    """Tell of the site's own bound where it refuses, by the name that stands in the log."""
    kind, _colon, name = ("" if edge.early is None else edge.early.by).partition(":")
    if kind != SITE.partition(":")[0]:
        return []
    return [
        {
            "kind": kind,
            "key": {"name": name},
            "mode": str(Mode.ENFORCE),
            "matched": True,
            "why": _("it holds for every body"),
            "counted_by": None,
            "outcome": "refused",
            "limits": [],
        }
    ]


def _facts(snapshot: Snapshot, question: Question) -> Facts:
    headers = {name.lower(): value for name, value in question.headers.items()}
    user = _user(question.user) if question.user else None
    path = unquote(question.path.partition("?")[0])
    return Facts(
        method=question.method,
        path=path,
        match=match_path(path),
        address=resolve_address(
            question.address,
            headers.get("x-forwarded-for", ""),
            snapshot.trusted_proxies,
            trusts_unix=snapshot.trusts_unix,
            explain=True,
        ),
        header=lambda name: headers.get(name.lower()),
        sources=conf.CLIENT_IDENTITY,
        secret=conf.client_secret,
        user=user if snapshot.wants_user else None,
    )


def _user(name: str) -> User:
    model = get_user_model()
    try:
        user: Any = model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise UnknownUser(name) from None
    groups = user.groups.values_list("name", flat=True) if hasattr(user, "groups") else ()
    return User(str(user.pk), name, frozenset(groups))


def _decide(found: Sequence[Charge], question: Question) -> tuple[Decision, int]:
    """Judge the requests one after another at one instant, on copies of the counters."""
    claims = [charge.claim for charge in found]
    reading = limits.read(claims)
    if question.counters == "fresh":
        reading.states = [None] * len(reading.states)
    refused = 0
    decision = Decision(allowed=True, outcomes=(), now_us=reading.now_us, store=reading.store)
    for _number in range(question.count):
        decision = reading.decide(claims)
        refused += not decision.allowed
    return decision, refused


def _response(
    found: Sequence[Charge], decision: Decision
) -> tuple[int, dict[str, str], dict[str, Any] | None]:
    headers = rate_limit_headers(found, decision, conf.RATE_LIMIT_HEADERS)
    if decision.allowed:
        return 200, headers, None
    if decision.unavailable:
        status, seconds, detail = 503, STORE_RETRY_S, texts.unavailable()
    else:
        seconds = retry_after_s(refusing(found, decision)[1])
        status, detail = 429, texts.too_many_requests(seconds)
    body = {"detail": detail, "retry_after": seconds}
    return status, {"Retry-After": str(seconds), **headers}, body


def _matched(found: Sequence[Charge], decision: Decision) -> list[dict[str, Any]]:
    return [
        _row(
            charge.rule,
            matched=True,
            why=charge.why,
            outcome=_outcome(outcome),
            counted_by=charge.counted_by,
            limits=[
                {
                    "rate": quota.rate,
                    "algorithm": str(quota.algorithm),
                    "limit": quota.capacity,
                    "remaining": verdict.remaining,
                    "retry_after": ceil_s(verdict.retry_after_us),
                    "passed": verdict.allowed,
                }
                for quota, verdict in zip(
                    charge.claim.allowance.quotas, outcome.verdicts, strict=False
                )
            ],
        )
        for charge, outcome in zip(found, decision.outcomes, strict=True)
    ]


def _outcome(outcome: Outcome) -> str:
    if outcome.passed:
        return "passed"
    return "refused" if outcome.claim.enforced else "would_refuse"


def _not_matched(
    snapshot: Snapshot, facts: Facts, edge: Edge, matched: set[Rule], *, exempt: bool
) -> list[dict[str, Any]]:
    others = [rule for rule in snapshot.rules if rule not in matched][:MAX_NOT_MATCHED]
    if edge.early is not None:
        why = _("not asked: the request is answered before")
        return [
            _row(rule, matched=True, why=_("it bounds size or time"), outcome="refused")
            if edge.early.by == rule.prefix.rstrip(":")
            else _row(rule, matched=False, why=why, outcome="not_matched")
            for rule in others
        ]
    if exempt:
        why = _("an exemption holds")
        return [_row(rule, matched=False, why=why, outcome="exempt") for rule in others]
    return [
        _row(rule, matched=True, why=_("has no limits of its own"), outcome="passed")
        if _is_bare_match(rule, facts)
        else _row(rule, matched=False, why=_why_not(rule.matcher, facts), outcome="not_matched")
        for rule in others
    ]


def _is_bare_match(rule: Rule, facts: Facts) -> bool:
    """Whether a rule is for the request, and does nothing but take it off its client's tier."""
    if rule.matcher is None or facts.match is None or rule.allowance.quotas:
        return False
    return bool(EndpointIndex([(rule.matcher, rule)]).find(facts.match, facts.path, facts.method))


def _why_not(matcher: Matcher | None, facts: Facts) -> str:
    if matcher is None:
        return _("another tier holds for this client")
    if facts.match is None:
        return _("the path resolves to nothing")
    here = {
        "route": facts.match.route,
        "url_name": facts.match.url_name,
        "view": facts.match.view,
    }
    for name, value in here.items():
        wanted: str | None = getattr(matcher, name)
        if wanted is not None and wanted != value:
            return _("it is for another endpoint: %s") % wanted
    if matcher.path is not None and matcher.path not in prefixes(facts.path, len(matcher.path)):
        return _("it is for another path: %s") % matcher.path
    return _("it is for other methods: %s") % ", ".join(sorted(matcher.methods or ()))


def _elsewhere(snapshot: Snapshot, facts: Facts, edge: Edge) -> list[dict[str, Any]]:
    """Tell of what the policy names and no counter knows: what is off, and bounds alone."""
    in_force = {(rule.kind, rule.name) for rule in snapshot.rules}
    rows = []
    for kind in (TIERS, ENDPOINTS):
        for item in current.document_in_force().get(kind, ()):
            if (kind, item["name"]) in in_force:
                continue
            matched, why, outcome = _standing(item, facts, edge)
            rows.append(
                {
                    "kind": kind,
                    "key": {"name": item["name"]},
                    "mode": item["mode"],
                    "matched": matched,
                    "why": why,
                    "counted_by": None,
                    "outcome": outcome,
                    "limits": [],
                }
            )
            if len(rows) == MAX_NOT_MATCHED:
                return rows
    return rows


def _standing(item: Item, facts: Facts, edge: Edge) -> tuple[bool, str, str]:
    """Say of an item without limits whether it matches, why, and what comes of it."""
    if item["mode"] == Mode.OFF:
        return False, _("its mode is off"), "off"
    if not _is_in_time(item, time.time()):
        return False, _("not in its time"), "off"
    if all(item.get(name) is None for name in FIELDS):
        return False, _("it has no limits"), "off"
    bounds = any(item.get(name) is not None for name in ("max_body_bytes", "timeout_s"))
    why = _("it bounds size or time") if bounds else _("it says what is slow")
    held, would = _bounds_of(item["name"], edge)
    if held or would:
        too_large = edge.early is not None and edge.early.by == f"{ENDPOINTS}:{item['name']}"
        outcome = "refused" if too_large else "would_refuse" if would else "passed"
        return True, why, outcome
    if any(bound.name == item["name"] for bound in _shadows(edge)):
        return True, _("it bounds size or time, in shadow for this client"), "passed"
    return False, _why_not_bound(item, facts), "not_matched"


def _bounds_of(name: str, edge: Edge) -> tuple[bool, bool]:
    """Return whether an endpoint limit bounds the request, and whether it would refuse it."""
    effective = edge.effective
    bounds = (effective.body, effective.timeout, effective.slow)
    held = any(bound and bound.name == name for bound in bounds)
    would = any(
        bound.name == name and edge.size > (bound.max_body_bytes or 0)
        for bound in effective.body_shadows
        if edge.size
    )
    return held, would


def _shadows(edge: Edge) -> Iterator[Any]:
    yield from edge.effective.body_shadows
    yield from edge.effective.timeout_shadows


def _why_not_bound(item: Item, facts: Facts) -> str:
    matcher = Matcher(
        route=item.get("route"),
        url_name=item.get("url_name"),
        view=item.get("view"),
        path=item.get("path"),
        methods=frozenset(item["methods"]) or None,
    )
    if facts.match is not None and EndpointIndex([(matcher, item)]).find(
        facts.match, facts.path, facts.method
    ):
        return _("a more specific one holds")
    return _why_not(matcher, facts)


def _is_in_time(item: Item, now: float) -> bool:
    starts, ends = item.get("starts_at"), item.get("ends_at")
    return (starts is None or datetime.fromisoformat(starts).timestamp() <= now) and (
        ends is None or datetime.fromisoformat(ends).timestamp() > now
    )


def _row(
    rule: Rule,
    *,
    matched: bool,
    why: str,
    outcome: str,
    counted_by: str | None = None,
    limits: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    kind = kinds.find_kind(rule.kind)
    return {
        "kind": rule.kind,
        "key": {kind.key[0] if kind else "name": rule.name},
        "mode": str(rule.mode),
        "matched": matched,
        "why": why,
        "counted_by": counted_by,
        "outcome": outcome,
        "limits": list(limits),
    }
