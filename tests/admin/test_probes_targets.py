"""Targets in the admin: typed as people write, kept as the document has them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.views.debug import SafeExceptionReporterFilter

from pulse.exceptions import InvalidDocument
from pulse.policies import document, publisher
from pulse.policies.models import PolicyRevision
from pulse.probes.models import KEPT, ProbeSecret, ProbeTarget
from pulse.probes.state import ItemState, ProbeItem, ProbeJob, ProbeTargetState
from pulse.testing import stub_network
from tests.admin.conftest import errors, form_data, revision, told, url

SECRET = "Bearer s3cr3t-of-the-shop"


@pytest.fixture
def target(kim, settings) -> ProbeTarget:
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}
    document.apply(
        {
            "version": 1,
            "probe_targets": [
                {
                    "name": "product",
                    "url_name": "product",
                    "path_params": {"pk": 1},
                    "query": {"page": 2, "q": "a b"},
                    "headers": {"Accept": "application/json"},
                    "expect": {
                        "status": [200, "301-308"],
                        "max_latency_ms": 500,
                        "contains": "mug ",
                        "headers": {"Content-Type": "json"},
                        "json": {"id": 1, "name": "1", 'a["b: c"]': None, "tags": ["x"]},
                        "certificate_days": 14.5,
                        "schema": False,
                    },
                }
            ],
        },
        publisher.SYSTEM,
    )
    return ProbeTarget.objects.get()


def add(kim, **changed):
    data = {**kim.form("probetarget_add"), "name": "shop", "url_name": "products", **changed}
    return kim.post("probetarget_add", **data)


def test_a_form_that_is_sent_back_changes_nothing(kim, target):
    """Numbers stay numbers, texts texts, whatever their lines look like."""
    before, number = target.expect, revision()
    data = kim.form("probetarget_change", target.pk)
    assert data["expect_status"] == "200, 301-308"
    assert data["path_params"] == "pk: 1"
    # A database may keep the names of JSON in an order of its own.
    assert set(data["expect_json"].splitlines()) == {
        "id: 1",
        'name: "1"',
        '"a[\\"b: c\\"]": null',
        'tags: ["x"]',
    }
    kim.post("probetarget_change", target.pk, **data)
    target.refresh_from_db()
    assert revision() == number
    kim.post("probetarget_change", target.pk, **{**data, "description": "why"})
    target.refresh_from_db()
    assert (target.expect, target.path_params, target.query) == (
        before,
        {"pk": 1},
        {"page": 2, "q": "a b"},
    )
    assert set(PolicyRevision.objects.first().changes[0]["fields"]) == {"description"}


def test_expectations_are_typed_as_fields(kim):
    """And stored as the document has them."""
    response = add(
        kim,
        expect_status="200, 2xx",
        expect_max_latency_ms="500",
        expect_contains="ok",
        expect_json="status: ok\nitems.0.id: 1",
        expect_headers="Content-Type: json",
        expect_certificate_days="14",
        expect_schema="yes",
    )
    assert response.status_code == 302
    assert ProbeTarget.objects.get().expect == {
        "status": [200, "2xx"],
        "max_latency_ms": 500,
        "contains": "ok",
        "json": {"status": "ok", "items.0.id": 1},
        "headers": {"Content-Type": "json"},
        "certificate_days": 14,
        "schema": True,
    }


def test_a_changed_expectation_alone_is_saved(kim, target):
    """As one field of the row, and nothing else of it."""
    kim.save("probetarget_change", target.pk, expect_max_latency_ms="", expect_schema="")
    target.refresh_from_db()
    assert "max_latency_ms" not in target.expect
    assert "schema" not in target.expect
    assert target.expect["json"]["name"] == "1"
    [change] = PolicyRevision.objects.first().changes
    assert set(change["fields"]) == {"expect"}


@pytest.mark.parametrize(
    ("changed", "place", "text"),
    [
        ({"expect_status": "2000"}, "expect_status", "is no status. Write 200, 2xx or 200-299."),
        ({"expect_status": "302-301"}, "expect_status", "ends before it begins."),
        ({"expect_max_latency_ms": "0"}, "expect_max_latency_ms", "It needs a number above 0"),
        ({"expect_json": "a..b: 1"}, "expect_json", "is no path into JSON"),
        ({"expect_json": "nothing"}, "expect_json", "Line 1: “nothing” is no “Name: value”."),
        ({"expect_headers": "a b: c"}, "expect_headers", "is no name of a header."),
        ({"expect_certificate_days": "5000"}, "expect_certificate_days", "at most 3650"),
        ({"headers": "Host: evil.example"}, "headers", '"Host" is set by pulse itself.'),
        ({"headers": "no colon"}, "headers", "is no “Name: value”."),
        ({"query": "a: 1\na: 2"}, "query", "Line 2: a is named twice."),
        ({"url_name": "nowhere"}, "url_name", "There is no route of this name."),
        ({"url_name": "product"}, "path_params", "does not take these parameters."),
        ({"path": "/api/"}, "path", "Name one place only: URL name is set already."),
        ({"url_name": ""}, "__all__", "Say what is probed: a URL name, a path or a URL."),
        ({"url_name": "", "url": "http://a@b/"}, "url", "URL not allowed: "),
        ({"url_name": "", "url": "http://127.0.0.1:25/"}, "url", "URL not allowed: "),
        ({"method": "POST"}, "method", "POST may change things."),
        ({"method": "FETCH"}, "method", "FETCH is not one of the available choices."),
        ({"allow_networks": "10.0.0.0/8:x"}, "allow_networks", "10.0.0.0/8:x"),
        ({"name": "Shop 1"}, "name", "Use small letters, digits, hyphens and underscores"),
        ({"timeout_s": "0"}, "timeout_s", "greater than or equal to 0.1"),
        ({"follow_redirects": "4"}, "follow_redirects", "less than or equal to 3"),
        ({"secret_headers_1": "x"}, "secret_headers", "A value stands without the name"),
        ({"secret_headers_0": "X-Key"}, "secret_headers", "Nothing is stored for X-Key"),
        ({"secret_headers_0": "X Key", "secret_headers_1": "x"}, "secret_headers", "X Key"),
    ],
)
def test_what_cannot_be_is_told_at_its_field(kim, settings, changed, place, text):
    before = revision()
    response = add(kim, **changed)
    assert text in " ".join(errors(response)[place])
    assert not ProbeTarget.objects.exists()
    assert revision() == before


def test_what_was_typed_comes_back_with_the_error(kim):
    page = form_data(add(kim, expect_status="2000", expect_json="a: {", query="q: x y"))
    assert (page["expect_status"], page["expect_json"], page["query"]) == ("2000", "a: {", "q: x y")


class TestSecrets:
    """Values of headers that are nobody's to read (S2-41)."""

    def test_a_value_is_never_shown_again(self, kim, target):
        kim.save(
            "probetarget_change",
            target.pk,
            secret_headers_0="Authorization",
            secret_headers_1=SECRET,
            secret_headers_2="X-Key",
            secret_headers_3="env:PULSE_PROBE_KEY",
        )
        target.refresh_from_db()
        assert target.secret_headers == {"Authorization": KEPT, "X-Key": "env:PULSE_PROBE_KEY"}
        assert SECRET not in ProbeSecret.objects.get().value
        page = kim.get("probetarget_change", target.pk).content.decode()
        assert "s3cr3t" not in page
        assert "*** (stored; empty keeps it)" in page
        assert "env:PULSE_PROBE_KEY" in page
        made = PolicyRevision.objects.first()
        for shown in (
            kim.get("probetarget_changelist"),
            kim.get("policyrevision_change", made.pk),
            kim.client.get(f"/admin/pulse/probetarget/{target.pk}/history/"),
        ):
            assert "s3cr3t" not in shown.content.decode()

    def test_a_value_stands_in_no_report_of_an_error(self, kim, target):
        """Django mails what was posted to the site's admins, unless it is told of secrets."""
        page = kim.save(
            "probetarget_change",
            target.pk,
            secret_headers_0="X-Key",
            secret_headers_1=SECRET,
            timeout_s="0",
        )
        report = SafeExceptionReporterFilter().get_post_parameters(page.wsgi_request)
        assert report["secret_headers_0"] == "X-Key"
        assert "s3cr3t" not in str(report)

    def test_an_empty_value_keeps_what_is_stored(self, kim, target):
        kim.save("probetarget_change", target.pk, secret_headers_0="X-Key", secret_headers_1=SECRET)
        stored = ProbeSecret.objects.get().value
        kim.save("probetarget_change", target.pk, description="why")
        assert ProbeSecret.objects.get().value == stored
        kim.save("probetarget_change", target.pk, secret_headers_1="another")
        assert ProbeSecret.objects.get().value != stored

    def test_a_header_without_its_name_is_removed(self, kim, target):
        kim.save("probetarget_change", target.pk, secret_headers_0="X-Key", secret_headers_1=SECRET)
        kim.save("probetarget_change", target.pk, secret_headers_0="")
        target.refresh_from_db()
        assert target.secret_headers == {}
        assert not ProbeSecret.objects.exists()

    def test_a_form_that_comes_back_asks_for_the_value_again(self, kim, target):
        """It is not sent back to the browser either; saving again would keep the old one."""
        page = kim.save(
            "probetarget_change",
            target.pk,
            secret_headers_0="X-Key",
            secret_headers_1=SECRET,
            timeout_s="0",
        )
        assert "Write the value of X-Key again" in errors(page)["secret_headers"][0]
        assert "s3cr3t" not in page.content.decode()

    def test_more_headers_than_spare_rows_come_back(self, kim, target):
        """A script of the operator's own may send them."""
        rows = {}
        for place in range(6):
            rows[f"secret_headers_{2 * place}"] = f"X-{place}"
            rows[f"secret_headers_{2 * place + 1}"] = "value"
        kim.save("probetarget_change", target.pk, **rows)
        target.refresh_from_db()
        assert list(target.secret_headers) == [f"X-{place}" for place in range(6)]
        data = kim.form("probetarget_change", target.pk)
        assert data["secret_headers_10"] == "X-5"


