"""Who may open which page, and what everybody else is told, as people and as machines."""

import json
import re

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse

from pulse.access import keys
from pulse.probes.state import ProbeJob
from tests import factories
from tests.pages.conftest import BROWSER, text_of

pytestmark = pytest.mark.usefixtures("policy")

PAGES = ("dashboard", "probes", "jobs", "endpoints")
#: Those that stay what they are where nothing happens; the dashboard tells as of when it is.
STILL = ("probes", "jobs", "endpoints")
TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="([^"]*)')


@pytest.fixture(params=PAGES)
def address(request):
    return reverse(f"pulse:{request.param}")


def test_nobody_is_led_to_the_login_and_back(nobody, address):
    response = nobody.get(f"{address}?q=a")
    assert response.status_code == 302
    assert response["Location"] == f"/accounts/login/?next={address}%3Fq%3Da"
    assert "no-cache" in response["Cache-Control"]


def test_a_machine_without_a_session_gets_401(address):
    """API.md 1: problems, with a WWW-Authenticate."""
    response = Client().get(address)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["type"], body["code"]) == ("urn:pulse:not_authenticated", "not_authenticated")
    assert body["request_id"] == response["X-Request-ID"]


@pytest.mark.parametrize("who", ["customer", "clerk"])
def test_who_holds_no_scope_is_refused(who, address, request):
    client = request.getfixturevalue(who)
    response = client.get(address)
    assert response.status_code == 403
    assert "It takes the permission pulse.view." in text_of(response)
    assert response["X-Request-ID"] in text_of(response)
    problem = client.get(address, headers={"accept": "application/json"})
    assert problem.status_code == 403
    assert problem.json()["code"] == "permission_denied"


@pytest.mark.parametrize("who", ["viewer", "operator", "administrator"])
def test_every_scope_may_look(who, address, request):
    assert request.getfixturevalue(who).get(address).status_code == 200


def test_who_may_only_look_gets_no_buttons_and_starts_nothing(viewer, operator):
    assert (
        "<button"
        not in viewer.get("/pulse/jobs/")
        .content.decode()
        .split('class="filters"')[0]
        .split("<main")[1]
    )
    assert "Probe all 2 safe targets" in text_of(operator.get("/pulse/jobs/"))
    response = viewer.post("/pulse/jobs/", {"targets": "products"})
    assert response.status_code == 403
    assert "pulse.operate" in text_of(response)
    assert not ProbeJob.objects.exists()


@pytest.mark.parametrize("act", ["cancel", "rerun"])
def test_acting_on_a_job_takes_the_scope_operate(act, viewer, nobody):
    job = factories.job("failed", status="completed", targets=["products"])
    address = f"/pulse/jobs/{job.pk}/{act}/"
    assert viewer.post(address).status_code == 403
    assert nobody.post(address)["Location"] == "/accounts/login/?next=/pulse/"


def test_pausing_takes_the_scope_administer(operator):
    assert operator.post("/pulse/probes/products/mode/", {"mode": "off"}).status_code == 403


def test_a_method_that_is_not_for_an_address_is_refused(operator):
    job = factories.job("ok")
    response = operator.get(f"/pulse/jobs/{job.pk}/cancel/", headers={"accept": "*/*"})
    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert response.json()["code"] == "method_not_allowed"
    assert operator.post("/pulse/probes/").status_code == 405


