"""The page that explains: a request, a refusal, and letting who is refused pass for a while."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from pulse.access import keys
from pulse.policies import current
from pulse.policies.edge import AccessRule
from pulse.policies.models import Exemption, PolicyRevision
from tests.factories import KIM
from tests.pages.conftest import BROWSER, text_of

PAGE = "/pulse/explain/"
EXCEPTION = "/pulse/explain/exception/"
ECHO = "/api/echo/"
LIMIT = {"name": "echo", "url_name": "echo", "limits": [{"rate": "1/h"}], "key": "ip"}
ADDRESS = "203.0.113.9"


@pytest.fixture
def limited(apply: Any) -> None:
    """Each address has one request an hour; pulse's own pages are not limited."""
    apply(endpoint_limits=[LIMIT, {"name": "other", "url_name": "search", "limits": ["1/s"]}])


def refused(address: str = ADDRESS) -> str:
    client = Client(REMOTE_ADDR=address)
    client.get(ECHO)
    return client.get(ECHO).json()["decision"]


def ask(client: Client, **query: Any) -> Any:
    return client.get(PAGE, query)


def test_without_a_question_it_asks_for_one(viewer: Client, limited: None) -> None:
    text = text_of(viewer.get(PAGE))
    assert "Describe a request" in text
    assert "No rule has a say" not in text


@pytest.mark.parametrize("name", ["nobody", "clerk", "customer"])
def test_who_may_not_look_is_kept_out(request: Any, limited: None, name: str) -> None:
    client = request.getfixturevalue(name)
    for response in (client.get(PAGE), client.post(PAGE), client.post(EXCEPTION)):
        assert response.status_code in {302, 403}


def test_an_address_tells_it_all(viewer: Client, limited: None) -> None:
    """Verdict, rules with their counters, headers and body; also of the rules that say nothing."""
    refused()
    response = ask(viewer, path=f"{ECHO}?q=1", address=ADDRESS, count=2)
    text = text_of(response)
    assert response.status_code == 200
    assert "Refused with 429" in text
    assert "1/h 0 of 1 left; again in" in text
    assert "matches the request" in text
    assert "1 rule has no say" in text
    assert "it is for another endpoint: search" in text
    assert "Retry-After" in text
    assert "Too many requests" in text
    assert "by the endpoint limit echo" in text


def test_of_many_requests_at_once_it_tells_how_many_pass(viewer: Client, limited: None) -> None:
    text = text_of(ask(viewer, path=ECHO, count=5, counters="fresh"))
    assert "Of these, 1 pass and 4 are refused" in text


def test_a_form_leads_to_an_address_without_secrets(viewer: Client, limited: None) -> None:
    """It can be shared: no query of the path, and nothing that is as usual."""
    form = {"path": f"{ECHO}?token=s3cret", "method": "GET", "count": "1", "address": ADDRESS,
            "user": "", "counters": "live", "headers": " \n"}  # fmt: skip
    response = viewer.post(PAGE, form)
    assert response.status_code == 303
    parts = urlsplit(response["Location"])
    assert parts.path == PAGE
    assert parse_qs(parts.query) == {"path": [ECHO], "address": [ADDRESS]}
    assert "Allowed" in text_of(viewer.get(response["Location"]))


def test_headers_are_explained_and_stand_in_no_address(viewer: Client, limited: None) -> None:
    form = {"path": ECHO, "address": "10.0.0.1", "headers": "Origin: https://a.test\nX-Key: s3cret"}
    response = viewer.post(PAGE, form)
    assert response.status_code == 200
    assert "https://a.test" in text_of(response)
    assert "Link to this explanation" not in response.content.decode()


def test_what_cannot_be_asked_is_told_by_its_field(viewer: Client, limited: None) -> None:
    response = ask(viewer, path="api", count="many", address="here", user="nobody-there")
    text = text_of(response)
    assert response.status_code == 400
    for told in ("path : Begin it", "count : Write a number", "address : That is no address"):
        assert told in text
    assert "There is no user nobody-there." in text_of(ask(viewer, path="/", user="nobody-there"))


@pytest.mark.parametrize(
    "query",
    [
        {"path": "/\x00", "method": "A B"}, {"path": "/" + "%ff" * 3000}, {"decision": "x" * 9000},
        {"path": "/<script>alert(1)</script>", "user": "<b>"}, {"made": "٣", "path": "/"},
        {"path": "/", "count": "9" * 5000}, {"path": "/", "https": "no"}, {"path": "/a b"},
    ],
)  # fmt: skip
def test_nothing_that_is_asked_breaks_it(viewer: Client, limited: None, query: Any) -> None:
    """Neither as an address nor as a form; and what was written stays text."""
    for response in (viewer.get(PAGE, query), viewer.post(PAGE, {**query, "headers": "A: b"})):
        assert response.status_code in {200, 400}
        assert "<script>alert" not in response.content.decode()


def test_machines_get_the_answer_as_json(viewer: Client, limited: None) -> None:
    headers = {"accept": "application/json"}
    answer = viewer.get(PAGE, {"path": ECHO}, headers=headers).json()
    assert (answer["verdict"], answer["route"]) == ("allowed", "api/echo/")
    wrong = viewer.get(PAGE, {"decision": "made-up"}, headers=headers)
    assert wrong.status_code == 400
    assert wrong.json()["errors"] == {"decision": ["That is no decision id of this site."]}
    assert viewer.get(PAGE, headers=headers).json()["errors"] == {"path": ["Say which path."]}


