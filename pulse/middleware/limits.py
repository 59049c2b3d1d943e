"""The limits: one decision a request, and what it puts into the answer."""

import time
from collections.abc import Sequence
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from pulse.conf import conf
from pulse.core import replay
from pulse.core.answers import STORE_RETRY_S, rate_limit_headers, refusing, retry_after_s
from pulse.core.charging import Charge, Facts, charges, exempt_by, waits_for_user
from pulse.core.claims import Claim, Decision, Outcome
from pulse.core.clients import User, digest
from pulse.core.quotas import SECOND_US
from pulse.core.replay import Replay
from pulse.core.snapshot import Snapshot
from pulse.exceptions import StaleAnnouncement
from pulse.metrics.recorder import recorder
from pulse.middleware import access
from pulse.middleware.context import Context, facts_of, locate, may_have_user, user_of
from pulse.middleware.responses import Refusal, put, refuse
from pulse.policies import current
from pulse.policies.decisions import SealedDecision, seal
from pulse.policies.routes import settles_limits
from pulse.policies.texts import of_replay, too_many_requests, unavailable
from pulse.store import blocked, buckets, limits, peaks, refusals


def decide(
    snapshot: Snapshot,
    facts: Facts,
    context: Context,
    announcement: str | None,
    *,
    defers: bool = False,
) -> None:
    """Charge a request to every limit that applies, and note the verdict on its context.

    Args:
        snapshot: The policy.
        facts: The request.
        context: Takes the verdict.
        announcement: The policy's name, to be compared with what the store announces.
        defers: Leave what depends on the user for ``settle``.

    Raises:
        StaleAnnouncement: Another revision is announced; nothing was charged.
    """
    context.snapshot, context.client, context.facts = snapshot, facts.address, facts
    context.exempt_by = exempt_by(snapshot, facts)
    found = [] if context.exempt_by else charges(snapshot, facts)
    context.charges = found
    if defers:
        context.charges = [charge for charge in found if not waits_for_user(snapshot, charge)]
    context.decision = None
    context.deferred = len(context.charges) < len(found)
    nonces = []
    if snapshot.wants_nonce and not context.exempt_by:
        nonces = replay.once(snapshot, facts, time.time())
    if context.charges or nonces:
        claims = [charge.claim for charge in (*context.charges, *nonces)]
        context.decision = _decide(claims, announcement)
        if nonces:
            parted = replay.judge(context.charges, nonces, context.decision)
            context.replays, context.charges, context.decision = parted
    context.settled = True


def refusal(request: HttpRequest, facts: Facts, context: Context) -> HttpResponse | None:
    """Count the verdict, and return the refusal that follows from it, if one does."""
    if context.decision is None:
        return None
    _count(context, context.charges, context.decision)
    replayed = _count_replays(context) if context.replays else None
    if replayed is not None:
        context.deferred = False
        return _refuse_replay(request, replayed)
    if context.decision.allowed:
        return None
    context.deferred = False
    return _refuse(request, facts, context)


def is_deferred(snapshot: Snapshot, request: HttpRequest, user: User | None) -> bool:
    """Whether limits by user wait, as the view authenticates and has a throttle to settle them."""
    if user is not None or not snapshot.wants_user or request.resolver_match is None:
        return False
    return settles_limits(request.resolver_match.func)


def settle(request: HttpRequest, *, refuses: bool = True) -> HttpResponse | None:
    """Charge what ``decide`` left, now that the request's user is known; once.

    Where ``decide`` asked nothing, the announcement is compared here, and another policy decides
    the request from the start: access too, unless the request was served already.

    Args:
        request: Its ``user`` is whom the view found, and nobody where it found nobody.
        refuses: False for a request that was served already: it is charged if it can be.

    Returns:
        The refusal that follows, if one does.
    """
    context: Context = request.pulse  # type: ignore[attr-defined]
    snapshot, address, context.deferred = context.snapshot, context.client, False
    if snapshot is None or address is None:
        return None
    facts = facts_of(snapshot, request, address, _user(snapshot, request))
    left = [charge for charge in charges(snapshot, facts) if waits_for_user(snapshot, charge)]
    before = context.decision
    try:
        claims = [charge.claim for charge in left]
        decision = _decide(claims, snapshot.stamp if before is None else None)
    except StaleAnnouncement as stale:
        snapshot = current.catch_up(stale.announced)
        context.snapshot, context.client = snapshot, locate(snapshot, request)
        denial = access.judge(request, context) if refuses else None
        if denial is not None:
            return denial
        facts = facts_of(snapshot, request, context.client, _user(snapshot, request))
        decide(snapshot, facts, context, None)
        answer = refusal(request, facts, context)
        return answer if refuses else None
    context.facts = facts
    _count(context, left, decision)
    context.charges = [*context.charges, *left]
    context.decision = decision if before is None else before.followed_by(decision)
    return _refuse(request, facts, context) if refuses and not decision.allowed else None


