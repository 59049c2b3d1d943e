"""Schedules and maintenance windows in the admin: when, of what, and what comes next."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.policies import document, publisher
from pulse.policies.models import PolicyRevision
from pulse.probes.models import MaintenanceWindow, ProbeSchedule
from pulse.probes.state import ProbeJob, ProbeScheduleState
from tests.admin.conftest import errors, form_data, revision, told, url


@pytest.fixture
def core(kim, settings) -> ProbeSchedule:
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}
    document.apply(
        {
            "version": 1,
            "probe_targets": [{"name": name, "path": "/api/products/"} for name in ("a", "b", "c")],
            "probe_schedules": [
                {
                    "name": "core",
                    "every": "60s",
                    "targets": ["b", "GET /api/search/", "a"],
                    "expect": {"status": [200]},
                },
                {"name": "quick", "every": "60s", "targets": ["c"], "cooldown_s": 0},
            ],
        },
        publisher.SYSTEM,
    )
    return ProbeSchedule.objects.get(name="core")


def add(kim, **changed):
    data = {**kim.form("probeschedule_add"), "name": "new", "every": "30s", "ticked": ["a"]}
    return kim.post("probeschedule_add", **{**data, **changed})


def test_targets_are_ticked_and_the_rest_is_written(kim, core):
    """In the order that was, where nothing else is named."""
    data = kim.form("probeschedule_change", core.pk)
    assert (data["ticked"], data["targets"]) == (["b", "a"], "GET /api/search/")
    number = revision()
    kim.post("probeschedule_change", core.pk, **data)
    assert revision() == number
    kim.post("probeschedule_change", core.pk, **{**data, "ticked": ["a", "b", "c"]})
    core.refresh_from_db()
    assert core.targets == ["a", "b", "c", "GET /api/search/"]
    assert set(PolicyRevision.objects.first().changes[0]["fields"]) == {"targets"}


def test_many_targets_are_written(kim, core):
    """A page of a thousand ticks is nobody's."""
    document.apply(
        {
            "version": 1,
            "probe_targets": [{"name": f"t{number}", "path": "/api/"} for number in range(60)],
        },
        publisher.SYSTEM,
    )
    data = kim.form("probeschedule_change", core.pk)
    assert "ticked" not in data
    assert data["targets"].splitlines() == ["b", "GET /api/search/", "a"]
    kim.post("probeschedule_change", core.pk, **{**data, "targets": "t59\r\nt0\r\n"})
    core.refresh_from_db()
    assert core.targets == ["t59", "t0"]


@pytest.mark.parametrize(
    ("changed", "place", "text"),
    [
        ({"every": ""}, "__all__", "Say when: either an interval, or a cron expression."),
        ({"cron": "0 7 * * *"}, "__all__", "Say when: either an interval, or a cron expression."),
        ({"every": "1s"}, "every", "is too often. Write at least 5s."),
        ({"every": "often"}, "every", "is not an interval."),
        ({"every": "", "cron": "0 7 * *"}, "cron", "is not a cron expression"),
        ({"every": "", "cron": "0 0 30 2 *"}, "cron", "Bad day-of-month."),
        ({"time_zone": "Moon/Base"}, "time_zone", "“Moon/Base” is no time zone."),
        ({"ticked": []}, "targets", "Say what is probed: tick a target, or write one."),
        ({"targets": "aa"}, "targets", "Unknown target: aa Did you mean a?"),
        ({"targets": "GET /nowhere/"}, "targets", "Unknown target: GET /nowhere/"),
        ({"targets": "POST /api/orders/"}, "targets", "may change things."),
        (
            {"targets": "../../../etc/passwd"},
            "targets",
            "Invalid endpoint_id format: ../../../etc/passwd",
        ),
        ({"retries": "5", "retry_backoff_s": "10"}, "retry_backoff_s", "longer than the interval"),
        ({"max_concurrency": "0"}, "max_concurrency", "greater than or equal to 1"),
        ({"expect_status": "ok"}, "expect_status", "is no status."),
    ],
)
def test_what_cannot_be_is_told_at_its_field(kim, core, changed, place, text):
    """S0-07 among them."""
    before = revision()
    response = add(kim, **changed)
    assert text in " ".join(errors(response)[place])
    assert revision() == before
    page = form_data(response)
    assert page["targets"] == changed.get("targets", "")