def test_a_decision_id_is_looked_up(viewer: Client, limited: None, apply: Any) -> None:
    decision = refused()
    apply(endpoint_limits=[{**LIMIT, "limits": [{"rate": "9/h"}]}])
    text = text_of(ask(viewer, decision=decision))
    assert "Was refused with 429" in text
    assert "by the endpoint limit echo, of which 1/h was spent" in text
    assert ADDRESS in text
    assert "Changed since" in text
    assert "9/h 7 of 9 left" in text


def test_a_rule_that_is_gone_is_told(viewer: Client, limited: None, apply: Any) -> None:
    decision = refused()
    apply(prune=True)
    assert "The rule is gone." in text_of(ask(viewer, decision=decision))


def test_who_may_see_rules_is_led_to_them(viewer: Client, limited: None) -> None:
    """By what the admin itself asks for; a key opens none of its screens."""
    assert "/admin/pulse/endpointlimit/?q=echo" in ask(viewer, path=ECHO).content.decode()
    key = keys.make("ci", actor=KIM).text
    machine = Client(headers={"Authorization": f"Bearer {key}", "accept": BROWSER})
    text = ask(machine, path=ECHO).content.decode()
    assert "counted by ip" in text
    assert "pulse/endpointlimit" not in text


# Temporary exceptions


def let_pass(client: Client, **fields: Any) -> Any:
    form = {"kind": "exemptions", "network": ADDRESS, "ends_in": "1h", "reason": "A customer asked"}
    return client.post(EXCEPTION, {**form, **fields})


def test_who_is_refused_can_be_let_pass_for_a_while(administrator: Client, limited: None) -> None:
    """A revision with its author, address and reason; the next request passes."""
    decision = refused()
    assert "Temporary exception" in text_of(ask(administrator, decision=decision))
    response = let_pass(administrator, back=f"decision={decision}")
    assert response.status_code == 302
    row = Exemption.objects.get(network=ADDRESS)
    assert timedelta(minutes=59) < row.ends_at - timezone.now() <= timedelta(hours=1)
    revision = PolicyRevision.objects.first()
    assert (revision.actor_name, revision.reason) == ("adm", "A customer asked")
    current.forget()
    assert Client(REMOTE_ADDR=ADDRESS).get(ECHO).status_code == 200
    text = text_of(administrator.get(response["Location"]))
    assert f"in force with revision {revision.number}" in text


@pytest.mark.parametrize("name", ["viewer", "operator"])
def test_only_who_administers_is_offered_one(request: Any, limited: None, name: str) -> None:
    client = request.getfixturevalue(name)
    assert "Temporary exception" not in text_of(ask(client, decision=refused()))
    assert let_pass(client).status_code == 403
    assert not Exemption.objects.filter(network=ADDRESS).exists()


def test_a_denied_address_can_be_let_in_below_the_denial(administrator: Client, apply: Any) -> None:
    """By a rule for it alone; a denial of it alone is to be changed itself."""
    apply(
        access_rules=[{"network": "203.0.113.0/24", "path": "/api/"}, {"network": "198.51.100.7"}]
    )
    told = ask(administrator, path=ECHO, address=ADDRESS)
    assert "may come in under /api/" in text_of(told)
    assert let_pass(administrator, kind="access_rules", path="/api/").status_code == 302
    rule = AccessRule.objects.get(network=ADDRESS)
    assert (rule.action, rule.path, rule.reason) == ("allow", "/api/", "A customer asked")
    current.forget()
    assert Client(REMOTE_ADDR=ADDRESS).get(ECHO).status_code == 200
    assert "Temporary" not in text_of(ask(administrator, path=ECHO, address="198.51.100.7"))


def test_an_exception_that_is_over_is_renewed(administrator: Client, limited: None) -> None:
    """One that is not is left as it is."""
    ended = timezone.now() - timedelta(days=1)
    Exemption.objects.create(network=ADDRESS, ends_at=ended, mode="shadow", percent=10)
    assert let_pass(administrator, ends_in="1d").status_code == 302
    row = Exemption.objects.get(network=ADDRESS)
    assert (row.mode, row.percent, row.starts_at) == ("enforce", 100, None)
    assert row.ends_at > timezone.now()
    again = let_pass(administrator)
    assert again.status_code == 400
    assert row.ends_at == Exemption.objects.get(network=ADDRESS).ends_at


@pytest.mark.parametrize(
    ("field", "value"),
    [("network", "everywhere"), ("network", "0.0.0.0/0"), ("network", ""), ("ends_in", ""),
     ("ends_in", "never"), ("reason", " "), ("reason", "x" * 201), ("kind", "rate_tiers"),
     ("reason", "a\0b"), ("network", "10.0.0.1\0")],
)  # fmt: skip
def test_what_is_no_exception_is_told(
    administrator: Client, limited: None, field: str, value: str
) -> None:
    """The page is shown again with what was asked; nothing is changed."""
    before = PolicyRevision.objects.count()
    response = let_pass(administrator, **{field: value, "back": f"decision={refused()}"})
    assert response.status_code == 400
    assert PolicyRevision.objects.count() == before
    wrong = administrator.post(
        EXCEPTION, {"kind": "exemptions", field: value}, headers={"accept": "application/json"}
    )
    assert wrong.status_code == 400
    assert wrong.json()["errors"]


def test_manual_publishing_keeps_it_as_a_draft(
    administrator: Client, limited: None, settings: Any
) -> None:
    settings.PULSE = {"PUBLISH": "manual"}
    response = let_pass(administrator)
    assert response.status_code == 202
    assert "draft" in text_of(response)


def test_it_leads_nowhere_else(administrator: Client, limited: None) -> None:
    """Whatever a form names as the page that it was on."""
    response = let_pass(administrator, back="//evil.test/?path=%2F&x=1")
    assert response["Location"].startswith(f"{PAGE}?")
