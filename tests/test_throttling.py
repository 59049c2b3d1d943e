"""Limits by a user whom only the view can authenticate: charged once, refused like every other."""

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.cache import cache_page
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from pulse.exceptions import StaleAnnouncement
from pulse.policies import current
from pulse.policies.compiler import compile_document
from pulse.policies.completion import complete
from pulse.store import limits as store
from pulse.testing import advance, override_policies
from pulse.throttling import PulseThrottle

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Orders(APIView):
    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [IsAuthenticated]
    throttle_classes = [PulseThrottle]

    def get(self, request: Request) -> Response:
        return Response({"user": str(request.user)})


class Open(Orders):
    permission_classes = [AllowAny]


class Careless(Open):
    """Names the throttle, and never asks it."""

    def get_throttles(self) -> list[BaseThrottle]:
        return []

    def post(self, request: Request) -> Response:
        return Response({"done": True})


class Own(Open):
    """Answers a throttled request in its own way."""

    def handle_exception(self, exc: Exception) -> HttpResponse:
        response = JsonResponse({"mine": True}, status=418)
        response["ETag"] = '"mine"'
        response.set_cookie("kept", "yes")
        return response


class Plain(Open):
    throttle_classes = []


@api_view(["GET"])
@throttle_classes([PulseThrottle])
def function(request: Request) -> Response:
    return Response({"user": str(request.user)})


urlpatterns = [
    path("orders/", Orders.as_view()),
    path("open/", Open.as_view()),
    path("careless/", Careless.as_view()),
    path("cached/", cache_page(60)(Open.as_view())),
    path("own/", Own.as_view()),
    path("plain/", Plain.as_view()),
    path("wired/", Plain.as_view(throttle_classes=[PulseThrottle])),
    path("function/", function),
]

BY_USER = {
    "endpoint_limits": [{"name": "orders", "path": "/", "key": "user", "limits": ["2/m"]}],
}


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def headers(user: User) -> dict[str, str]:
    return {"Authorization": f"Token {Token.objects.create(user=user).key}"}


@pytest.fixture
def calls(monkeypatch) -> list[list[str]]:
    """The keys of each call to the store."""
    seen: list[list[str]] = []
    decide = store.decide

    def watched(claims, announcement=None):
        seen.append([claim.key for claim in claims])
        return decide(claims, announcement)

    monkeypatch.setattr(store, "decide", watched)
    return seen


@pytest.mark.parametrize("url", ["/orders/", "/open/", "/wired/"])
@override_policies(BY_USER)
def test_token_user_is_counted_as_user_and_once(url, client, headers, user, calls) -> None:
    """Two pass, the third is refused, from wherever it comes; each charges one key."""
    for number in (1, 0):
        response = client.get(url, headers=headers, REMOTE_ADDR=f"203.0.113.{number}")
        assert response.status_code == 200
        assert response["X-RateLimit-Remaining"] == str(number)
    response = client.get(url, headers=headers, REMOTE_ADDR="203.0.113.7")
    assert response.status_code == 429
    assert calls == [[f"endpoint_limits:orders:user:{user.pk}"]] * 3


@override_policies(BY_USER)
def test_session_and_token_share_one_count(client, headers, user, calls) -> None:
    """The middleware finds the session's user and the throttle then asks nothing."""
    other = Client()
    other.force_login(user)
    assert other.get("/orders/").status_code == 200
    assert client.get("/orders/", headers=headers).status_code == 200
    assert other.get("/orders/").status_code == 429
    assert client.get("/orders/", headers=headers).status_code == 429
    assert calls == [[f"endpoint_limits:orders:user:{user.pk}"]] * 4


@override_policies(BY_USER)
def test_refusal_is_the_usual_one_and_ends(client, headers) -> None:
    """Body, headers and texts as from the middleware; a retry at Retry-After passes."""
    for _ in range(2):
        client.get("/orders/", headers=headers)
    response = client.get("/orders/", headers=headers)
    assert response.status_code == 429
    body = response.json()
    assert body["detail"] == "Too many requests. Please try again later."
    assert body["retry_after"] == 30
    assert response["Retry-After"] == "30"
    assert set(body) == {"detail", "retry_after", "request_id", "decision"}
    assert response["X-Request-ID"] == body["request_id"]
    assert response["Cache-Control"] == "no-store"
    assert response["X-RateLimit-Limit"] == "2"
    assert response["X-RateLimit-Remaining"] == "0"
    assert response["RateLimit"] == '"orders";r=0;t=30'
    assert response["Content-Length"] == str(len(response.content))
    advance(30)
    assert client.get("/orders/", headers=headers).status_code == 200


@override_policies(BY_USER)
def test_refusal_in_the_form_that_is_asked_for(client, headers) -> None:
    """The view renders JSON alone; the refusal is a problem document all the same."""
    for _ in range(3):
        response = client.get(
            "/open/", headers=headers | {"Accept": "application/problem+json, */*;q=0.1"}
        )
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "rate_limited"


