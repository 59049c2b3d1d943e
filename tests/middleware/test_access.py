"""Access rules through whole requests: who may come in, before anything else answers."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient, Client

from pulse.core.access import AccessIndex
from pulse.policies import current
from pulse.policies.compiler import compile_document
from pulse.policies.completion import complete
from pulse.store import blocked, buckets
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc

ECHO = "/api/echo/"
LOOPBACK = "127.0.0.0/8"
RULE = f"access_rules:{LOOPBACK} /"
PROXY = {"trusted_proxies": [LOOPBACK]}

Call = Callable[..., HttpResponse]


@pytest.fixture(params=["wsgi", "asgi"])
def call(request) -> Call:
    """Make a request, under either interface."""
    return {"wsgi": _sync, "asgi": _async}[request.param]


def _sync(path: str = ECHO, method: str = "GET", **headers: str) -> HttpResponse:
    client = Client(raise_request_exception=False)
    return client.generic(method, path, headers=_named(headers))


def _async(path: str = ECHO, method: str = "GET", **headers: str) -> HttpResponse:
    client = AsyncClient(raise_request_exception=False)

    async def send() -> HttpResponse:
        return await client.generic(method, path, headers=_named(headers))

    return async_to_sync(send)()


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def rules(*items: Any, **kinds: Any) -> override_policies:
    return override_policies(doc(access_rules=list(items), **kinds))


def counted(verb: str) -> dict[str, int]:
    return dict(buckets.last_day()[verb])


def test_a_denied_network_is_refused_and_told_nothing_of_the_rule(call, settings) -> None:
    """403, the text and the request id; the reason is the operator's (DESIGN 2.6)."""
    settings.PULSE = {"DETAILED_ERRORS": True}
    with rules({"network": LOOPBACK, "reason": "a secret reason"}):
        refused = call()
        assert refused.status_code == 403
        assert json.loads(refused.content) == {
            "detail": "Access denied.",
            "request_id": refused["X-Request-ID"],
        }
        assert refused["Cache-Control"] == "no-store"
        assert not refused.has_header("Retry-After")
        page = call(Accept="text/html")
        assert (page.status_code, page["Content-Type"]) == (403, "text/html; charset=utf-8")
        assert "a secret reason" not in page.content.decode()
        problem = json.loads(call(Accept="application/problem+json").content)
        assert (problem["code"], problem["status"]) == ("permission_denied", 403)
        assert counted(buckets.REFUSED) == {RULE: 3}


def test_a_refusal_is_logged_with_rule_and_reason(call, caplog) -> None:
    with rules({"network": LOOPBACK, "reason": "scrapes us"}), caplog.at_level(logging.INFO):
        call()
    [record] = [record for record in caplog.records if record.name.endswith(".responses")]
    assert record.rule == RULE  # type: ignore[attr-defined]
    assert "127.0.0.1" in record.getMessage()
    assert f"{RULE} (scrapes us)" in record.getMessage()


def test_paths_are_whole_segments_of_the_path_that_django_resolves(call) -> None:
    """Decoded, so that no spelling of it comes in; and nothing beside it is refused."""
    with rules({"network": LOOPBACK, "path": "/api/search"}):
        assert call("/api/%73earch/?a=b").status_code == 403
        assert call("/api/search").status_code == 403
        assert call("/api/searches/").status_code == 404
        assert call().status_code == 200


def test_what_no_view_answers_is_refused_too(call) -> None:
    """Asked before the route is known."""
    with rules(LOOPBACK):
        assert call("/nope").status_code == 403


def test_the_address_is_the_one_behind_the_trusted_proxy(call) -> None:
    """One resolver for all (S3-30): the peer is let in, whom it forwards is not."""
    with rules("203.0.113.0/24", **PROXY):
        assert call().status_code == 200
        assert call(X_Forwarded_For="198.51.100.1").status_code == 200
        assert call(X_Forwarded_For="203.0.113.9").status_code == 403
        # What a client writes itself stands on the left.
        assert call(X_Forwarded_For="203.0.113.9, 198.51.100.1").status_code == 200
        assert call(X_Forwarded_For="198.51.100.1, 203.0.113.9").status_code == 403
        assert call(X_Forwarded_For="::ffff:203.0.113.9").status_code == 403


def test_without_a_trusted_proxy_nobody_can_say_another_address(call) -> None:
    """Neither to come in nor to have another shut out (S3-04)."""
    with rules("203.0.113.0/24"):
        assert call(X_Forwarded_For="203.0.113.9").status_code == 200
    with rules(LOOPBACK):
        assert call(X_Forwarded_For="203.0.113.9").status_code == 403


def test_an_exemption_protects_from_limits_and_not_from_a_denial(call) -> None:
    with rules(LOOPBACK, exemptions=[LOOPBACK, "/api/"]):
        assert call().status_code == 403


def test_an_allowance_makes_a_hole(call) -> None:
    with rules(LOOPBACK, {"network": "127.0.0.1", "action": "allow"}):
        assert call().status_code == 200


def test_a_refused_request_spends_no_token(call) -> None:
    """Refused at the front, before any limit is asked."""
    with rules({"network": LOOPBACK, "path": "/nope"}, rate_tiers=[default_tier("1/h")]):
        assert [call("/nope").status_code for _ in range(3)] == [403] * 3
        assert call().status_code == 200


