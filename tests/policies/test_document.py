"""The policy document: read, applied whole or not at all, written out the same."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulse.exceptions import InvalidDocument
from pulse.policies import current, history, kinds, publisher, reading
from pulse.policies.document import apply, parse, to_yaml
from pulse.policies.models import (
    EndpointLimit,
    Exemption,
    OwnLimit,
    PolicyRevision,
    RateTier,
    TierAssignment,
    TierLimit,
    TrustedProxy,
)
from tests.factories import KIM, default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db

LOGIN = {
    "name": "login", "path": "/accounts/login/", "methods": ["POST"], "key": "ip",
    "limits": [{"rate": "5/m"}], "on_store_error": "closed",
}  # fmt: skip


def whole() -> dict[str, Any]:
    """A document with every kind and every field of the contract."""
    User.objects.get_or_create(username="kim")
    Group.objects.get_or_create(name="paying")
    return doc(
        rate_tiers=[
            default_tier(burst=20, description="All clients", percent=50),
            {
                "name": "paid",
                "address_ceiling": 9,
                "limits": [
                    {"rate": "100/s", "burst": 200},
                    {"rate": "100000/day", "algorithm": "fixed_window"},
                ],
                "starts_at": "2026-01-01T00:00:00Z",
                "ends_at": "2027-01-01T02:00:00+02:00",
            },
        ],
        tier_assignments=[
            {"user": "kim", "tier": "paid", "priority": -3},
            {"group": "paying", "tier": "paid", "mode": "shadow"},
            {"network": "198.51.100.0/24", "tier": "paid"},
            {"header": "X-Plan: gold", "tier": "paid"},
        ],
        endpoint_limits=[
            LOGIN,
            {"name": "search", "url_name": "search", "tier": "paid", "cost": 2},
            {"name": "export", "route": "api/export/", "replaces_tier": True, "mode": "off"},
            {
                "name": "view", "view": "project.shop.views.Search",
                "key": ["user", "header:X-Key", "global"], "limits": ["7/10m"],
            },
        ],
        exemptions=[{"path": "/healthz"}, {"network": "10.0.0.0/8", "description": "us"}],
        trusted_proxies=[{"network": "10.0.0.0/8"}, "192.0.2.1"],
    )  # fmt: skip


def errors_of(found: Any, **options: Any) -> dict[str, list[str]]:
    """The errors of a document that cannot be; and that nothing came of it."""
    before = publisher.document_of_rows(), PolicyRevision.objects.count()
    with pytest.raises(InvalidDocument) as caught:
        apply(parse(found) if isinstance(found, str) else found, KIM, **options)
    assert (publisher.document_of_rows(), PolicyRevision.objects.count()) == before
    return caught.value.errors


# Round trips


def test_what_is_exported_and_applied_again_changes_nothing() -> None:
    """Export, apply with prune: the same document, no revision (S3-23; API 4)."""
    applied = apply(whole(), KIM, prune=True)
    assert applied.changed
    exported = publisher.newest_document()
    for text in (to_yaml(exported), json.dumps(exported)):
        again = apply(parse(text), KIM, prune=True)
        assert (again.changed, again.changes, again.revision) == (False, [], applied.revision)
    assert publisher.newest_document() == publisher.document_of_rows() == exported


def test_defaults_are_written_out() -> None:
    """One item of each kind, exactly."""
    apply(whole(), KIM, prune=True)
    shared = {
        "mode": "enforce",
        "percent": 100,
        "description": "",
        "starts_at": None,
        "ends_at": None,
    }
    found = publisher.newest_document()
    assert found["rate_tiers"][1] == {
        **shared,
        "name": "paid",
        "default": False,
        "address_ceiling": 9,
        "limits": [
            {"rate": "100/s", "burst": 200, "algorithm": "token_bucket"},
            {"rate": "100000/day", "burst": 100000, "algorithm": "fixed_window"},
        ],
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2027-01-01T00:00:00Z",
    }
    assert {"user": "kim", "tier": "paid", "priority": -3, **shared} in found["tier_assignments"]
    assert found["endpoint_limits"][1] == {
        **shared,
        "name": "login",
        "path": "/accounts/login/",
        "methods": ["POST"],
        "key": "ip",
        "replaces_tier": False,
        "require_nonce": False,
        "cost": 1,
        "on_store_error": "closed",
        "limits": [{"rate": "5/m", "burst": 5, "algorithm": "token_bucket"}],
    }
    assert found["exemptions"][1] == {"path": "/healthz", **shared}
    assert found["trusted_proxies"][1] == {"network": "192.0.2.1", **shared}


def test_applying_twice_is_applying_once() -> None:
    """By natural keys; also the rows stay the same rows, at the same version."""
    apply(whole(), KIM)
    rows = list(RateTier.objects.values_list("pk", "version", "updated_at"))
    limits = list(TierLimit.objects.values_list("pk", flat=True))
    assert not apply(whole(), KIM).changed
    assert list(RateTier.objects.values_list("pk", "version", "updated_at")) == rows
    assert list(TierLimit.objects.values_list("pk", flat=True)) == limits


def test_a_field_that_an_item_does_not_name_gets_its_default() -> None:
    """Items are taken whole."""
    apply(doc(endpoint_limits=[LOGIN]), KIM)
    apply(doc(endpoint_limits=[{"name": "login", "path": "/x/", "limits": ["1/s"]}]), KIM)
    row = EndpointLimit.objects.get(name="login")
    assert (row.key, row.methods, row.on_store_error, row.path) == (["client"], [], "local", "/x/")
    assert list(row.limits.values_list("rate", flat=True)) == ["1/s"]


def test_what_is_not_named_stays_unless_it_is_pruned() -> None:
    """With prune, a kind left out is removed too."""
    apply(whole(), KIM)
    apply(doc(exemptions=["/metrics"]), KIM)
    assert EndpointLimit.objects.count() == 4
    assert apply(doc(exemptions=["/metrics"]), KIM, prune=True).changed
    assert not RateTier.objects.exists()
    assert not TierAssignment.objects.exists()
    assert [str(row) for row in Exemption.objects.all()] == ["/metrics"]


def test_pruning_removes_what_names_before_what_is_named() -> None:
    """A tier goes together with the rules that name it, in any order of the document."""
    apply(whole(), KIM, prune=True)
    kept = doc(rate_tiers=[default_tier()])
    actions = [(c["kind"], c["action"]) for c in apply(kept, KIM, prune=True).changes]
    assert ("rate_tiers", "delete") in actions
    assert ("tier_assignments", "delete") in actions


def test_a_tier_in_use_cannot_be_pruned_while_something_names_it() -> None:
    """The document names the rule and not its tier: said, not crashed."""
    apply(whole(), KIM, prune=True)
    rule = {"name": "search", "url_name": "search", "tier": "paid"}
    assert "document" in errors_of(doc(endpoint_limits=[rule]), prune=True)


@pytest.mark.parametrize(
    ("kind", "short", "field"),
    [
        ("exemptions", "/healthz", {"path": "/healthz"}),
        ("exemptions", "10.0.0.0/8", {"network": "10.0.0.0/8"}),
        ("exemptions", "2001:db8::/32", {"network": "2001:db8::/32"}),
        ("trusted_proxies", "10.0.0.0/8", {"network": "10.0.0.0/8"}),
    ],
)
def test_a_bare_string_is_an_item_with_that_field(kind: str, short: str, field) -> None:
    """Read, never written (API 1)."""
    apply(doc(**{kind: [short]}), KIM, prune=True)
    assert publisher.newest_document()[kind][0].items() >= field.items()
    assert not apply(doc(**{kind: [field]}), KIM, prune=True).changed


def test_a_dry_run_tells_everything_and_changes_nothing() -> None:
    """The same changes as the real one after it."""
    before = publisher.document_of_rows()
    revision = PolicyRevision.objects.latest("number").number
    tried = apply(whole(), KIM, dry_run=True)
    assert (tried.changed, tried.dry_run, tried.revision) == (True, True, revision)
    assert publisher.document_of_rows() == before
    done = apply(whole(), KIM)
    assert done.changes == tried.changes
    assert done.revision == revision + 1


def test_a_dry_run_within_an_edit_leaves_the_edit_alone() -> None:
    """What it tried is gone, what the edit did before and after is not."""
    with publisher.edit(KIM, source="admin") as edit:
        Exemption.objects.create(path="/one")
        assert apply(doc(exemptions=["/tried"]), KIM, dry_run=True).changed
        Exemption.objects.create(path="/two")
    paths = {item.get("path") for item in edit.revision.document["exemptions"]}
    assert {"/one", "/two"} <= paths
    assert "/tried" not in paths


def test_a_refused_document_within_an_edit_leaves_nothing_of_itself() -> None:
    """Who catches the error keeps what was done beside it."""
    bad = doc(exemptions=["/half"], trusted_proxies=["everyone"])
    with publisher.edit(KIM, source="admin"):
        with pytest.raises(InvalidDocument):
            apply(bad, KIM)
        Exemption.objects.create(path="/mine")
    assert not Exemption.objects.filter(path="/half").exists()
    assert Exemption.objects.filter(path="/mine").exists()


# The default tier


def test_the_default_changes_hands_in_one_document() -> None:
    """The old one gives the mark away before the new one takes it."""
    tiers = [default_tier(), {"name": "other", "limits": ["1/s"]}]
    apply(doc(rate_tiers=tiers), KIM, prune=True)
    tiers[0]["default"], tiers[1]["default"] = False, True
    assert apply(doc(rate_tiers=tiers), KIM).changed
    assert RateTier.objects.get(default=True).name == "other"
    assert apply(doc(rate_tiers=tiers[::-1]), KIM).changed is False


def test_a_pruned_default_gives_way_to_the_new_one() -> None:
    """The document is the whole truth: the old default is gone, so there is one."""
    other = {"name": "other", "default": True, "limits": ["1/s"]}
    assert apply(doc(rate_tiers=[other]), KIM, prune=True).changed
    assert list(RateTier.objects.values_list("name", "default")) == [("other", True)]


def test_going_back_to_a_revision_of_another_default() -> None:
    """Rolling back is applying with prune."""
    number = PolicyRevision.objects.latest("number").number
    apply(doc(rate_tiers=[{"name": "b", "default": True, "limits": ["1/s"]}]), KIM, prune=True)
    history.rollback(number, KIM)
    assert list(RateTier.objects.values_list("name", "default")) == [("default", True)]


def test_a_second_default_is_told_at_its_place() -> None:
    """In one document, or beside a tier that the document does not name."""
    text = "Another tier is the default. Write “{}” with default: false."
    other = {"name": "other", "default": True, "limits": ["1/s"]}
    assert errors_of(doc(rate_tiers=[other])) == {"rate_tiers.0.default": [text.format("default")]}
    assert errors_of(doc(rate_tiers=[default_tier(), other])) == {
        "rate_tiers.0.default": [text.format("other")]
    }


def test_no_default_at_all_is_a_policy() -> None:
    """Then nobody has one."""
    assert apply(doc(), KIM, prune=True).changed
    assert current.current_snapshot().default_tier is None


# What cannot be


@pytest.mark.parametrize(
    ("found", "place", "text"),
    [
        ({"version": 2}, "version", "Only version 1 is known."),
        ({"version": True}, "version", "Only version 1 is known."),
        ({"version": "1"}, "version", "Only version 1 is known."),
        ({"version": 1.0}, "version", "Only version 1 is known."),
        (doc(rate_tier=[]), "rate_tier", "Unknown kind."),
        (doc(rate_tiers={}), "rate_tiers", "Write a list."),
        (doc(rate_tiers=None), "rate_tiers", "Write a list."),
        (doc(rate_tiers=[7]), "rate_tiers.0", "Write a mapping of fields."),
        (doc(rate_tiers=["x"]), "rate_tiers.0", "Write a mapping of fields."),
        (doc(exemptions=[["/x"]]), "exemptions.0", "Write a mapping of fields."),
        (doc(exemptions=[{}]), "exemptions.0", "Name either a path or a network."),
        (doc(exemptions=["/x", "/x"]), "exemptions.1", "The document names this twice."),
        (doc(exemptions=["/x", {"path": " /x "}]), "exemptions.1", "names this twice."),
        (doc(exemptions=["/x", {"pfad": "/y"}]), "exemptions.1.pfad", "Unknown field."),
        (doc(trusted_proxies=["everyone"]), "trusted_proxies.0.network", "is not a network"),
        (doc(trusted_proxies=["10.0.0.1/8"]), "trusted_proxies.0.network", "Did you mean"),
        (doc(rate_tiers=[{"limits": ["1/s"]}]), "rate_tiers.0.name", "cannot be blank"),
        (doc(rate_tiers=[{"name": "Ä", "limits": ["1/s"]}]), "rate_tiers.0.name", "small letters"),
        (doc(rate_tiers=[{"name": "x"}]), "rate_tiers.0.limits", "at least one limit"),
        (doc(rate_tiers=[{"name": "x", "limits": "1/s"}]), "rate_tiers.0.limits", "Write a list"),
        (doc(rate_tiers=[{"name": "x", "limits": [1]}]), "rate_tiers.0.limits.0", "Write a limit"),
        (
            doc(rate_tiers=[{"name": "x", "limits": ["1/s"] * 9}]),
            "rate_tiers.0.limits",
            "At most 8 limits.",
        ),
    ],
)  # fmt: skip
def test_the_shape_is_told_at_its_place(found, place: str, text: str) -> None:
    """In plain words, and nothing is changed."""
    errors = errors_of(found)
    assert text in " ".join(errors[place])


@pytest.mark.parametrize(
    ("limits", "place", "text"),
    [
        (["many"], "0.rate", '"many" is not a rate. Write a count and a unit, such as 10/s.'),
        (["0/s"], "0.rate", "lets nothing through"),
        (["10/0s"], "0.rate", "has no period"),
        ([{"rate": 10}], "0.rate", "Write a count and a unit, such as 10/s."),
        ([{}], "0.rate", "Write a count and a unit"),
        ([{"rate": "10/s", "burst": "20"}], "0.burst", "Write a whole number."),
        ([{"rate": "10/s", "burst": True}], "0.burst", "Write a whole number."),
        ([{"rate": "10/s", "burst": 0}], "0.burst", "greater than or equal to 1"),
        ([{"rate": "10/s", "burst": 2_000_000_000}], "0.burst", "is not a burst"),
        ([{"rate": "1/365d", "burst": 1_000_000}], "0.burst", "more than a century"),
        ([{"rate": "10/s", "algorithm": "leaky"}], "0.algorithm", "not a valid choice"),
        ([{"rate": "10/s", "algorithm": None}], "0.algorithm", "cannot be null"),
        ([{"rate": "10/s", "algorithm": ["x"]}], "0.algorithm", "not a valid choice"),
        ([{"rate": "10/s", "speed": 1}], "0.speed", "Unknown field."),
        (
            [{"rate": "5/m", "burst": 9, "algorithm": "fixed_window"}],
            "0.burst",
            "A fixed window has no burst.",
        ),
        (
            ["100/m", "50/d"],
            "1.rate",
            "50/d allows less than 100/m in a longer time, so 100/m could never be used up.",
        ),
        (["10/s", {"rate": "10/s", "burst": 30}], "1.rate", "This limit is there already."),
    ],
)
def test_impossible_limits_are_told_at_their_place(limits, place: str, text: str) -> None:
    """A day below the minute, a burst nobody could earn, a rate that is none (issue "Policies")."""
    errors = errors_of(doc(rate_tiers=[{"name": "x", "limits": limits}]))
    assert text in " ".join(errors[f"rate_tiers.0.limits.{place}"])


@pytest.mark.parametrize(
    ("fields", "place", "text"),
    [
        ({"limits": []}, ".limits", "It limits nothing"),
        ({"tier": "default"}, ".limits", "Either limits of its own or those of a tier."),
        ({"tier": "nobody", "limits": []}, ".tier", "There is no rate tier “nobody”."),
        ({"tier": 7}, ".tier", "Write a name."),
        ({"path": ""}, "", "Say which endpoints"),
        ({"url_name": "search"}, ".path", "Name endpoints in one way only"),
        ({"path": "", "url_name": "serach"}, ".url_name", "Did you mean search?"),
        ({"path": "", "route": "api/nope/"}, ".route", "No route of this site has it."),
        ({"path": "", "view": "nope"}, ".view", "No route of this site has it."),
        ({"path": "api/"}, ".path", "Start it with a slash"),
        ({"path": "/%61"}, ".path", "percent-encoded"),
        ({"methods": "POST"}, ".methods", "Write a list of methods"),
        ({"methods": ["BREW"]}, ".methods", "BREW: not a method."),
        ({"methods": ["GET", "GET"]}, ".methods", "A method is named twice."),
        ({"methods": [7]}, ".methods", "Write a list of methods"),
        ({"key": []}, ".key", "cannot be blank"),
        ({"key": "nobody"}, ".key", "“nobody” cannot be counted."),
        ({"key": "header:"}, ".key", "cannot be counted"),
        ({"key": "header:X Y"}, ".key", "cannot be counted"),
        ({"key": ["ip", "ip"]}, ".key", "A part is named twice."),
        ({"key": {"ip": 1}}, ".key", "Say what is counted"),
        ({"cost": 0}, ".cost", "greater than or equal to 1"),
        ({"cost": -1}, ".cost", "greater than or equal to"),
        ({"cost": 1.5}, ".cost", "Write a whole number."),
        ({"cost": 6}, ".limits.0.rate", "nothing would ever pass"),
        ({"on_store_error": "panic"}, ".on_store_error", "not a valid choice"),
        ({"replaces_tier": "yes"}, ".replaces_tier", "Write true or false."),
        ({"mode": "on"}, ".mode", "not a valid choice"),
        ({"percent": 101}, ".percent", "less than or equal to 100"),
        ({"percent": False}, ".percent", "Write a whole number."),
        ({"percent": "50"}, ".percent", "Write a whole number."),
        ({"description": 7}, ".description", "Write a text."),
        ({"starts_at": "soon"}, ".starts_at", "Write a time such as"),
        ({"starts_at": 1700000000}, ".starts_at", "Write a time such as"),
        ({"starts_at": "2027-02-30T00:00:00Z"}, ".starts_at", "Write a time such as"),
        ({"starts_at": "2027-01-01T00:00:00"}, ".starts_at", "Name the time zone"),
        ({"ends_at": "9999-12-31T23:59:59Z"}, ".ends_at", "Write a year from 1970 to 9998."),
        ({"starts_at": "0001-01-01T00:00:00Z"}, ".starts_at", "Write a year from 1970"),
        ({"ends_at": "2027-01-01"}, ".ends_at", "Name the time zone"),
        ({"ends_at": "9999-12-31T23:59:59-12:00"}, ".ends_at", "Write a year from"),
        (
            {"starts_at": "2027-01-02T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"},
            ".ends_at",
            "It ends before it starts.",
        ),
        ({"name": "x" * 65}, ".name", "at most 64"),
    ],
)
def test_impossible_values_are_told_at_their_field(fields, place: str, text: str) -> None:
    """Each said in plain words where it stands."""
    errors = errors_of(doc(endpoint_limits=[{**LOGIN, **fields}]))
    assert text in " ".join(errors[f"endpoint_limits.0{place}"]), errors


def test_all_errors_come_at_once() -> None:
    """In every kind; nothing is guessed from what failed before."""
    errors = errors_of(
        doc(
            rate_tiers=[{"name": "new", "limits": ["many"]}],
            endpoint_limits=[{"name": "x", "path": "/x", "tier": "new", "percent": 700}],
            exemptions=["/ok", "/b a d"],
        )
    )
    assert set(errors) == {
        "rate_tiers.0.limits.0.rate", "endpoint_limits.0.percent", "exemptions.1.path",
    }  # fmt: skip


@pytest.mark.parametrize("from_tier", [True, False])
def test_a_cost_above_the_tier_that_a_rule_takes_its_limits_from(from_tier: bool) -> None:
    """Nothing would ever pass: whichever of the two is edited."""
    rule = {"name": "x", "path": "/x", "tier": "small", "cost": 6}
    tier = {"name": "small", "limits": ["10/s"]}
    if from_tier:
        apply(doc(rate_tiers=[tier], endpoint_limits=[rule]), KIM)
        errors = errors_of(doc(rate_tiers=[{**tier, "limits": ["5/s"]}]))
        place = "endpoint_limits.x.cost"
    else:
        apply(doc(rate_tiers=[{**tier, "limits": ["5/s"]}]), KIM)
        errors = errors_of(doc(endpoint_limits=[rule]))
        place = "endpoint_limits.0.cost"
    assert "nothing would ever pass" in errors[place][0]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"tier": "default"}, "Say who: a user, a group, an API key, a network or a header."),
        ({"user": "nobody", "tier": "default"}, "There is no user “nobody”."),
        ({"group": "nobody", "tier": "default"}, "There is no group “nobody”."),
        ({"network": "10.0.0.0/8", "tier": "none"}, "There is no rate tier “none”."),
        ({"network": "10.0.0.0/8"}, "This is required."),
        ({"network": "10.0.0.0/8", "header": "X: y", "tier": "default"}, "Name only one"),
        ({"header": "X-Plan", "tier": "default"}, "Write the header's name and value"),
        ({"header": "X-Plan: ä\ty", "tier": "default"}, "A header has no such value."),
        ({"network": "10.0.0.0/8", "tier": "default", "priority": "high"}, "Write a whole number."),
        ({"user": ["kim"], "tier": "default"}, "Write a name."),
    ],
)
def test_impossible_assignments_are_told(item, text: str) -> None:
    """Nobody, two, or one who is not there."""
    errors = errors_of(doc(tier_assignments=[item]))
    assert text in str(errors)


def test_a_contradiction_that_only_the_database_sees_is_an_error_of_the_document(
    monkeypatch,
) -> None:
    """Whatever constraint is hit, the document is refused as a whole."""

    def fail(*args: object, **kwargs: object) -> None:
        raise IntegrityError("UNIQUE constraint failed")

    monkeypatch.setattr(Exemption, "save", fail)
    assert "UNIQUE" in errors_of(doc(exemptions=["/x"]))["document"][0]


# Natural keys


def test_blanks_around_a_name_are_not_part_of_it() -> None:
    """Neither the first time nor the second."""
    spaced = doc(
        rate_tiers=[{"name": " paid ", "limits": [{"rate": " 10/s "}]}],
        exemptions=[" /x ", {"network": " 10.0.0.0/8 "}],
    )  # fmt: skip
    assert apply(spaced, KIM).changed
    assert not apply(spaced, KIM).changed
    assert RateTier.objects.filter(name="paid").exists()


def test_a_group_is_named_to_the_letter() -> None:
    """Blanks are part of what Django calls it, and case too; also over export."""
    Group.objects.create(name=" the  Team ")
    found = doc(tier_assignments=[{"group": " the  Team ", "tier": "default"}])
    apply(found, KIM)
    assert not apply(found, KIM).changed
    assert not apply(parse(to_yaml(publisher.newest_document())), KIM, prune=True).changed


@pytest.mark.parametrize(
    "name",
    [
        "on",
        "off",
        "no",
        "null",
        "1",
        "1e3",
        "0x10",
        "~",
        "ä ö",
        "日本",
        "a: b",
        "2027-01-01",
        "'",
        "#x",
    ],
)
def test_names_that_yaml_reads_otherwise_survive_export(name: str) -> None:
    """A group called ``no`` is no boolean, and one called 1 no number."""
    Group.objects.create(name=name)
    apply(doc(tier_assignments=[{"group": name, "tier": "default"}]), KIM)
    text = to_yaml(publisher.newest_document())
    assert not apply(parse(text), KIM, prune=True).changed
    assert parse(text)["tier_assignments"][0]["group"] == name


def test_only_the_users_that_are_named_are_read(django_assert_max_num_queries) -> None:
    """A document with one user does not load a million others."""
    User.objects.bulk_create(User(username=f"u{n}") for n in range(50))
    found = doc(tier_assignments=[{"user": f"u{n}", "tier": "default"} for n in range(5)])
    apply(found, KIM)
    with django_assert_max_num_queries(40) as queries:
        apply(found, KIM)
    asked = [q["sql"] for q in queries if '"auth_user"."username" IN' in q["sql"]]
    assert len(asked) == 1


def test_kinds_that_have_no_rows_are_not_read(django_assert_max_num_queries) -> None:
    apply(doc(), KIM)
    with django_assert_max_num_queries(40) as queries:
        assert apply(doc(exemptions=["/x/"]), KIM).changed
    of_others = [q["sql"] for q in queries if '"pulse_headerpolicy"."id"' in q["sql"]]
    assert of_others == []


@pytest.mark.parametrize("prune", [False, True])
def test_rows_that_stay_as_they_are_keep_their_version(prune: bool) -> None:
    """Where their kind is written, and where it is not."""
    apply(doc(exemptions=["/a/", "/b/"], trusted_proxies=["10.0.0.0/8"]), KIM)

    def versions() -> dict[str, int]:
        rows = [*Exemption.objects.all(), *TrustedProxy.objects.all()]
        return {str(row): row.version for row in rows}

    before = versions()
    written = doc(exemptions=["/a/", {"path": "/b/", "description": "other"}])
    if prune:
        written["trusted_proxies"] = ["10.0.0.0/8"]
    apply(written, KIM, prune=prune)
    changed = [name for name, version in versions().items() if before[name] != version]
    assert {"/a/", "/b/"} < before.keys()
    assert changed == [str(Exemption.objects.get(path="/b/"))]


# Text


@pytest.mark.parametrize(
    "text",
    [
        *("", "7", "[]", "- a", "just words", "{", "a: [", "a: b: c", "{a: 1", "\t", "\x00", "%"),
        *("&a [*a]", "!!python/object/apply:os.system [ls]", "!!python/name:os.system"),
        *("? [1]\n: 2", "a: 2027-13-01", '{"a": 1, "a": 2}', "a: 1\na: 2", "a: !!binary x"),
        *("{" * 100_000, "[" * 100_000, "- " * 100_000, '{"a":' * 100_000, "? " * 100_000),
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_no_document_is_refused(text: str) -> None:
    """No exception but one, and nothing is run."""
    with pytest.raises(InvalidDocument):
        apply(parse(text), KIM)


def test_a_kind_written_twice_is_refused_in_both_notations() -> None:
    """Of two lists one would be lost in silence, and with prune the rules in it."""
    text = "version: 1\nexemptions: [/a]\nexemptions: [/b]\n"
    assert "“exemptions” is written twice" in str(errors_of(text))
    text = '{"version": 1, "exemptions": ["/a"], "exemptions": ["/b"]}'
    assert "“exemptions” is written twice" in str(errors_of(text))
    assert "“name”" in str(errors_of("version: 1\nrate_tiers: [{name: a, name: b}]"))


def test_off_is_a_mode() -> None:
    """YAML 1.1 would read ``mode: off`` as ``false``."""
    apply(parse("version: 1\nexemptions: [{path: /x, mode: off}]\n"), KIM)
    assert Exemption.objects.get(path="/x").mode == "off"
    apply(parse("version: 1\nexemptions: [{path: /x, mode: OFF}]\n".replace("OFF", '"off"')), KIM)
    assert Exemption.objects.get(path="/x").mode == "off"


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y"])
def test_only_true_and_false_are_booleans(word: str) -> None:
    """As in YAML 1.2 and JSON."""
    text = f"version: 1\nrate_tiers: [{{name: a, default: {word}, limits: [1/s]}}]"
    assert errors_of(text)["rate_tiers.0.default"] == ["Write true or false."]
    assert (
        apply(parse(text.replace(f": {word}", ": False")), KIM, dry_run=True).dry_run is not False
    )


def test_times_that_yaml_reads_as_times_are_times() -> None:
    """Quoted or not, the same moment."""
    for time in ("2027-01-01T00:00:00Z", '"2027-01-01T00:00:00Z"', "2027-01-01 02:00:00 +02:00"):
        apply(parse(f"version: 1\nexemptions: [{{path: /x, ends_at: {time}}}]"), KIM)
        assert Exemption.objects.get(path="/x").ends_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_date_where_a_name_belongs_is_told() -> None:
    """``name: 2027-01-01`` is a date to YAML."""
    errors = errors_of("version: 1\nrate_tiers: [{name: 2027-01-01, limits: [1/s]}]")
    assert errors["rate_tiers.0.name"] == ["Write a text."]
    errors = errors_of("version: 1\nexemptions: [{path: /x, ends_at: 2027-01-01}]")
    assert "Write a time" in errors["exemptions.0.ends_at"][0]


def test_anchors_are_welcome() -> None:
    """Limits that several tiers share are written once."""
    apply(
        parse("version: 1\nrate_tiers: [{name: a, limits: &l [1/s]}, {name: b, limits: *l}]"), KIM
    )
    assert TierLimit.objects.filter(tier__name__in="ab", rate="1/s").count() == 2


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    """Nine levels of nine are a thousand million values in two hundred bytes."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for one, other in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{other}: &{other} [{','.join([f'*{one}'] * 9)}]\n"
    assert "repeat too much" in str(errors_of("version: 1\n" + bomb))
    for place in ("rate_tiers: [{name: *i}]", "endpoint_limits: [{key: *i}]", "rate_tiers: *i"):
        assert "repeat too much" in str(errors_of(f"version: 1\n{bomb}{place}"))
    assert "too deep" in str(errors_of("version: 1\nrate_tiers: &a [*a]"))


