"""Forms of trusted origins: vouched for with a good token, left to Django without."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from project.urls import urlpatterns as site_urls
from pulse.store import buckets
from pulse.testing import override_policies
from tests.factories import document as doc

APP = "https://app.example.com"
EVIL = "https://evil.example"
TRUSTED = {"origin": APP, "csrf_trusted": True, "credentials": True}
DONE = "csrf_processing_done"

Post = Callable[..., HttpResponse]


def token(request):
    return HttpResponse(get_token(request))


def form(request):
    return HttpResponse(request.POST.get("said", ""))


@csrf_exempt
def exempt(request):
    """It asks for no token, and may read the body itself."""
    return HttpResponse(f"{getattr(request, DONE, False)} {len(request.read())}")


@csrf_exempt
@csrf_protect
def protected(request):
    return HttpResponse("ok")


class Api(APIView):
    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [IsAuthenticated]

    def post(self, request):
        return Response({"said": request.data.get("said")})


urlpatterns = [
    path("token/", token),
    path("form/", form),
    path("exempt/", exempt),
    path("protected/", protected),
    path("api/own/", Api.as_view()),
    *site_urls,
]


@pytest.fixture(params=["wsgi", "asgi"])
def client(request, settings) -> Any:
    """A browser with the site's cookies, and a way to call."""
    settings.ROOT_URLCONF = __name__
    kind = {"wsgi": Client, "asgi": AsyncClient}[request.param]
    return kind(enforce_csrf_checks=True, raise_request_exception=False)


@pytest.fixture(params=[False, True], ids=["cookie", "session"])
def sessions(request, settings, db) -> bool:
    settings.CSRF_USE_SESSIONS = request.param
    return request.param


def send(client: Any, method: str, url: str, *args: Any, **options: Any) -> HttpResponse:
    call = getattr(client, method)
    if isinstance(client, AsyncClient):

        async def asked() -> HttpResponse:
            return await call(url, *args, **options)

        return async_to_sync(asked)()
    return call(url, *args, **options)


def post(client: Any, url: str, data: Any = None, *, origin: str | None = APP, **options: Any):
    headers = {**options.pop("headers", {}), **({} if origin is None else {"Origin": origin})}
    return send(client, "post", url, data or {}, headers=headers, **options)


def good_token(client: Any) -> str:
    return send(client, "get", "/token/").content.decode()


def trusting(**fields: Any) -> override_policies:
    return override_policies(doc(cors_origins=[{**TRUSTED, **fields}]))


FORM = {"content_type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(("url", "kind"), [("/form/", {}), ("/form/", FORM), ("/protected/", FORM)])
def test_a_form_of_a_trusted_origin_passes_with_a_good_token(
    client, sessions, url: str, kind: dict[str, str]
) -> None:
    """By middleware and by decorator; in the form and in the header."""
    with trusting():
        given = good_token(client)
        fields = {"csrfmiddlewaretoken": given, "said": "hello"}
        answers = [
            post(client, url, urlencode(fields) if kind else fields, **kind),
            post(client, url, "" if kind else {}, headers={"X-CSRFToken": given}, **kind),
        ]
    assert [answer.status_code for answer in answers] == [200, 200]
    if url == "/form/":
        assert answers[0].content == b"hello"


@pytest.mark.parametrize(
    ("rule", "origin", "token_good"),
    [
        ({}, APP, False),
        ({}, EVIL, True),
        ({}, "null", True),
        ({}, f"{APP}.evil.example", True),
        ({"csrf_trusted": False}, APP, True),
        ({"mode": "shadow"}, APP, True),
        ({"mode": "off"}, APP, True),
        ({"path": "/api/"}, APP, True),
    ],
)
def test_what_is_not_trusted_or_has_no_token_is_refused_as_ever(
    client, sessions, rule: dict[str, Any], origin: str, token_good: bool
) -> None:
    """CORS alone trusts nobody with forms; shadow and another path do not."""
    with trusting(**rule):
        given = good_token(client)
        sent = given if token_good else ("a" * 64)
        assert post(client, "/form/", {"csrfmiddlewaretoken": sent}, origin=origin).status_code == (
            403
        )
        assert post(client, "/form/", origin=origin).status_code == 403


def test_without_cors_there_is_no_trust(client, sessions, settings) -> None:
    """S0-04: all of it is off."""
    settings.PULSE = {"CORS": False}
    with trusting():
        given = good_token(client)
        assert post(client, "/form/", {"csrfmiddlewaretoken": given}).status_code == 403


def test_the_sites_own_forms_pass_as_ever(client, sessions) -> None:
    with trusting():
        given = good_token(client)
        for origin in (None, "http://testserver"):
            answer = post(client, "/form/", {"csrfmiddlewaretoken": given}, origin=origin)
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("origin", "token_good", "status"),
    [(APP, True, 200), (APP, False, 403), (EVIL, True, 403), (None, True, 200)],
)
def test_rest_framework_accepts_a_session_of_a_trusted_origin(
    client, sessions, origin: str | None, token_good: bool, status: int
) -> None:
    """SessionAuthentication makes the same check by itself, of views that are exempt."""
    client.force_login(User.objects.create_user("kim"))
    with trusting():
        given = good_token(client) if token_good else "a" * 64
        options = {"origin": origin, "headers": {"X-CSRFToken": given}}
        by_json = post(
            client, "/api/own/", {"said": "hello"}, content_type="application/json", **options
        )
        by_form = post(client, "/api/own/", {"said": "hello"}, **options)
        in_form = post(
            client, "/api/own/", {"said": "hello", "csrfmiddlewaretoken": given}, origin=origin
        )
    for answer in (by_json, by_form, in_form):
        assert answer.status_code == status
        if status == 200:
            assert answer.json() == {"said": "hello"}


def test_an_exempt_view_is_never_refused_and_reads_its_upload_itself(client, sessions) -> None:
    with trusting():
        for origin in (APP, EVIL, None):
            uploaded = post(client, "/exempt/", {"said": "x" * 100}, origin=origin)
            assert uploaded.status_code == 200
            assert int(uploaded.content.split()[1]) > 100
        given = good_token(client)
        marked = post(
            client,
            "/exempt/",
            "said=hello",
            content_type="application/x-www-form-urlencoded",
            headers={"X-CSRFToken": given},
        )
    assert marked.content == b"True 10"


def test_a_charset_that_no_form_has_is_djangos_to_refuse(client, sessions) -> None:
    """It is no failure in pulse, which vouches for nobody then."""
    kind = {"content_type": "application/x-www-form-urlencoded; charset=latin-1"}
    with trusting():
        good_token(client)
        assert post(client, "/form/", "said=hello", **kind).status_code == 403
    assert buckets.last_day().get(buckets.SWALLOWED) is None


def test_a_body_that_cannot_be_read_is_djangos_to_refuse(client, sessions, settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    with trusting():
        good_token(client)
        answer = post(
            client,
            "/form/",
            "said=" + "x" * 1000,
            content_type="application/x-www-form-urlencoded",
        )
    assert answer.status_code in {400, 403}