def test_a_rule_in_shadow_counts_and_lets_in(call) -> None:
    """Decides, counts, reports, never acts; nor does it list anybody as blocked."""
    with rules({"network": LOOPBACK, "mode": "shadow"}):
        assert call().status_code == 200
        assert counted(buckets.WOULD_REFUSE) == {RULE: 1}
        assert counted(buckets.REFUSED) == {}
        assert blocked.listing().entries == []


@pytest.mark.parametrize("fields", [{"mode": "off"}, {"ends_at": "2020-01-01T00:00:00Z"}])
def test_a_rule_that_is_off_or_over_does_nothing(call, fields: dict[str, str]) -> None:
    with rules({"network": LOOPBACK, **fields}):
        assert call().status_code == 200
        assert counted(buckets.WOULD_REFUSE) == {}


def test_a_share_of_nobody_is_shadow(call) -> None:
    with rules({"network": LOOPBACK, "percent": 0}):
        assert call().status_code == 200
        assert counted(buckets.WOULD_REFUSE) == {RULE: 1}


def test_who_is_refused_is_on_the_list(call) -> None:
    """The client, its rule, how often, and the rule's end (S3-13); no path."""
    with rules({"network": LOOPBACK, "ends_at": "2999-01-01T00:00:00Z"}):
        call("/api/echo/?token=secret")
        call()
        [entry] = blocked.listing().entries
    assert (entry.rule, entry.client, entry.address) == (RULE, "ip:127.0.0.1", "127.0.0.1")
    assert (entry.refused, entry.until, entry.request) == (2, 32_472_144_000, "GET")


def test_who_a_limit_refuses_is_on_the_same_list(call) -> None:
    """With the route; by the identity that is counted, never by what it was made of."""
    search = {"name": "echo", "url_name": "echo", "key": ["header:X-Tenant"], "limits": ["1/h"]}
    tier = default_tier("1/h", address_ceiling=1)
    with override_policies(doc(rate_tiers=[tier], endpoint_limits=[search])):
        call(Authorization="Bearer hunter2", X_Tenant="acme")
        assert blocked.listing().entries == []
        assert call(Authorization="Bearer hunter2", X_Tenant="acme").status_code == 429
        entries = blocked.listing().entries
    assert "hunter2" not in repr(entries)
    assert "acme" not in repr(entries)
    assert {entry.rule for entry in entries} == {"rate_tiers:default", "endpoint_limits:echo"}
    assert {entry.client.rpartition(":")[0] for entry in entries} == {
        *("header:authorization", "header:x-tenant", "ceiling"),
    }
    for entry in entries:
        assert entry.address == "127.0.0.1"
        assert entry.request == "GET /api/echo/"
        assert 3590 <= (entry.until or 0) - entry.since <= 3602


def test_a_limit_in_shadow_lists_nobody(call) -> None:
    with override_policies(doc(rate_tiers=[default_tier("1/h", mode="shadow")])):
        assert [call().status_code for _ in range(3)] == [200] * 3
        assert blocked.listing().entries == []


def test_after_a_reload_access_is_judged_anew(call, monkeypatch) -> None:
    """A process that was behind refuses by the policy that it has just loaded."""
    from pulse.exceptions import StaleAnnouncement
    from pulse.middleware import limits

    denied = complete(doc(access_rules=[LOOPBACK], rate_tiers=[default_tier()]))
    newer = compile_document(denied, None, 0.0)
    decide = limits.limits.decide

    def behind(claims: Any, announcement: Any = None) -> Any:
        if current.current_snapshot() is newer:
            return decide(claims, announcement)
        raise StaleAnnouncement("x:1:0")

    with override_policies(doc(rate_tiers=[default_tier()])):
        monkeypatch.setattr(limits.limits, "decide", behind)
        monkeypatch.setattr(current, "catch_up", lambda _announced: newer)
        assert call().status_code == 403


def test_a_request_that_is_judged_twice_is_counted_once(call, monkeypatch) -> None:
    """After a reload, too, one request would have been refused once."""
    from pulse.exceptions import StaleAnnouncement
    from pulse.middleware import limits

    shadow = {"network": LOOPBACK, "mode": "shadow"}
    policy = doc(access_rules=[shadow], rate_tiers=[default_tier()])
    newer = compile_document(complete(policy), None, 0.0)
    decide = limits.limits.decide
    asked = []

    def behind(claims: Any, announcement: Any = None) -> Any:
        asked.append(announcement)
        if len(asked) == 1:
            raise StaleAnnouncement("x:1:0")
        return decide(claims, announcement)

    with override_policies(policy):
        monkeypatch.setattr(limits.limits, "decide", behind)
        monkeypatch.setattr(current, "catch_up", lambda _announced: newer)
        assert call().status_code == 200
        assert len(asked) == 2
        assert counted(buckets.WOULD_REFUSE) == {RULE: 1}


def test_a_step_that_fails_lets_the_request_pass(call, monkeypatch, caplog) -> None:
    """Never a 500 by pulse's own fault; it is logged."""
    monkeypatch.setattr(AccessIndex, "judge", lambda *_: 1 / 0)
    with rules(LOOPBACK):
        assert call().status_code == 200
    assert "(non-fatal)" in caplog.text
