"""CORS rules at the screens: tried, counted, imported, and what browsers still hold."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pulse.policies import document, publisher
from pulse.policies.edge import CorsOrigin
from pulse.policies.models import PolicyRevision
from pulse.store import buckets
from tests.admin.conftest import errors, revision, told, url
from tests.servers import free_port
from tests.store.conftest import cache_of

APP = "https://app.example.com"


def apply(*rules: dict[str, Any], **options: Any) -> None:
    document.apply({"version": 1, "cors_origins": list(rules)}, publisher.SYSTEM, **options)


def row(origin: str = APP) -> CorsOrigin:
    return CorsOrigin.objects.get(origin=origin)


def add(kim, origin: str = APP, **changed: Any) -> Any:
    return kim.client.post(
        url("corsorigin_add"), {**kim.form("corsorigin_add"), "origin": origin, **changed}
    )


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_a_rule_is_added_with_the_defaults_as_one_revision(kim) -> None:
    """S2-25 to S2-28."""
    before = revision()
    response = add(kim)
    assert response.status_code == 302
    assert revision() == before + 1
    made = row()
    assert (made.credentials, made.csrf_trusted, made.max_age, made.path) == (
        False,
        False,
        600,
        "/",
    )
    assert made.methods == ["GET", "HEAD", "POST", "OPTIONS"]
    assert made.allowed_headers == [
        "Authorization",
        "Content-Type",
        "X-Track-ID",
        "Idempotency-Key",
    ]
    assert "hostile origins were tried on it, and all refused." in told(
        kim.client.get(response.url)
    )


@pytest.mark.parametrize(
    ("changed", "place", "said"),
    [
        ({"origin": "https://App.example.com/"}, "origin", "Did you mean https://app.example.com?"),
        ({"origin": "null"}, "origin", "names nobody"),
        ({"origin": "https://*.com"}, "origin", "anybody gets one"),
        ({"origin": "*", "credentials": "on"}, "credentials", "Never for *"),
        ({"origin": "*", "csrf_trusted": "on"}, "csrf_trusted", "Never for *"),
        ({"allowed_headers": "X-A, X B"}, "allowed_headers", "not a header's name"),
        ({"methods": []}, "methods", "required"),
        ({"max_age": "86401"}, "max_age", "86400"),
    ],
)
def test_what_cannot_be_is_told_at_its_field(kim, changed, place, said) -> None:
    """S0-01 and S0-02, in the form."""
    before = revision()
    found = errors(add(kim, **changed))
    assert said in " ".join(found[place])
    assert revision() == before


def test_lists_are_written_as_people_write_them(kim) -> None:
    apply({"origin": APP})
    response = kim.save(
        "corsorigin_change",
        row().pk,
        methods=["POST", "DELETE", "GET"],
        allowed_headers=" X-One,X-Two , ",
        exposed_headers="",
    )
    assert response.status_code == 302
    made = row()
    assert made.methods == ["GET", "POST", "DELETE"]
    assert (made.allowed_headers, made.exposed_headers) == (["X-One", "X-Two"], [])


def test_saving_what_was_shown_changes_nothing(kim) -> None:
    apply({"origin": APP, "credentials": True})
    before = revision()
    kim.save("corsorigin_change", row().pk)
    assert revision() == before
    assert row().version == 1


@pytest.mark.parametrize("origin", [APP, "https://*.example.com:8443", "http://[::1]:3000", "*"])
def test_the_form_shows_what_became_of_the_trials(kim, origin: str) -> None:
    """Suffix, prefix, scheme, port, null, userinfo, case, look-alikes, full stop."""
    apply({"origin": origin})
    page = text(kim.get("corsorigin_change", row(origin).pk))
    assert "✓ allowed" in page
    if origin != "*":
        for what in ("the other scheme", "another port", "a sandboxed frame", "a user's name"):
            assert what.replace("'", "&#x27;") in page
        assert "✕ refused" in page
    if origin == APP:
        for tried in (f"{APP}.evil.example", "https://evilapp.example.com", f"{APP}.", APP.upper()):
            assert f"{tried} " in page
        assert "https://xn--" in page


def test_a_rule_that_would_let_a_hostile_origin_in_is_not_saved(kim, monkeypatch) -> None:
    """The trial is of the code that enforces; were that broken, nothing would be saved."""
    from pulse.core import cors

    monkeypatch.setattr(
        cors._Level, "find", lambda self, origin: next(iter(self.exact.values()), None)
    )
    found = errors(add(kim))
    assert any("otherwise than it says" in said for said in found["origin"])
    assert not CorsOrigin.objects.exists()


def test_the_list_tells_who_used_a_rule_by_one_reading(kim, monkeypatch) -> None:
    apply({"origin": APP}, {"origin": "https://*.example.org", "path": "/api/"})
    name = "cors_origins:https://*.example.org /api/"
    buckets.add(buckets.CORS_USED, name, 1234)
    buckets.add(buckets.CORS_USED, f"{name} https://a.example.org", 1000)
    buckets.add(buckets.CORS_USED, f"{name} https://b.example.org", 234)
    readings = []
    real = buckets.last_hours
    monkeypatch.setattr(buckets, "last_hours", lambda: readings.append(1) or real())
    page = text(kim.get("corsorigin_changelist"))
    assert "1,234 answers, last between " in page
    assert "https://a.example.org (1000), https://b.example.org (234)" in re.sub(
        r" (?=[,(])| (?= )", " ", page
    ).replace("  ", " ").replace(" ,", ",")
    assert "not used" in page
    assert len(readings) == 1


def test_the_screens_stand_without_counters(kim, settings) -> None:
    apply({"origin": APP})
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    assert "not known" in text(kim.get("corsorigin_changelist"))
    assert "cannot be read now" in text(kim.get("corsorigin_change", row().pk))
    assert kim.get("corsorigin_add").status_code == 200


def test_the_form_says_whom_the_end_of_a_rule_would_break(kim) -> None:
    """Also once the rules in shadow are enforced: what a tightening would break, with counts."""
    apply(
        {"origin": "https://*.example.org"},
        {"origin": "https://a.example.org"},
        {"origin": "https://b.example.org", "mode": "shadow"},
    )
    name = "cors_origins:https://*.example.org /"
    buckets.add(buckets.CORS_USED, name, 30)
    for origin in "abc":
        buckets.add(buckets.CORS_USED, f"{name} https://{origin}.example.org", 10)
    page = text(kim.get("corsorigin_change", row("https://*.example.org").pk))
    broken = page.partition("could not read any more:")[2]
    assert re.match(
        r"\s+https://b\.example\.org\s*,\s+https://c\.example\.org\s+"
        r"Were the rules in shadow enforced by then:\s+https://c\.example\.org",
        broken,
    )


def test_the_form_says_what_other_rules_allow_less_and_whom_nobody_knows(kim, settings) -> None:
    """A rule that is found is not yet one that does."""
    wide = "https://*.example.org"
    apply({"origin": wide, "credentials": True}, {"origin": "https://a.example.org"})
    name = f"cors_origins:{wide} /"
    buckets.add(buckets.CORS_USED, name, 1040)
    buckets.add(buckets.CORS_USED, f"{name} https://a.example.org", 40)
    page = text(kim.get("corsorigin_change", row(wide).pk))
    less = page.partition("other rules would allow these less:")[2]
    assert re.match(r"\s+https://a\.example\.org \(cookies\)", less)
    assert "1,000 answers went to origins that are not known." in page
    assert "could not read any more" not in page
    assert "do for all of them" not in page
    assert "is not looked at" not in page
    settings.CORS_ALLOWED_ORIGINS = ["https://host.example"]
    page = text(kim.get("corsorigin_change", row(wide).pk))
    assert "What the CORS settings allow is not looked at." in page


@pytest.mark.parametrize("used", [0, 1])
def test_only_of_a_rule_that_was_used_it_is_said_what_its_end_would_break(kim, used: int) -> None:
    apply({"origin": APP}, {"origin": "https://*.example.com"})
    buckets.add(buckets.CORS_USED, f"cors_origins:{APP} /", used)
    page = text(kim.get("corsorigin_change", row().pk))
    assert ("other rules would do for all of them" in page) is bool(used)


def test_a_draft_is_asked_whom_it_would_break(kim, settings) -> None:
    """The rule that is to take over is in it, and not in force yet."""
    apply({"origin": APP})
    buckets.add(buckets.CORS_USED, f"cors_origins:{APP} /")
    settings.PULSE = {"PUBLISH": "manual"}
    before = revision()
    assert "could not read any more" in text(kim.get("corsorigin_change", row().pk))
    apply({"origin": "https://*.example.com"})
    assert revision() == before
    assert "do for all of them" in text(kim.get("corsorigin_change", row().pk))


def test_other_rules_that_cannot_be_are_told_and_fail_no_page(kim, monkeypatch) -> None:
    apply({"origin": APP}, {"origin": "https://b.example.com"})
    buckets.add(buckets.CORS_USED, f"cors_origins:{APP} /")
    CorsOrigin.objects.filter(origin="https://b.example.com").update(origin="https://*.com")
    assert "anybody gets one" in text(kim.get("corsorigin_change", row().pk))


def test_who_would_be_allowed_is_told_apart(kim) -> None:
    wide = "https://*.example.org"
    apply({"origin": wide, "mode": "shadow"})
    name = f"cors_origins:{wide} /"
    for verb, origin, amount in (
        (buckets.CORS_USED, "a", 3),
        (buckets.CORS_WOULD_USE, "b", 4),
    ):
        buckets.add(verb, name, amount)
        buckets.add(verb, f"{name} https://{origin}.example.org", amount)
    page = text(kim.get("corsorigin_changelist"))
    assert re.search(
        r"https://a\.example\.org \(3\)\s+Would be allowed:\s+https://b\.example\.org \(4\)", page
    )


def test_origins_that_were_refused_are_told_and_not_proposed(kim) -> None:
    """Anybody can claim to be any origin: what a stranger sent is no choice to offer."""
    apply({"origin": APP})
    buckets.add(buckets.CORS_REFUSED, "cors_origins:https://new.example /", 7)
    page = text(kim.get("corsorigin_change", row().pk))
    assert re.search(r"anybody can claim to be any origin:.*https://new\.example \(7\)", page)
    assert "new.example" not in kim.get("corsorigin_add").content.decode()


@pytest.mark.parametrize(
    ("max_age", "minutes_ago", "shown", "chromium"),
    [
        (600, 0, True, False),
        (600, 11, False, False),
        (86_400, 0, True, True),
        (86_400, 150, True, False),
    ],
)
def test_the_form_says_until_when_browsers_may_hold_an_old_answer(
    kim, max_age: int, minutes_ago: int, shown: bool, chromium: bool
) -> None:
    """As long as the rule said before its change; Chromium two hours at most."""
    apply({"origin": APP, "max_age": max_age})
    apply({"origin": APP, "max_age": 5})
    changed_at = timezone.now() - timedelta(minutes=minutes_ago)
    PolicyRevision.objects.filter(number=revision()).update(created_at=changed_at)
    page = text(kim.get("corsorigin_change", row().pk))
    assert ("Browsers may hold the answer to an earlier preflight until" in page) is shown
    assert ("Chromium until" in page) is chromium


def test_a_change_of_words_alone_makes_no_answer_old(kim) -> None:
    apply({"origin": APP})
    apply({"origin": APP, "description": "why", "exposed_headers": []})
    assert "left browsers with an old answer" in text(kim.get("corsorigin_change", row().pk))
    apply({"origin": APP, "methods": ["GET"]})
    assert "may hold" in text(kim.get("corsorigin_change", row().pk))


def test_deleting_tells_until_when_browsers_may_go_by_it(kim) -> None:
    apply({"origin": APP})
    response = kim.post("corsorigin_delete", row().pk, post="yes")
    assert "may hold the answer" in told(kim.client.get(response.url))


def test_origins_are_imported_as_one_revision_after_a_preview(kim, settings, monkeypatch) -> None:
    """S0-03, S2-29: from the setting, with what the others say, and from the environment."""
    settings.CORS_ALLOWED_ORIGINS = [APP, "https://b.example.com"]
    settings.CORS_ALLOW_CREDENTIALS = True
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", f" https://c.example.com , {APP}")
    apply({"origin": APP, "mode": "off"})
    before = revision()
    page = text(kim.get("corsorigin_import"))
    assert "https://b.example.com" in page
    assert revision() == before
    response = kim.post("corsorigin_import", reason="move")
    assert response.status_code == 302
    assert revision() == before + 1
    assert "2 origins were imported." in told(kim.client.get(response.url))
    assert row().mode == "off"
    assert row("https://b.example.com").credentials
    assert "DELETE" in row("https://b.example.com").methods
    assert not row("https://c.example.com").credentials
    page = text(kim.get("corsorigin_import"))
    assert "Yes, import them" not in page
    assert "Neither names an origin that has no rule yet: nothing is to be imported." in page


def test_settings_for_some_paths_are_imported_to_a_path_that_one_names(kim, settings) -> None:
    """They would be for every path, and with the visitor's cookies."""
    settings.CORS_ALLOWED_ORIGINS = [APP]
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_URLS_REGEX = "^/api/"
    page = text(kim.get("corsorigin_import"))
    assert "name the path of the new rules" in page
    kim.post("corsorigin_import")
    assert "Start it with a slash" in text(kim.get("corsorigin_import", path="api"))
    assert not CorsOrigin.objects.exists()
    shown = kim.get("corsorigin_import", path="/api/")
    assert 'name="path" id="id_path" value="/api/"' in shown.content.decode()
    assert "Yes, import them" in shown.content.decode()
    response = kim.client.post(f"{url('corsorigin_import')}?path=/api/")
    assert "1 origin was imported." in told(kim.client.get(response.url))
    assert [made.path for made in CorsOrigin.objects.all()] == ["/api/"]


