"""The policies overview in a real browser: strict, and without script on a small screen."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from pulse.policies import document
from tests.browser.opened import STRICTEST, Opened
from tests.browser.test_explain import fits
from tests.factories import KIM
from tests.factories import document as doc

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def session(db: Any) -> str:
    strict = {"preset": "html", "headers": {"Content-Security-Policy": STRICTEST}}
    rule = {"url_name": "echo", "limits": ["1/h"]}
    policy = doc(
        endpoint_limits=[{**rule, "name": f"e{number:02}"} for number in range(60)],
        access_rules=[{"network": "198.51.100.0/24", "mode": "shadow", "reason": "scrapers"}],
        cors_origins=[{"origin": "https://a-rather-long-name.shop.example.com", "path": "/api/"}],
        header_policies=[{"name": "pulse", "path": "/pulse/", **strict}],
    )
    document.apply(policy, KIM, prune=True)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("kim", "kim@example.org", "x"))
    return client.cookies["sessionid"].value


def test_rules_are_found_by_keyboard_under_the_strictest_policy(browser, live_server, session):
    """No violation, no error; the address has what was asked, and what was found leads on."""
    opened = Opened(browser, live_server, session)
    page, press = opened.page, opened.page.keyboard.press
    assert opened.go("policies/").headers["content-security-policy"] == STRICTEST
    playwright.expect(page.locator("#convergence")).to_contain_text("1 of 1 process on revision")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("scrapers")
    press("Enter")
    playwright.expect(page.locator("#found")).to_have_text("1 of 63 rules")
    assert "q=scrapers" in page.url
    page.get_by_role("link", name="198.51.100.0/24 /").focus()
    press("Enter")
    page.wait_for_url("**/admin/pulse/accessrule/?q=198.51.100.0*")
    assert opened.problems == []
    assert [url for url in opened.asked if not url.startswith(opened.base)] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_works_without_script_on_a_small_screen(browser, live_server, session, scheme):
    opened = Opened(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
    )
    page = opened.page
    opened.go("policies/")
    fits(page)
    page.locator("#count-shadow a").click()
    playwright.expect(page.locator("#found")).to_have_text("1 of 63 rules")
    opened.go("policies/?kind=endpoint_limits")
    page.get_by_role("link", name="Next").click()
    playwright.expect(page.locator("#rules")).to_contain_text("e59")
    fits(page)