def upcoming(who, screen="probeschedule", **query):
    response = who.get(f"{screen}_upcoming", **query)
    assert "no-store" in response.headers["Cache-Control"]
    return response.json()


class TestUpcoming:
    """The next five runs, for people to see what they wrote."""

    def test_an_interval_runs_where_its_name_puts_it(self, kim):
        found = upcoming(kim, every="1h", name="core")
        again = upcoming(kim, every="1h", name="core")
        other = upcoming(kim, every="1h", name="other")
        moments = [text.partition(",")[0] for text in found["moments"]]
        assert len(moments) == 5
        assert found["problem"] == ""
        assert found["moments"][0][:25] == again["moments"][0][:25]
        assert found["moments"][0][:25] != other["moments"][0][:25]

    def test_cron_is_told_in_its_own_zone(self, kim):
        found = upcoming(kim, cron="30 7 * * MON", time_zone="Asia/Tokyo")
        assert len(found["moments"]) == 5
        for text in found["moments"]:
            assert text.startswith("Mon ")
            assert ", 07:30:00 JST, in " in text

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ({}, "Write an interval or a cron expression."),
            ({"every": "1m", "cron": "* * * * *"}, "Write either an interval or a cron expression"),
            ({"every": "soon"}, "is not an interval."),
            ({"cron": "x", "time_zone": "UTC"}, "is not a cron expression"),
            ({"cron": "0 0 * * *", "time_zone": "Moon/Base"}, "is no time zone"),
            ({"cron": "0 0 * * *", "time_zone": ""}, "is no time zone"),
            ({"cron": "9" * 100_000, "time_zone": "UTC"}, "is not a cron expression"),
            ({"every": "a\0"}, "is not an interval."),
        ],
    )
    def test_what_never_runs_says_why(self, kim, query, problem):
        found = upcoming(kim, **query)
        assert problem in found["problem"]
        assert found["moments"] == []

    def test_a_saved_form_shows_them_without_script(self, kim, core):
        page = kim.get("probeschedule_change", core.pk).content.decode()
        assert page.partition("pulse-upcoming")[2].count("<li>") == 5

    def test_only_staff_who_may_look_are_told(self, client, clerk):
        assert client.get(url("probeschedule_upcoming"), {"every": "1m"}).status_code == 302
        assert len(upcoming(clerk, every="1m")["moments"]) == 5
        clerk.user.user_permissions.clear()
        assert clerk.get("probeschedule_upcoming", every="1m").status_code == 403

    def test_openings_have_an_end(self, kim):
        found = upcoming(
            kim, "maintenancewindow", cron="0 3 * * SUN", time_zone="UTC", duration_s="2h"
        )
        assert len(found["moments"]) >= 5
        assert found["moments"][-1].startswith("Sun ")
        assert ", 05:00 UTC, in " in found["moments"][-1]

    @pytest.mark.parametrize(
        ("query", "problem"),
        [
            ({"cron": "0 3 * * *"}, "Say for how long it opens."),
            ({"cron": "0 3 * * *", "duration_s": "long"}, "Write a number and s, m, h or d"),
            ({"cron": "0 3 * * *", "duration_s": "25h"}, "opens again before it closes, for ever"),
            ({"cron": "x", "duration_s": "1h"}, "is not a cron expression"),
        ],
    )
    def test_what_never_opens_says_why(self, kim, query, problem):
        assert problem in upcoming(kim, "maintenancewindow", time_zone="UTC", **query)["problem"]


