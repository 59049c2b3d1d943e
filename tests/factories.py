"""Values that tests begin from: each argument overrides what a usual one would be."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from pulse.core.charging import Facts
from pulse.core.claims import Allowance
from pulse.core.clients import ClientAddress, User
from pulse.core.endpoints import EndpointIndex, Match, Matcher
from pulse.core.histogram import Histogram
from pulse.core.networks import NetworkIndex, parse_address, parse_network
from pulse.core.quotas import make_quota
from pulse.core.snapshot import ENDPOINTS, TIERS, Assignment, Assignments, Mode, Rule, Snapshot
from pulse.policies import current
from pulse.policies.publisher import Actor

SECRET = b"a secret of the tests, 32 bytes!"
SOURCES = ("api_key", "user", "header:X-Track-ID", "header:Authorization", "address")
SEARCH = Match("api/search/", "search", "project.shop.views.Search")
KIM = Actor("user", "kim")


def allowance(*rates: str, cost: int = 1) -> Allowance:
    return Allowance(tuple(make_quota(rate) for rate in rates or ("10/s",)), cost)


def tier(name: str = "default", *rates: str, **fields: Any) -> Rule:
    own = allowance(*rates)
    fields = {"mode": Mode.ENFORCE, "allowance": own, "ceiling": own.times(5), **fields}
    return Rule(TIERS, name, **fields)


def endpoint(name: str = "search", *rates: str, **fields: Any) -> Rule:
    own = allowance(*rates)
    fields = {
        "mode": Mode.ENFORCE,
        "allowance": own,
        "ceiling": own.times(5),
        "matcher": Matcher(url_name="search"),
        **fields,
    }
    return Rule(ENDPOINTS, name, **fields)


def assignment(given: Rule, who: str = "user kim", **fields: Any) -> Assignment:
    return Assignment(who, given, **{"priority": 0, **fields})


def networks(*texts: str) -> NetworkIndex[None]:
    return NetworkIndex((parse_network(text), None) for text in texts)


def snapshot(*endpoints: Rule, **fields: Any) -> Snapshot:
    fields = {"default_tier": tier(), "assignments": Assignments(), **fields}
    return Snapshot(
        rules=endpoints,
        endpoints=EndpointIndex((rule.matcher, rule) for rule in endpoints if rule.matcher),
        **fields,
    )


def facts(
    address: str = "203.0.113.9",
    *,
    headers: Mapping[str, str] | None = None,
    peer_trusted: bool = False,
    **fields: Any,
) -> Facts:
    known = {name.lower(): value for name, value in (headers or {}).items()}
    fields = {
        "method": "GET",
        "path": "/api/search/",
        "match": SEARCH,
        "sources": SOURCES,
        "secret": SECRET,
        **fields,
    }
    return Facts(
        address=ClientAddress(parse_address(address), peer_trusted),
        header=lambda name: known.get(name.lower()),
        **fields,
    )


def kim(*groups: str) -> User:
    return User("7", "kim", frozenset(groups))


@contextmanager
def another_process() -> Iterator[None]:
    """What is done within is done as if elsewhere: this process hears of nothing."""
    held = dict(vars(current._held))
    yield
    vars(current._held).update(held)


def document(**kinds: Any) -> dict[str, Any]:
    return {"version": 1, **kinds}


def default_tier(rate: str = "10/s", **fields: Any) -> dict[str, Any]:
    limit = {"rate": rate} | ({"burst": fields.pop("burst")} if "burst" in fields else {})
    return {"name": "default", "default": True, "limits": [limit], **fields}


def job(*states: str, now: datetime | None = None, **fields: Any) -> Any:
    """A job with an item of each state; those that have ended took 40 ms and more."""
    from pulse.probes.state import OPEN_ITEMS, OPEN_JOBS, ProbeItem, ProbeJob

    now = now or timezone.now()
    targets = fields.pop("targets", None) or [f"t{number}" for number in range(len(states))]
    fields = {
        "status": "completed",
        "trigger": "page",
        "actor_type": "user",
        "actor_name": "kim",
        "created_at": now - timedelta(seconds=20),
        "started_at": now - timedelta(seconds=10),
        "deadline_at": now + timedelta(seconds=580),
        "total": len(states),
        "revision": 1,
        **fields,
    }
    if fields["status"] not in OPEN_JOBS:
        fields.setdefault("finished_at", now)
    made = ProbeJob.objects.create(**fields)
    for number, (name, state) in enumerate(zip(targets, states, strict=True)):
        ended = {
            "started_at": now - timedelta(seconds=5),
            "finished_at": now,
            "latency_ms": 40.0 + number,
            "status_code": 500 if state == "failed" else 200,
            "bytes": 512,
            "attempts": 1,
            "address": "127.0.0.1",
            "phases_ms": {"dns": 0.1, "connect": 0.3, "tls": None, "first_byte": 38, "body": 1.6},
            "expectations": [
                {"name": "status", "expected": [200], "actual": 200, "ok": state == "ok"}
            ],
        }
        if state == "failed":
            ended |= {"error": "expectation", "detail": "status 500, expected 200"}
        if state == "timeout":
            ended |= {"error": "timeout", "detail": "no answer within 10 s", "status_code": None}
        ProbeItem.objects.create(
            job=made,
            target=name,
            endpoint_id=f"GET /api/{name}/",
            host="127.0.0.1:8000",
            state=state,
            due_at=made.created_at,
            **({} if state in OPEN_ITEMS else ended),
        )
    return made


def target_state(name: str, status: str = "up", now: datetime | None = None, **fields: Any) -> Any:
    """How a target stands, looked at a moment ago."""
    from pulse.probes.state import ProbeTargetState

    now = now or timezone.now()
    fields = {
        "since": now - timedelta(hours=2),
        "last_at": now - timedelta(seconds=5),
        "last_state": "failed" if status == "down" else "ok",
        "grace_s": 130.0,
        **fields,
    }
    return ProbeTargetState.objects.create(name=name, status=status, **fields)


def hour(name: str, at: datetime, *latencies_ms: float, **fields: Any) -> Any:
    """An hour of a target, up and watched unless said otherwise."""
    from pulse.probes.state import ProbeHour

    found = Histogram()
    for latency_ms in latencies_ms or (40.0, 50.0, 60.0):
        found.add(round(latency_ms * 1000))
    fields = {"up_s": 3600.0, "ok": found.count, "attempts": found.count, **fields}
    return ProbeHour.objects.create(
        target=name,
        at=at,
        histogram=found.to_json(),
        sum_ms=found.sum_us / 1000,
        min_ms=found.min_us / 1000,
        max_ms=found.max_us / 1000,
        **fields,
    )
