"""The pages of probes in a real browser: live, by keyboard alone, strict, and without script."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from pulse.pages import endpoints as endpoint_pages
from pulse.pages import jobs as job_pages
from pulse.pages import probes as probe_pages
from pulse.pages import status as status_page
from pulse.policies import document, publisher
from pulse.probes.state import ProbeDay, ProbeItem, ProbeJob, ProbeTargetState
from pulse.store import copies
from tests import factories
from tests.browser.opened import STRICTEST, Opened

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TARGETS = [
    {"name": "products", "path": "/api/products/", "public_name": "Catalogue"},
    {"name": "search", "url_name": "search", "public_name": "Search", "public_group": "Shop"},
]
#: The number of a job that runs stands in the place of the braces.
PAGES = (
    "probes/",
    "probes/search/",
    "probes/search/?window=30d",
    "probes/GET~api~products~%3Cint:pk%3E~/",
    "jobs/",
    "jobs/{}/",
    "endpoints/",
    "status/",
)


@pytest.fixture(autouse=True)
def fast(monkeypatch: Any) -> Iterator[None]:
    """Pages ask again at once; Playwright's loop lives in this thread, as a server's own would."""
    for module in (job_pages, probe_pages, endpoint_pages, status_page):
        monkeypatch.setattr(module, "POLL_MS", 200)
        monkeypatch.setattr(module, "POLL_RUNNING_MS", 100, raising=False)
    status_page.forget()
    copies.forget()
    yield
    status_page.forget()
    copies.forget()


def apply(**kinds: Any) -> None:
    limit = {"name": "default", "default": True, "limits": ["1000/s"]}
    document.apply(
        {
            "version": 1,
            "rate_tiers": [limit],
            "probe_targets": TARGETS,
            "probe_schedules": [
                {"name": "core", "every": "1h", "targets": ["products", "search"]},
                {"name": "routes", "every": "1h", "targets": ["GET /api/products/<int:pk>/"]},
            ],
            **kinds,
        },
        publisher.Actor("user", "kim"),
        prune=True,
    )


@pytest.fixture
def history(db: Any, settings: Any) -> ProbeJob:
    """A job that runs, and what came before it."""
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:1"}
    apply()
    now = timezone.now()
    this = now.replace(minute=0, second=0, microsecond=0)
    job = factories.job(
        *["queued"] * 4, status="running", targets=["products", "search", "search", "products"]
    )
    factories.job("ok", "failed", targets=["products", "search"])
    ProbeItem.objects.filter(state="failed").update(
        evidence={
            "request": {"method": "GET", "url": "http://127.0.0.1:1/api/search/?q=a"},
            "response": {"status_code": 500, "headers": {"x-a": "b"}, "body": "<b>no</b>"},
        }
    )
    for name in ("products", "search"):
        factories.hour(name, this)
        factories.hour(name, this - timedelta(hours=1), 50, 40_000, down_s=600, up_s=3000)
        for back in range(1, 90):
            day = (now - timedelta(days=back)).date()
            ProbeDay.objects.create(target=name, at=day, up_s=80_000, down_s=6_400)
    factories.target_state("products", "up")
    factories.target_state("search", "down")
    return job


@pytest.fixture
def session(history: ProbeJob) -> str:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("kim", "kim@example.org", "x"))
    return client.cookies["sessionid"].value


@pytest.fixture
def opened(browser: Any, live_server: Any, session: str) -> Opened:
    return Opened(browser, live_server, session)


def end(job: ProbeJob, *states: str) -> None:
    """Let the first probes of a job end so, and the job with its last one."""
    items = list(job.items.order_by("pk"))
    for item, state in zip(items, states, strict=False):
        ProbeItem.objects.filter(pk=item.pk).update(state=state, latency_ms=12.5, attempts=1)
    if len(states) == len(items):
        ProbeJob.objects.filter(pk=job.pk).update(status="completed", finished_at=timezone.now())


def test_a_job_is_seen_to_run_without_loading_its_page_again(opened, history):
    """S0-19: progress, rows and the end of it; then nothing is asked any more."""
    opened.go(f"jobs/{history.pk}/")
    page = opened.page
    page.evaluate("window.isSame = true")
    playwright.expect(page.locator("#progress")).to_contain_text("0 / 4 · 0 %")
    end(history, "ok", "failed")
    playwright.expect(page.locator("#progress")).to_contain_text("2 / 4 · 50 %")
    playwright.expect(page.locator("#announcement")).to_have_text(
        f"Job {history.pk}: 50 % done. Something is not ok."
    )
    row = page.locator(f"#item-{history.items.order_by('pk')[1].pk}")
    playwright.expect(row).to_contain_text("failed")
    playwright.expect(row).to_have_class("row-bad")
    assert page.locator("progress").evaluate("(bar) => bar.position") == 0.5
    end(history, "ok", "failed", "ok", "ok")
    playwright.expect(page.locator("#job-status")).to_have_text("completed")
    playwright.expect(page.get_by_role("button", name="Run what is not ok again")).to_be_visible()
    playwright.expect(page.locator("[data-live]")).to_be_hidden()
    opened.asked.clear()
    page.wait_for_timeout(500)
    assert opened.asked == []
    assert page.evaluate("window.isSame") is True
    assert opened.problems == []


def test_what_has_not_changed_is_asked_for_by_its_tag(opened):
    with opened.page.expect_response(lambda answer: answer.status == 304) as same:
        opened.go("jobs/?status=completed")
    assert same.value.request.headers["if-none-match"].startswith('W/"')


def test_what_somebody_does_on_a_page_stays_as_it_is_renewed(opened, history):
    """Typed text, a choice, opened details and the focus are theirs."""
    opened.go("probes/")
    page = opened.page
    page.get_by_role("searchbox").fill("half a wo")
    page.get_by_label("Choose products").check()
    page.get_by_label("Order").select_option("name")
    page.get_by_role("button", name="Probe products now").focus()
    factories.target_state("GET /api/products/<int:pk>/", "up")
    playwright.expect(page.locator("#count-up .number")).to_have_text("2")
    assert page.get_by_role("searchbox").input_value() == "half a wo"
    assert page.get_by_label("Choose products").is_checked()
    assert page.get_by_label("Order").input_value() == "name"
    assert page.evaluate("document.activeElement.value") == "products"
    opened.go("probes/search/")
    page.get_by_text("Show as a table").click()
    factories.job("ok", targets=["search"])
    playwright.expect(page.locator("#h-results ~ table tbody tr")).to_have_count(2)
    playwright.expect(page.locator("#chart-table")).to_have_attribute("open", "")
    assert opened.problems == []


def test_rows_do_not_move_under_the_pointer(opened):
    """The order stays as the page was opened with; new rows come where they belong."""
    opened.go("jobs/")
    rows = opened.page.locator("tbody tr th")
    before = rows.all_inner_texts()
    new = factories.job("ok")
    playwright.expect(rows).to_have_count(len(before) + 1)
    assert rows.all_inner_texts() == [str(new.pk), *before]
    ProbeJob.objects.filter(pk=int(before[-1])).delete()
    playwright.expect(rows).to_have_count(len(before))
    opened.go("probes/")
    names = opened.page.locator("tbody tr th a")
    assert names.all_inner_texts()[0] == "search"
    ProbeTargetState.objects.filter(name="search").update(status="up")
    ProbeTargetState.objects.filter(name="products").update(status="down")
    playwright.expect(opened.page.locator("#target-products")).to_contain_text("down")
    assert names.all_inner_texts()[0] == "search"


def test_renewing_can_be_paused_and_a_server_that_is_away_is_told(opened, history):
    """WCAG 2.2.2; and no value is shown as fresh that is not."""
    opened.go("jobs/")
    page, state = opened.page, opened.page.locator("[data-live-state]")
    playwright.expect(state).to_have_text("Live")
    page.get_by_role("button", name="Pause").click()
    playwright.expect(state).to_have_text("Paused")
    page.wait_for_timeout(300)
    opened.asked.clear()
    page.wait_for_timeout(500)
    assert opened.asked == []
    page.route("**/pulse/jobs/", lambda route: route.abort())
    page.get_by_role("button", name="Resume").click()
    playwright.expect(state).to_contain_text("No answer since")
    playwright.expect(page.locator("body")).to_have_class("stale")
    page.unroute("**/pulse/jobs/")
    playwright.expect(state).to_have_text("Live")


def test_a_login_page_is_no_news(opened, settings):
    """The admin's has a part of the same name; what was last known stays, and is told as old."""
    settings.LOGIN_URL = "admin:login"
    opened.go("probes/search/")
    page = opened.page
    page.wait_for_selector("[data-now=on]")
    Session.objects.all().delete()
    page.wait_for_selector("[data-now=stale]")
    assert page.locator("h1").inner_text().startswith("search")
    assert page.locator("[name=password]").count() == 0