def test_the_list_says_how_schedules_do(kim, core):
    """Next run, last job, missed slots, quarantine."""
    page = kim.get("probeschedule_changelist").content.decode()
    assert "Every 1 min: b, GET /api/search/ and a." in page
    assert "not begun" in page
    now = timezone.now()
    job = ProbeJob.objects.create(
        trigger="schedule", schedule="core", status="timeout", created_at=now, deadline_at=now
    )
    state = ProbeScheduleState.objects.create(
        name="core",
        state="quarantined",
        next_at=now + timedelta(minutes=59, seconds=30),
        last_job=job,
        missed=1234,
    )
    page = kim.get("probeschedule_changelist").content.decode()
    assert '<span aria-hidden="true">✕</span> quarantined' in page
    assert "Its workers vanish. It rests until" in page
    assert url("probejob_change", job.pk) in page
    assert '<span aria-hidden="true">◷</span> timeout' in page
    assert "1,234 missed" in page
    listed = kim.get("probeschedule_changelist", state="quarantined").context["cl"].result_list
    assert [row.name for row in listed] == ["core"]
    ProbeScheduleState.objects.all().delete()
    listed = kim.get("probeschedule_changelist", state="idle").context["cl"].result_list
    assert "core" in [row.name for row in listed], "one that no worker has seen waits as well"
    state.state = "idle"
    state.save()
    page = kim.get("probeschedule_changelist").content.decode()
    assert "quarantined</span>" not in page
    assert "in 59\xa0minutes" in page


def test_pause_and_resume_are_one_revision_each(kim, core):
    before = revision()
    page = kim.act("probeschedule", "switch_off", core)
    assert "1 rule has the mode Off now." in told(page)
    assert "paused" in kim.get("probeschedule_changelist").content.decode()
    kim.act("probeschedule", "enforce", core)
    core.refresh_from_db()
    assert core.mode == "enforce"
    assert revision() == before + 2


def test_run_now_starts_a_job_or_says_why_not(kim, core):
    """The texts that were asked for, as messages (S0-15, S0-16, S2-50)."""
    before = revision()
    assert "was started: 3 probes." in told(kim.act("probeschedule", "run_now", core))
    page = told(kim.act("probeschedule", "run_now", core))
    assert "Probe cooldown active. Please wait " in page
    assert page.endswith("s before starting another probe")
    quick = ProbeSchedule.objects.get(name="quick")
    for _time in range(2):
        kim.act("probeschedule", "run_now", quick)
    assert ProbeJob.objects.count() == 3
    assert "Too many concurrent probe jobs (3/3). Wait for existing jobs to complete." in told(
        kim.act("probeschedule", "run_now", quick)
    )
    assert ProbeJob.objects.count() == 3
    assert revision() == before


def test_run_now_is_a_button_of_the_form_too(kim, core):
    address = url("probeschedule_run", core.pk)
    assert address in kim.get("probeschedule_change", core.pk).content.decode()
    page = kim.client.post(address, follow=True)
    assert "was started: 3 probes." in told(page)
    assert kim.client.get(address).status_code == 403
    assert kim.post("probeschedule_run", 999).status_code == 404


def test_running_is_for_who_may_operate(clerk, core):
    address = url("probeschedule_run", core.pk)
    assert address not in clerk.get("probeschedule_change", core.pk).content.decode()
    assert clerk.client.post(address).status_code == 403
    clerk.act("probeschedule", "run_now", core)
    assert not ProbeJob.objects.exists()
    clerk.user.user_permissions.add(Permission.objects.get(codename="administer"))
    assert "was started" in told(clerk.act("probeschedule", "run_now", core))


def test_what_edits_never_hides_among_what_runs(kim, core):
    """Two actions in one request: whichever Django takes, an edit is a revision of its author."""
    before = revision()
    kim.post(
        "probeschedule_changelist",
        action=["run_now", "switch_off"],
        index="1",
        _selected_action=[core.pk],
    )
    assert revision() == before + 1
    assert PolicyRevision.objects.first().actor_name == "kim"


def test_who_may_only_look_sees_words(clerk, core):
    page = clerk.get("probeschedule_change", core.pk).content.decode()
    assert "status 200" in page
    assert "expect_status" not in page
    assert page.partition("pulse-upcoming")[2].count("<li>") == 5


