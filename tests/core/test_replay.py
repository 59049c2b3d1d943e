"""Requests that are taken once."""

import pytest

from pulse.core.claims import Decision, OnStoreError, Outcome, Store, decide_alone, settle
from pulse.core.replay import Problem, judge, once, problem_of
from pulse.core.snapshot import Mode
from tests.factories import endpoint, facts, kim, snapshot

NOW = 1_800_000_000.0
NONCE = "0123456789abcdef"


def sent(timestamp: str | None = "1800000000", nonce: str | None = NONCE, **fields):
    given = {"X-Timestamp": timestamp, "X-Nonce": nonce, **fields.pop("headers", {})}
    headers = {name: value for name, value in given.items() if value is not None}
    return facts(headers=headers, **fields)


def rule(name: str = "pay", **fields):
    return endpoint(name, require_nonce=True, **fields)


def policy(*rules):
    return snapshot(*rules, wants_nonce=True)


@pytest.mark.parametrize(
    ("timestamp", "nonce", "problem"),
    [
        ("1800000000", NONCE, None),
        ("1800000000.25", NONCE, None),
        ("1799999700", NONCE, None),
        ("1800000300", NONCE, None),
        ("1799999699", NONCE, "stale"),
        ("1800000301", NONCE, "stale"),
        ("0", NONCE, "stale"),
        ("999999999999", NONCE, "stale"),
        ("1800000000", "!" * 128, None),
        (None, NONCE, "missing"),
        ("1800000000", None, "missing"),
        (None, None, "missing"),
        ("", NONCE, "missing"),
        ("now", NONCE, "missing"),
        ("1e9", NONCE, "missing"),
        ("-1800000000", NONCE, "missing"),
        ("\u0661\u0668\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660", NONCE, "missing"),
        ("1800000000,1800000000", NONCE, "missing"),
        ("nan", NONCE, "missing"),
        ("1" * 400, NONCE, "missing"),
        ("1800000000", "0" * 15, "missing"),
        ("1800000000", "0" * 129, "missing"),
        ("1800000000", "0123456789abcde ", "missing"),
        ("1800000000", "0123456789abcde\u00e9", "missing"),
        ("1800000000", "0123456789abcdef\n", "missing"),
    ],
)
def test_time_and_nonce_are_read_strictly(timestamp, nonce, problem):
    """API.md 4: epoch seconds, within 300; 16 to 128 visible ASCII characters."""
    assert problem_of(sent(timestamp, nonce), NOW) == problem


def keys_of(request, *rules) -> list[str]:
    return [charge.claim.key for charge in once(policy(*rules), request, NOW)]


def test_nonces_are_apart_by_rule_and_by_who_is_known_for_certain():
    """Of two keys or users none burns the other's; whoever is not known shares one room."""
    first, second = keys_of(sent(), rule("pay"), rule("send"))
    assert first != second
    by = [sent(), sent(user=kim()), sent(api_key="k3v9x2ab"), sent(api_key="another0")]
    assert len({keys_of(request, rule())[0] for request in by}) == 4
    [plain] = keys_of(sent(), rule())
    for spelt in ({"X-Track-ID": "7"}, {"Authorization": "Token t"}):
        assert keys_of(sent(headers=spelt), rule()) == [plain]
    assert keys_of(sent(address="198.51.100.7"), rule()) == [plain]
    assert NONCE not in plain


def test_what_asks_for_no_nonce_costs_none():
    assert keys_of(sent(), endpoint()) == []
    assert once(snapshot(endpoint()), sent(), NOW) == []
    assert keys_of(sent(match=None), rule()) == []
    asked = {"Origin": "https://app.test", "Access-Control-Request-Method": "POST"}
    assert keys_of(sent(method="OPTIONS", headers=asked), rule()) == []


def decide(request, *rules, states=None):
    """Decide as a store does whose counters are these."""
    charged = once(policy(*rules), request, NOW)
    claims = [charge.claim for charge in charged]
    outcomes, kept = settle(claims, states or [None] * len(claims), int(NOW * 1_000_000))
    allowed = all(outcome.passed for outcome in outcomes if outcome.claim.enforced)
    return judge([], charged, Decision(allowed, outcomes, 0, Store.LOCAL))[0], kept


def test_a_nonce_is_taken_and_then_seen():
    [first], kept = decide(sent(), rule())
    assert first.problem is None
    [again], _ = decide(sent(), rule(), states=kept)
    assert (again.rule.name, again.enforced, again.problem) == ("pay", True, Problem.SEEN)


def test_it_is_known_for_as_long_as_its_time_could_be_believed():
    """A time may be ahead by as much as it may be behind."""
    _, [(ends_us, used)] = decide(sent(), rule())
    assert used == 1
    assert ends_us >= (NOW + 600) * 1_000_000


@pytest.mark.parametrize(("timestamp", "problem"), [(None, "missing"), ("1", "stale")])
def test_what_is_not_taken_leaves_nothing_behind(timestamp, problem):
    [found], kept = decide(sent(timestamp), rule())
    assert found.problem == problem
    assert kept == [None]


def test_in_shadow_it_is_told_and_refuses_nobody():
    shadow = rule(mode=Mode.SHADOW)
    [found], kept = decide(sent(), shadow)
    [again], _ = decide(sent(), shadow, states=kept)
    assert (found.problem, again.problem, again.enforced) == (None, "seen", False)
    assert decide(sent(None), shadow)[0][0].problem == "missing"
    assert keys_of(sent(), shadow) != keys_of(sent(), rule())


def outcome_without_store(request, *rules) -> Decision:
    claims = [charge.claim for charge in once(policy(*rules), request, NOW)]

    def count(local):
        return Decision(True, tuple(Outcome(claim, True, ()) for claim in local), 0, Store.LOCAL)

    return decide_alone(claims, 0, count)


def test_without_counters_each_rule_does_as_it_says_and_no_nonce_is_missing_still():
    closed, opened = rule(on_store_error=OnStoreError.CLOSED), rule(on_store_error="open")
    assert outcome_without_store(sent(), closed).unavailable
    assert outcome_without_store(sent(), opened).allowed
    charged = once(policy(opened), sent(None), NOW)
    [found], asked, decision = judge([], charged, outcome_without_store(sent(None), opened))
    assert (found.problem, asked, decision.outcomes) == ("missing", [], ())
    # The limits have nothing against it: who sends a nonce is let through.
    assert (decision.allowed, decision.unavailable) == (True, False)
    charged = once(policy(closed), sent(), NOW)
    [found], asked, decision = judge([], charged, outcome_without_store(sent(), closed))
    assert found.problem is None
    assert (decision.allowed, decision.unavailable) == (False, True)
    assert [charge.rule.name for charge in asked] == ["pay"]
    assert len(decision.outcomes) == 1
