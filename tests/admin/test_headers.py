"""Header policies on their screens: lines read, headers shown, reports told, the CSP switched."""

import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from pulse.policies import document, headers, publisher
from pulse.policies.edge import HeaderPolicy
from pulse.policies.models import PolicyRevision
from pulse.store import csp
from tests.admin.conftest import errors, revision, told, url
from tests.servers import free_port
from tests.store.conftest import cache_of

SITE = {"name": "site", "preset": "html", "csp_report_only": True}


@pytest.fixture
def site(policy: None) -> HeaderPolicy:
    document.apply({"version": 1, "header_policies": [SITE]}, publisher.SYSTEM)
    return HeaderPolicy.objects.get()


def add(kim: Any, **fields: Any) -> Any:
    data = kim.form("headerpolicy_add")
    return kim.client.post(url("headerpolicy_add"), {**data, "name": "new", **fields})


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def report(source: str = "https://cdn.example.com", times: int = 1, **fields: str) -> None:
    told_of = {"policy": "site", "directive": "script-src-elem", "page": "/api/echo/", **fields}
    for _ in range(times):
        csp.add(source=source, **told_of)


# The form


def test_headers_are_written_one_to_a_line(kim) -> None:
    """And shown so again; a line without a value removes."""
    response = add(kim, path="/api/", headers="X-One: 1\r\n\r\n-X-Two\r\nX-Three:\r\n")
    assert response.status_code == 302
    row = HeaderPolicy.objects.get()
    assert row.headers == {"X-One": "1", "X-Two": None, "X-Three": None}
    shown = kim.form("headerpolicy_change", row.pk)
    assert shown["headers"] == "X-One: 1\nX-Two:\nX-Three:"
    version = row.version
    assert kim.save("headerpolicy_change", row.pk).status_code == 302
    row.refresh_from_db()
    assert row.version == version


def test_stages_of_hsts_are_told_in_words(kim) -> None:
    """A new policy begins with the shortest; the value that is kept is the document's."""
    page = kim.get("headerpolicy_add").content.decode()
    assert '<option value="5m" selected>5 minutes</option>' in page
    assert '<option value="">as the header says</option>' in page
    assert add(kim, hsts_stage="1w").status_code == 302
    assert HeaderPolicy.objects.get().hsts_stage == "1w"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no header", "has no colon"),
        ("X-A: a\rX-B: b", "line break"),
        ("X-A: a\x1fb", "control character"),
        ("Set-Cookie: a=b", "not a policy's to set"),
        ("X A: b", "not a header's name"),
        ("X-A: b\nx-a: c", "named twice"),
        ("X-A: \u0142", "which no header can have"),
    ],
)
def test_what_cannot_be_sent_is_refused_on_save(kim, text, reason) -> None:
    """CR, LF and NUL among it; the input stays as it was typed (S2-12 to S2-16)."""
    before = revision()
    response = add(kim, headers=text)
    assert reason in errors(response)["headers"][0]
    assert revision() == before
    assert not HeaderPolicy.objects.exists()


def test_nul_is_refused_on_save(kim) -> None:
    assert "headers" in errors(add(kim, headers="X-A: a\0b"))


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0b"])
def test_no_door_takes_a_line_break_or_nul(db, value) -> None:
    """Neither the row's own validators, nor a document (S2-12 to S2-16)."""
    with pytest.raises(ValidationError):
        HeaderPolicy(name="a", headers={"X-A": value}).full_clean()
    with pytest.raises(ValueError, match="headers"):
        document.apply(
            {"header_policies": [{"name": "a", "headers": {"X-A": value}}]}, publisher.SYSTEM
        )


def test_reports_only_needs_something_to_report(kim) -> None:
    response = add(kim, preset="", headers="X-A: b", csp_report_only="on")
    assert "There is no Content-Security-Policy" in errors(response)["csp_report_only"][0]
    assert add(kim, preset="api", csp_report_only="on").status_code == 302


