"""The page that explains in a real browser: strict, by keyboard alone, and without script."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from pulse.policies import current, document
from pulse.policies.models import Exemption
from tests.browser.opened import STRICTEST, Opened
from tests.factories import KIM
from tests.factories import document as doc

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ECHO = "/api/echo/"
EVE = "203.0.113.9"
LIMIT = {"name": "echo", "url_name": "echo", "limits": [{"rate": "1/h"}], "key": "ip"}


@pytest.fixture
def session(db: Any) -> str:
    strict = {"preset": "html", "headers": {"Content-Security-Policy": STRICTEST}}
    policy = doc(
        endpoint_limits=[LIMIT],
        access_rules=[{"network": "198.51.100.0/24", "mode": "shadow", "reason": "scrapers"}],
        header_policies=[{"name": "pulse", "path": "/pulse/", **strict}],
    )
    document.apply(policy, KIM, prune=True)
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("kim", "kim@example.org", "x"))
    return client.cookies["sessionid"].value


def refused() -> str:
    client = Client(REMOTE_ADDR=EVE)
    client.get(ECHO)
    return client.get(ECHO).json()["decision"]


def test_a_request_is_described_and_let_pass_by_keyboard(browser, live_server, session):
    """Under the strictest policy of content: no violation, no error, nobody else is asked."""
    refused()
    opened = Opened(browser, live_server, session)
    assert opened.go("explain/").headers["content-security-policy"] == STRICTEST
    page, press = opened.page, opened.page.keyboard.press
    page.get_by_label("Path").focus()
    page.keyboard.type(f"{ECHO}?token=s3cret")
    press("Tab")
    page.keyboard.type(EVE)
    press("Enter")
    playwright.expect(page.locator("#verdict")).to_contain_text(
        "Refused with 429 by the endpoint limit echo"
    )
    assert "s3cret" not in page.url
    playwright.expect(page.locator("#acting")).to_contain_text("0 of 1 left")
    page.get_by_label("Why", exact=True).focus()
    page.keyboard.type("A customer asked")
    press("Enter")
    playwright.expect(page.locator("#made")).to_contain_text("It ends by itself.")
    playwright.expect(page.locator("#verdict")).to_contain_text("Allowed · exempt by 203.0.113.9")
    assert Exemption.objects.get(network=EVE).description == "A customer asked"
    current.forget()
    assert Client(REMOTE_ADDR=EVE).get(ECHO).status_code == 200
    assert opened.problems == []
    assert [url for url in opened.asked if not url.startswith(opened.base)] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_works_without_script_on_a_small_screen(browser, live_server, session, scheme):
    """A decision id is looked up, headers are sent with the form; nothing is wider than it."""
    decision = refused()
    opened = Opened(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
    )
    page = opened.page
    opened.go("explain/")
    page.get_by_label("From the body of a refusal").fill(decision)
    page.get_by_role("button", name="Look it up").click()
    playwright.expect(page.locator("#verdict")).to_contain_text("Was refused with 429")
    fits(page)
    page.get_by_label("Path").fill(ECHO)
    page.get_by_label("From the address").fill("198.51.100.7")
    page.locator("summary", has_text="Headers").click()
    page.get_by_label("One on a line").fill("Origin: https://app.example.com")
    page.get_by_role("button", name="Explain").click()
    playwright.expect(page.locator("#cors")).to_contain_text("https://app.example.com")
    assert page.url.endswith("/pulse/explain/")
    playwright.expect(page.locator("#acting")).to_contain_text("would deny this network (scrapers)")
    fits(page)


def fits(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") is True
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, textarea, input:not([type=hidden],"
        " [type=checkbox])')].filter((each) => each.checkVisibility()"
        " && each.getBoundingClientRect().height < 24).length"
    )
    assert small == 0
