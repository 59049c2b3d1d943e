"""Revisions, comparisons and the audit as they are drawn: light, dark and on a small screen."""

from typing import Any

import pytest
from django.urls import reverse

from pulse.audit.models import AuditEntry
from pulse.audit.record import record
from pulse.policies import document, publisher
from pulse.policies.models import EndpointLimit, PolicyRevision
from pulse.policies.publisher import Actor
from tests.browser.test_admin import (
    open_page,
    session,
)

__all__ = ["session"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ADDRESS = "2001:db8:85a3:1234:5678:8a2e:370:7334"
KIM = Actor("user", "kim.with-a-rather-long-name@example.org", ADDRESS)
#: By how much the page, and a table in its frame, are wider than what is shown of them.
HIDDEN = """() => {
  const page = document.documentElement;
  const frames = [...document.querySelectorAll('.results, .pulse-scroll')];
  return [page.scrollWidth - innerWidth, ...frames.map(f => f.scrollWidth - f.clientWidth)];
}"""
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
POLICY = {
    "version": 1,
    "endpoint_limits": [
        {"name": "login", "url_name": "search", "key": "ip", "limits": ["10/m"], "cost": 2},
        {"name": "a-limit-of-a-very-long-name-for-tenants", "path": "/api/", "limits": ["9/s"]},
    ],
    "header_policies": [{"name": "pages", "path": "/", "preset": "html"}],
}


@pytest.fixture
def pages(session: str) -> dict[str, str]:
    """The addresses of what is looked at."""
    document.apply(POLICY, KIM, reason="A limit for each tenant, as agreed on Monday at length")
    with publisher.edit(KIM, source="admin"):
        EndpointLimit.objects.filter(name="login").update(cost=1, key=["user"])
    record("auth.failed", KIM, outcome="failure", fields={"attempts": {"before": None, "after": 9}})
    first, last = PolicyRevision.objects.earliest("number"), PolicyRevision.objects.latest("number")
    entry = AuditEntry.objects.filter(action="policy.update").latest("pk")
    return {
        "revisions": reverse("admin:pulse_policyrevision_changelist"),
        "revision": reverse("admin:pulse_policyrevision_change", args=[last.pk]),
        "compare": reverse("admin:pulse_policyrevision_compare", args=[first.pk]),
        "audit": reverse("admin:pulse_auditentry_changelist"),
        "entry": reverse("admin:pulse_auditentry_change", args=[entry.pk]),
    }


@pytest.mark.parametrize("look", LOOKS)
def test_pages_fit_and_raise_no_error(
    browser: Any, live_server: Any, session: str, pages: dict[str, str], look: str
) -> None:
    """Nothing sticks out at the side, and the console stays empty."""
    page, problems = open_page(browser, live_server, session, **LOOKS[look])
    for name, address in pages.items():
        page.goto(f"{live_server.url}{address}")
        page.wait_for_load_state("load")
        if name == "revisions":
            page.locator(".pulse-processes summary").click()
        assert max(page.evaluate(HIDDEN)) <= 0, name
        for heading in page.locator("h2").all():
            assert heading.is_visible()
    assert problems == []


def test_a_revision_is_compared_and_restored_without_script(
    browser: Any, live_server: Any, session: str, pages: dict[str, str]
) -> None:
    page, problems = open_page(browser, live_server, session, java_script_enabled=False)
    page.goto(f"{live_server.url}{pages['revision']}")
    number = PolicyRevision.objects.latest("number").number
    page.locator("select[name=with]").select_option(str(number - 1))
    page.get_by_role("button", name="Compare").click()
    assert page.locator(".pulse-effects").inner_text()
    page.get_by_role("link", name=f"Roll back to revision {number - 1}").click()
    page.get_by_role("button", name="Yes, roll back").click()
    assert PolicyRevision.objects.latest("number").number == number + 1
    assert PolicyRevision.objects.latest("number").source == "rollback"
    assert problems == []
