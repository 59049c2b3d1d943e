"""Access rules in the admin: list, form, many at once, and not being locked out."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import override_settings
from django.utils import timezone

from pulse.admin import access
from pulse.exceptions import InvalidNetwork
from pulse.policies import document, publisher
from pulse.policies.edge import AccessRule
from pulse.policies.models import PolicyRevision
from pulse.store import buckets
from tests.admin.conftest import errors, form_data, revision, told, url

EVE = "203.0.113.0/24"


def rows() -> list[tuple[str, str, str]]:
    return list(AccessRule.objects.values_list("network", "path", "action"))


def add(operator: Any, network: str, **fields: Any) -> Any:
    usual = {"path": "/", "action": "deny", "mode": "enforce", "percent": "100"}
    return operator.post("accessrule_add", network=network, **{**usual, **fields})


def apply(*rules: Any) -> None:
    document.apply({"version": 1, "access_rules": list(rules)}, publisher.SYSTEM)


def page(response: Any) -> str:
    return response.content.decode()


def test_a_rule_is_added_as_one_revision_with_both_reasons(kim) -> None:
    """Why the rule is there, and why it was changed, are two texts."""
    before = revision()
    response = add(kim, EVE, why="scrapes us", reason="ticket 12")
    assert response.status_code == 302
    row = AccessRule.objects.get()
    assert (row.reason, row.version) == ("scrapes us", 1)
    newest = PolicyRevision.objects.first()
    assert (newest.number, newest.reason) == (before + 1, "ticket 12")
    assert newest.document["access_rules"][0]["reason"] == "scrapes us"


def test_the_end_can_be_told_as_a_time_from_now(kim) -> None:
    """Without reckoning, and without script."""
    add(kim, EVE, ends_in="1h")
    row = AccessRule.objects.get()
    assert abs(row.ends_at - timezone.now() - timedelta(hours=1)) < timedelta(minutes=1)
    assert kim.save("accessrule_change", row.pk, ends_in="1w").status_code == 302
    row.refresh_from_db()
    assert abs(row.ends_at - timezone.now() - timedelta(weeks=1)) < timedelta(minutes=1)
    assert row.version == 2


def test_only_the_reason_changes_and_is_saved(kim) -> None:
    apply({"network": EVE, "reason": "old"})
    row = AccessRule.objects.get()
    form = kim.get("accessrule_change", row.pk)
    assert 'value="old"' in page(form)
    assert "Clients from 203.0.113.0/24 are refused everywhere. Why: old." in page(form)
    kim.save("accessrule_change", row.pk, why="new", reason="typo")
    row.refresh_from_db()
    assert (row.reason, row.version) == ("new", 2)
    assert kim.save("accessrule_change", row.pk).status_code == 302
    row.refresh_from_db()
    assert row.version == 2


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("203.0.113.9/32", "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("2001:db8::1/128", "2001:db8::1"),
    ],
)
def test_a_network_is_kept_in_its_shortest_form(kim, typed: str, kept: str) -> None:
    add(kim, typed)
    assert rows() == [(kept, "/", "deny")]


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("203.0.113.9/24", "has host bits set. Did you mean 203.0.113.0/24?"),
        ("300.0.0.1", "is not a network."),
        ("::ffff:203.0.113.9", "is IPv4 written as IPv6."),
    ],
)
def test_what_is_no_network_says_what_is_meant(kim, typed: str, text: str) -> None:
    assert text in errors(add(kim, typed))["network"][0]


def test_one_network_has_one_rule_for_a_path_however_it_is_written(kim) -> None:
    apply({"network": "203.0.113.9/32"})
    for typed in ("203.0.113.9", "203.0.113.9/32"):
        assert "has a rule for this path already" in str(errors(add(kim, typed)))
    assert add(kim, "203.0.113.9", path="/api/").status_code == 302


def test_the_list_tells_what_each_rule_did(kim) -> None:
    """Action, reason, mode with its end, and what it refused in a day (S3-13)."""
    apply(
        {"network": EVE, "reason": "scrapes us", "ends_at": "2999-01-01T00:00:00Z"},
        {"network": "203.0.113.7", "action": "allow"},
        {"network": "2001:db8::/32", "path": "/api/", "mode": "shadow"},
    )
    buckets.add(buckets.REFUSED, f"access_rules:{EVE} /", 12)
    buckets.add(buckets.WOULD_REFUSE, "access_rules:2001:db8::/32 /api/", 34)
    shown = page(kim.get("accessrule_changelist"))
    for text in ("✕</span> Deny", "✓</span> Allow", "scrapes us", "◷ until", "12 refused"):
        assert text in shown
    assert "34 would refuse" in shown
    assert "12 refused" not in page(kim.get("accessrule_changelist", action__exact="allow"))
    assert "2001:db8" in page(kim.get("accessrule_changelist", q="/api/"))


def test_an_address_finds_the_rules_around_it_and_the_verdict(kim) -> None:
    """Which rule holds for whom is asked, not reckoned."""
    apply(
        EVE,
        {"network": "203.0.113.7", "action": "allow", "path": "/api/"},
        {"network": "198.51.100.0/24"},
    )
    response = kim.get("accessrule_changelist", q="203.0.113.7")
    assert response.context["cl"].result_count == 2
    assert "203.0.113.7 is refused at /, by 203.0.113.0/24 /." in told(response)
    response = kim.get("accessrule_changelist", q="203.0.113.7 /api/echo/")
    assert "203.0.113.7 may come in at /api/echo/, by 203.0.113.7 /api/." in told(response)
    response = kim.get("accessrule_changelist", q="192.0.2.1")
    assert response.context["cl"].result_count == 0
    assert "192.0.2.1 may come in at /: no rule says otherwise." in told(response)


def test_a_form_can_be_filled_in_by_a_link(kim) -> None:
    """As the page of who is blocked does it."""
    response = kim.get(
        "accessrule_add", network="203.0.113.9", why="Refused by login", ends_in="1h"
    )
    data = form_data(response)
    assert (data["network"], data["why"], data["ends_in"]) == (
        *("203.0.113.9", "Refused by login", "1h"),
    )
    assert data["reason"] == ""


# Locking oneself out


@pytest.mark.parametrize(
    ("network", "path"),
    [
        *(("127.0.0.1", "/"), ("127.0.0.0/8", "/admin/"), ("0.0.0.0/0", "/")),
        *(("127.0.0.1", "/admin/login/"), ("127.0.0.1", "/admin/pulse/accessrule/")),
    ],
)
def test_a_rule_that_would_refuse_its_author_comes_back_with_a_box(kim, network, path) -> None:
    """Nothing is saved, the input is kept, and who means it may."""
    before = revision()
    response = add(kim, network, path=path, why="mine")
    assert errors(response)["__all__"][0].startswith("Nothing is saved yet")
    name = f"{network} {path}"
    assert f"The access rule {name} holds for" in page(response)
    assert "it refuses your address 127.0.0.1." in page(response)
    assert revision() == before
    data = form_data(response)
    assert data["why"] == "mine"
    assert kim.post("accessrule_add", **data, save_anyway="on").status_code == 302
    assert revision() == before + 1


def test_everybody_but_the_author_is_no_danger(kim) -> None:
    """A denial of all within which the author's network, and the probes', are allowed."""
    allowed = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    apply(*({"network": network, "action": "allow"} for network in allowed))
    assert add(kim, "0.0.0.0/0").status_code == 302


def test_an_allowance_that_ends_before_the_denial_is_no_protection(kim) -> None:
    """In an hour it would be too late to think of it."""
    apply({"network": "127.0.0.1", "action": "allow", "ends_at": "2999-01-01T00:00:00Z"})
    response = add(kim, "127.0.0.0/8", path="/admin/")
    assert "it refuses your address" in page(response)
    assert add(kim, "127.0.0.0/8", path="/admin/", ends_in="1h").status_code == 302


@pytest.mark.parametrize("fields", [{"mode": "shadow"}, {"mode": "off"}, {"percent": "0"}])
def test_what_refuses_nobody_needs_no_box(kim, fields: dict[str, str]) -> None:
    assert add(kim, "127.0.0.1", **fields).status_code == 302


def test_a_rule_that_starts_later_counts_as_started(kim) -> None:
    fields = {"starts_at_0": "2999-01-01", "starts_at_1": "00:00:00"}
    assert "it refuses your address" in page(add(kim, "127.0.0.1", **fields))


def test_a_share_of_clients_may_have_the_author_in_it(kim) -> None:
    assert "it refuses your address" in page(add(kim, "127.0.0.1", percent="1"))


@pytest.mark.parametrize(
    ("network", "path"), [("10.0.0.0/8", "/"), ("0.0.0.0/0", "/readyz"), ("::1", "/healthz")]
)
def test_a_rule_that_hides_the_health_of_the_site_is_warned_of(kim, network, path) -> None:
    """A load balancer that is refused takes the site off the net."""
    response = add(kim, network, path=path)
    assert "it refuses probes of the site&#x27;s health from" in page(response)
    assert rows() == []


def test_a_deny_of_a_stranger_needs_no_box(kim) -> None:
    for network in (EVE, "2001:db8::/32", "8.8.8.8"):
        assert add(kim, network).status_code == 302


def test_enforcing_and_deleting_in_bulk_is_guarded_too(kim) -> None:
    apply(
        {"network": "127.0.0.0/8", "mode": "shadow", "path": "/admin/"},
        {"network": "127.0.0.1", "action": "allow"},
    )
    denied, allowed = AccessRule.objects.order_by("-action")
    assert "1 rule has the mode Enforce now." in told(kim.act("accessrule", "enforce", denied))
    shown = kim.act("accessrule", "switch_off", allowed)
    assert "Nothing was changed. The access rule 127.0.0.0/8 /admin/ holds for" in told(shown)
    shown = kim.client.post(url("accessrule_delete", allowed.pk), {"post": "yes"}, follow=True)
    assert "Nothing was changed." in told(shown)
    assert len(rows()) == 2


def test_everything_to_shadow_takes_access_rules_along(kim) -> None:
    """Who is locked out by a rule is let in by the great switch; allowances too."""
    apply(EVE, {"network": "203.0.113.7", "action": "allow"})
    assert "2 access rules" in page(kim.get("everything_to_shadow"))
    kim.post("everything_to_shadow")
    assert set(AccessRule.objects.values_list("mode", flat=True)) == {"shadow"}


# Many at once


def many(operator: Any, networks: str, **fields: Any) -> Any:
    usual = {"action": "deny", "path": "/", "mode": "enforce", "ends_in": ""}
    return operator.post("accessrule_many", networks=networks, **{**usual, **fields})


def test_many_networks_are_one_revision(kim) -> None:
    """As they come from elsewhere: comments, blank lines, doubles, other ways of writing."""
    apply({"network": "198.51.100.7/32", "reason": "was here"})
    before = revision()
    text = "# a list\n203.0.113.0/24 # Eve\n\n198.51.100.7\n2001:DB8::/32\r\n2001:db8::/32\n"
    response = many(kim, text, why="a list", ends_in="1d", reason="import")
    shown = told(kim.client.get(response.url))
    assert "2 access rules were added." in shown
    assert "1 network has a rule for this path already, which was left as it is." in shown
    assert revision() == before + 1
    assert PolicyRevision.objects.first().reason == "import"
    assert {network for network, _path, _action in rows()} == {
        *("198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"),
    }
    row = AccessRule.objects.get(network="2001:db8::/32")
    assert row.reason == "a list"
    assert row.ends_at > timezone.now()


def test_each_line_that_is_wrong_is_told_by_its_number(kim) -> None:
    """Nothing is saved, and the text is still there."""
    before = revision()
    shown = page(many(kim, "203.0.113.0/24\n10.0.0.300\n\n10.0.0.1/8\n"))
    assert "Line 2: &quot;10.0.0.300&quot; is not a network" in shown.replace("&#x27;", "&quot;")
    assert "Line 4:" in shown
    assert "10.0.0.300\n" in shown
    assert (revision(), rows()) == (before, [])
    wrong = "\n".join(["x"] * 25)
    assert "And 5 lines more." in page(many(kim, wrong))
    assert "Write at least one network." in page(many(kim, "# nothing\n"))


def test_ten_thousand_lines_are_taken_and_no_more(kim) -> None:
    lines = [f"11.{n >> 8}.{n & 255}.0/24" for n in range(10_001)]
    assert "At most 10000 networks at once." in page(many(kim, "\n".join(lines)))
    assert many(kim, "\n".join(lines[:-1])).status_code == 302
    assert len(rows()) == 10_000


def test_too_many_lines_are_refused_before_any_is_read(kim, monkeypatch) -> None:
    """Wrong ones too, which cost more; and no more messages are made than are shown."""
    read = []

    def count(text: str) -> Any:
        read.append(text)
        raise InvalidNetwork(text, "is not a network.")

    monkeypatch.setattr(access, "parse_network", count)
    assert "At most 10000 networks at once." in page(many(kim, "x\n" * 10_001))
    assert read == []
    shown = page(many(kim, "x\n" * 10_000))
    assert "And 9980 lines more." in shown
    assert shown.count("Line ") == 20


@pytest.mark.parametrize(
    ("networks", "named", "message"),
    [
        ("203.0.113.0/24", "203.0.113.0/24", "1 access rule was added."),
        ("203.0.113.0/24\n8.8.8.8\n8.8.4.4", "203.0.113.0/24 and 2 more", "3 access rules"),
    ],
)
def test_many_networks_are_one_entry_of_the_log(kim, networks, named, message) -> None:
    before = LogEntry.objects.count()
    many(kim, networks)
    assert LogEntry.objects.count() == before + 1
    entry = LogEntry.objects.latest("pk")
    assert entry.object_repr == named
    assert message in str(entry.change_message)
    assert AccessRule.objects.get(pk=entry.object_id).network == "203.0.113.0/24"


def test_the_page_of_many_says_what_it_does(kim) -> None:
    """It denies, and it allows."""
    shown = page(kim.get("accessrule_many"))
    assert "Add many" in shown
    assert "Text after # is ignored." in shown
    assert "Deny many" not in shown + page(kim.get("accessrule_changelist"))


def test_many_networks_with_the_author_among_them_ask_twice(kim) -> None:
    response = many(kim, "203.0.113.0/24\n127.0.0.1\n")
    assert "it refuses your address 127.0.0.1." in page(response)
    assert 'name="save_anyway"' in page(response)
    assert rows() == []
    assert many(kim, "203.0.113.0/24\n127.0.0.1\n", save_anyway="on").status_code == 302
    assert len(rows()) == 2


def test_who_may_only_look_sees_the_reason_and_the_end(clerk) -> None:
    apply({"network": EVE, "reason": "scrapes us", "ends_at": "2999-01-01T00:00:00Z"})
    shown = page(clerk.get("accessrule_change", AccessRule.objects.get().pk))
    assert '<div class="readonly">scrapes us</div>' in shown
    assert "2999" in shown
    assert "Ends in" not in shown


def test_who_may_only_look_adds_nothing(clerk) -> None:
    assert clerk.get("accessrule_changelist").status_code == 200
    assert url("accessrule_many") not in page(clerk.get("accessrule_changelist"))
    assert clerk.get("accessrule_many").status_code == 403
    assert many(clerk, EVE).status_code == 403
    assert rows() == []


@override_settings(PULSE={"PUBLISH": "manual"})
def test_a_draft_of_many_is_a_draft(kim) -> None:
    before = revision()
    assert "Saved as a draft" in told(kim.client.get(many(kim, EVE).url))
    assert revision() == before
