"""One attempt: a call made of what was claimed, and an outcome of what came."""

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from django.conf import LazySettings

from pulse.conf import conf
from pulse.core import marks
from pulse.core.attempts import Answer, Call, Failure
from pulse.core.judging import State
from pulse.exceptions import InvalidDocument
from pulse.policies.publisher import Actor, edit
from pulse.probes import attempt
from pulse.probes.attempt import Attempt, Clock, Outcome
from pulse.probes.models import ProbeSecret, ProbeTarget
from pulse.probes.state import ProbeItem, ProbeStart
from tests.probes.conftest import Apply
from tests.probes.engines import ILL, WELL, answering, claim, held, start, targets


def ready_at_once(*names: str) -> list[Attempt]:
    """Start and claim, and make calls."""
    start(*names)
    claimed = claim()
    with held() as (plan, lock):
        clock = Clock(lock.now.timestamp(), time.monotonic())
        return attempt.ready(claimed, plan, lock.using, clock)


def ready_one(*names: str) -> Attempt:
    (each,) = ready_at_once(*names)
    return each


def call_of(each: Attempt) -> Call:
    assert each.call is not None, each.problem
    return each.call


def outcome_of(each: Attempt, answer: Answer = WELL) -> Outcome:
    found = asyncio.run(attempt.run(each, answering(answer)))
    assert found is not None
    return found


def test_a_request_is_marked_and_says_who_sends_it(apply: Apply) -> None:
    """By its job, signed; pulse's version in the User-Agent."""
    apply(probe_targets=targets(1, headers={"X-Own": "1"}))
    each = ready_one()
    headers = call_of(each).headers
    assert marks.verify(headers["X-Pulse-Probe"], conf.probe_secret) == str(each.claimed.job)
    assert headers["User-Agent"].startswith("pulse-probe/0.")
    assert headers["X-Own"] == "1"


def test_another_site_learns_no_mark(apply: Apply) -> None:
    """With one, requests of its own would pass for this site's probes."""
    target = {"name": "t0", "url": "https://elsewhere.example/"}
    apply(probe_targets=[target])
    mark = call_of(ready_one()).headers["X-Pulse-Probe"]
    assert mark.startswith(f"{ProbeItem.objects.get().job_id}.")
    assert marks.verify(mark, conf.probe_secret) is None


def test_a_target_may_say_who_it_is_and_never_whose_probe(apply: Apply) -> None:
    apply(probe_targets=targets(1, headers={"User-Agent": "mine", "X-Pulse-Probe": "1.forged"}))
    headers = call_of(ready_one()).headers
    assert headers["User-Agent"] == "mine"
    assert marks.verify(headers["X-Pulse-Probe"], conf.probe_secret)


def test_the_limit_is_that_of_the_claim(apply: Apply) -> None:
    """The least of the target's, the job's, and what is left of it."""
    apply(probe_targets=targets(1, timeout_s=9))
    start("t0", timeout_s=3)
    (claimed,) = claim()
    with held() as (plan, lock):
        (each,) = attempt.ready([claimed], plan, lock.using, Clock(0, 0))
    assert call_of(each).timeout_s == 3


def with_secret(value: str = "hunter2-hunter2") -> None:
    with edit(Actor("command", "test"), source="command"):
        target = ProbeTarget.objects.get()
        target.secret_headers = {"Authorization": value}
        target.save()


def test_secrets_are_revealed_to_the_call_alone(apply: Apply) -> None:
    """Neither what failed nor how to repeat it tells them."""
    apply(probe_targets=targets(1))
    with_secret()
    apply()
    each = ready_one()
    assert call_of(each).secret_headers == {"Authorization": "hunter2-hunter2"}
    said = replace(ILL, body=b"you sent hunter2-hunter2", headers={"x-echo": "hunter2-hunter2"})
    found = outcome_of(each, said)
    assert "hunter2" not in json.dumps([found.detail, found.expectations, found.evidence])
    assert found.evidence is not None
    request: Any = found.evidence["request"]
    assert request["headers"]["Authorization"] == "***"


