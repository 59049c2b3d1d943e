"""Why a request is refused or let through: the enforcement's own code on a throw-away store."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pulse.conf import conf
from pulse.core import replay
from pulse.core.answers import STORE_RETRY_S, rate_limit_headers, refusing, retry_after_s
from pulse.core.charging import Charge, Facts, charges, exempt_by, waits_for_user
from pulse.core.claims import Decision, Store
from pulse.core.clients import ClientAddress, identify
from pulse.core.replay import Replay
from pulse.core.snapshot import TIERS, Snapshot
from pulse.policies import current, texts
from pulse.policies.explain import edge as edges
from pulse.policies.explain import rows
from pulse.policies.explain.questions import Question, facts_of
from pulse.policies.routes import settles_limits, view_at
from pulse.store import limits


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of a request.

    Attributes:
        answer: As the API and ``--format json`` write it.
        address: How the client's address was found.
    """

    answer: dict[str, Any]
    address: ClientAddress


def explain(question: Question) -> Explanation:
    """Tell what would become of a request now; nothing is charged.

    Raises:
        InvalidQuestion: The question names a user, or a key, that is not there.
    """
    snapshot = current.current_snapshot()
    facts = facts_of(snapshot, question)
    judge = _judge if conf.ENABLED else _let_pass
    return Explanation(judge(snapshot, facts, question), facts.address)


def _judge(snapshot: Snapshot, facts: Facts, question: Question) -> dict[str, Any]:
    edge = edges.judge(snapshot, facts, secure=question.secure)
    exemption = exempt_by(snapshot, facts)
    found = [] if exemption else charges(snapshot, facts)
    headers: dict[str, str] = {}
    if edge.early is None:
        nonces = [] if exemption else replay.once(snapshot, facts, time.time())
        turns = _in_turns(snapshot, facts, found)
        asked, decision, replays, refused = _decide(turns, nonces, question)
        status, headers, body = _response(asked, decision, replays)
        told_of = {charge.rule for charge in asked if charge not in found}
        left = [charge for charge in found if charge not in asked and charge.rule not in told_of]
        told = [*rows.charged(asked, decision), *rows.left(left)]
    else:
        refused = question.count if edge.early.refused else 0
        status, body, told = edge.early.status, edge.early.body, []
        asked, found, replays = [], [], []
    return {
        "verdict": "refused" if status >= 400 else "allowed",
        "status": status,
        "allowed": question.count - refused,
        "refused": refused,
        **_place(snapshot, facts),
        "exempt_by": exemption,
        "client": client_of(facts, found),
        "rules": [
            *rows.of_preflight(edge),
            *edge.access,
            *rows.of_site(edge),
            *rows.of_replays(
                [
                    *told,
                    *rows.not_charged(
                        snapshot,
                        facts,
                        edge,
                        {charge.rule for charge in (*found, *asked)},
                        exempt=bool(exemption),
                    ),
                ],
                replays,
            ),
            *rows.elsewhere(snapshot, facts, edge),
        ],
        "headers": headers | edge.headers,
        "body": body,
        **_about(edge),
    }


def _let_pass(snapshot: Snapshot, facts: Facts, question: Question) -> dict[str, Any]:
    """Tell that nothing acts, whatever the policy says."""
    return {
        "verdict": "allowed",
        "status": 200,
        "allowed": question.count,
        "refused": 0,
        **_place(snapshot, facts),
        "exempt_by": None,
        "client": client_of(facts, ()),
        "rules": rows.switched_off(snapshot),
        "headers": {},
        "body": None,
        **_about(edges.switched_off()),
    }


def _place(snapshot: Snapshot, facts: Facts) -> dict[str, Any]:
    match = facts.match
    return {
        "revision": snapshot.revision,
        "route": match.route if match else None,
        "url_name": match.url_name or None if match else None,
    }


def client_of(facts: Facts, found: Sequence[Charge]) -> dict[str, Any]:
    """Tell who a client is, and which tier it is charged to."""
    held = (c.rule.name for c in found if c.rule.kind == TIERS and c.claim.enforced)
    client = identify(
        facts.sources,
        user=facts.user,
        header=facts.header,
        address=facts.address,
        secret=facts.secret,
        api_key=facts.api_key,
    )
    return {"address": str(facts.address), "kind": client.kind, "tier": next(held, None)}


def _about(edge: edges.Edge) -> dict[str, Any]:
    return {
        "cors": edge.cors,
        "bounds": edge.bounds,
        "header_policy": edge.header_policy,
        "headers_by_setting": edge.by_settings,
    }


def _in_turns(snapshot: Snapshot, facts: Facts, found: Sequence[Charge]) -> list[Sequence[Charge]]:
    """Part charges into those that are decided at once: what waits for its view's user comes last.

    Where the user is known before the view, nothing waits.
    """
    if facts.user is not None or not snapshot.wants_user or not settles_limits(view_at(facts.path)):
        return [found]
    waiting = [charge for charge in found if waits_for_user(snapshot, charge)]
    return [[charge for charge in found if charge not in waiting], waiting]


def _decide(
    turns: Sequence[Sequence[Charge]], nonces: Sequence[Charge], question: Question
) -> tuple[Sequence[Charge], Decision, Sequence[Replay], int]:
    """Judge the requests one after another at one instant, on copies of the counters.

    Returns:
        What the last request was charged to, the verdict on it by limits, what those that take it
        once say, and how many were refused.
    """
    asking = [([charge.claim for charge in turn], turn) for turn in turns]
    asking[0][0].extend(charge.claim for charge in nonces)
    readings = [limits.read(claims) for claims, _turn in asking]
    if question.counters == "fresh":
        for reading in readings:
            reading.states = [None] * len(reading.states)
    refused = 0
    asked: list[Charge] = []
    replays: Sequence[Replay] = []
    decision = Decision(allowed=True, outcomes=(), now_us=readings[0].now_us, store=Store.NONE)
    for _number in range(question.count):
        asked, decision = [], decision._replace(allowed=True, outcomes=())
        replays = []
        for reading, (claims, turn) in zip(readings, asking, strict=True):
            if not claims or not decision.allowed or replay.refusing(replays):
                continue
            made, charged = reading.decide(claims), turn
            if nonces and turn is asking[0][1]:
                replays, charged, made = replay.judge(turn, nonces, made)
            decision = decision.followed_by(made)
            asked += charged
        refused += not decision.allowed or replay.refusing(replays) is not None
    return asked, decision, replays, refused


def _response(
    found: Sequence[Charge], decision: Decision, replays: Sequence[Replay]
) -> tuple[int, dict[str, str], dict[str, Any] | None]:
    headers = rate_limit_headers(found, decision, conf.RATE_LIMIT_HEADERS)
    replayed = replay.refusing(replays)
    if replayed is not None:
        status, detail = texts.of_replay(replayed.problem)
        return status, headers, {"detail": detail}
    if decision.allowed:
        return 200, headers, None
    if decision.unavailable:
        status, seconds, detail = 503, STORE_RETRY_S, texts.unavailable()
    else:
        seconds = retry_after_s(refusing(found, decision)[1])
        status, detail = 429, texts.too_many_requests(seconds)
    body = {"detail": detail, "retry_after": seconds}
    return status, {"Retry-After": str(seconds), **headers}, body
