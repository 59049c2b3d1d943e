"""The collector: what browsers send is added up, and nothing that anybody sends does harm."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient, Client

from pulse.policies.headers import page_of
from pulse.store import csp
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db

ADDRESS = "/pulse/csp-reports/site/"
CSP_REPORT = "application/csp-report"
REPORTS = "application/reports+json"
SITE = {"name": "site", "preset": "html", "csp_report_only": True}
PAGE = "http://testserver/api/products/7/?token=secret"

Send = Callable[..., HttpResponse]


@pytest.fixture(params=["wsgi", "asgi"])
def send(request) -> Send:
    """Send a report, under either interface."""
    return {"wsgi": _sync, "asgi": _async}[request.param]


@pytest.fixture
def policy() -> Any:
    with override_policies(doc(header_policies=[SITE])):
        yield


def _sync(
    body: Any, kind: str = CSP_REPORT, path: str = ADDRESS, method: str = "POST"
) -> HttpResponse:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return client.generic(method, path, _bytes(body), kind)


def _async(
    body: Any, kind: str = CSP_REPORT, path: str = ADDRESS, method: str = "POST"
) -> HttpResponse:
    client = AsyncClient(enforce_csrf_checks=True, raise_request_exception=False)

    async def post() -> HttpResponse:
        return await client.generic(method, path, _bytes(body), kind)

    return async_to_sync(post)()


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def old(directive: str = "script-src-elem", blocked: str = "inline", page: str = PAGE) -> Any:
    return {
        "csp-report": {
            "document-uri": page,
            "effective-directive": directive,
            "blocked-uri": blocked,
        }
    }


def new(count: int = 1, blocked: str = "https://cdn.example.com/a.js?k=1") -> Any:
    body = {"documentURL": PAGE, "effectiveDirective": "script-src-elem", "blockedURL": blocked}
    return [{"type": "csp-violation", "age": 0, "url": PAGE, "body": body}] * count


def kept() -> list[tuple[str, str, str, str, int]]:
    return [
        (each.policy, each.directive, each.source, each.page, each.count)
        for each in csp.last_day()[0]
    ]


def assert_told(answer: HttpResponse, status: int, detail: str) -> None:
    """It is the one form of errors, with the request's id (S1-77)."""
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
    told = {"detail": detail, "request_id": answer["X-Request-ID"]}
    assert json.loads(answer.content) == told


def test_reports_of_both_kinds_are_added_up(send, policy) -> None:
    """204 and nothing to read; kept are directive, origin, route and number."""
    for _ in range(3):
        answer = send(old())
        assert (answer.status_code, answer.content) == (204, b"")
    assert send(new(2), REPORTS).status_code == 204
    route = "/api/products/<int:pk>/"
    assert kept() == [
        ("site", "script-src-elem", "inline", route, 3),
        ("site", "script-src-elem", "https://cdn.example.com", route, 2),
    ]
    assert "secret" not in repr(kept())


def test_a_page_that_is_none_of_the_site_s_has_no_name(send, policy) -> None:
    for page in ("https://elsewhere.example/x/y", "about:blank", "", "//", "http://testserver/x"):
        assert send(old(page=page)).status_code == 204
    assert {page for _, _, _, page, _ in kept()} == {""}


def test_a_page_is_its_route_whatever_its_letters(settings) -> None:
    assert page_of("/api/products/12/") == "/api/products/<int:pk>/"
    assert page_of("/%61pi/echo/") == "/api/echo/"
    assert page_of("/") == "/"
    assert page_of("") == page_of("/nothing") == page_of("/a\0b") == page_of("\udcff") == ""


def test_only_a_policy_in_force_is_reported_of(send, policy) -> None:
    """So what is kept is bounded by the policy, whoever sends."""
    answer = send(old(), path="/pulse/csp-reports/other/")
    assert_told(answer, 404, "No header policy of that name is in force.")
    assert send(old(), path="/pulse/csp-reports/a%20b/").status_code == 404
    assert kept() == []


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"csp_report_only": False}, 0),
        ({"headers": {"Content-Security-Policy-Report-Only": None}}, 0),
        ({"headers": {"Content-Security-Policy": "default-src 'self'; report-uri /else/"}}, 0),
        ({"headers": {"Content-Security-Policy": f"default-src 'self'; report-uri {ADDRESS}"}}, 1),
    ],
)
def test_what_a_policy_does_not_ask_for_is_not_counted(send, fields, count) -> None:
    """Pages that were open as the policy was enforced report on, and are thanked."""
    with override_policies(doc(header_policies=[{**SITE, **fields}])):
        assert send(old()).status_code == 204
    assert len(kept()) == count


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_reports_are_posted(send, policy, method) -> None:
    answer = send(old(), method=method)
    assert answer["Allow"] == "POST"
    assert_told(answer, 405, "This method is not allowed here.")
    assert kept() == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/html"])
def test_what_no_browser_sends_is_not_read(send, policy, kind) -> None:
    """A form of another site cannot report: its types are not those of reports."""
    detail = "Send what browsers send: application/csp-report or application/reports+json."
    assert_told(send(old(), kind), 415, detail)
    assert kept() == []


@pytest.mark.parametrize("body", [b" ", b"{", b"[", b"null", b'{"a": 1}', b"\xff", b"[" * 60_000])
def test_broken_reports_are_refused_in_words(send, policy, body) -> None:
    for kind in (CSP_REPORT, REPORTS):
        answer = send(body, kind)
        assert answer.status_code == 400
        assert_told(answer, 400, answer.json()["detail"])
        assert answer.json()["detail"].endswith(".")
    assert kept() == []


def test_a_body_over_64_kb_is_refused(send, policy) -> None:
    assert_told(send(old(page="a" * 70_000)), 413, "Request body too large (max 64KB)")
    exact = _bytes(old())
    assert send(exact + b" " * (64 * 1024 - len(exact))).status_code == 204
    assert send(exact + b" " * (64 * 1024 - len(exact) + 1)).status_code == 413
    assert len(kept()) == 1


def test_a_body_counts_no_more_than_twenty(send, policy) -> None:
    assert send(new(60), REPORTS).status_code == 204
    assert kept()[0][-1] == 20


def test_reports_are_charged_like_any_request(send) -> None:
    """By the client's tier: who floods the collector is refused."""
    with override_policies(doc(rate_tiers=[default_tier("3/m")], header_policies=[SITE])):
        answers = [send(old()).status_code for _ in range(5)]
    assert answers == [204, 204, 204, 429, 429]
    assert kept()[0][-1] == 3


def test_nobody_needs_to_be_logged_in(send, policy, settings) -> None:
    """Not even where the host asks it of everybody."""
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert send(old()).status_code == 204


def test_hostile_reports_cannot_fill_memory(policy, time_machine) -> None:
    """However many origins are made up, so many are kept of an hour; the rest is one number."""
    # Whole hours are counted apart: the clock stands, so that none begins in between.
    time_machine.move_to(time.time(), tick=False)
    for number in range(csp.MAX_FIELDS + 500):
        assert _sync(old(blocked=f"https://h{number}.example/")).status_code == 204
    reported, rest = csp.last_day()
    assert len(reported) == csp.MAX_FIELDS
    assert rest == 500
    # What is known already counts on.
    assert _sync(old(blocked="https://h7.example/")).status_code == 204
    assert max(each.count for each in csp.last_day()[0]) == 2