@pytest.mark.parametrize("how", ["key", "row", "environment"])
def test_a_secret_that_cannot_be_read_fails_the_probe(
    apply: Apply, settings: LazySettings, how: str
) -> None:
    """It is not sent without, and says why."""
    apply(probe_targets=targets(1))
    with_secret("env:PULSE_PROBE_NOBODY_SET_THIS" if how == "environment" else "hunter2-hunter2")
    apply()
    if how == "row":
        ProbeSecret.objects.all().delete()
    elif how == "key":
        settings.PULSE = settings.PULSE | {"SECRET_KEYS": ["another"]}
    found = outcome_of(ready_one())
    assert (found.state, found.error) == (State.FAILED, Failure.INTERNAL)
    assert found.detail.startswith("A secret header cannot be read: ")
    assert found.latency_ms is None


def test_only_variables_that_are_open_to_probes_are_sent(
    apply: Apply, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who edits targets cannot have a worker send its database's password."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://hunter2@db/")
    monkeypatch.setenv("PULSE_PROBE_KEY", "open sesame")
    item = {**targets(1)[0], "secret_headers": {"X-Key": "env:DATABASE_URL"}}
    with pytest.raises(InvalidDocument) as refused:
        apply(probe_targets=[item])
    (texts,) = refused.value.errors.values()
    assert texts == [
        'The variable DATABASE_URL is not open to probes: add it to PULSE["PROBE_SECRET_ENV"].'
    ]
    apply(probe_targets=[{**item, "secret_headers": {"X-Key": "env:PULSE_PROBE_KEY"}}])
    assert call_of(ready_one()).secret_headers == {"X-Key": "open sesame"}
    # Closed after it was saved, or written past every rule.
    ProbeStart.objects.all().delete()
    settings.PULSE = settings.PULSE | {"PROBE_SECRET_ENV": ["SHOP_*"]}
    found = outcome_of(ready_one())
    assert "PULSE_PROBE_KEY is not open to probes" in found.detail
    assert found.latency_ms is None


def test_a_secret_is_for_the_origin_that_it_was_written_for(apply: Apply) -> None:
    """A document that moves its target elsewhere does not take it along."""
    here = {"name": "t0", "url": "https://a.example.com/1"}
    apply(probe_targets=[here])
    with_secret()
    kept = {**here, "secret_headers": {"Authorization": "***"}}
    apply(probe_targets=[{**kept, "url": "https://a.example.com/2"}])
    assert call_of(ready_one()).secret_headers == {"Authorization": "hunter2-hunter2"}
    for elsewhere in ({"url": "https://b.example.com/1"}, {"path": "/api/products/"}):
        with_secret()
        ProbeStart.objects.all().delete()
        apply(probe_targets=[{"name": "t0", "secret_headers": kept["secret_headers"], **elsewhere}])
        assert ProbeSecret.objects.count() == 0
        found = outcome_of(ready_one())
        assert "No value is stored for the header Authorization" in found.detail


def test_what_has_a_problem_is_not_sent(apply: Apply, settings: LazySettings) -> None:
    """The problem is what its result says."""
    apply(probe_targets=targets(1))
    settings.PULSE = {}
    found = outcome_of(ready_one())
    assert (found.state, found.error) == (State.FAILED, Failure.INTERNAL)
    assert found.detail.startswith("This site's own address is not known")


@pytest.mark.parametrize(
    ("left", "detail"),
    [
        ([], "Unknown target: t0"),
        (targets(1, mode="off"), "Target t0 is off, or not in its time."),
    ],
    ids=["gone", "paused"],
)
def test_a_target_that_is_not_in_force_any_more_is_not_sent(
    apply: Apply, left: list[dict[str, Any]], detail: str
) -> None:
    """What waits of it ends at once, and says why."""
    apply(probe_targets=targets(1))
    start()
    claimed = claim()
    ProbeTarget.objects.all().delete()
    apply(probe_targets=left)
    with held() as (plan, lock):
        (each,) = attempt.ready(claimed, plan, lock.using, Clock(0, time.monotonic()))
    found = outcome_of(each)
    assert (found.state, found.detail) == (State.FAILED, detail)
    assert found.latency_ms is None


@pytest.mark.parametrize(
    ("expect", "answer", "state"),
    [
        ({}, WELL, State.OK),
        ({"max_latency_ms": 5}, WELL, State.DEGRADED),
        ({"certificate_days": 14}, replace(WELL, certificate_days=3.0), State.DEGRADED),
        ({"max_latency_ms": 5}, ILL, State.FAILED),
        ({"status": [500]}, ILL, State.OK),
        ({}, Answer(0, 3.0, Failure.CONNECT, "refused"), State.FAILED),
        ({}, Answer(0, 3.0, Failure.TIMEOUT, "waiting"), State.TIMEOUT),
    ],
)
def test_an_answer_is_judged_by_what_is_expected(
    apply: Apply, expect: dict[str, Any], answer: Answer, state: State
) -> None:
    apply(probe_targets=targets(1, expect=expect))
    found = outcome_of(ready_one(), answer)
    assert found.state == state
    assert found.status_code == answer.status_code
    assert found.latency_ms == answer.latency_ms


@pytest.mark.parametrize("secret", ["hunter2-hunter2", "hünter2-hünter2-ü"])
def test_an_answer_that_repeats_a_secret_to_the_end_keeps_no_half_of_it(
    apply: Apply, secret: str
) -> None:
    """Wherever the excerpt of it is cut."""
    apply(probe_targets=targets(1))
    with_secret(secret)
    each = ready_one()
    for shift in range(len(secret.encode())):
        body = b"=" * shift + secret.encode() * 5000
        found = outcome_of(each, replace(ILL, body=body))
        assert found.evidence is not None
        response: Any = found.evidence["response"]
        assert "h" not in response["body"]


def test_evidence_is_of_failures_alone_and_bounded(apply: Apply) -> None:
    """4 KB of a body, and what PostgreSQL takes: no NUL in a text."""
    apply(probe_targets=targets(1, query={"q": "a b"}))
    each = ready_one()
    assert outcome_of(each).evidence is None
    body = b"\x00<h1>" + b"x" * 100_000
    found = outcome_of(each, replace(ILL, body=body, headers={"x-odd": "a\x00b"}))
    assert found.evidence is not None
    request: Any = found.evidence["request"]
    response: Any = found.evidence["response"]
    assert request["method"] == "GET"
    assert request["url"].startswith("http://127.0.0.1:8000/api/products/?q=")
    assert "X-Pulse-Probe" not in request["headers"]
    assert response["status_code"] == 500
    assert 4000 < len(response["body"]) <= 4096
    assert "\x00" not in json.dumps(found.evidence, ensure_ascii=False)


def test_values_that_are_no_json_are_told_as_texts(apply: Apply) -> None:
    """Python reads NaN where others do not."""
    apply(probe_targets=targets(1, expect={"json": {"a": 1}}))
    found = outcome_of(ready_one(), replace(WELL, body=b'{"a": NaN}'))
    json.dumps([found.expectations, found.evidence], allow_nan=False)
    assert found.state == State.FAILED


def test_a_fault_of_the_client_is_an_outcome(apply: Apply) -> None:
    """And its text, which may have anything in it, is only in the log."""
    apply(probe_targets=targets(1))

    async def fails(call: Call) -> Answer:
        raise ZeroDivisionError("hunter2")

    found = asyncio.run(attempt.run(ready_one(), fails))
    assert found is not None
    assert (found.state, found.error) == (State.FAILED, Failure.INTERNAL)
    assert found.detail == "ZeroDivisionError in pulse itself"


def test_what_was_claimed_too_long_ago_is_not_begun(apply: Apply) -> None:
    """A process that was asleep would send what is another's by now."""
    apply(probe_targets=targets(1))
    each = replace(ready_one(), begun_by=time.monotonic() - 0.001)
    sent: list[Call] = []

    async def sends(call: Call) -> Answer:
        sent.append(call)
        return WELL

    assert asyncio.run(attempt.run(each, sends)) is None
    assert sent == []


def test_times_are_the_databases(apply: Apply) -> None:
    """A worker's own clock may be years off."""
    apply(probe_targets=targets(1))
    each = replace(ready_one(), clock=Clock(1_000.0, time.monotonic()))
    found = outcome_of(each)
    assert 1_000 <= found.started_s <= found.ended_s < 1_060