@override_policies(BY_USER)
def test_exception_handler_of_the_view_does_not_change_it(client, headers) -> None:
    """What describes the view's own answer goes; what others put beside it stays."""
    for _ in range(3):
        response = client.get("/own/", headers=headers)
    assert response.status_code == 429
    assert response.json()["retry_after"] == 30
    assert "ETag" not in response
    assert response.cookies["kept"].value == "yes"


@override_policies(BY_USER)
def test_nobody_is_counted_by_address(client, calls) -> None:
    """Leaving the token out does not escape the limit."""
    codes = [client.get("/open/", REMOTE_ADDR="203.0.113.9").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert calls == [["endpoint_limits:orders:ip:203.0.113.9"]] * 3


@override_policies(BY_USER)
def test_invented_tokens_buy_nothing(client, calls) -> None:
    """Authentication answers before the throttle; the request is charged on the way back."""
    codes = [
        client.get(
            "/orders/", headers={"Authorization": f"Token {number}"}, REMOTE_ADDR="203.0.113.9"
        ).status_code
        for number in range(3)
    ]
    assert codes == [401, 401, 429]
    assert calls == [["endpoint_limits:orders:ip:203.0.113.9"]] * 3


@override_policies(BY_USER)
def test_no_permission_is_charged_to_the_user(client, headers, user, calls, monkeypatch) -> None:
    """Permissions answer before the throttle too, and the user is known by then."""
    monkeypatch.setattr(
        Orders,
        "permission_classes",
        [type("No", (AllowAny,), {"has_permission": lambda self, request, view: False})],
    )
    codes = [client.get("/orders/", headers=headers).status_code for _ in range(3)]
    assert codes == [403, 403, 429]
    assert calls == [[f"endpoint_limits:orders:user:{user.pk}"]] * 3


@pytest.mark.parametrize(("method", "last"), [("post", 200), ("get", 429), ("head", 429)])
@override_policies(BY_USER)
def test_view_that_never_asks_is_charged_and_unsaid_where_it_only_told(
    client, headers, user, calls, method: str, last: int
) -> None:
    """What a view has done is not answered by a refusal; what it has shown is."""
    ask = getattr(client, method)
    codes = [ask("/careless/", headers=headers).status_code for _ in range(3)]
    assert codes == [200, 200, last]
    assert calls == [[f"endpoint_limits:orders:user:{user.pk}"]] * 3


@override_policies(BY_USER)
def test_cached_answer_is_limited_like_the_views_own(client, headers, calls) -> None:
    """The cache answers without the throttle: it knows no user, and buys nobody a request."""
    codes = [client.get("/cached/").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert client.get("/cached/", headers=headers).status_code == 429
    assert calls == [["endpoint_limits:orders:ip:127.0.0.1"]] * 4


@override_policies(BY_USER)
def test_view_without_the_throttle_is_decided_before(client, headers, calls) -> None:
    """Without PulseThrottle the middleware decides alone: by address."""
    codes = [client.get("/plain/", headers=headers).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert calls == [["endpoint_limits:orders:ip:127.0.0.1"]] * 3


@override_policies(BY_USER)
def test_throttles_that_only_an_instance_knows(client, headers, calls, monkeypatch) -> None:
    """Nothing is left aside for a throttle that may not be there."""
    monkeypatch.setattr(Open, "throttle_classes", property(lambda self: [PulseThrottle]))
    codes = [client.get("/open/", headers=headers).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert calls == [["endpoint_limits:orders:ip:127.0.0.1"]] * 3


@override_policies(BY_USER)
def test_function_view(client, calls) -> None:
    """Decorated functions name throttles as classes do."""
    assert [client.get("/function/").status_code for _ in range(3)] == [200, 200, 429]
    assert len(calls) == 3


@override_policies(
    {
        "endpoint_limits": [{"name": "all", "path": "/", "key": "ip", "limits": ["3/m"]}],
    }
)
def test_nothing_deferred_costs_no_second_call(client, headers, calls) -> None:
    """No limit looks at users: the throttle lets pass without asking."""
    assert client.get("/open/", headers=headers).status_code == 200
    assert calls == [["endpoint_limits:all:ip:127.0.0.1"]]


@override_policies(
    {
        "endpoint_limits": [
            {"name": "by-user", "path": "/", "key": "user", "limits": ["9/m"]},
            {"name": "by-client", "path": "/", "key": "client", "limits": ["9/m"]},
        ],
    }
)
def test_limit_by_client_does_not_wait(client, headers, user, calls) -> None:
    """The token is a header then, and its address has a ceiling."""
    assert client.get("/open/", headers=headers).status_code == 200
    (hashed, ceiling), by_user = calls
    assert hashed.startswith("endpoint_limits:by-client:header:authorization:")
    assert ceiling == "endpoint_limits:by-client:ceiling:127.0.0.1"
    assert by_user == [f"endpoint_limits:by-user:user:{user.pk}"]


def test_what_does_not_depend_on_the_user_is_decided_first(client, headers, user, calls) -> None:
    """Two calls, disjoint; a refusal by the first leaves the second undone."""
    both = {
        "endpoint_limits": [
            {"name": "by-user", "path": "/", "key": "user", "limits": ["9/m"]},
            {"name": "by-ip", "path": "/", "key": "ip", "limits": ["1/m"]},
        ],
    }
    first, second = (
        ["endpoint_limits:by-ip:ip:127.0.0.1"],
        [f"endpoint_limits:by-user:user:{user.pk}"],
    )
    with override_policies(both):
        response = client.get("/open/", headers=headers)
        assert response.status_code == 200
        assert response["RateLimit"].startswith('"by-ip";r=0')
        assert '"by-user";q=9' in response["RateLimit-Policy"]
        assert client.get("/open/", headers=headers).status_code == 429
    assert calls == [first, second, first]


TIERS = {
    "rate_tiers": [
        {"name": "default", "default": True, "limits": ["1/m"]},
        {"name": "paid", "limits": ["3/m"]},
    ],
    "tier_assignments": [{"group": "paying", "tier": "paid"}],
}


def test_tier_of_a_group_holds_for_a_token_user(client, headers, user, calls) -> None:
    """The tier waits for the user, too, where an assignment names users or groups."""
    user.groups.add(Group.objects.create(name="paying"))
    with override_policies(TIERS):
        codes = [client.get("/orders/", headers=headers).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        codes = [client.get("/open/").status_code for _ in range(2)]
        assert codes == [200, 429]
    assert calls[:4] == [[f"rate_tiers:paid:user:{user.pk}"]] * 4


@override_policies(BY_USER)
def test_disabled(client, headers, settings) -> None:
    """With pulse off the throttle lets everything pass."""
    settings.PULSE = {"ENABLED": False}
    codes = [client.get("/open/", headers=headers).status_code for _ in range(4)]
    assert codes == [200] * 4


@override_policies(BY_USER)
def test_policy_that_is_behind_decides_anew(client, headers, user, monkeypatch) -> None:
    """Where all waits for the user, the second call is the one that learns of an edit."""
    seen = []
    decide = store.decide

    def stale_once(claims, announcement=None):
        seen.append([claim.key for claim in claims])
        if len(seen) == 1:
            raise StaleAnnouncement("another")
        return decide(claims, announcement)

    monkeypatch.setattr(store, "decide", stale_once)
    codes = [client.get("/orders/", headers=headers).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert seen == [[f"endpoint_limits:orders:user:{user.pk}"]] * 4


@pytest.mark.parametrize(
    ("url", "method", "status"),
    [("/orders/", "get", 403), ("/careless/", "get", 403), ("/careless/", "post", 200)],
)
@override_policies(BY_USER)
def test_access_is_judged_anew_by_the_newer_policy(
    url, method, status, client, headers, monkeypatch
) -> None:
    """Where it is learnt of as late as here; what a view has done already is not unsaid."""
    denied = complete({**BY_USER, "access_rules": [{"network": "127.0.0.0/8"}]})
    newer = compile_document(denied, None, 0.0)
    decide = store.decide
    seen = []

    def stale_once(claims, announcement=None):
        seen.append(announcement)
        if len(seen) == 1:
            raise StaleAnnouncement("another")
        return decide(claims, announcement)

    monkeypatch.setattr(store, "decide", stale_once)
    monkeypatch.setattr(current, "catch_up", lambda _announced: newer)
    assert getattr(client, method)(url, headers=headers).status_code == status
    assert len(seen) == (1 if status == 403 else 2)


@override_policies(BY_USER)
def test_failure_in_pulse_fails_no_request(client, headers, monkeypatch, caplog) -> None:
    """What breaks in the second call is logged, and the request goes on."""
    monkeypatch.setattr(store, "decide", lambda *_: 1 / 0)
    response = client.get("/open/", headers=headers)
    assert response.status_code == 200
    assert "non-fatal" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_async(user: User, headers: dict[str, str], calls) -> None:
    """Under ASGI the same numbers, for a token and for nobody."""

    async def ask() -> None:
        client = AsyncClient()
        codes = [(await client.get("/orders/", headers=headers)).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        codes = [(await client.get("/orders/")).status_code for _ in range(3)]
        assert codes == [401, 401, 429]

    with override_policies(BY_USER):
        async_to_sync(ask)()
    assert len(calls) == 6


def test_wait_without_a_refusal_is_unknown() -> None:
    """DRF asks only after a refusal; nothing is made up."""
    assert PulseThrottle().wait() is None
