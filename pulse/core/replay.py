"""Requests that are taken once: a time that is now, and a nonce that none before it had.

A nonce is counted as a window of one request, so the decision that charges the limits takes it in
the same step: all or nothing, on whatever counters decide.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from pulse.core.charging import Charge, Facts, acts
from pulse.core.claims import Allowance, Claim, Decision, OnStoreError, Outcome
from pulse.core.clients import by_api_key, by_user, digest
from pulse.core.quotas import SECOND_US, Algorithm, Quota
from pulse.core.snapshot import Rule, Snapshot

TIMESTAMP_HEADER: Final = "X-Timestamp"
NONCE_HEADER: Final = "X-Nonce"
#: How far a request's time may be from now, either way, in seconds.
WINDOW_S: Final = 300
TIMESTAMP: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
NONCE: Final = re.compile(r"[\x21-\x7e]{16,128}", re.ASCII)
#: A time may be as far ahead as it may be behind; a minute is for clocks that differ.
KEPT: Final = Quota(1, (2 * WINDOW_S + 60) * SECOND_US, 1, Algorithm.FIXED_WINDOW)
ONCE: Final = Allowance((KEPT,))
#: It asks for more than there is: nothing that comes with it is charged, whatever else passes.
NEVER: Final = Allowance((KEPT,), cost=2)
#: Whose nonces they are where nobody is known for certain. Whoever replays a request can spell
#: another identity; so that would be no protection.
ANYBODY: Final = "anybody"
COUNTED_BY: Final = "nonce"


class Problem(StrEnum):
    """Why a request is not taken."""

    MISSING = "missing"
    STALE = "stale"
    SEEN = "seen"


class Replay(NamedTuple):
    """A rule that takes a request once, and what is wrong with the request; None if nothing is."""

    rule: Rule
    enforced: bool
    problem: Problem | None


def problem_of(facts: Facts, now: float) -> Problem | None:
    """Say what is wrong with a request's time and nonce, whether or not it was seen.

    Args:
        facts: The request.
        now: Epoch seconds.
    """
    timestamp = facts.header(TIMESTAMP_HEADER) or ""
    nonce = facts.header(NONCE_HEADER) or ""
    if not TIMESTAMP.fullmatch(timestamp) or not NONCE.fullmatch(nonce):
        return Problem.MISSING
    return None if abs(float(timestamp) - now) <= WINDOW_S else Problem.STALE


def once(snapshot: Snapshot, facts: Facts, now: float) -> list[Charge]:
    """Return the claims on a request's nonce, one for each rule that takes it once.

    Nonces are apart by rule, and by API key or user; without either they are one for all. A
    preflight carries none.

    Args:
        snapshot: The policy.
        facts: The request; no exempt one.
        now: Epoch seconds.
    """
    if not snapshot.wants_nonce or facts.match is None or facts.is_preflight:
        return []
    rules = snapshot.endpoints.find(facts.match, facts.path, facts.method)
    if not any(rule.require_nonce for rule in rules):
        return []
    problem = problem_of(facts, now)
    owner = _owner(facts)
    nonce = "" if problem else digest(facts.header(NONCE_HEADER) or "", facts.secret)
    return [
        _charge(rule, f"{owner}:{nonce}", problem, enforced=acts(rule, facts))
        for rule in rules
        if rule.require_nonce
    ]


def judge(
    found: Sequence[Charge], nonces: Sequence[Charge], decision: Decision
) -> tuple[list[Replay], Sequence[Charge], Decision]:
    """Part what a decision says of nonces, its last outcomes, from what it says of limits.

    Args:
        found: What the limits charge.
        nonces: As ``once`` returned them.
        decision: On the claims of both, in that order.

    Returns:
        What is wrong with the request, and what it is charged to with the decision on that. Where
        it is refused for want of counters, a rule that only counts nonces is among those too.
    """
    own = decision.outcomes[: len(found)]
    said = list(zip(nonces, decision.outcomes[len(found) :], strict=True))
    replays = [
        Replay(charge.rule, charge.claim.enforced, _problem(charge, outcome))
        for charge, outcome in said
    ]
    allowed = all(outcome.passed for outcome in own if outcome.claim.enforced)
    if not decision.unavailable or any(each.problem for each in replays):
        unavailable = decision.unavailable and not allowed
        parted = decision._replace(allowed=allowed, outcomes=own, unavailable=unavailable)
        return replays, found, parted
    refusing = {
        charge.rule for charge, outcome in zip(found, own, strict=True) if not outcome.passed
    }
    alone = [
        (charge, outcome)
        for charge, outcome in said
        if not outcome.passed and charge.rule not in refusing
    ]
    charges = [*found, *(charge for charge, _outcome in alone)]
    outcomes = (*own, *(outcome for _charge, outcome in alone))
    return replays, charges, decision._replace(outcomes=outcomes)


def refusing(replays: Iterable[Replay]) -> Replay | None:
    """Return the first that refuses the request."""
    return next((each for each in replays if each.problem and each.enforced), None)


def _charge(rule: Rule, place: str, problem: Problem | None, *, enforced: bool) -> Charge:
    prefix = rule.prefix if enforced else f"shadow:{rule.prefix}"
    key = f"{prefix}{COUNTED_BY}:{place}"
    claim = Claim(key, ONCE, enforced, rule.on_store_error)
    if problem is not None:
        # It can be told without any counter: where there is none, nothing else is charged either.
        claim = Claim(key, NEVER, enforced, OnStoreError.CLOSED)
    return Charge(rule, claim, COUNTED_BY, ceiling=False, why=problem or "")


def _problem(charge: Charge, outcome: Outcome) -> Problem | None:
    if charge.why:
        return Problem(charge.why)
    # Without counters nobody knows what was seen.
    was_seen = not outcome.passed and outcome.verdicts
    return Problem.SEEN if was_seen else None


def _owner(facts: Facts) -> str:
    if facts.api_key is not None:
        return by_api_key(facts.api_key).key
    return ANYBODY if facts.user is None else by_user(facts.user).key
