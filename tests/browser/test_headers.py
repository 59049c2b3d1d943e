"""Header policies in a real browser: what runs under them, what they stop, what is reported."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from pulse.policies import document, publisher
from pulse.policies.edge import HeaderPolicy
from pulse.policies.models import EndpointLimit
from pulse.store import csp
from tests.browser.origins import FETCH, served_pages
from tests.sites import wait_until

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: Adds a script to the page, as an attack would.
INLINE = """() => {
  const script = document.createElement('script');
  script.textContent = 'window.ran = true';
  document.body.append(script);
  return window.ran === true;
}"""
#: Tells the console of every violation, also of those that it keeps to itself.
LISTEN = """document.addEventListener('securitypolicyviolation', (event) =>
  console.error('violation: ' + event.violatedDirective + ' ' + event.blockedURI));"""


@pytest.fixture
def kim(db: Any) -> Any:
    return get_user_model().objects.create_superuser("kim", "kim@example.org", "secret")


def apply(*items: dict[str, Any], **kinds: Any) -> None:
    limit = {"name": "default", "default": True, "limits": ["1000/s"]}
    document.apply(
        {"version": 1, "rate_tiers": [limit], "header_policies": list(items), **kinds},
        publisher.SYSTEM,
        prune=True,
    )


def open_page(browser: Any) -> tuple[Any, list[str]]:
    page, problems = browser.new_context().new_page(), []
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.add_init_script(LISTEN)
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    return page, problems


def log_in(page: Any, site: str) -> None:
    page.goto(f"{site}/admin/")
    page.locator("#id_username").fill("kim")
    page.locator("#id_password").fill("secret")
    page.get_by_role("button", name="Log in").click()


@pytest.mark.parametrize("preset", ["html", "owasp"])
def test_the_whole_admin_works_under_a_strict_policy(browser, live_server, kim, preset):
    """Login, lists, forms with their scripts, date widgets, pop-ups: nothing is blocked (trap 15).

    And the site's own pages too.
    """
    apply({"name": "site", "preset": preset})
    page, problems = open_page(browser)
    answer = page.goto(f"{live_server.url}/admin/login/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    log_in(page, live_server.url)
    playwright.expect(page.locator("#user-tools")).to_contain_text("kim")
    page.goto(f"{live_server.url}/admin/pulse/endpointlimit/add/")
    page.locator("#id_name").fill("search")
    page.locator("#id_url_name").fill("search")
    # Scripts of pulse's own run, and those of the stock admin.
    page.locator("#id_limits-0-rate").type("60/m")
    playwright.expect(page.locator("#limits-0 [data-pulse=words]")).to_contain_text("60 a minute")
    page.get_by_text("Add another Limit").click()
    page.locator("#id_limits-1-rate").fill("1000/d")
    page.locator(".field-starts_at .datetimeshortcuts a").first.click()
    assert page.locator("#id_starts_at_0").input_value()
    page.locator(".field-ends_at .datetimeshortcuts .date-icon").click()
    page.locator(".calendarbox:visible .calendarnav-next").click()
    page.locator(".calendarbox:visible td a").last.click()
    assert page.locator("#id_ends_at_0").input_value()
    with page.expect_popup() as popup:
        page.locator("#add_id_tier").click()
    popup.value.wait_for_load_state()
    popup.value.close()
    page.locator("#id_starts_at_0").fill("")
    page.locator("#id_starts_at_1").fill("")
    page.locator("#id_ends_at_0").fill("")
    page.locator("#id_ends_at_1").fill("")
    page.get_by_role("button", name="Save", exact=True).click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("is in force.")
    assert [str(limit) for limit in EndpointLimit.objects.get().limits.all()] == [
        "60/m",
        "1000/d",
    ]
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option("shadow")
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("has the mode Shadow now.")
    policy = HeaderPolicy.objects.get()
    for name in ("auth_user_changelist", "auth_user_add", "pulse_policyrevision_changelist"):
        page.goto(live_server.url + reverse(f"admin:{name}"))
    page.goto(live_server.url + reverse("admin:auth_user_change", args=[kim.pk]))
    page.locator("#id_user_permissions_input").fill("header")
    page.goto(live_server.url + reverse("admin:pulse_headerpolicy_change", args=[policy.pk]))
    with page.expect_popup() as popup:
        page.get_by_role("button", name="Preview the headers").click()
    playwright.expect(popup.value.locator(".pulse-headers")).to_contain_text("X-Frame-Options")
    for path in ("/", "/accounts/login/", "/admin/jsi18n/"):
        page.goto(f"{live_server.url}{path}")
    # OWASP's list takes unload from pages; Django 5.2's admin closes its pop-ups by it.
    unload = "Permissions policy violation: unload is not allowed in this document."
    assert [text for text in problems if preset == "html" or text != unload] == []


def test_with_no_referrer_no_form_of_django_could_be_sent(browser, live_server, kim):
    """Why no preset for pages says so, though OWASP's list does: browsers send Origin: null."""
    apply(
        {
            "name": "a",
            "preset": "owasp",
            "headers": {"Referrer-Policy": "no-referrer"},
            "force": True,
        }
    )
    page, _ = open_page(browser)
    with page.expect_response(lambda response: response.request.method == "POST") as refused:
        log_in(page, live_server.url)
    assert refused.value.status == 403
    assert refused.value.request.headers["origin"] == "null"


