"""Two documents compared, and the chain of their hashes."""

from pulse.core.document import canonical, chain_hash, difference, key_of, take_back

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


def tiers(**rates: str) -> dict[str, list[dict[str, str]]]:
    return {"rate_tiers": [{"name": name, "rate": rate} for name, rate in sorted(rates.items())]}


def test_what_an_edit_did_is_taken_back_from_what_it_made() -> None:
    """Added, changed and deleted: all as before."""
    before, made = tiers(a="1", b="1"), tiers(b="2", c="1")
    assert take_back(made, made, before, KEYS) == before


def test_what_was_changed_since_stays() -> None:
    """A row that was added and changed, one that came back, one that is something else by now."""
    before, made = tiers(a="1", b="1"), tiers(b="2", c="1")
    later = tiers(a="9", b="3", c="5", d="1")
    assert take_back(later, made, before, KEYS) == later


def test_a_field_that_is_as_the_edit_made_it_goes_back_alone() -> None:
    """Whatever else of the row was changed since; one that is gone stays gone."""
    row = {"name": "a", "rate": "1", "burst": "1", "description": ""}
    before = {"rate_tiers": [row, {"name": "b", "rate": "1"}]}
    made = {"rate_tiers": [{**row, "rate": "2", "burst": "2"}, {"name": "b", "rate": "2"}]}
    later = {"rate_tiers": [{**row, "rate": "2", "burst": "3", "description": "x"}]}
    assert take_back(later, made, before, KEYS) == {
        "rate_tiers": [{**row, "rate": "1", "burst": "3", "description": "x"}]
    }


def test_a_field_that_was_cleared_comes_back_and_one_that_was_added_goes() -> None:
    """An item leaves out what is empty."""
    before = {"rate_tiers": [{"name": "a", "bytes": 1, "burst": "1"}]}
    made = {"rate_tiers": [{"name": "a", "rate": "2", "burst": "1"}]}
    assert take_back(made, made, before, KEYS) == before
    later = {"rate_tiers": [{"name": "a", "rate": "3", "burst": "4"}]}
    assert take_back(later, made, before, KEYS) == {
        "rate_tiers": [{"name": "a", "rate": "3", "burst": "4", "bytes": 1}]
    }


def test_words_do_not_keep_what_was_added() -> None:
    """A description is not what a row does."""
    made = {"rate_tiers": [{"name": "a", "rate": "1", "description": ""}]}
    later = {"rate_tiers": [{"name": "a", "rate": "1", "description": "on trial"}]}
    assert take_back(later, made, {}, KEYS) == {"rate_tiers": []}
