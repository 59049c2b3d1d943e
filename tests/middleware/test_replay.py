"""Replay protection, through whole requests."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from django.db import connection
from django.test import Client

from pulse.access import keys
from pulse.policies import current
from pulse.policies.document import apply
from pulse.policies.explain.explanations import explain
from pulse.policies.explain.questions import Question
from pulse.policies.explain.refusals import explain_refusal
from pulse.store import announcement, buckets
from tests.factories import KIM, another_process, default_tier
from tests.factories import document as doc
from tests.servers import free_port
from tests.store.conftest import cache_of

pytestmark = pytest.mark.django_db(transaction=True)

ECHO = "/api/echo/"
RULE = {"name": "echo", "path": ECHO, "require_nonce": True}
KEY = {"name": "echo"}
numbers = count()


def nonce() -> str:
    return f"a nonce of the tests {next(numbers)}".replace(" ", "-")


def ask(text: str | None = None, *, at: float | None = None, address="203.0.113.9", **headers):
    given = {"X-Nonce": text or nonce(), "X-Timestamp": str(int(at or time.time())), **headers}
    sent = {name: value for name, value in given.items() if value}
    return Client().get(ECHO, headers=sent, REMOTE_ADDR=address)


@pytest.fixture(params=["redis", "memory"])
def store(request):
    """Either counters."""
    if request.param == "redis":
        request.getfixturevalue("redis_cache")
    return request.param


def policy(**fields):
    tier = fields.pop("tier", default_tier("100/h"))
    apply(doc(rate_tiers=[tier], endpoint_limits=[{**RULE, **fields}]), KIM)


def test_a_request_is_taken_once(store):
    """API.md 4: seen before 409."""
    policy()
    text = nonce()
    assert ask(text).status_code == 200
    again = ask(text)
    assert again.status_code == 409
    assert again.json()["detail"] == "This X-Nonce was used before."
    assert again.json()["request_id"] == again["X-Request-ID"]
    assert ask(text, address="198.51.100.7", **{"X-Track-ID": "7"}).status_code == 409
    assert ask().status_code == 200


@pytest.mark.parametrize(
    ("headers", "at", "said"),
    [
        ({"X-Nonce": ""}, None, "Send X-Timestamp"),
        ({"X-Timestamp": ""}, None, "Send X-Timestamp"),
        ({"X-Timestamp": "yesterday"}, None, "Send X-Timestamp"),
        ({"X-Nonce": "short"}, None, "Send X-Timestamp"),
        ({}, 1000.0, "five minutes"),
    ],
)
def test_missing_or_stale_is_400_and_charges_nothing(store, headers, at, said):
    policy()
    before = ask()["X-RateLimit-Remaining"]
    response = ask(at=at, **headers)
    assert response.status_code == 400
    assert said in response.json()["detail"]
    assert response["X-RateLimit-Remaining"] == before
    assert "Retry-After" not in response


def test_a_repetition_charges_nothing_and_is_counted_and_logged(store, caplog):
    policy(limits=[{"rate": "5/h"}])
    text = nonce()
    remaining = [ask(text)["X-RateLimit-Remaining"] for _ in range(4)]
    assert remaining == ["4"] * 4
    assert "Refused GET api/echo/ from 203.0.113.9 by endpoint_limits:echo (nonce): 409" in (
        caplog.text
    )
    assert buckets.last_day()[buckets.REFUSED]["endpoint_limits:echo"] == 3


def test_who_is_refused_by_a_limit_may_send_the_same_again(store):
    """All or nothing: the nonce is taken with what the limits take."""
    policy(limits=[{"rate": "1/h"}])
    text = nonce()
    assert [ask().status_code, ask(text).status_code] == [200, 429]
    policy(limits=[{"rate": "2/h"}])
    assert [ask(text).status_code, ask(text).status_code] == [200, 409]


def test_keys_do_not_burn_each_other_s(store):
    policy()
    first, second = (keys.make("ci", actor=KIM).text for _ in range(2))
    text = nonce()
    statuses = [
        ask(text, Authorization=f"Bearer {key}").status_code for key in (first, second, first)
    ]
    assert statuses == [200, 200, 409]


def test_in_shadow_it_only_reports(store):
    policy(mode="shadow")
    text = nonce()
    assert [ask(text).status_code for _ in range(2)] == [200, 200]
    assert ask(**{"X-Nonce": ""}).status_code == 200
    assert buckets.last_day()[buckets.WOULD_REFUSE]["endpoint_limits:echo"] == 2


def test_what_is_exempt_and_preflights_need_none(store):
    policy()
    asked = {"Origin": "https://app.test", "Access-Control-Request-Method": "GET"}
    assert Client().options(ECHO, headers=asked).status_code not in {400, 409}
    apply(doc(exemptions=[{"path": ECHO}]), KIM)
    assert Client().get(ECHO).status_code == 200


def test_an_edit_elsewhere_is_in_force_on_the_next_request(redis_cache):
    """Also where this process would have refused by itself."""
    policy()
    assert ask(**{"X-Nonce": ""}).status_code == 400
    with another_process():
        policy(require_nonce=False, limits=[{"rate": "5/h"}])
        announcement.announce(current.current_snapshot().announcement)
    assert ask(**{"X-Nonce": ""}).status_code == 200


def test_it_is_one_command(redis_cache):
    policy(limits=[{"rate": "5/h"}])
    ask()
    with redis_cache.client() as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert ask().status_code == 200
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1


def test_without_redis_a_closed_rule_refuses_and_others_take_once_in_the_process(
    settings, mortal_redis, caplog
):
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": mortal_redis.url}
    }
    policy(on_store_error="closed")
    assert ask().status_code == 200
    mortal_redis.kill()
    response = ask()
    assert response.status_code == 503
    assert response["Retry-After"]
    assert ask(**{"X-Nonce": ""}).status_code == 400
    assert not [message for message in caplog.messages if "non-fatal" in message]
    policy()
    text = nonce()
    assert [ask(text).status_code, ask(text).status_code] == [200, 409]
    assert ask(**{"X-Nonce": ""}).status_code == 400


def test_of_twenty_at_once_one_passes(store):
    policy()
    text = nonce()

    def one(_):
        try:
            return ask(text).status_code
        finally:
            connection.close()

    ask()
    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(one, range(20))) == [200] + [409] * 19


def told(**fields) -> tuple[int, int, dict]:
    """What an explanation says: status, how many were refused, and the rule's row."""
    headers = fields.pop("headers", {"X-Nonce": nonce(), "X-Timestamp": str(int(time.time()))})
    question = Question(ECHO, address="203.0.113.9", headers=headers, **fields)
    answer = explain(question).answer
    [row] = [row for row in answer["rules"] if row["key"] == KEY]
    return answer["status"], answer["refused"], row


