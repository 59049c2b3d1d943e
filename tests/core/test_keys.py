"""Keys of the API as text."""

import pytest

from pulse.core.charging import tiers
from pulse.core.keys import KeyIndex, LiveKey, bearer_of, hash_of, prefix_of
from pulse.core.snapshot import Assignments
from tests.factories import assignment, facts, snapshot, tier

SECRET = "s" * 43
KEY = f"pulse_k3v9x2ab_{SECRET}"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"Bearer {KEY}", KEY),
        (f"bearer {KEY}", KEY),
        (f"BEARER   {KEY} ", KEY),
        ("Bearer", ""),
        ("Basic a2ltOnNlY3JldA==", None),
        (KEY, None),
        ("", None),
    ],
)
def test_a_token_is_read_of_the_scheme_bearer_alone(header, token):
    """RFC 9110, 11.1: the name of a scheme is read whatever its case."""
    assert bearer_of(header) == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pulse_",
        KEY[:-1],
        f"{KEY}s",
        KEY.upper(),
        f"pulse_K3V9X2AB_{SECRET}",
        f"pulse_k3v9x2a\u00e9_{SECRET}",
        f"pulse_k3v9x2ab_{'s' * 42}\n",
        f"pulse_k3v9x2ab_{'s' * 42}\x00",
        f" {KEY}",
    ],
)
def test_what_has_not_the_form_of_a_key_names_none(text):
    assert prefix_of(text) is None


def test_a_key_names_itself_by_its_prefix():
    assert prefix_of(KEY) == "k3v9x2ab"


def test_a_key_is_kept_as_its_sha_256():
    """NIST's example of one block; a lone surrogate, as a server may decode one, is no error."""
    assert hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(hash_of("\udcff")) == 64


def test_a_right_key_is_found_by_its_hash_alone():
    index = KeyIndex([LiveKey("k3v9x2ab", hash_of(KEY))])
    assert index.find(f"Bearer {KEY}") == "k3v9x2ab"
    assert "k3v9x2ab" in index
    other = f"pulse_k3v9x2ab_{'t' * 43}"
    for header in (f"Bearer {other}", KEY, f"Basic {KEY}", "Bearer pulse_", f"Bearer x{KEY}"):
        assert index.find(header) is None
    assert KeyIndex().find(f"Bearer {KEY}") is None


def test_what_is_kept_is_no_key():
    """Who reads the table cannot come in with what stands there."""
    index = KeyIndex([LiveKey("k3v9x2ab", hash_of(KEY))])
    assert index.find(f"Bearer {hash_of(KEY)}") is None


def test_a_policy_has_the_keys_that_have_not_ended_and_holds_until_the_next_does():
    keys = [
        LiveKey("ended000", hash_of("a"), expires_at=100.0),
        LiveKey("ends0000", hash_of("b"), expires_at=101.0),
        LiveKey("forever0", hash_of("c")),
    ]
    found = snapshot().with_keys(keys, 100.0)
    assert [key.prefix in found.keys for key in keys] == [False, True, True]
    assert found.valid_until == 101.0
    assert snapshot(valid_until=100.5).with_keys(keys, 100.0).valid_until == 100.5
    assert snapshot().with_keys(keys[2:], 100.0).valid_until is None


def test_a_key_gives_its_tier_after_what_the_policy_assigns():
    """The row of the policy is looked at first, where both have the same priority."""
    paid, trial = tier("paid"), tier("trial")
    keys = [
        LiveKey("k3v9x2ab", hash_of(KEY), tier="paid"),
        LiveKey("missing0", hash_of("b"), tier="gone"),
    ]
    policy = snapshot(paid, trial).with_keys(keys, 0.0)
    assert policy.assigns
    request = facts(api_key="k3v9x2ab")
    assert [rule.name for rule, _, _ in tiers(policy, request)] == ["paid"]
    assert [rule.name for rule, _, _ in tiers(policy, facts(api_key="missing0"))] == ["default"]
    assert [rule.name for rule, _, _ in tiers(policy, facts())] == ["default"]
    named = Assignments(api_keys={"k3v9x2ab": (assignment(trial, "API key k3v9x2ab"),)})
    policy = snapshot(paid, trial, assignments=named).with_keys(keys, 0.0)
    assert [rule.name for rule, _, _ in tiers(policy, request)] == ["trial"]
