"""The screens of probes in a real browser, under the strict policy of the site's own pages."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from pulse.policies import document, publisher
from pulse.probes.models import ProbeSchedule, ProbeTarget
from pulse.probes.state import ProbeJob

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: Tells the console of every violation, also of those that it keeps to itself.
LISTEN = """document.addEventListener('securitypolicyviolation', (event) =>
  console.error('violation: ' + event.violatedDirective + ' ' + event.blockedURI));"""


@pytest.fixture
def session(settings: Any) -> str:
    """A superuser is logged in; the cookie says so."""
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}
    document.apply(
        {
            "version": 1,
            "rate_tiers": [{"name": "default", "default": True, "limits": ["1000/s"]}],
            "header_policies": [{"name": "site", "preset": "html"}],
            "probe_targets": [
                {"name": "health", "path": "/healthz"},
                {"name": "search", "url_name": "search", "query": {"q": "mug"}},
            ],
            "probe_schedules": [{"name": "core", "every": "1h", "targets": ["health"]}],
        },
        publisher.SYSTEM,
        prune=True,
    )
    client = Client()
    user = get_user_model().objects.create_superuser("kim", "kim@example.org", "secret")
    client.force_login(user)
    return client.cookies["sessionid"].value


def open_page(
    browser: Any, live_server: Any, session: str, **options: Any
) -> tuple[Any, list[str]]:
    context = browser.new_context(**options)
    context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    page, problems = context.new_page(), []
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.add_init_script(LISTEN)
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    return page, problems


def test_the_next_five_runs_are_told_as_one_types(browser, live_server, session):
    """Of an interval, of cron in a zone; what never runs says why."""
    page, problems = open_page(browser, live_server, session)
    answer = page.goto(f"{live_server.url}/admin/pulse/probeschedule/add/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    runs = page.locator("[data-pulse=upcoming] li")
    problem = page.locator("[data-pulse=upcoming] .pulse-is-error")
    playwright.expect(problem).to_have_text("Write an interval or a cron expression.")
    page.locator("#id_every").press_sequentially("30s")
    playwright.expect(runs).to_have_count(5)
    playwright.expect(problem).to_have_text("")
    page.locator("#id_every").fill("1s")
    playwright.expect(problem).to_contain_text("is too often. Write at least 5s.")
    playwright.expect(runs).to_have_count(0)
    page.locator("#id_every").fill("")
    page.locator("#id_cron").fill("30 7 * * MON")
    page.locator("#id_time_zone").fill("Asia/Tokyo")
    playwright.expect(runs.first).to_contain_text("07:30:00 JST")
    playwright.expect(runs).to_have_count(5)
    assert problems == []


def test_a_schedule_is_made_and_run_by_the_keyboard_alone(browser, live_server, session):
    """Ticks, fields, buttons: everything is reached by tab, space and enter."""
    page, problems = open_page(browser, live_server, session)
    page.goto(f"{live_server.url}/admin/pulse/probeschedule/add/")
    page.locator("#id_name").focus()
    page.keyboard.type("night")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # The first target.
    tab_to(page, "id_every")
    page.keyboard.type("5m")
    playwright.expect(page.locator("[data-pulse=upcoming] li")).to_have_count(5)
    tab_to(page, "id_expect_status")
    page.keyboard.type("200, 2xx")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".messagelist")).to_contain_text("is in force.")
    row = ProbeSchedule.objects.get(name="night")
    assert (row.targets, row.every, row.expect) == (["health"], "5m", {"status": [200, "2xx"]})

    page.goto(f"{live_server.url}/admin/pulse/probeschedule/{row.pk}/change/")
    button = page.get_by_role("button", name="Run now")
    button.focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".messagelist")).to_contain_text("was started: 1 probe.")
    button.focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".messagelist")).to_contain_text("Probe cooldown active.")
    assert ProbeJob.objects.get().schedule == "night"
    assert problems == []


def tab_to(page: Any, ident: str) -> None:
    for _step in range(40):
        if page.evaluate("document.activeElement.id") == ident:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{ident} is not reached by tab")


def test_everything_works_without_script_on_a_small_screen(browser, live_server, session):
    """Errors at their fields, what was typed, the next runs of what was saved."""
    page, problems = open_page(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 800},
    )
    page.goto(f"{live_server.url}/admin/pulse/probetarget/add/")
    page.locator("#id_name").fill("orders")
    page.locator("#id_path").fill("/api/orders/")
    page.locator("#id_expect_status").fill("nothing")
    page.locator("#id_expect_json").fill("detail: x")
    page.locator("#id_secret_headers_0").fill("Authorization")
    page.locator("#id_secret_headers_1").fill("Token s3cr3t")
    page.get_by_role("button", name="Save", exact=True).click()
    playwright.expect(page.locator(".field-expect_status .errorlist")).to_contain_text(
        "is no status."
    )
    assert page.locator("#id_expect_json").input_value() == "detail: x"
    assert page.locator("#id_secret_headers_1").input_value() == ""
    page.locator("#id_expect_status").fill("401")
    page.locator("#id_secret_headers_1").fill("Token s3cr3t")
    page.get_by_role("button", name="Save and continue editing").click()
    playwright.expect(page.locator(".pulse-sentence")).to_contain_text(
        "GET to /api/orders/. It expects status 401"
    )
    assert "s3cr3t" not in page.content()
    row = ProbeTarget.objects.get(name="orders")
    assert row.secret_headers == {"Authorization": "***"}
    page.goto(
        f"{live_server.url}/admin/pulse/probeschedule/{ProbeSchedule.objects.get().pk}/change/"
    )
    playwright.expect(page.locator("[data-pulse=upcoming] li")).to_have_count(5)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") is True
    assert problems == []


def test_windows_tell_when_they_open_as_one_types(browser, live_server, session):
    page, problems = open_page(browser, live_server, session)
    page.goto(f"{live_server.url}/admin/pulse/maintenancewindow/add/")
    page.locator("#id_cron").fill("0 3 * * SUN")
    problem = page.locator("[data-pulse=upcoming] .pulse-is-error")
    playwright.expect(problem).to_have_text("Say for how long it opens.")
    page.locator("#id_duration_s").fill("2h")
    first = page.locator("[data-pulse=upcoming] li").first
    playwright.expect(first).to_contain_text("05:00 UTC")
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_of_probes_breaks_no_policy(browser, live_server, session, scheme):
    page, problems = open_page(browser, live_server, session, color_scheme=scheme)
    for name in ("probetarget", "probeschedule", "probepayload", "probebudget"):
        for screen in (f"{name}/", f"{name}/add/"):
            assert page.goto(f"{live_server.url}/admin/pulse/{screen}").status == 200
    for name in ("maintenancewindow", "probejob", "probeitem", "probeworker"):
        assert page.goto(f"{live_server.url}/admin/pulse/{name}/").status == 200
    assert problems == []