def test_a_page_that_nobody_sees_asks_for_nothing(opened):
    opened.page.add_init_script(
        "window.isAway = false;"
        "Object.defineProperty(document, 'hidden', { get: () => window.isAway });"
    )
    opened.go("jobs/")
    turn = (
        "(away) => { window.isAway = away; document.dispatchEvent(new Event('visibilitychange')) }"
    )
    opened.page.evaluate(turn, True)
    opened.page.wait_for_timeout(300)
    opened.asked.clear()
    opened.page.wait_for_timeout(500)
    assert opened.asked == []
    with opened.page.expect_request("**/pulse/jobs/"):
        opened.page.evaluate(turn, False)


def test_the_keyboard_alone_suffices(opened, history):
    """From the skip link to a running job and its end."""
    opened.go("probes/")
    page, press = opened.page, opened.page.keyboard.press
    press("Tab")
    playwright.expect(page.locator(".skip")).to_be_focused()
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(40):
        press("Tab")
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        if focused == "Probe products now":
            break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    press("Enter")
    page.wait_for_url("**/pulse/jobs/*/")
    job = ProbeJob.objects.first()
    playwright.expect(page.locator("h1")).to_contain_text(f"Job {job.pk}")
    page.get_by_role("button", name="Cancel").focus()
    press("Enter")
    playwright.expect(page.locator("#job-status")).to_have_text("cancelled")
    assert opened.problems == []