def test_whoever_writes_needs_a_token_though_the_host_asks_for_none(operator, settings):
    """A session alone is what another site has, too."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    body = json.dumps({"targets": ["products"]})
    assert strict.post("/pulse/jobs/", body, "application/json").status_code == 403
    assert not ProbeJob.objects.exists()
    strict.get("/pulse/jobs/", headers={"accept": "text/html"})
    token = strict.cookies["csrftoken"].value
    response = strict.post("/pulse/jobs/", body, "application/json", headers={"X-CSRFToken": token})
    assert response.status_code == 202


def test_pages_stay_out_of_shared_caches(viewer, address):
    response = viewer.get(address)
    assert response["Cache-Control"] == "private, no-cache"
    assert {"Accept", "Cookie"} <= {name.strip() for name in response["Vary"].split(",")}


@pytest.mark.parametrize("name", STILL)
def test_a_page_that_has_not_changed_costs_nothing_to_send(viewer, name):
    address = reverse(f"pulse:{name}")
    first = viewer.get(address)
    again = viewer.get(address, headers={"if-none-match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]


def test_a_page_from_before_a_login_is_not_shown_again(operator):
    """Its forms carry a token that is good no more, though it looks the same."""
    browser = Client(enforce_csrf_checks=True, headers={"accept": "text/html"})
    browser.cookies = operator.cookies
    first = browser.get("/pulse/jobs/")
    same = browser.get("/pulse/jobs/", headers={"if-none-match": first["ETag"]})
    assert same.status_code == 304
    del browser.cookies["csrftoken"]  # As a login changes it, and a browser forgets it.
    again = browser.get("/pulse/jobs/", headers={"if-none-match": first["ETag"]})
    assert again.status_code == 200
    token = TOKEN.search(again.content)
    started = browser.post(
        "/pulse/jobs/", {"csrfmiddlewaretoken": token[1].decode(), "everything": "1"}
    )
    assert started.status_code == 302


def test_a_page_has_no_script_or_style_of_its_own(administrator, address):
    """STYLE.md: assets in static/, nothing inline."""
    content = administrator.get(address).content.decode()
    assert "<style" not in content
    assert " style=" not in content
    assert content.count("<script") == 2
    assert '<script src="/static/pulse/theme.js"></script>' in content
    assert '<script type="module" src="/static/pulse/live.js"></script>' in content
    assert "http://" not in content.replace("http://127.0.0.1:8000", "")


def bearer(scope: str, token: str = "") -> Client:
    text = token or keys.make("ci", actor=factories.KIM, scopes=[scope]).text
    return Client(headers={"Authorization": f"Bearer {text}", "accept": BROWSER})


def test_a_key_opens_pages_as_a_session_does(address):
    """API.md 1: pages and streams ask the same scopes."""
    response = bearer("view").get(address)
    assert response.status_code == 200
    assert "ci" in response.content.decode()
    assert {"Authorization", "Cookie"} <= set(response["Vary"].split(", "))


def test_what_a_key_posts_needs_no_token_and_is_the_key_s():
    """It is sent on purpose: no browser adds it for another site's page."""
    body = json.dumps({"targets": ["products"]})
    for scope, status in (("view", 403), ("operate", 202)):
        client = bearer(scope)
        client.handler.enforce_csrf_checks = True
        headers = {"accept": "application/json"}
        response = client.post("/pulse/jobs/", body, "application/json", headers=headers)
        assert response.status_code == status
    job = ProbeJob.objects.get()
    assert (job.trigger, job.actor_type, job.actor_name) == ("api", "api_key", "ci")


def test_a_wrong_key_is_told_so_whoever_reads_it(address):
    response = bearer("view", "pulse_nobody00_" + "s" * 43).get(address)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert "The key is not valid." in text_of(response)


def test_a_token_that_a_proxy_adds_keeps_nobody_from_the_login(address):
    other = bearer("view", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln")
    assert other.get(address)["Location"].startswith("/accounts/login/")
    machine = {"accept": "application/json"}
    assert other.get(address, headers=machine).status_code == 401


def test_too_many_wrong_keys_have_to_wait(address, settings):
    settings.PULSE = {**settings.PULSE, "AUTH_FAILURES": "1/m", "AUTH_DELAY_MS": 0}
    wrong = bearer("view", "pulse_nonsense")
    assert wrong.get(address).status_code == 401
    response = wrong.get(address, headers={"accept": "application/json"})
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 60
    assert response.json()["code"] == "rate_limited"


def test_a_wrong_key_keeps_nobody_from_what_is_open_to_all():
    assert bearer("view", "pulse_nobody00_" + "s" * 43).get("/pulse/status/").status_code == 200


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_without_a_database_pages_say_so(viewer, address, kind):
    """Nobody can be asked who they are: nothing is shown but that."""
    with connection.execute_wrapper(_gone):
        response = viewer.get(address, headers={"accept": kind})
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert "The database cannot be asked now." in response.content.decode()
    assert "password" not in response.content.decode()


def _gone(*_):
    raise OperationalError("could not connect to server: password=hunter2")
