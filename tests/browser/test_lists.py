"""The lists and tables by the room that they find: columns, or cards that name their cells."""

from typing import Any

import pytest
from django.urls import reverse

from pulse.policies import document, publisher
from pulse.policies.edge import HeaderPolicy
from pulse.policies.models import PolicyRevision
from pulse.store import csp
from tests.browser.test_admin import (
    open_page,
    playwright,
    session,
)

__all__ = ["session"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LISTS = (
    "auditentry",
    "accessrule",
    "corsorigin",
    "headerpolicy",
    "endpointlimit",
    "ratetier",
    "tierassignment",
    "exemption",
    "trustedproxy",
    "policyrevision",
)
ROWS = {
    "version": 1,
    "endpoint_limits": [
        {
            "name": "search-by-tenant-of-a-very-long-name",
            "url_name": "search",
            "methods": ["GET"],
            "key": ["ip", "header:X-Tenant"],
            "limits": [{"rate": "60/m"}, {"rate": "1000/d", "algorithm": "fixed_window"}],
            "mode": "shadow",
            "percent": 25,
        }
    ],
    "tier_assignments": [{"network": "2001:db8:85a3::/48", "tier": "default"}],
    "exemptions": ["/a/path/with/a/rather/long/name/that/nothing/breaks/"],
    "trusted_proxies": ["2001:db8:85a3:1234:5678:8a2e:370:7334"],
    "cors_origins": [
        {
            "origin": "https://a-very-long-name-of-a-tenant.eu-central-1.app.example.com:8443",
            "path": "/api/orders/",
            "credentials": True,
            "csrf_trusted": True,
        }
    ],
    "header_policies": [
        {"name": "pages-of-legal-matters", "path": "/accounts/", "preset": "owasp", "percent": 10}
    ],
    "access_rules": [
        {
            "network": "2001:db8:85a3:1234:5678:8a2e:370:7334",
            "path": "/api/orders/",
            "reason": "Credential stuffing against the login since Tuesday",
            "ends_at": "2040-01-01T00:00:00Z",
            "percent": 50,
        }
    ],
}
#: By how much the page, and the table in its frame, are wider than what is shown of them.
HIDDEN = """() => {
  const frame = document.querySelector('.results'), page = document.documentElement;
  return [page.scrollWidth - innerWidth, frame.scrollWidth - frame.clientWidth];
}"""


def test_no_list_is_cut_off_at_any_width(browser: Any, live_server: Any, session: str):
    """Beside a sidebar and filters, too; and without script."""
    document.apply(ROWS, publisher.SYSTEM)
    page, problems = open_page(browser, live_server, session, java_script_enabled=False)
    for name in LISTS:
        page.goto(live_server.url + reverse(f"admin:pulse_{name}_changelist"))
        page.wait_for_load_state("load")
        for width in (320, 390, 600, 768, 1024, 1280, 1440, 1920):
            page.set_viewport_size({"width": width, "height": 800})
            assert (name, width, *page.evaluate(HIDDEN)) == (name, width, 0, 0)
    assert problems == []


def test_on_a_small_screen_a_row_is_a_card_that_names_its_cells(browser, live_server, session):
    """What is sorted and chosen by stays within reach; wide, the headings alone are names."""
    document.apply(ROWS, publisher.SYSTEM)
    page, _ = open_page(browser, live_server, session, viewport={"width": 390, "height": 800})
    page.goto(live_server.url + reverse("admin:pulse_accessrule_changelist"))
    row = page.locator("#result_list tbody tr")
    name = row.locator(".field-refused_column .pulse-label")
    playwright.expect(name).to_be_visible()
    playwright.expect(name).to_have_text("Last 24 h:")
    network, mode = (
        row.locator(f".field-{name}").bounding_box() for name in ("network", "mode_column")
    )
    assert mode["y"] >= network["y"] + network["height"]
    page.locator("#action-toggle").check()
    playwright.expect(page.locator(".action-counter")).to_have_text("1 of 1 selected")
    page.locator("thead").get_by_role("link", name="Network").click()
    page.set_viewport_size({"width": 1600, "height": 800})
    playwright.expect(name).to_be_hidden()


def test_tables_of_headers_reports_and_differences_need_no_scrolling(browser, live_server, session):
    """Each value stands below its header, named; a report, and what a rollback changes, too."""
    document.apply(
        {
            "version": 1,
            "header_policies": [{"name": "site", "preset": "html", "csp_report_only": True}],
        },
        publisher.SYSTEM,
    )
    number = PolicyRevision.objects.latest("number").pk
    document.apply(
        {"version": 1, "header_policies": [{"name": "site", "preset": "html"}]}, publisher.SYSTEM
    )
    csp.add("site", "script-src-elem", "https://" + "a" * 60 + ".example.com", "/api/echo/")
    page, problems = open_page(
        browser, live_server, session, viewport={"width": 390, "height": 800}
    )
    policy = HeaderPolicy.objects.get()
    for address in (
        reverse("admin:pulse_headerpolicy_change", args=[policy.pk]),
        reverse("admin:pulse_policyrevision_rollback", args=[number]),
    ):
        page.goto(live_server.url + address)
        page.wait_for_load_state("load")
        tables = page.locator(".pulse-scroll:has(> .pulse-cards)").all()
        assert tables
        assert [t.evaluate("frame => frame.scrollWidth - frame.clientWidth") for t in tables] == [
            0
        ] * len(tables)
        label = "td => getComputedStyle(td, '::before').content"
        assert page.locator("td[data-label]").first.evaluate(label) not in ("none", "normal")
    assert problems == []


def test_every_field_has_a_name(browser, live_server, session):
    """Dates, times and what stands in rows, too, to who hears the form instead of seeing it."""
    document.apply(ROWS, publisher.SYSTEM)
    page, _ = open_page(browser, live_server, session)
    page.goto(live_server.url + reverse("admin:pulse_endpointlimit_add"))
    for name in ("Starts at: date", "Starts at: time", "Ends at: date", "Ends at: time"):
        playwright.expect(page.get_by_label(name, exact=True)).to_have_count(1)
    page.get_by_text("Add another Limit").click()
    for name in ("Rate", "Burst", "Algorithm"):
        playwright.expect(page.locator("#limits-1").get_by_label(name, exact=True)).to_be_visible()