@pytest.mark.parametrize("policy", ["html", "owasp", "strictest"])
def test_every_page_works_under_a_strict_policy_and_asks_nobody_else(opened, history, policy):
    """No violation, no error, no request to anybody else."""
    preset = {"preset": "html" if policy == "strictest" else policy}
    if policy == "strictest":
        preset["headers"] = {"Content-Security-Policy": STRICTEST}
    apply(header_policies=[{"name": "pulse", "path": "/pulse/", **preset}])
    for path in PAGES:
        # Each is renewed under the policy, too.
        with opened.page.expect_response(lambda answer: answer.request.resource_type == "xhr"):
            response = opened.go(path.format(history.pk))
        assert response.status == 200
        assert "default-src" in response.headers["content-security-policy"]
        opened.page.wait_for_timeout(100)
    opened.go("probes/search/")
    opened.page.get_by_role("button", name="Run now").click()
    opened.page.wait_for_url("**/pulse/jobs/*/")
    assert opened.problems == []
    assert [url for url in opened.asked if not url.startswith(opened.base)] == []


def test_a_command_is_copied_by_a_button_and_its_text_is_there_without(opened):
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.go("probes/search/")
    opened.page.bring_to_front()
    opened.page.get_by_role("button", name="Copy as curl").click()
    playwright.expect(opened.page.get_by_role("button", name="Copied")).to_be_visible()
    text = "curl --include 'http://127.0.0.1:1/api/search/?q=a'"
    assert opened.page.evaluate("navigator.clipboard.readText()") == text
    assert opened.page.locator("#curl").inner_text() == text


def test_a_button_says_what_it_did_though_the_page_is_put_in_anew(opened):
    """What came between, the newest page, once took the word away at once."""
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.go("probes/search/")
    opened.page.bring_to_front()
    opened.page.get_by_role("button", name="Copy as curl").click()
    said = opened.page.evaluate(
        """async () => {
          const live = document.querySelector("script[src*='live']").src;
          const { morph } = await import(live);
          const button = [...document.querySelectorAll("[data-copy]")].at(-1);
          while (button.textContent !== "Copied") await new Promise(requestAnimationFrame);
          const fresh = button.cloneNode(true);
          fresh.textContent = "Copy as curl";
          morph(button, fresh);
          return button.textContent;
        }"""
    )
    assert said == "Copied"
    playwright.expect(opened.page.get_by_role("button", name="Copy as curl")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_works_without_script_on_a_small_screen(
    browser, live_server, session, history, scheme
):
    """Forms, refusals and filters; nothing is wider than the screen, no target under 24 pixels."""
    opened = Opened(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
    )
    page = opened.page
    for path in PAGES:
        assert opened.go(path.format(history.pk)).status == 200
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") is True
        small = page.evaluate(
            "[...document.querySelectorAll('button, select, input:not([type=hidden],"
            " [type=checkbox])')].filter((each) => each.checkVisibility()"
            " && each.getBoundingClientRect().height < 24).length"
        )
        assert small == 0
    playwright.expect(page.locator("[data-live]")).to_be_hidden()
    opened.go("probes/")
    page.get_by_role("searchbox").fill("products")
    page.get_by_role("button", name="Show", exact=True).click()
    playwright.expect(page.locator("#found")).to_have_text("2 of 3 targets")
    page.get_by_label("Choose products").check()
    page.get_by_role("button", name="Probe the chosen").click()
    playwright.expect(page.locator("#progress")).to_contain_text("0 / 1")
    opened.go("probes/products/")
    page.get_by_role("button", name="Run now").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("Probe cooldown active.")
    assert ProbeJob.objects.filter(trigger="page").count() == 3


def test_the_public_page_needs_no_session_and_sets_no_cookie(browser, live_server, history):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{live_server.url}/pulse/status/")
    playwright.expect(page.locator("#banner")).to_contain_text("Partial outage: 1 service is down")
    assert page.locator("svg.days").count() == 2
    assert context.cookies() == []
