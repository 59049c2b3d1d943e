"""The page of who is blocked, and that of many networks, without script and on a small screen."""

import time
from typing import Any

import pytest

from pulse.policies.edge import AccessRule
from pulse.store import blocked
from tests.browser.test_admin import (
    open_page,
    playwright,
    session,
)

__all__ = ["session"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_client_is_denied_and_another_let_go(browser: Any, live_server: Any, session: str):
    """Found, unblocked, denied for an hour: no script, and nothing wider than the screen."""
    for number in (8, 9):
        blocked.note(
            "rate_tiers:default",
            f"ip:203.0.113.{number}",
            f"203.0.113.{number}",
            until=time.time() + 600,
            method="GET",
            route="api/echo/",
        )
    page, problems = open_page(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 800},
    )
    page.goto(f"{live_server.url}/admin/pulse/ratetier/")
    page.get_by_role("link", name="Blocked now").click()
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") is True
    page.get_by_label("Client, address or network, rule or route").fill("203.0.113.8/31")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("button", name="Unblock 203.0.113.8").click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("203.0.113.8 may go on")
    page.get_by_role("link", name="Deny this address 203.0.113.9").click()
    page.get_by_role("button", name="Save", exact=True).click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("is in force.")
    row = AccessRule.objects.get()
    assert (row.network, row.action) == ("203.0.113.9", "deny")
    assert row.reason == "Refused by the tier default"
    assert row.ends_at is not None
    assert problems == []


def test_many_networks_are_pasted(browser: Any, live_server: Any, session: str):
    """What is wrong is told above the text, which is kept."""
    page, problems = open_page(
        browser, live_server, session, viewport={"width": 390, "height": 800}
    )
    page.goto(f"{live_server.url}/admin/pulse/accessrule/")
    page.get_by_role("link", name="Add many").click()
    page.get_by_label("Networks").fill("203.0.113.0/24\n198.51.100.1/24\n")
    page.get_by_role("button", name="Add the rules").click()
    playwright.expect(page.locator(".field-networks .errorlist")).to_contain_text(
        "Did you mean 198.51.100.0/24?"
    )
    page.get_by_label("Networks").fill("203.0.113.0/24\n198.51.100.0/24\n")
    page.get_by_label("Ends in").select_option("1d")
    page.get_by_role("button", name="Add the rules").click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("2 access rules were added.")
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") is True
    assert AccessRule.objects.count() == 2
    assert problems == []