def test_aliases_may_repeat_what_people_write() -> None:
    text = "limits: &some [1/s, 2/m]\nall: [" + ", ".join(["*some"] * 1000) + "]"
    assert len(reading.load(text)["all"]) == 1000


def test_many_values_are_not_taken_for_aliases() -> None:
    text = "all: [" + ",".join("x" * 150_000) + "]"
    assert len(reading.load(text)["all"]) == 150_000


@pytest.mark.parametrize(
    "value",
    [
        *("\x00", "a\x00b", "\ud800", 10**30, -(10**30)),
        *({7: 1}, {None: 1}, {"\ud800": 1}, b"x", {1, 2}, object()),
    ],
)
@pytest.mark.parametrize("place", ["description", "name", "key", "unknown"])
def test_what_no_database_could_hold_is_refused(value, place: str) -> None:
    """NUL, half characters, numbers beyond 64 bits, types that JSON has not."""
    assert errors_of(doc(endpoint_limits=[{**LOGIN, place: value}]))


def test_a_document_above_32_megabytes_is_not_read() -> None:
    """Nor parsed before it is refused."""
    with pytest.raises(InvalidDocument, match="larger than 32 MB"):
        parse(" " * (reading.MAX_TEXT + 1))


def test_letters_of_every_kind_survive() -> None:
    """In both notations."""
    words = "Grüße, 日本, emoji 🙂, quote ' \" and\nnew line"
    apply(doc(exemptions=[{"path": "/日本", "description": words}]), KIM)
    exported = publisher.newest_document()
    for text in (to_yaml(exported), json.dumps(exported)):
        assert not apply(parse(text), KIM, prune=True).changed
    assert Exemption.objects.get(path="/日本").description == words