@pytest.mark.parametrize("screen", ["probeschedule", "maintenancewindow"])
def test_a_list_queries_the_same_for_one_row_and_for_many(kim, core, screen):
    kinds = {
        "probeschedule": ("probe_schedules", {"every": "60s", "targets": ["a"]}),
        "maintenancewindow": ("maintenance_windows", {"cron": "0 3 * * *", "duration_s": 60}),
    }
    kind, item = kinds[screen]
    document.apply({"version": 1, kind: [{"name": "n", **item}]}, publisher.SYSTEM)
    kim.get(f"{screen}_changelist")
    with CaptureQueriesContext(connection) as one:
        kim.get(f"{screen}_changelist")
    document.apply(
        {"version": 1, kind: [{"name": f"n{number}", **item} for number in range(60)]},
        publisher.SYSTEM,
    )
    with CaptureQueriesContext(connection) as many:
        kim.get(f"{screen}_changelist")
    assert len(many) == len(one)


class TestWindows:
    """Once, or again and again."""

    def add(self, kim, **changed):
        data = {**kim.form("maintenancewindow_add"), "name": "night", **changed}
        return kim.post("maintenancewindow_add", **data)

    def test_a_window_that_comes_again(self, kim, core):
        response = self.add(
            kim, cron="0 3 * * SUN", time_zone="Europe/Berlin", duration_s="90m", ticked=["a"]
        )
        assert response.status_code == 302
        row = MaintenanceWindow.objects.get()
        assert (row.duration_s, row.targets, row.mode) == (5400, ["a"], "enforce")
        assert kim.form("maintenancewindow_change", row.pk)["duration_s"] == "90m"
        page = kim.get("maintenancewindow_changelist").content.decode()
        assert (
            "At 0 3 * * SUN in Europe/Berlin, for 1.5 h each: maintenance of the targets a." in page
        )

    def test_a_window_that_is_open_now(self, kim, core):
        now = timezone.now()
        start, end = now - timedelta(hours=1), now + timedelta(hours=1)
        response = self.add(
            kim,
            starts_at_0=f"{start:%Y-%m-%d}",
            starts_at_1=f"{start:%H:%M}",
            ends_at_0=f"{end:%Y-%m-%d}",
            ends_at_1=f"{end:%H:%M}",
        )
        assert response.status_code == 302
        page = kim.get("maintenancewindow_changelist").content.decode()
        assert '<span aria-hidden="true">◇</span> open' in page
        assert "Maintenance of everything." in page

    @pytest.mark.parametrize(
        ("changed", "place", "text"),
        [
            ({}, "__all__", "Say when: from and until, or a cron expression and a duration."),
            ({"cron": "0 3 * * *"}, "duration_s", "Say for how long it opens."),
            ({"cron": "0 3 * * *", "duration_s": "long"}, "duration_s", "Write a number and s, m"),
            ({"cron": "0 3 * * *", "duration_s": "30s"}, "duration_s", "greater than or equal to"),
            ({"cron": "0 3 * * *", "duration_s": "25h"}, "duration_s", "for ever"),
            (
                {
                    "cron": "0 3 * * *",
                    "duration_s": "1h",
                    "starts_at_0": "2027-01-01",
                    "starts_at_1": "00:00",
                },
                "starts_at",
                "It opens either once or by the cron expression.",
            ),
            ({"targets": "moon"}, "targets", "Unknown target: moon"),
        ],
    )
    def test_what_cannot_be_is_told_at_its_field(self, kim, core, changed, place, text):
        assert text in " ".join(errors(self.add(kim, **changed))[place])
        assert not MaintenanceWindow.objects.exists()


def test_the_name_of_a_group_is_no_mark_up(kim):
    """Who may edit a target writes it; who plans maintenance, perhaps a superuser, reads it."""
    group = "<script>alert(1)</script>"
    document.apply(
        {
            "version": 1,
            "probe_targets": [{"name": "a", "path": "/api/products/", "public_group": group}],
        },
        publisher.SYSTEM,
    )
    page = kim.get("maintenancewindow_add").content.decode()
    assert group not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.timeout(30)
@pytest.mark.parametrize("retries", ["6", "5000", "99999999999999999999"])
def test_more_retries_than_there_may_be_are_refused_at_once(kim, retries):
    """All rules on a row are asked, also where a field of it is wrong."""
    data = {**kim.form("probeschedule_add"), "name": "a", "targets": "GET /api/products/"}
    response = kim.post("probeschedule_add", **data | {"every": "60s", "retries": retries})
    assert "retries" in errors(response)
    assert not ProbeSchedule.objects.exists()