def _decide(claims: Sequence[Claim], announcement: str | None) -> Decision:
    started = time.perf_counter()
    decision = limits.decide(claims, announcement)
    if conf.METRICS:
        taken_s = time.perf_counter() - started
        recorder.decisions.append((decision.store, decision.allowed, taken_s))
    return decision


def _user(snapshot: Snapshot, request: HttpRequest) -> User | None:
    return user_of(snapshot, request) if may_have_user(snapshot, request) else None


def _count_replays(context: Context) -> Replay | None:
    """Count what is wrong with a request that is taken once; return what refuses it."""
    for rule, enforced, problem in context.replays:
        if problem is None:
            continue
        if enforced:
            refusals.add(context.stamp, rule.prefix.rstrip(":"))
        else:
            _shadow(context, rule.prefix.rstrip(":"))
    return replay.refusing(context.replays)


def _refuse_replay(request: HttpRequest, found: Replay) -> HttpResponse:
    status, text = of_replay(found.problem)
    code, rule = f"nonce_{found.problem}", found.rule.prefix.rstrip(":")
    return refuse(request, Refusal(HTTPStatus(status), code, text, rule, reason="nonce"))


def _refuse(request: HttpRequest, facts: Facts, context: Context) -> HttpResponse:
    decision = context.decision
    assert decision is not None  # noqa: S101 - there was one, and it refused
    charge, outcome = refusing(context.charges, decision)
    fields = {"decision": seal(_sealed(context, facts, charge, outcome, decision))}
    rule = charge.rule.prefix.rstrip(":")
    if decision.unavailable:
        return refuse(
            request,
            Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                unavailable(),
                rule,
                STORE_RETRY_S,
                fields,
            ),
        )
    _note(facts, context, decision)
    seconds = retry_after_s(outcome)
    return refuse(
        request,
        Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate_limited",
            too_many_requests(seconds),
            rule,
            seconds,
            fields,
        ),
    )


def _note(facts: Facts, context: Context, decision: Decision) -> None:
    """Note whom each spent limit refuses, for the list of who is blocked now."""
    now = time.time()
    for charge, outcome in zip(context.charges, decision.outcomes, strict=True):
        if outcome.passed or not outcome.claim.enforced:
            continue
        prefix = charge.rule.prefix
        blocked.note(
            prefix.rstrip(":"),
            outcome.claim.key.removeprefix(prefix),
            str(facts.address),
            until=now + outcome.retry_after_us / SECOND_US,
            method=facts.method,
            route=facts.match.route if facts.match else None,
        )


def add_headers(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:  # noqa: ARG001 - as every step
    """Tell the client where it stands with the tightest limit that is enforced on it."""
    if context.decision is None:
        return
    put(response, rate_limit_headers(context.charges, context.decision, conf.RATE_LIMIT_HEADERS))


def _count(context: Context, found: Sequence[Charge], decision: Decision) -> None:
    """Count what was refused, or would have been, by rule; and how close each came to it."""
    peaks.note(found, decision)
    # To ask zip for equal lengths costs more than the loop.
    for charge, outcome in zip(found, decision.outcomes):  # noqa: B905
        if outcome.passed:
            continue
        rule = charge.rule.prefix.rstrip(":")
        if outcome.claim.enforced:
            refusals.add(context.stamp, rule)
        else:
            _shadow(context, rule)


def _shadow(context: Context, rule: str) -> None:
    context.shadowed += (rule,)
    buckets.add(buckets.WOULD_REFUSE, rule)


def _sealed(
    context: Context, facts: Facts, charge: Charge, outcome: Outcome, decision: Decision
) -> SealedDecision:
    quotas = outcome.claim.allowance.quotas
    spent = [
        quota.rate
        for quota, verdict in zip(quotas, outcome.verdicts, strict=False)
        if not verdict.allowed
    ]
    return SealedDecision(
        revision=context.snapshot.revision if context.snapshot else 0,
        kind=charge.rule.kind,
        name=charge.rule.name,
        limit=(spent or [quotas[0].rate])[0],
        client=digest(outcome.claim.key, facts.secret),
        method=facts.method,
        route=facts.match.route if facts.match else "",
        at_us=decision.now_us,
        unavailable=decision.unavailable,
    )
