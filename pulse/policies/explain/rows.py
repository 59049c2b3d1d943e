"""What an explanation tells of each rule: whether it matched, why, and what came of it."""

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.core.answers import ceil_s
from pulse.core.bounds import FIELDS, SITE, Bound
from pulse.core.charging import Charge, Facts
from pulse.core.claims import Decision, Outcome
from pulse.core.cors import KIND
from pulse.core.document import Item
from pulse.core.endpoints import EndpointIndex, Matcher, prefixes
from pulse.core.replay import Replay
from pulse.core.snapshot import ENDPOINTS, TIERS, Mode, Rule, Snapshot
from pulse.policies import current, texts
from pulse.policies.explain.edge import Edge, access_row

Row = dict[str, Any]

#: Of ten thousand rules that have no say, this many are listed: of those that could count, and
#: of those that could not.
MAX_SILENT: Final = 100


def charged(found: Sequence[Charge], decision: Decision) -> list[Row]:
    """Tell of every rule that counts the request."""
    once = _("it takes each request once")
    return [
        {
            **_row(charge.rule, matched=True, why=charge.why or once, outcome=_outcome(outcome)),
            "counted_by": charge.counted_by,
            "limits": limits_of(outcome),
        }
        for charge, outcome in zip(found, decision.outcomes, strict=True)
    ]


def left(found: Sequence[Charge]) -> list[Row]:
    """Tell of the rules that would have counted the request, had no other refused it before."""
    why = _("not asked: another rule refuses before the view finds its user")
    return [_row(charge.rule, matched=True, why=why, outcome="not_matched") for charge in found]


def limits_of(outcome: Outcome) -> list[Row]:
    """Tell how a client stands with each limit of a claim; nothing where none was counted."""
    quotas = outcome.claim.allowance.quotas
    return [
        {
            "rate": quota.rate,
            "algorithm": str(quota.algorithm),
            "limit": quota.capacity,
            "remaining": verdict.remaining,
            "retry_after": ceil_s(verdict.retry_after_us),
            "passed": verdict.allowed,
        }
        for quota, verdict in zip(quotas, outcome.verdicts, strict=False)
    ]


def of_site(edge: Edge) -> list[Row]:
    """Tell of the site's own bound where it refuses, by the name that stands in the log."""
    kind, _colon, name = ("" if edge.early is None else edge.early.by).partition(":")
    if kind != SITE.partition(":")[0]:
        return []
    why = _("it holds for every body")
    return [_named(kind, name, Mode.ENFORCE, matched=True, why=why, outcome="refused")]


def of_preflight(edge: Edge) -> list[Row]:
    """Tell of the CORS rule that refuses a preflight, as strict ones do."""
    if edge.early is None or not edge.early.refused or not edge.cors or not edge.cors["preflight"]:
        return []
    row = _named(KIND, "", Mode.ENFORCE, matched=True, why=edge.cors["why"], outcome="refused")
    return [{**row, "key": edge.cors["rule"]}]


def of_replays(told: list[Row], replays: Sequence[Replay]) -> list[Row]:
    """Tell by the row of each rule that takes a request once what is wrong with this one."""
    wrong = {
        (each.rule.kind, each.rule.name): {
            "why": texts.of_replay(each.problem)[1],
            "outcome": "refused" if each.enforced else "would_refuse",
        }
        for each in replays
        if each.problem
    }
    return [{**row, **wrong.get((row["kind"], row["key"].get("name")), {})} for row in told]