@pytest.fixture
def named(target) -> None:
    document.apply(
        {
            "version": 1,
            "probe_payloads": [{"target": "product", "query": {"q": "x"}}],
            "probe_schedules": [{"name": "core", "every": "60s", "targets": ["product"]}],
            "maintenance_windows": [
                {
                    "name": "night",
                    "cron": "0 3 * * *",
                    "duration_s": 3600,
                    "targets": ["product"],
                }
            ],
        },
        publisher.SYSTEM,
    )


@pytest.mark.parametrize("by", ["page", "action"])
def test_deleting_what_others_name_is_refused_with_their_names(kim, target, named, by):
    before = revision()
    if by == "page":
        page = kim.post("probetarget_delete", target.pk, post="yes")
    else:
        page = kim.act("probetarget", "delete_selected", target, post="yes")
    text = page.content.decode()
    for name in (
        "probe schedule core",
        "probe payload product",
        "maintenance window night",
    ):
        assert name in text
    assert ProbeTarget.objects.exists()
    assert revision() == before


def test_renaming_what_others_name_is_refused_with_their_names(kim, target, named):
    page = kim.save("probetarget_change", target.pk, name="goods")
    [text] = errors(page)["name"]
    assert "probe schedule core, probe payload product, maintenance window night" in text
    assert kim.save("probetarget_change", target.pk, description="why").status_code == 302


