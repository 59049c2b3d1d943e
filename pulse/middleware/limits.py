"""The limits: one decision a request, and what it puts into the answer."""

from http import HTTPStatus
from typing import Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.charging import Charge, Facts, charges, exempt_by
from pulse.core.claims import Decision, Outcome
from pulse.core.clients import digest
from pulse.core.quotas import SECOND_US, Quota, Verdict
from pulse.core.snapshot import Snapshot
from pulse.middleware.context import Context
from pulse.middleware.responses import Refusal, refuse, too_many_requests
from pulse.policies.decisions import SealedDecision, seal
from pulse.store import buckets, limits

#: Seconds after which a client may try again while a ``closed`` limit has no store.
STORE_RETRY_S: Final = 5


def decide(snapshot: Snapshot, facts: Facts, context: Context, announcement: str | None) -> None:
    """Charge a request to every limit that applies, and note the verdict on its context.

    Raises:
        StaleAnnouncement: Another revision is announced; nothing was charged.
    """
    context.snapshot, context.client = snapshot, facts.address
    context.exempt_by = exempt_by(snapshot, facts)
    context.charges = [] if context.exempt_by else charges(snapshot, facts)
    context.decision = None
    if context.charges:
        claims = [charge.claim for charge in context.charges]
        context.decision = limits.decide(claims, announcement)
    context.settled = True


def refusal(request: HttpRequest, facts: Facts, context: Context) -> HttpResponse | None:
    """Count the verdict, and return the refusal that follows from it, if one does."""
    decision = context.decision
    if decision is None:
        return None
    _count(context.charges, decision)
    if decision.allowed:
        return None
    charge, outcome = _refusing(context.charges, decision)
    fields = {"decision": seal(_sealed(context, facts, charge, outcome, decision))}
    rule = charge.rule.prefix.rstrip(":")
    if decision.unavailable:
        return refuse(
            request,
            Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                _("Service temporarily unavailable. Please try again later."),
                rule,
                STORE_RETRY_S,
                fields,
            ),
        )
    seconds = max(1, _ceil_s(outcome.retry_after_us))
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


def add_headers(context: Context, response: HttpResponseBase) -> None:
    """Tell the client where it stands with the tightest limit that is enforced on it."""
    form = conf.RATE_LIMIT_HEADERS
    if context.decision is None or form == "off":
        return
    tightest = _tightest(context.charges, context.decision)
    if tightest is None:
        return
    name, quota, verdict = tightest
    now_us = context.decision.now_us
    after_us = verdict.retry_after_us or verdict.reset_after_us
    headers = response.headers
    if form in {"both", "legacy"}:
        headers["X-RateLimit-Limit"] = str(quota.capacity)
        headers["X-RateLimit-Remaining"] = str(verdict.remaining)
        headers["X-RateLimit-Reset"] = str(_ceil_s(now_us + after_us))
    if form in {"both", "ietf"}:
        headers["RateLimit-Policy"] = ", ".join(_policies(context.charges))
        headers["RateLimit"] = f'"{name}";r={verdict.remaining};t={_ceil_s(after_us)}'


def _refusing(found: list[Charge], decision: Decision) -> tuple[Charge, Outcome]:
    """Return the enforced claim that makes the client wait longest."""
    refused = [
        (charge, outcome)
        for charge, outcome in zip(found, decision.outcomes, strict=True)
        if outcome.claim.enforced and not outcome.passed
    ]
    return max(refused, key=lambda pair: pair[1].retry_after_us)


def _tightest(found: list[Charge], decision: Decision) -> tuple[str, Quota, Verdict] | None:
    """Return the quota with the longest wait, or the least remaining, and its policy's name."""
    best: tuple[tuple[int, int, int], str, Quota, Verdict] | None = None
    for charge, outcome in zip(found, decision.outcomes, strict=True):
        if not outcome.claim.enforced:
            continue
        quotas = outcome.claim.allowance.quotas
        for place, verdict in enumerate(outcome.verdicts):
            rank = (-verdict.retry_after_us, verdict.remaining, -verdict.reset_after_us)
            if best is None or rank < best[0]:
                best = (rank, _policy_name(charge, place), quotas[place], verdict)
    return None if best is None else best[1:]


def _policies(found: list[Charge]) -> list[str]:
    """Write every enforced quota as the IETF draft has it: its most at once, and the time to refill."""
    return [
        f'"{_policy_name(charge, place)}";q={quota.capacity};w={_refill_s(quota)}'
        for charge in found
        if charge.claim.enforced
        for place, quota in enumerate(charge.claim.allowance.quotas)
    ]


def _policy_name(charge: Charge, place: int) -> str:
    name = f"{charge.rule.name}-address" if charge.ceiling else charge.rule.name
    return f"{name}-{place + 1}" if place else name


def _refill_s(quota: Quota) -> int:
    if quota.capacity == quota.count:
        return _ceil_s(quota.period_us)
    return max(1, _ceil_s(quota.burst * quota.spacing_us))


def _count(found: list[Charge], decision: Decision) -> None:
    """Count what was refused, or would have been, by rule."""
    for charge, outcome in zip(found, decision.outcomes, strict=True):
        if not outcome.passed:
            verb = buckets.REFUSED if outcome.claim.enforced else buckets.WOULD_REFUSE
            buckets.add(verb, charge.rule.prefix.rstrip(":"))


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
    )


def _ceil_s(time_us: int) -> int:
    return -(-time_us // SECOND_US)
