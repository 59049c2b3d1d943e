"""A limit tried from its form in a real browser: without script, on a small screen, by keys."""

from typing import Any

import pytest
from django.test import Client

from pulse.policies import current
from pulse.policies.models import EndpointLimit, RateTier
from pulse.store import heartbeat, sample
from tests.browser.test_admin import open_page, session

__all__ = ["session"]

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ECHO = "/api/echo/"


@pytest.fixture
def traffic(session: str) -> None:
    """Of nine clients, from one request to nine."""
    current.forget()
    with heartbeat.suspended():
        for client in range(1, 10):
            for _ in range(client):
                Client().get(ECHO, headers={"X-Track-ID": f"client {client}"})
        sample.flush()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_limit_is_tried_without_script_on_a_small_screen(
    browser: Any,
    live_server: Any,
    session: str,
    traffic: None,
    theme: str,
) -> None:
    """What was typed stays, the figures are in sight, and nothing is saved until Save."""
    page, problems = open_page(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        color_scheme=theme,
        viewport={"width": 390, "height": 800},
    )
    page.goto(f"{live_server.url}/admin/pulse/endpointlimit/add/")
    page.locator("#id_name").fill("echo")
    page.locator("#id_path").fill(ECHO)
    page.locator("#id_key").fill("client")
    page.locator("#id_limits-0-rate").fill("4/h")
    page.get_by_role("button", name="Try it on recorded traffic").focus()
    page.keyboard.press("Enter")
    panel = page.get_by_role("region", name="Tried on recorded traffic; nothing is saved")
    playwright.expect(panel).to_contain_text("Would refuse 25 of ")
    playwright.expect(panel).to_be_in_viewport()
    assert page.locator("#id_limits-0-rate").input_value() == "4/h"
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    assert not EndpointLimit.objects.exists()
    page.get_by_role("button", name="Save", exact=True).click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("is in force.")
    assert problems == []


def test_enter_saves_as_ever(
    browser: Any,
    live_server: Any,
    session: str,
) -> None:
    """The button that tries is not the first of the form."""
    page, problems = open_page(browser, live_server, session)
    tier = RateTier.objects.get()
    page.goto(f"{live_server.url}/admin/pulse/ratetier/{tier.pk}/change/")
    page.locator("#id_limits-0-rate").fill("90/s")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".messagelist")).to_contain_text("is in force.")
    assert problems == []