def test_slips_are_told_and_saved_all_the_same(kim) -> None:
    """A header of the host's own may have any name."""
    lines = "Content-Securty-Policy: default-src 'self'\nContent-Security-Policy: scriptsrc 'self'"
    response = kim.client.post(
        url("headerpolicy_add"),
        {**kim.form("headerpolicy_add"), "name": "new", "path": "/x/", "headers": lines},
        follow=True,
    )
    assert "Did you mean Content-Security-Policy?" in told(response)
    assert "No browser knows a directive scriptsrc" in told(response)
    assert HeaderPolicy.objects.exists()


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"preset": "api"}, True),
        ({"preset": "legacy"}, True),
        ({"preset": "html"}, False),
        ({"preset": "api", "csp_report_only": "on"}, False),
        ({"preset": "api", "mode": "shadow"}, False),
        ({"preset": "api", "path": "/api/"}, False),
    ],
)
def test_a_policy_that_would_undress_the_admin_is_told_of(kim, fields, warned) -> None:
    """default-src 'none' leaves the admin without styles and scripts (trap 15)."""
    data = {**kim.form("headerpolicy_add"), "name": "new", **fields}
    response = kim.client.post(url("headerpolicy_add"), data, follow=True)
    assert ("The admin lies under this policy" in told(response)) is warned


def test_what_a_host_lacks_is_said_at_the_field(kim, settings) -> None:
    """No HSTS under DEBUG (trap 16); no reports without the collector."""
    page = text_of(kim.get("headerpolicy_add"))
    assert "Not sent while DEBUG is on." not in page
    settings.DEBUG = True
    assert "Not sent while DEBUG is on." in text_of(kim.get("headerpolicy_add"))


def test_without_pulse_urls_the_field_says_so(kim, monkeypatch) -> None:
    assert "mount pulse.urls" not in text_of(kim.get("headerpolicy_add"))
    monkeypatch.setattr(headers, "_collector_path", lambda: "")
    assert "Nothing collects the reports: mount pulse.urls." in text_of(kim.get("headerpolicy_add"))


# What would be sent


def test_the_form_shows_what_is_sent_over_https_and_http(kim, site) -> None:
    response = kim.get("headerpolicy_change", site.pk)
    shown = response.context["pulse_preview"]
    preview = {header.name: (header.plain, header.secure) for header in shown}
    assert preview["Strict-Transport-Security"] == ("", "max-age=31536000; includeSubDomains")
    plain, secure = preview["Content-Security-Policy-Report-Only"]
    assert plain.endswith("report-uri /pulse/csp-reports/site/")
    assert secure.endswith("; report-to pulse-csp")
    page = text_of(response)
    assert "What it sends, as saved" in page
    assert "not sent" in page


def test_the_preview_shows_the_form_as_it_stands_and_saves_nothing(kim, site) -> None:
    before = revision()
    data = {**kim.form("headerpolicy_change", site.pk), "headers": "X-New: <b>1</b>"}
    response = kim.client.post(url("headerpolicy_preview", site.pk), data)
    assert response.status_code == 200
    assert ("X-New", "<b>1</b>", "<b>1</b>", "") in response.context["preview"]
    assert "<b>1</b>" not in response.content.decode()
    data["headers"] = "X New: 1"
    assert "not a header&#x27;s name" in (
        kim.client.post(url("headerpolicy_preview", site.pk), data).content.decode()
    )
    new = {**kim.form("headerpolicy_add"), "name": "other", "preset": "legacy"}
    response = kim.client.post(url("headerpolicy_preview"), new)
    by_policy = [header.name for header in response.context["preview"] if not header.setting]
    assert by_policy == [
        *("Content-Security-Policy", "Strict-Transport-Security", "X-XSS-Protection"),
    ]
    site.refresh_from_db()
    assert (site.headers, revision()) == ({}, before)
    assert HeaderPolicy.objects.count() == 1


def test_what_django_sets_first_is_shown_where_it_stays(kim, site, settings) -> None:
    """By the setting's name, unless the policy forces its own or takes it away."""

    def shown(**fields: str) -> dict[str, tuple[str, str, str]]:
        data = {**kim.form("headerpolicy_change", site.pk), **fields}
        data = {name: value for name, value in data.items() if value is not None}
        response = kim.client.post(url("headerpolicy_preview", site.pk), data)
        return {header.name: tuple(header)[1:] for header in response.context["preview"]}

    settings.X_FRAME_OPTIONS = "SAMEORIGIN"
    settings.SECURE_HSTS_SECONDS = 60
    page = text_of(kim.get("headerpolicy_change", site.pk))
    assert "X-Frame-Options set first by X_FRAME_OPTIONS" in page
    stays = shown()
    assert stays["X-Frame-Options"] == ("SAMEORIGIN", "SAMEORIGIN", "X_FRAME_OPTIONS")
    assert stays["Strict-Transport-Security"] == ("", "max-age=60", "SECURE_HSTS_SECONDS")
    forced = shown(force="on")
    assert forced["X-Frame-Options"] == ("DENY", "DENY", "")
    assert forced["Strict-Transport-Security"][2] == ""
    removed = shown(headers="-X-Frame-Options\n-Strict-Transport-Security")
    assert not {"X-Frame-Options", "Strict-Transport-Security"} & removed.keys()


