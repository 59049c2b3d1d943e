"""What is kept of requests: whole clients, and nobody's secrets."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.charging import Facts
from pulse.core.clients import User, mark_of, resolve_address
from pulse.core.endpoints import OTHER_METHOD, EndpointIndex, Match, Matcher, PathSet
from pulse.core.networks import NetworkIndex, parse_network
from pulse.core.recording import (
    EVERYBODY,
    NOBODY,
    TIME,
    Recorded,
    Seen,
    Slot,
    decode,
    encode,
    known_part,
    limit_of,
    mark_of_client,
    record,
    static_part,
)
from pulse.core.snapshot import Snapshot

SECRET = b"secret"
ITEM = Match("shop/items/<int:pk>/", "item", "shop.Item")


def seen(**changes: object) -> Seen:
    facts: dict[str, object] = {
        "at_us": 5,
        "mark": "0" * 12,
        "snapshot": Snapshot(),
        "method": "GET",
        "path": "/shop/items/77/",
        "match": ITEM,
        "address": resolve_address("203.0.113.9", "", NetworkIndex()),
        "headers": (("x-track-id", "hunter2"), ("x-plan", None)),
        "user": User("5", "kim", frozenset({"staff"})),
        "user_known": True,
        "api_key": "k3v9x2ab",
        "is_preflight": False,
        "refused": True,
    }
    return Seen(**{**facts, **changes})  # type: ignore[arg-type]


def test_no_secret_is_kept() -> None:
    """Neither address nor user, header, key, or what stands in the path."""
    text = encode(record(seen(snapshot=Snapshot(wants_groups=True)), SECRET))
    for secret in ("203.0.113", "kim", "staff", "hunter2", "k3v9x2ab", "77"):
        assert secret not in text


def test_equal_identities_stay_equal() -> None:
    kept = record(seen(), SECRET)
    assert kept.address == mark_of("203.0.113.9", SECRET)
    assert kept.user == mark_of("5", SECRET) != record(seen(), b"another").user
    assert dict(kept.headers) == {"x-track-id": mark_of("hunter2", SECRET), "x-plan": ""}


def test_what_is_kept_is_read_again() -> None:
    kept = record(seen(snapshot=Snapshot(wants_groups=True)), SECRET)
    assert decode(encode(kept)) == kept
    assert kept.groups == (mark_of("staff", SECRET),)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "nonsense", "[" * 9000])
def test_what_another_release_wrote_is_left_out(text) -> None:
    assert decode(text) is None


def test_methods_that_clients_invent_are_one() -> None:
    assert record(seen(method="SPY" * 1000), SECRET).method == OTHER_METHOD


@pytest.mark.parametrize(
    ("route", "known"),
    [
        ("api/items/<int:pk>/", "/api/items/"),
        ("api/items<int:pk>/", "/api/"),
        (r"^api/items/(?P<pk>\d+)/$", "/api/items/"),
        (r"^colou?r/x/", "/"),
        (r"^a/b?/(\d+)", "/a/"),
        (r"^a/|^b/", "/"),
        ("", "/"),
        ("<path:rest>", "/"),
    ],
)
def test_route_tells_the_beginning_of_its_paths(route, known) -> None:
    assert static_part(route) == known


def test_path_is_kept_whole_where_it_is_the_route() -> None:
    assert known_part(Snapshot(), Match("about/", "", ""), "/about/") == ("/about/", True)
    assert known_part(Snapshot(), ITEM, "/shop/items/77/") == ("/shop/items/", False)
    assert known_part(Snapshot(), None, "/wp-login.php") == ("/", False)


def test_path_is_kept_as_far_as_the_policy_names_it() -> None:
    """So that what is exempt stays exempt, and what a rule is for stays so."""
    rules = EndpointIndex([(Matcher(path="/shop/items/77", methods=frozenset({"POST"})), 1)])
    snapshot = Snapshot(endpoints=rules, exempt_paths=PathSet(["/static"]))
    assert known_part(snapshot, None, "/static/secret.css") == ("/static", False)
    assert known_part(snapshot, ITEM, "/shop/items/77/") == ("/shop/items/77", False)


def test_networks_of_the_policy_are_kept_as_hashes() -> None:
    network = (parse_network("203.0.113.0/24"), "203.0.113.0/24")
    snapshot = Snapshot(exempt_networks=NetworkIndex([network]))
    assert record(seen(snapshot=snapshot), SECRET).networks == (mark_of(network[1], SECRET),)


def facts(user: User | None = None, api_key: str | None = None, address: str = "10.0.0.1") -> Facts:
    return Facts(
        "GET",
        "/",
        None,
        resolve_address(address, "", NetworkIndex()),
        {"X-Track-ID": "me"}.get,
        ("api_key", "user", "header:X-Track-ID", "address"),
        SECRET,
        user,
        api_key,
    )


def test_client_is_whole_with_all_that_it_is_charged_to() -> None:
    """A verified one from all addresses; others with the address whose ceiling they share."""
    assert mark_of_client(facts()) == mark_of("10.0.0.1", SECRET)
    kim = User("5", "kim")
    one, other = facts(kim), facts(kim, address="10.0.0.2")
    assert mark_of_client(one) == mark_of_client(other) != mark_of_client(facts())
    assert mark_of_client(facts(kim, "k3v9x2ab")) == mark_of("api_key:k3v9x2ab", SECRET)


def test_each_level_keeps_half_of_the_clients_of_the_one_before() -> None:
    marks = [mark_of(str(number), SECRET) for number in range(4000)]
    kept = [{mark for mark in marks if mark < limit_of(level)} for level in range(6)]
    assert limit_of(0) == EVERYBODY
    assert len(kept[0]) == 4000
    for level in range(1, 6):
        assert kept[level] < kept[level - 1]
        assert len(kept[level]) == pytest.approx(4000 / 2**level, rel=0.2)
    assert not any(mark < limit_of(NOBODY) for mark in marks)


def times(*offsets: int) -> bytes:
    return b"".join(map(TIME.pack, offsets))


@given(st.lists(st.integers(0, 999), max_size=300), st.integers(200, 20_000))
def test_slot_keeps_clients_whole_and_within_its_room(clients, room) -> None:
    """Whoever is in it is in it with every request."""
    slot, rng = Slot(), random.Random(1)
    came: dict[str, int] = {}
    for client in clients:
        mark = mark_of(str(client), SECRET)
        came[mark] = came.get(mark, 0) + 1
        slot.add(f"{mark}{rng.randrange(3)}", times(1), room)
        slot.shrink(0, room)
    kept: dict[str, int] = {}
    for field, packed in slot.times.items():
        kept[field[:12]] = kept.get(field[:12], 0) + len(packed) // TIME.size
    assert slot.bytes <= room
    assert slot.bytes == sum(120 + len(f) + len(t) for f, t in slot.times.items())
    below = {mark: n for mark, n in came.items() if mark < limit_of(slot.level)}
    assert kept == {mark: n for mark, n in below.items() if mark not in slot.left_out}


def test_client_that_comes_too_often_leaves_room_for_the_others() -> None:
    """It is not kept in part; how many requests are missing is."""
    slot = Slot()
    slot.add("0" * 12 + "other", times(1), 4000)
    slot.add("1" * 12 + "a", times(*range(10)), 4000)
    slot.add("1" * 12 + "b", times(*range(300)), 4000)
    slot.add("1" * 12 + "b", times(*range(5)), 4000)
    assert list(slot.times) == ["0" * 12 + "other"]
    assert (slot.left, slot.left_out, slot.level) == (315, {"1" * 12}, 0)


def test_processes_join_at_the_higher_level() -> None:
    one, other = Slot(), Slot(level=1)
    one.add("f" * 12, times(1), 4000)
    one.add("1" * 12, times(1), 4000)
    other.add("1" * 12, times(2), 4000)
    one.minutes[7] += 3
    other.minutes[7] += 2
    one.join(other)
    assert {field: bytes(packed) for field, packed in one.times.items()} == {"1" * 12: times(1, 2)}
    assert (one.level, one.minutes[7]) == (1, 5)


def test_record_has_as_many_fields_as_are_written() -> None:
    assert len(Recorded._fields) == len(record(seen(), SECRET))