# Anything at all

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)), st.binary(max_size=3),
    st.sampled_from(["10/s", "default", "enforce", "/api/", "10.0.0.0/8", "GET", "x"]),
)  # fmt: skip
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


def _good() -> dict[str, Any]:
    return {
        "rate_tiers": {"name": "x", "limits": [{"rate": "10/s"}]},
        "tier_assignments": {"network": "10.0.0.0/8", "tier": "default"},
        "endpoint_limits": dict(LOGIN),
        "exemptions": {"path": "/x"},
        "trusted_proxies": {"network": "10.0.0.0/8"},
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_value_in_any_field_is_taken_or_told(data) -> None:
    """Only ``InvalidDocument`` comes out, and then nothing was changed."""
    kind = data.draw(st.sampled_from(sorted(_good())))
    item = _good()[kind]
    field = data.draw(st.sampled_from(kinds.find_kind(kind).all_fields) | st.text(max_size=4))
    value = data.draw(_values)
    if data.draw(st.booleans()) and "limits" in item:
        item["limits"] = [
            {**item["limits"][0], data.draw(st.sampled_from(["rate", "burst", "algorithm"])): value}
        ]
    else:
        item[field] = value
    before = publisher.document_of_rows()
    try:
        apply(doc(**{kind: [item]}), KIM, dry_run=True)
    except InvalidDocument as error:
        assert error.errors
        assert all(isinstance(place, str) and texts for place, texts in error.errors.items())
    assert publisher.document_of_rows() == before


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["version", "rate_tiers", "exemptions", "x"]) | st.integers(),
        _values,
        max_size=4,
    )
)
def test_any_mapping_is_a_document_or_told(found) -> None:
    """As it comes from a caller that parsed it elsewhere."""
    try:
        apply(found, KIM, dry_run=True)
    except InvalidDocument as error:
        assert error.errors


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[-{}\[\]:,&*!?|>'\"%@a1 \n]{0,40}", fullmatch=True))
def test_any_text_is_a_mapping_or_told(text: str) -> None:
    """The parser raises nothing else."""
    try:
        assert isinstance(parse(text), dict)
    except InvalidDocument as error:
        assert set(error.errors) == {"document"}


def test_a_date_is_no_datetime_to_the_storable_check() -> None:
    """Dates pass the door, so that the field can say what it wants instead."""
    errors = errors_of(doc(exemptions=[{"path": "/x", "starts_at": date(2027, 1, 1)}]))
    assert "exemptions.0.starts_at" in errors


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\0b", "It has a character that cannot be stored."),
        (2**63, "Write a number that is finite, and between -2^63 and 2^63."),
        (float("nan"), "Write a number that is finite, and between -2^63 and 2^63."),
        ({1}, "No JSON has a value of this kind."),
    ],
)
def test_what_no_database_holds_is_told_by_its_place(value, text: str) -> None:
    errors = errors_of(doc(header_policies=[{"name": "h", "headers": {"X-A": value}}]))
    assert errors == {"header_policies.0.headers.X-A": [text]}


def test_own_limits_go_with_their_rule() -> None:
    """Nothing is left of a rule that is pruned."""
    apply(doc(endpoint_limits=[LOGIN]), KIM)
    apply(doc(), KIM, prune=True)
    assert not OwnLimit.objects.exists()