def test_a_policy_that_adds_nothing_says_so_beside_what_django_sets(kim, site) -> None:
    data = {**kim.form("headerpolicy_change", site.pk), "preset": "", "csp_report_only": ""}
    response = kim.client.post(url("headerpolicy_preview", site.pk), data)
    assert "It adds no header." in text_of(response)
    assert "set first by SECURE_REFERRER_POLICY" in text_of(response)


def test_a_preview_is_for_those_who_may_edit(clerk, site) -> None:
    assert clerk.client.post(url("headerpolicy_preview"), {}).status_code == 403
    assert clerk.client.post(url("headerpolicy_preview", site.pk), {}).status_code == 403
    page = clerk.get("headerpolicy_change", site.pk).content.decode()
    assert "_preview" not in page
    assert 'name="report_only"' not in page


# Reports


def test_reports_and_what_they_suggest_are_on_the_form(kim, site) -> None:
    report(times=3)
    report("inline", 2)
    report("self", directive="style-src-attr", page="")
    report("https://other.example", policy="other")
    response = kim.get("headerpolicy_change", site.pk)
    section = response.context["pulse_csp"]
    assert [(row.directive, row.source, row.page, row.count) for row in section.rows] == [
        ("script-src-elem", "https://cdn.example.com", "/api/echo/", 3),
        ("script-src-elem", "inline", "/api/echo/", 2),
        ("style-src-attr", "self", "", 1),
    ]
    assert section.suggestions == ["script-src 'self' https://cdn.example.com"]
    page = text_of(response)
    assert "script-src &#x27;self&#x27; https://cdn.example.com;" in page
    assert "Anybody can send a report: add only what you know." in page
    assert "best moved to a file" in page
    assert "Enforce this CSP (6 reports)" in response.content.decode()
    assert "other.example" not in page


def test_a_form_without_reports_says_what_to_expect(kim, site) -> None:
    assert "Nothing yet." in text_of(kim.get("headerpolicy_change", site.pk))


def test_without_redis_the_form_says_that_reports_are_not_known(kim, site, settings) -> None:
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    response = kim.get("headerpolicy_change", site.pk)
    assert "the counters cannot be read now" in text_of(response)
    assert 'value="Enforce this CSP"' in response.content.decode()


def test_hostile_reports_show_as_text(kim, site) -> None:
    """Escaped, whatever came past the collector."""
    report("<script>alert(1)</script>", page="/<img src=x>/", directive="<b>")
    page = kim.get("headerpolicy_change", site.pk).content.decode()
    assert "<script>alert(1)" not in page
    assert "<img src=x>" not in page
    assert "&lt;script&gt;alert(1)" in page


# From reports only to enforced


def switch(kim: Any, row: HeaderPolicy, report_only: str) -> Any:
    data = {"report_only": report_only}
    return kim.client.post(url("headerpolicy_csp", row.pk), data, follow=True)


def test_one_click_enforces_the_csp_and_one_takes_it_back(kim, site) -> None:
    """Each is a revision; the number of reports is said."""
    report(times=12)
    before = revision()
    response = switch(kim, site, "0")
    assert "The CSP of site is enforced now. 12 reports of the last 24 hours" in told(response)
    assert f"Revision {before + 1} is in force." in told(response)
    site.refresh_from_db()
    assert not site.csp_report_only
    made = PolicyRevision.objects.get(number=before + 1)
    assert (made.actor_name, made.reason) == ("kim", "CSP of site: enforced")
    (change,) = made.changes
    assert change["fields"] == {"csp_report_only": {"before": True, "after": False}}
    assert "The CSP of site only reports now." in told(switch(kim, site, "1"))
    assert revision() == before + 2


def test_what_is_so_already_makes_no_revision(kim, site) -> None:
    before = revision()
    assert "No CSP was to be switched." in told(switch(kim, site, "1"))
    assert revision() == before


def test_the_switch_is_a_post_by_those_who_may(kim, clerk, site) -> None:
    address = url("headerpolicy_csp", site.pk)
    assert kim.client.get(address).status_code == 403
    assert kim.client.post(address, {"report_only": "maybe"}).status_code == 403
    assert kim.client.post(url("headerpolicy_csp", 9999), {"report_only": "0"}).status_code == 404
    assert clerk.client.post(address, {"report_only": "0"}).status_code == 403
    site.refresh_from_db()
    assert site.csp_report_only