def test_a_rule_that_came_between_preview_and_import_stays(kim, settings, monkeypatch) -> None:
    """What to add is decided while nobody else can edit."""
    from pulse.admin import cors

    settings.CORS_ALLOWED_ORIGINS = [APP, "https://b.example.com"]
    real = cors.carry_out

    def late(*args: Any, **options: Any) -> Any:
        apply({"origin": APP, "mode": "off"})
        return real(*args, **options)

    monkeypatch.setattr(cors, "carry_out", late)
    response = kim.post("corsorigin_import")
    assert "1 origin was imported." in told(kim.client.get(response.url))
    assert row().mode == "off"


def test_a_bad_origin_is_named_and_nothing_imported(kim, settings, monkeypatch) -> None:
    settings.CORS_ALLOWED_ORIGINS = [APP]
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", "https://c.example.com/,*")
    page = text(kim.get("corsorigin_import"))
    assert "Did you mean https://c.example.com?" in page
    assert "any page could read" in page
    assert kim.post("corsorigin_import").status_code == 200
    assert not CorsOrigin.objects.exists()


def test_who_may_only_look_imports_nothing(clerk) -> None:
    apply({"origin": APP})
    assert clerk.get("corsorigin_changelist").status_code == 200
    assert "✓ allowed" in text(clerk.get("corsorigin_change", row().pk))
    assert clerk.get("corsorigin_import").status_code == 403
    assert clerk.post("corsorigin_import").status_code == 403


def test_a_row_written_past_everything_is_shown_and_makes_no_policy(kim, db) -> None:
    """S0-01: by SQL, with the constraint out of the way."""
    from django.db import connection

    apply({"origin": "*"})
    before = revision()
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite lets a constraint be passed by")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute("UPDATE pulse_corsorigin SET credentials = 1")
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    assert "act as the visitor" in text(kim.get("corsorigin_change", row("*").pk))
    publisher.mark_changed()
    publisher.publish_pending()
    assert revision() == before
    assert "act as the visitor" in told(kim.get("corsorigin_changelist"))
