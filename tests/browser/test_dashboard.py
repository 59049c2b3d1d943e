"""The dashboard in a real browser; and every page as assistive technology meets it."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from pulse.alerts import incidents
from pulse.alerts.incidents import Finding, open_incident
from pulse.metrics import flush, record_request, window
from pulse.pages import dashboard
from pulse.policies import document
from tests import factories
from tests.browser.opened import STRICTEST, Opened
from tests.browser.test_explain import fits
from tests.factories import KIM
from tests.factories import document as doc

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: What WCAG 2.2 asks for on the levels A and AA, as axe-core names it.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PAGES = (
    *("", "?window=7d", "policies/", "explain/?path=/api/echo/&method=GET", "endpoints/"),
    *("probes/", "probes/search/", "jobs/", "status/"),
    *("incidents/", "incidents/{}/", "timeline/", "doctor/"),
)
TARGETS = [
    {"name": "products", "path": "/api/products/", "public_name": "Catalogue"},
    {"name": "search", "url_name": "search", "public_name": "Search", "public_group": "Shop"},
]
SCHEDULES = [{"name": "core", "every": "1h", "targets": ["products", "search"]}]


@pytest.fixture(autouse=True)
def own_measures(fresh_process: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(dashboard, "POLL_MS", 200)
    window.forget()


@pytest.fixture
def session(db: Any) -> str:
    strict = {"preset": "html", "headers": {"Content-Security-Policy": STRICTEST}}
    policy = doc(
        endpoint_limits=[{"name": "echo", "url_name": "echo", "limits": ["1/h"], "key": "ip"}],
        header_policies=[{"name": "pulse", "path": "/pulse/", **strict}],
    )
    document.apply(policy, KIM, prune=True)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("kim", "kim@example.org", "x"))
    return client.cookies["sessionid"].value


def measured() -> None:
    for status, taken_ms in ((200, 10.0), (200, 900.0), (500, 20.0)):
        record_request("/home/", "GET", status, taken_ms)
    other = Client(REMOTE_ADDR="203.0.113.9")
    for _ in range(3):
        other.get("/api/echo/")
    flush.flush()


def test_it_stays_current_under_the_strictest_policy(browser, live_server, session):
    """Trouble that begins is on the page without a reload; nothing is asked of anybody else."""
    opened = Opened(browser, live_server, session)
    assert opened.go("").headers["content-security-policy"] == STRICTEST
    page = opened.page
    page.locator("#chart-table").wait_for(state="detached")
    measured()
    playwright.expect(page.locator("#verdict")).to_contain_text("errors; promised are at most")
    playwright.expect(page).to_have_title("Trouble · Pulse")
    page.get_by_text("Show as a table").click()
    playwright.expect(page.get_by_role("cell", name="6", exact=True).first).to_be_visible()
    page.get_by_role("link", name="24h").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/pulse/?window=24h")
    assert opened.problems == []
    assert [url for url in opened.asked if not url.startswith(opened.base)] == []


@pytest.mark.parametrize(("name", "kept"), [("theme", "dark"), ("_x_adminTheme", '"dark"')])
def test_it_is_dark_where_the_admin_was_switched_to_dark(browser, live_server, session, name, kept):
    opened = Opened(browser, live_server, session, color_scheme="light")
    opened.go("")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = opened.page.evaluate(colour)
    opened.page.evaluate("([name, kept]) => localStorage.setItem(name, kept)", [name, kept])
    opened.go("")
    assert opened.page.evaluate(colour) == "rgb(13, 17, 23)" != light
    assert opened.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_works_without_script_on_a_small_screen(browser, live_server, session, scheme):
    measured()
    opened = Opened(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
    )
    assert opened.go("").status == 200
    fits(opened.page)
    opened.page.get_by_role("link", name="Explain ip:203.0.113.9, or make an exception").click()
    assert "address=203.0.113.9" in opened.page.url
    assert opened.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_incident_is_read_and_noted_without_script(browser, live_server, session, scheme):
    incident = open_incident(Finding(title="p95 is 900 ms", severity="warning"), timezone.now())
    opened = Opened(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
    )
    page = opened.page
    for path in ("incidents/", "timeline/", f"incidents/{incident.pk}/"):
        assert opened.go(path).status == 200
        fits(page)
    page.get_by_label("A note").fill("We look.")
    page.get_by_role("button", name="Write it down").click()
    playwright.expect(page.get_by_text("We look.")).to_be_visible()
    assert opened.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(browser, live_server, session, scheme):
    """Contrast, names, order and landmarks of every page, with something to show on it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    measured()
    opened = Opened(browser, live_server, session, color_scheme=scheme)
    # The library puts its script into the page, which the strict policy of the pages forbids.
    document.apply(doc(probe_targets=TARGETS, probe_schedules=SCHEDULES), KIM, prune=True)
    factories.job("failed", status="completed", targets=["search"])
    incident = open_incident(Finding(title="search is down", severity="critical"), timezone.now())
    incidents.note(incident, timezone.now(), "We are on it.", KIM, public=True)
    for path in PAGES:
        assert opened.go(path.format(incident.pk)).status == 200
        found = axe.run(opened.page, options=RULES)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        opened.page.set_viewport_size({"width": 390, "height": 844})
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390, path
        opened.page.set_viewport_size({"width": 1280, "height": 900})