def test_the_list_switches_many_at_once(kim, site) -> None:
    document.apply(
        {"header_policies": [{"name": "plain", "path": "/p/"}, {**SITE, "name": "b"}]},
        publisher.SYSTEM,
    )
    before = revision()
    rows = HeaderPolicy.objects.order_by("name")
    response = kim.act("headerpolicy", "enforce_csp", *rows)
    assert "The CSP of b, site is enforced now." in told(response)
    assert revision() == before + 1
    assert not HeaderPolicy.objects.filter(csp_report_only=True).exists()
    kim.act("headerpolicy", "report_csp", *rows)
    assert HeaderPolicy.objects.filter(csp_report_only=True).count() == 2


# The list, and the usual policies


def test_the_list_says_what_each_does(kim, site) -> None:
    page = text_of(kim.get("headerpolicy_changelist"))
    assert "Answers under / carry the headers of the preset html." in page
    assert "reports only" in page


def test_an_empty_list_leads_to_the_usual_policies(kim) -> None:
    page = kim.get("headerpolicy_changelist").content.decode()
    assert "pulse-empty" in page
    assert url("headerpolicy_usual") in page


def test_the_usual_policies_are_shown_then_added_as_one_revision(kim) -> None:
    """Strict where it is known to work, reports only for the rest (trap 15)."""
    before = revision()
    response = kim.get("headerpolicy_usual")
    assert [each.title for each in response.context["differences"]] == [
        "Header policy admin",
        "Header policy api",
        "Header policy pulse",
        "Header policy site",
    ]
    assert revision() == before
    response = kim.client.post(url("headerpolicy_usual"), {"reason": "why not"}, follow=True)
    assert "The header policies site, api, admin, pulse were added." in told(response)
    assert revision() == before + 1
    found = HeaderPolicy.objects.order_by("path")
    assert [(r.name, r.path, r.preset, r.csp_report_only, r.hsts_stage) for r in found] == [
        ("site", "/", "html", True, "5m"),
        ("admin", "/admin/", "html", False, "5m"),
        ("api", "/api/", "api", False, "5m"),
        ("pulse", "/pulse/", "html", False, "5m"),
    ]
    page = text_of(kim.get("headerpolicy_usual"))
    assert "Each of these paths has a policy already" in page


def test_an_admin_that_evaluates_code_is_not_locked_by_the_usual_policies(kim, monkeypatch) -> None:
    """django-unfold's pages stand still under a strict policy, and with them the way back."""
    monkeypatch.setattr("pulse.admin.headers.IS_UNFOLD", True)
    kim.client.post(url("headerpolicy_usual"))
    assert HeaderPolicy.objects.get(name="admin").csp_report_only


def test_paths_that_have_a_policy_keep_it_and_names_that_are_taken_too(kim) -> None:
    document.apply(
        {
            "header_policies": [
                {"name": "api", "path": "/somewhere/"},
                {"name": "own", "path": "/admin/", "preset": "owasp"},
            ]
        },
        publisher.SYSTEM,
    )
    kim.client.post(url("headerpolicy_usual"), {})
    found = dict(HeaderPolicy.objects.values_list("path", "name"))
    assert found == {
        "/": "site",
        "/api/": "api-2",
        "/pulse/": "pulse",
        "/somewhere/": "api",
        "/admin/": "own",
    }


def test_the_usual_policies_are_for_those_who_may_add(clerk) -> None:
    assert clerk.get("headerpolicy_usual").status_code == 403
    assert clerk.client.post(url("headerpolicy_usual")).status_code == 403
    assert url("headerpolicy_usual") not in clerk.get("headerpolicy_changelist").content.decode()


