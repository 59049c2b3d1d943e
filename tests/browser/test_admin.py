"""The screens in a real browser, over a real server."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from pulse.policies import document, publisher
from pulse.policies.models import EndpointLimit, PolicyRevision, RateTier

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def session(db: Any) -> str:
    """A superuser is logged in; the cookie says so."""
    document.apply(
        {
            "version": 1,
            "rate_tiers": [
                {"name": "default", "default": True, "mode": "enforce", "limits": ["100/s"]}
            ],
        },
        publisher.SYSTEM,
    )
    client = Client()
    client.force_login(
        get_user_model().objects.create_superuser("kim", "kim@example.org", "secret")
    )
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
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    return page, problems


def test_a_rate_is_said_in_words_as_it_is_typed(browser, live_server, session):
    """In a row that was there, and in one that was added; and what is no rate, at once."""
    page, problems = open_page(browser, live_server, session)
    page.goto(f"{live_server.url}/admin/pulse/ratetier/{RateTier.objects.get().pk}/change/")
    words = page.locator("#limits-0 [data-pulse=words]")
    page.locator("#id_limits-0-rate").fill("")
    page.locator("#id_limits-0-rate").type("10/s")
    page.locator("#id_limits-0-burst").fill("20")
    playwright.expect(words).to_have_text(
        "10 a second, up to 20 at once; a client that has used them all waits 0.1 s for the next"
    )
    page.locator("#id_limits-0-rate").fill("many")
    playwright.expect(words).to_have_text(
        '"many" is not a rate. Write a count and a unit, such as 10/s.'
    )
    page.locator("#id_limits-0-rate").fill("10/s")
    page.get_by_text("Add another Limit").click()
    page.locator("#id_limits-1-rate").fill("1000/h")
    page.locator("#id_limits-1-algorithm").select_option("fixed_window")
    playwright.expect(page.locator("#limits-1 [data-pulse=words]")).to_have_text(
        "1000 an hour, in a window that opens with the first request; a client "
        "that has used them all waits "
        "for its end, 1 h at most"
    )
    page.get_by_role("button", name="Save", exact=True).click()
    playwright.expect(page.locator(".messagelist")).to_contain_text("is in force.")
    assert [str(limit) for limit in RateTier.objects.get().limits.all()] == [
        "10/s, 20 at once",
        "1000/h",
    ]
    assert problems == []


def test_everything_works_without_script_on_a_small_screen(browser, live_server, session):
    page, problems = open_page(
        browser,
        live_server,
        session,
        java_script_enabled=False,
        viewport={"width": 390, "height": 800},
    )
    page.goto(f"{live_server.url}/admin/pulse/endpointlimit/add/")
    page.locator("#id_name").fill("search")
    page.locator("#id_url_name").fill("serch")
    page.locator("input[name=methods][value=GET]").check()
    page.locator("#id_key").fill("ip, header:X-Tenant")
    page.locator("#id_limits-0-rate").fill("60/m")
    page.get_by_role("button", name="Save", exact=True).click()
    playwright.expect(page.locator(".field-url_name .errorlist")).to_have_text(
        "No route of this site has it. Did you mean search?"
    )
    assert page.locator("#id_key").input_value() == "ip, header:X-Tenant"
    page.locator("#id_url_name").fill("search")
    page.get_by_role("button", name="Save and continue editing").click()
    playwright.expect(page.locator(".pulse-sentence")).to_contain_text(
        "GET and HEAD to search: each combination"
    )
    playwright.expect(page.locator("[data-pulse=words]").first).to_contain_text(
        "60 a minute, up to 60 at once"
    )
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth") is True
    assert EndpointLimit.objects.get().key == ["ip", "header:X-Tenant"]
    assert PolicyRevision.objects.first().actor_name == "kim"
    assert problems == []