def not_charged(
    snapshot: Snapshot, facts: Facts, edge: Edge, asked: set[Rule], *, exempt: bool
) -> list[Row]:
    """Tell of the rules that could count the request and do not; first of those that are for it.

    Args:
        snapshot: The policy.
        facts: The request.
        edge: What the edge makes of it.
        asked: The rules that count it.
        exempt: An exemption keeps every limit away.
    """
    others = (rule for rule in snapshot.rules if rule not in asked)
    if edge.early is not None:
        return _not_asked(list(others), edge.early.by)
    if exempt:
        why = _("an exemption holds")
        return [
            _row(rule, matched=False, why=why, outcome="exempt")
            for rule in islice(others, MAX_SILENT)
        ]
    match = facts.match
    # What is for the request and does not count it only takes it off its client's tier.
    bare = [
        rule
        for rule in (snapshot.endpoints.find(match, facts.path, facts.method) if match else ())
        if not rule.allowance.quotas and rule not in asked
    ]
    silent = (rule for rule in others if rule not in bare)
    why = _("has no limits of its own")
    return [
        *(_row(rule, matched=True, why=why, outcome="passed") for rule in bare),
        *(
            _row(rule, matched=False, why=_why_not(rule.matcher, facts), outcome="not_matched")
            for rule in islice(silent, MAX_SILENT)
        ),
    ]


def elsewhere(snapshot: Snapshot, facts: Facts, edge: Edge) -> list[Row]:
    """Tell of what no counter knows: first of the bounds that hold, then of what is off."""
    counted = {(rule.kind, rule.name) for rule in snapshot.rules}
    bounding = {bound.name for bound in _bounds(edge)}
    holding: list[Row] = []
    silent: list[Row] = []
    for kind in (TIERS, ENDPOINTS):
        for item in current.document_in_force().get(kind, ()):
            name = item["name"]
            holds = kind == ENDPOINTS and name in bounding
            if (kind, name) in counted or (len(silent) == MAX_SILENT and not holds):
                continue
            matched, why, outcome = _standing(item, facts, edge)
            row = _named(kind, name, item["mode"], matched=matched, why=why, outcome=outcome)
            (holding if holds else silent).append(row)
    return [*holding, *silent]


def switched_off(snapshot: Snapshot) -> list[Row]:
    """Tell that nothing acts, whatever the policy says."""
    why = _("pulse is switched off: PULSE['ENABLED'] is False")
    return [
        *(
            access_row(rule, "off", why)
            for rule in islice(snapshot.access.rules.values(), MAX_SILENT)
        ),
        *(
            _row(rule, matched=False, why=why, outcome="off")
            for rule in islice(snapshot.rules, MAX_SILENT)
        ),
    ]


def _not_asked(rules: Iterable[Rule], by: str) -> list[Row]:
    """Tell of rules that come after what answers already; one of them may be what does, by name."""
    size, why = _("it bounds size or time"), _("not asked: the request is answered before")
    refusing = [rule for rule in rules if rule.prefix.rstrip(":") == by]
    silent = (rule for rule in rules if rule not in refusing)
    return [
        *(_row(rule, matched=True, why=size, outcome="refused") for rule in refusing),
        *(
            _row(rule, matched=False, why=why, outcome="not_matched")
            for rule in islice(silent, MAX_SILENT)
        ),
    ]


def _outcome(outcome: Outcome) -> str:
    if outcome.passed:
        return "passed"
    return "refused" if outcome.claim.enforced else "would_refuse"


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
    held = any(bound.name == name for bound in _held(edge))
    would = any(
        bound.name == name and edge.size > (bound.max_body_bytes or 0)
        for bound in edge.effective.body_shadows
        if edge.size
    )
    return held, would


def _bounds(edge: Edge) -> Iterator[Bound]:
    yield from _held(edge)
    yield from _shadows(edge)


def _held(edge: Edge) -> Iterator[Bound]:
    effective = edge.effective
    for bound in (effective.body, effective.timeout, effective.slow):
        if bound is not None:
            yield bound


def _shadows(edge: Edge) -> Iterator[Bound]:
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


def _row(rule: Rule, *, matched: bool, why: str, outcome: str) -> Row:
    return _named(rule.kind, rule.name, rule.mode, matched=matched, why=why, outcome=outcome)


def _named(kind: str, name: str, mode: str, *, matched: bool, why: str, outcome: str) -> Row:
    return {
        "kind": kind,
        "key": {"name": name},
        "mode": str(mode),
        "matched": matched,
        "why": why,
        "counted_by": None,
        "outcome": outcome,
        "limits": [],
    }
