"""Two documents compared, and the chain of their hashes."""

from pulse.core.document import canonical, chain_hash, difference, key_of

KEYS = {"rate_tiers": ("name",), "tier_assignments": ("user", "group", "tier")}


def test_canonical_text_does_not_depend_on_order() -> None:
    """One document has one text, and keeps its letters."""
    assert canonical({"b": 1, "a": ["ä"]}) == canonical({"a": ["ä"], "b": 1}) == '{"a":["ä"],"b":1}'


def test_the_chain_binds_content_and_what_went_before() -> None:
    """Another predecessor or another content is another hash."""
    hashes = {chain_hash(before, {"n": n}) for before in ("", "x") for n in (1, 2)}
    assert len(hashes) == 4
    assert all(len(text) == 64 for text in hashes)


def test_a_key_is_what_of_it_is_set() -> None:
    """Empty and absent fields are no part of a natural key; nought is."""
    item = {"user": None, "group": "", "tier": "paid", "priority": 0}
    assert key_of(item, ("user", "group", "tier", "priority")) == {"tier": "paid", "priority": 0}


def test_nothing_differs() -> None:
    """A kind left out and an empty one are the same."""
    assert difference({"rate_tiers": []}, {}, KEYS) == []
    same = {"rate_tiers": [{"name": "a", "limits": []}]}
    assert difference(same, same, KEYS) == []


def test_what_was_made_changed_and_removed_is_listed() -> None:
    """In the order of kinds and keys, with both sides of each field that differs."""
    before = {"rate_tiers": [{"name": "a", "percent": 1}, {"name": "gone", "percent": 2}]}
    after = {
        "rate_tiers": [{"name": "a", "percent": 3}, {"name": "new", "percent": 4}],
        "tier_assignments": [{"user": "kim", "tier": "a"}],
    }
    changes = difference(before, after, KEYS)
    assert [(c["action"], c["kind"], c["key"]) for c in changes] == [
        ("update", "rate_tiers", {"name": "a"}),
        ("delete", "rate_tiers", {"name": "gone"}),
        ("create", "rate_tiers", {"name": "new"}),
        ("create", "tier_assignments", {"user": "kim", "tier": "a"}),
    ]
    assert changes[0]["fields"] == {"percent": {"before": 1, "after": 3}}
    assert changes[1]["fields"] == {
        "name": {"before": "gone", "after": None}, "percent": {"before": 2, "after": None},
    }  # fmt: skip


def test_a_field_that_went_is_told() -> None:
    """Also when the other side does not name it."""
    changes = difference(
        {"rate_tiers": [{"name": "a", "path": "/x"}]}, {"rate_tiers": [{"name": "a"}]}, KEYS
    )
    assert changes[0]["fields"] == {"path": {"before": "/x", "after": None}}