@pytest.mark.parametrize("own", [[], [{"rate": "50/h"}]])
def test_an_explanation_says_the_same(store, own):
    policy(limits=own)
    status, refused, row = told(headers={})
    assert (status, refused, row["outcome"]) == (400, 1, "refused")
    assert "Send X-Timestamp" in row["why"]
    assert told()[:2] == (200, 0)
    status, refused, row = told(count=3)
    assert (status, refused, row["why"]) == (409, 2, "This X-Nonce was used before.")
    text = nonce()
    assert ask(text).status_code == 200
    headers = {"X-Nonce": text, "X-Timestamp": str(int(time.time()))}
    assert told(headers=headers)[0] == 409
    policy(limits=own, mode="shadow")
    status, refused, row = told(headers={})
    assert (status, refused, row["outcome"]) == (200, 0, "would_refuse")


@pytest.mark.parametrize("own", [[], [{"rate": "50/h"}]])
def test_an_explanation_says_who_refuses_for_want_of_counters(settings, own):
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    policy(limits=own, on_store_error="closed")
    status, refused, row = told()
    assert (status, refused, row["outcome"]) == (503, 1, "refused")
    assert row["why"] == ("matches the request" if own else "it takes each request once")
    assert told(headers={})[0] == ask(**{"X-Nonce": ""}).status_code == 400
    response = ask()
    assert response.status_code == 503
    past = explain_refusal(response.json()["decision"])["rules"]
    assert [(each["kind"], each["key"]) for each in past] == [("endpoint_limits", KEY)]