@pytest.mark.django_db(transaction=True)
def test_an_edit_changes_the_next_answer(kim, site) -> None:
    """From the form to the wire."""
    assert kim.client.get("/api/echo/").has_header("Content-Security-Policy-Report-Only")
    data = kim.form("headerpolicy_change", site.pk)
    del data["csp_report_only"]
    kim.client.post(url("headerpolicy_change", site.pk), {**data, "preset": "legacy"})
    answer = kim.client.get("/api/echo/")
    assert answer["X-XSS-Protection"] == "1; mode=block"
    assert answer["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


# Rows that were written past every validator


@pytest.mark.parametrize(
    ("broken", "problem", "mended"),
    [
        ({"headers": {"X-A": "a\nb"}}, "has a line break", {"headers": "X-A: a"}),
        ({"headers": {"X-A": 7}}, "has a value that is not text", {"headers": "X-A: a"}),
        ({"preset": "nope"}, "is not a preset", {"preset": "html"}),
        ({"hsts_stage": "nope"}, "is not a stage of HSTS", {"hsts_stage": "5m"}),
    ],
)
def test_a_broken_row_is_shown_named_and_mended(kim, site, broken, problem, mended) -> None:
    """Its form and its list say what is wrong, and a right value is saved."""
    HeaderPolicy.objects.filter(pk=site.pk).update(**broken)
    page = kim.get("headerpolicy_changelist")
    assert page.status_code == 200
    assert problem in page.content.decode()
    form = kim.get("headerpolicy_change", site.pk)
    assert problem in text_of(form)
    assert "Mend it above." in text_of(form)
    before = revision()
    for response in (switch(kim, site, "0"), kim.act("headerpolicy", "enforce_csp", site)):
        assert problem in told(response)
        assert response.status_code == 200
    assert revision() == before
    data = {**kim.form("headerpolicy_change", site.pk), **mended}
    preview = kim.client.post(url("headerpolicy_preview", site.pk), data)
    assert preview.context["preview"]
    assert kim.client.post(url("headerpolicy_change", site.pk), data).status_code == 302
    assert "Mend it above." not in text_of(kim.get("headerpolicy_change", site.pk))


def test_a_broken_row_that_is_off_keeps_no_other_from_being_switched(kim, site) -> None:
    """It is named; the rest is done."""
    document.apply({"header_policies": [{**SITE, "name": "b", "path": "/b/"}]}, publisher.SYSTEM)
    HeaderPolicy.objects.filter(pk=site.pk).update(preset="nope", mode="off")
    response = kim.act("headerpolicy", "enforce_csp", *HeaderPolicy.objects.all())
    assert 'site cannot be sent: "nope" is not a preset.' in told(response)
    assert "The CSP of b is enforced now." in told(response)
    assert list(HeaderPolicy.objects.filter(csp_report_only=True)) == [site]


def test_the_preview_of_a_broken_form_says_what_is_wrong(kim, site) -> None:
    HeaderPolicy.objects.filter(pk=site.pk).update(preset="nope")
    data = kim.form("headerpolicy_change", site.pk)
    response = kim.client.post(url("headerpolicy_preview", site.pk), data)
    assert response.status_code == 200
    assert "This cannot be saved as it is" in response.content.decode()


# What the store is asked, and what is made of it


@pytest.fixture
def readings(monkeypatch) -> list[int]:
    """How often the reports were read."""
    made: list[int] = []
    original = csp.last_day

    def last_day() -> Any:
        made.append(1)
        return original()

    monkeypatch.setattr(csp, "last_day", last_day)
    return made


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({}, 1),
        ({"mode": "off"}, 1),
        ({"csp_report_only": False}, 0),
        ({"headers": {"Content-Security-Policy": "default-src 'self'; report-uri /else/"}}, 0),
        ({"preset": ""}, 0),
    ],
)
def test_reports_are_read_only_for_a_policy_that_asks_for_them(
    kim, site, readings, fields, times
) -> None:
    """25 calls of Redis, which a policy that collects nothing has no use for."""
    HeaderPolicy.objects.filter(pk=site.pk).update(**fields)
    page = text_of(kim.get("headerpolicy_change", site.pk))
    assert len(readings) == times
    assert ("names a collector of its own" in page) is ("headers" in fields)


def test_only_what_is_shown_is_suggested(kim, site, monkeypatch) -> None:
    """Whoever makes up a thousand origins gets no thousand suggestions."""
    monkeypatch.setattr("pulse.admin.csp.MAX_SHOWN", 2)
    for times, host in ((3, "a"), (2, "b"), (1, "c")):
        report(f"https://{host}.example", times)
    section = kim.get("headerpolicy_change", site.pk).context["pulse_csp"]
    assert len(section.rows) == 2
    assert section.suggestions == ["script-src 'self' https://a.example https://b.example"]
    assert section.count == 6


def test_reports_only_whose_header_is_removed_is_refused(kim) -> None:
    response = add(
        kim,
        preset="html",
        csp_report_only="on",
        headers="-Content-Security-Policy-Report-Only",
    )
    assert "Nothing would be sent" in errors(response)["csp_report_only"][0]


def test_the_form_says_that_a_shadow_does_nothing(kim) -> None:
    """Unlike that of a limit it neither counts nor reports."""
    page = text_of(kim.get("headerpolicy_add"))
    assert "In shadow a header policy does nothing, as when it is off" in page
    assert "Shadow decides, counts and reports" not in page
    assert "for the rest it is in shadow" not in page