def test_under_the_preset_api_scripts_of_allowed_origins_still_read(browser, live_server):
    """Cross-Origin-Resource-Policy is of loads without CORS, which it stops."""
    with served_pages() as port:
        origin = f"http://app.localhost:{port}"
        apply(
            {"name": "api", "path": "/api/", "preset": "api", "force": True},
            cors_origins=[{"origin": origin}],
        )
        page, _ = open_page(browser)
        page.goto(f"{origin}/")
        ask = [f"{live_server.url}/api/search/?q=a", {}]
        (found,) = page.evaluate(FETCH, [[ask], 1])
        assert found["status"] == 200
        assert '"results"' in found["body"]
        silent = [f"{live_server.url}/api/search/?q=a", {"mode": "no-cors"}]
        (found,) = page.evaluate(FETCH, [[silent], 1])
        assert "Failed to fetch" in found["error"]
        answer = page.goto(f"{live_server.url}/api/search/?q=a")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-security-policy"] == (
            "default-src 'none'; frame-ancestors 'none'"
        )


def test_from_reports_to_enforced_in_one_click(browser, live_server, kim):
    """The browser reports what would be blocked; the form says so; one click, and it is."""
    apply(
        {"name": "site", "preset": "html", "csp_report_only": True},
        {"name": "admin", "path": "/admin/", "preset": "html"},
    )
    page, problems = open_page(browser)
    page.goto(f"{live_server.url}/accounts/login/?next=/secret/")
    assert page.evaluate(INLINE) is True
    with served_pages() as port:
        image = f"http://127.0.0.1:{port}"
        page.evaluate("(src) => document.body.append(Object.assign(new Image(), {src}))", image)
        wait_until(lambda: len(csp.last_day()[0]) == 2)
    found = {(each.directive, each.source, each.page) for each in csp.last_day()[0]}
    assert found == {
        ("script-src-elem", "inline", "/accounts/login/"),
        ("img-src", image, "/accounts/login/"),
    }
    page.goto("about:blank")
    problems.clear()
    log_in(page, live_server.url)
    policy = HeaderPolicy.objects.get(name="site")
    page.goto(live_server.url + reverse("admin:pulse_headerpolicy_change", args=[policy.pk]))
    reports = page.locator(".pulse-reports")
    playwright.expect(reports).to_contain_text(f"img-src 'self' data: {image};")
    reports.get_by_role("button", name="Enforce this CSP (2 reports)").click()
    playwright.expect(page.locator(".messagelist")).to_contain_text(
        "The CSP of site is enforced now. 2 reports of the last 24 hours told what it blocks."
    )
    assert problems == []
    page.goto(f"{live_server.url}/accounts/login/")
    assert page.evaluate(INLINE) is False
    assert any("inline" in text for text in problems)
    policy.refresh_from_db()
    assert not policy.csp_report_only


def test_the_switch_works_without_script_and_on_a_small_screen(browser, live_server, kim):
    apply({"name": "site", "preset": "html", "csp_report_only": True})
    csp.add("site", "script-src-elem", "https://" + "a" * 60 + ".example.com", "/api/echo/")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    log_in(page, live_server.url)
    policy = HeaderPolicy.objects.get()
    page.goto(live_server.url + reverse("admin:pulse_headerpolicy_change", args=[policy.pk]))
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") is True
    page.get_by_role("button", name="Enforce this CSP (1 report)").click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("is enforced now.")