def test_what_nobody_names_is_renamed_and_deleted(kim, target):
    assert kim.save("probetarget_change", target.pk, name="goods").status_code == 302
    assert kim.post("probetarget_delete", target.pk, post="yes").status_code == 302
    assert not ProbeTarget.objects.exists()


def test_the_list_says_how_targets_stand(kim, target):
    """In shape, word and colour; and what went wrong last."""
    page = kim.get("probetarget_changelist").content.decode()
    assert '<span aria-hidden="true">○</span> not watched' in page
    assert "GET to product with pk=1. It expects status 200 and 301-308" in page
    now = timezone.now()
    job = ProbeJob.objects.create(trigger="schedule", created_at=now, deadline_at=now)
    item = ProbeItem.objects.create(
        job=job,
        target="product",
        host="h:80",
        state=ItemState.FAILED,
        due_at=now,
        latency_ms=43.1,
        detail="status <500>, expected 200",
    )
    state = ProbeTargetState.objects.create(
        name="product",
        status="down",
        since=now,
        last_at=now,
        last_state="failed",
        last_item=item,
        grace_s=120,
    )
    page = kim.get("probetarget_changelist").content.decode()
    assert '<span aria-hidden="true">✕</span> down' in page
    assert "43 ms" in page
    assert reverse("pulse:probe", args=["product"]) in page
    assert "status &lt;500&gt;, expected 200" in page
    assert [row.name for row in listed(kim, status="down")] == ["product"]
    assert listed(kim, status="not_watched") == []
    assert [row.name for row in listed(kim, status="nonsense")] == ["product"]
    state.last_at -= timedelta(minutes=5)
    state.shadow = {"status": "degraded"}
    state.save()
    page = kim.get("probetarget_changelist").content.decode()
    assert '<span aria-hidden="true">○</span> not watched' in page
    assert "in shadow: degraded" in page


def listed(kim, **query):
    return list(kim.get("probetarget_changelist", **query).context["cl"].result_list)


def test_probe_now_starts_one_job(kim, target):
    """And its cooldown and the number of jobs are told as messages (S0-15, S0-16)."""
    before = revision()
    page = kim.act("probetarget", "probe_now", target)
    job = ProbeJob.objects.get()
    assert (job.trigger, job.actor_name, job.total) == ("admin", "kim", 1)
    assert f"Job {job.pk} was started: 1 probe." in told(page)
    assert url("probejob_change", job.pk) in page.content.decode()
    assert "Probe cooldown active. Please wait " in told(
        kim.act("probetarget", "probe_now", target)
    )
    assert ProbeJob.objects.count() == 1
    assert revision() == before


