"""The whole policy at a glance, from its document alone."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulse.policies.completion import complete
from pulse.policies.headroom import Headroom
from pulse.policies.overview import EXPIRING, PER_PAGE, Sort, State, Wanted, overview
from tests.factories import default_tier
from tests.factories import document as doc

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def at(**ago: float) -> str:
    return (NOW + timedelta(**ago)).isoformat().replace("+00:00", "Z")


def limit(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "url_name": "echo", "limits": ["1/s"], **fields}


RULES = [
    limit("now"),
    limit("soon", ends_at=at(days=7)),
    limit("later", ends_at=at(days=8)),
    limit("shadow", mode="shadow", description="On trial since spring"),
    limit("short-shadow", mode="shadow", ends_at=at(hours=1)),
    limit("coming", starts_at=at(seconds=1)),
    limit("over", ends_at=at(seconds=0)),
    limit("over-and-off", mode="off", ends_at=at(days=-1)),
    limit("off", mode="off", starts_at=at(days=1)),
]
HEADROOM = {
    "endpoint_limits:now": Headroom(0.5, 0, 0),
    "endpoint_limits:soon": Headroom(1.0, 9, 0),
    "endpoint_limits:shadow": Headroom(0.9, 0, 40),
    "access_rules:203.0.113.0/24 /": Headroom(None, 7, 0),
}


def look(rules: Any = RULES, **wanted: Any) -> Any:
    kinds = {"access_rules": ["203.0.113.0/24"], "rate_tiers": [default_tier()]}
    document = complete(doc(endpoint_limits=rules, **kinds))
    return overview(document, HEADROOM, NOW, Wanted(**wanted))


def names(found: Any) -> list[str]:
    return [line.name for line in found.lines]


def test_every_rule_is_counted_by_what_it_does_now() -> None:
    found = look()
    tally = next(tally for tally in found.tallies if tally.kind == "endpoint_limits")
    assert tally.states == {
        State.ENFORCED: 3,
        State.SHADOW: 2,
        State.SCHEDULED: 1,
        State.ENDED: 2,
        State.OFF: 1,
    }
    assert (tally.total, tally.expiring, tally.refused, tally.would_refuse) == (9, 2, 9, 40)
    assert (found.total, found.states[State.ENFORCED], found.expiring) == (11, 5, 2)
    assert [tally.kind for tally in found.tallies][:2] == ["rate_tiers", "tier_assignments"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"state": EXPIRING}, ["short-shadow", "soon"]),
        ({"state": "ended"}, ["over", "over-and-off"]),
        ({"kind": "access_rules"}, ["203.0.113.0/24 /"]),
        ({"q": "SPRING"}, ["shadow"]),
        ({"q": "echo", "state": "scheduled"}, ["coming"]),
        ({"q": "nothing"}, []),
        (
            {"sort": Sort.REFUSED, "state": "enforced"},
            ["soon", "203.0.113.0/24 /", "default", "later", "now"],
        ),
        ({"sort": Sort.PEAK, "state": "enforced", "q": "echo"}, ["soon", "now", "later"]),
        ({"sort": Sort.ENDS, "state": "enforced", "q": "echo"}, ["soon", "later", "now"]),
    ],
)
def test_it_is_narrowed_and_sorted(wanted: Any, expected: list[str]) -> None:
    found = look(**wanted)
    assert names(found) == expected
    assert found.found == len(expected)
    assert found.total == 11


def test_pages_end_where_the_rules_do() -> None:
    """Beyond the last one, the last one is shown."""
    rules = [limit(f"e{number:03}") for number in range(PER_PAGE + 3)]
    first, last = look(rules, kind="endpoint_limits"), look(rules, kind="endpoint_limits", page=99)
    assert (len(first.lines), first.page, first.pages) == (PER_PAGE, 1, 2)
    assert (names(last), last.page) == (["e050", "e051", "e052"], 2)


def test_an_empty_policy_is_empty() -> None:
    found = overview({}, {}, NOW, Wanted())
    assert (found.total, found.found, found.pages, list(found.lines)) == (0, 0, 1, [])


def test_machines_are_told_the_same() -> None:
    [line] = look(state=EXPIRING, q="soon").lines
    told = line.as_dict()
    assert told["words"].startswith("Every request to echo")
    assert {name: told[name] for name in told.keys() - {"words"}} == {
        "kind": "endpoint_limits",
        "key": {"name": "soon"},
        "state": "enforced",
        "expiring": True,
        "starts_at": None,
        "ends_at": at(days=7),
        "peak_24h": 1.0,
        "refused_24h": 9,
        "would_refuse_24h": 0,
    }


def test_ten_thousand_rules_are_looked_over_in_a_moment() -> None:
    """Also where the words of a search are looked for in each."""
    item = complete(doc(endpoint_limits=[limit("x")]))["endpoint_limits"][0]
    document = {"endpoint_limits": [{**item, "name": f"e{number}"} for number in range(10_000)]}
    begun = time.process_time()
    found = overview(document, HEADROOM, NOW, Wanted(q="e99", sort=Sort.PEAK))
    took_s = time.process_time() - begun
    assert found.found == 111
    assert took_s < 1