def test_probing_is_for_who_may_operate(clerk, target, settings):
    assert "Probe now" not in clerk.get("probetarget_changelist").content.decode()
    clerk.act("probetarget", "probe_now", target)
    assert not ProbeJob.objects.exists()
    clerk.user.user_permissions.add(Permission.objects.get(codename="operate"))
    clerk.act("probetarget", "probe_now", target)
    assert ProbeJob.objects.get().actor_name == "clerk"


def test_who_may_only_look_sees_words(clerk, target):
    """And no secret, and nothing to press."""
    page = clerk.get("probetarget_change", target.pk).content.decode()
    assert "status 200 and 301-308, an answer within 500 ms" in page
    assert "expect_status" not in page
    assert clerk.post("probetarget_change", target.pk, name="x").status_code == 403


def test_the_list_queries_the_same_for_one_row_and_for_many(kim, target):
    kim.get("probetarget_changelist")
    with CaptureQueriesContext(connection) as one:
        kim.get("probetarget_changelist")
    document.apply(
        {
            "version": 1,
            "probe_targets": [{"name": f"t{number}", "path": "/api/"} for number in range(60)],
        },
        publisher.SYSTEM,
    )
    with CaptureQueriesContext(connection) as many:
        kim.get("probetarget_changelist")
    assert len(many) == len(one)


def test_an_edit_over_another_is_refused_once(kim, target):
    data = kim.form("probetarget_change", target.pk)
    target.description = "theirs"
    target.save()
    page = kim.post("probetarget_change", target.pk, **{**data, "description": "mine"})
    assert "changed this at" in errors(page)["__all__"][0]
    assert kim.post("probetarget_change", target.pk, **form_data(page)).status_code == 302
    target.refresh_from_db()
    assert target.description == "mine"


ELSEWHERE = {"url_name": "", "path_params": ""}


@pytest.mark.parametrize(
    ("url", "networks", "said"),
    [
        ("http://127.0.0.1:8000/", "", "Address not allowed: 127.0.0.1 (loopback)"),
        ("http://[::ffff:127.0.0.1]/", "", "(embedded)"),
        ("http://169.254.169.254/", "", "(metadata)"),
        ("http://10.0.0.5:81/", "10.0.0.5/32:80", "(private)"),
        ("http://inside.test/", "", "Address not allowed: 10.0.0.5 (private)"),
    ],
)
def test_where_nothing_is_sent_is_told_as_it_is_saved(kim, url, networks, said):
    """The address guard judges it then, and again each time it is used."""
    with stub_network({"inside.test": ["93.184.216.34", "10.0.0.5"]}):
        response = add(kim, **ELSEWHERE, url=url, allow_networks=networks)
    (error,) = errors(response)["url"]
    assert said in error
    assert not ProbeTarget.objects.exists()


@pytest.mark.parametrize("url", ["http://inside.test/", "http://10.0.0.5/", "http://no.test/"])
def test_what_is_open_to_it_or_has_no_address_yet_is_saved(kim, url):
    with stub_network({"inside.test": ["10.0.0.5"]}):
        add(kim, **ELSEWHERE, url=url, allow_networks="10.0.0.5/32")
    assert ProbeTarget.objects.get().url == url


def test_a_document_is_judged_by_the_addresses_in_it(kim):
    targets = [{"name": "a", "url": "http://127.0.0.1:9/"}]
    with pytest.raises(InvalidDocument) as refused:
        document.apply({"version": 1, "probe_targets": targets}, publisher.SYSTEM)
    assert list(refused.value.errors) == ["probe_targets.0.url"]


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        ("https://shop.example/other/?q=1", False),
        ("https://thief.example/", True),
        ("https://shop.example:8443/", True),
        ("http://shop.example/", True),
    ],
)
def test_a_stored_secret_goes_to_no_other_place(kim, target, url, moved):
    """Who may edit a target would read it at a server of their own."""
    with stub_network({}):
        add(
            kim,
            **ELSEWHERE,
            url="https://shop.example/",
            secret_headers_0="Authorization",
            secret_headers_1=SECRET,
        )
        row = ProbeTarget.objects.get(name="shop")
        response = kim.save("probetarget_change", row.pk, url=url)
        row.refresh_from_db()
        assert (row.url == url) is not moved
        if moved:
            assert errors(response)["secret_headers"] == [
                "It leads elsewhere now: write the value of Authorization again, or empty its name."
            ]
            kim.save("probetarget_change", row.pk, url=url, secret_headers_1="another-secret")
            row.refresh_from_db()
            assert row.url == url
