"""Redirects: off unless asked for, at most three, and nothing handed to strangers (S2-49)."""

import asyncio
import socket

import pytest

from pulse.core.attempts import Answer, Call, Failure
from pulse.probes.client.calls import send
from pulse.testing import stub_network
from tests.probes.client.servers import Server, answering, ok, read_head, redirect, serving

PUBLIC = "93.184.216.34"


def call(server: Server, path: str = "", **fields) -> Answer:
    fields.setdefault("allow_networks", ("127.0.0.0/8",))
    fields.setdefault("timeout_s", 20)
    return asyncio.run(send(Call(fields.pop("method", "GET"), server.url + path, **fields)))


def counting_down(connection: socket.socket, server: Server) -> None:
    """``/3`` leads to ``/2``, and so on; ``/0`` answers."""
    head = read_head(connection)
    server.requests.append(head)
    left = int(head.split()[1].lstrip(b"/") or b"0")
    connection.sendall(redirect(f"/{left - 1}") if left else ok(b"there"))


@pytest.mark.parametrize(
    ("steps", "follows", "failure", "status", "requests"),
    [
        (1, 0, None, 302, 1),
        (1, 1, None, 200, 2),
        (3, 3, None, 200, 4),
        (2, 1, Failure.TOO_MANY_REDIRECTS, 302, 2),
        (4, 3, Failure.TOO_MANY_REDIRECTS, 302, 4),
        (9, 99, Failure.TOO_MANY_REDIRECTS, 302, 4),
    ],
)
def test_how_many_are_followed(steps, follows, failure, status, requests) -> None:
    """None by default: then the redirect is the answer. Never more than three."""
    with serving(counting_down) as server:
        answer = call(server, str(steps), follow_redirects=follows)
    assert (answer.failure, answer.status_code) == (failure, status)
    assert len(server.requests) == requests
    if failure is None and follows:
        assert (answer.body, answer.url) == (b"there", f"{server.url}0")


@pytest.mark.parametrize(
    "answer", [ok(b"", status="302 Found"), ok(b"", "Location: /", status="300 Many")]
)
def test_what_leads_nowhere_is_the_answer(answer: bytes) -> None:
    """Without a location, or with a status that is no redirect."""
    with serving(answering(answer)) as server:
        assert call(server, follow_redirects=3).failure is None
    assert len(server.accepted) == 1


def test_the_same_origin_gets_the_same_headers() -> None:
    """It has seen them."""
    with serving(counting_down) as server:
        secret = {"Authorization": "Bearer s"}
        call(server, "1", follow_redirects=1, headers={"X-A": "1"}, secret_headers=secret)
    for request in server.requests:
        assert b"\r\nX-A: 1\r\n" in request
        assert b"\r\nAuthorization: Bearer s\r\n" in request


def test_another_origin_gets_none_of_them() -> None:
    """Neither it, nor the first one when it leads back there."""
    with (
        serving(counting_down) as home,
        serving(answering(redirect(f"{home.url}0"))) as away,
        serving(answering(redirect(away.url))) as first,
    ):
        answer = call(
            first,
            follow_redirects=3,
            headers={"X-A": "hunter2", "Cookie": "hunter2", "X-Pulse-Probe": "hunter2"},
            secret_headers={"Authorization": "hunter2"},
        )
    assert answer.body == b"there"
    assert first.requests[0].count(b"hunter2") == 4
    assert b"hunter2" not in away.requests[0] + home.requests[0]


def test_a_location_in_utf_8() -> None:
    """Bytes beyond ASCII are taken for UTF-8, and sent percent-encoded."""
    with (
        serving(answering(redirect("/ü"))) as server,
        stub_network({"a.test": [PUBLIC]}, {f"{PUBLIC}:80": server.place}),
    ):
        asyncio.run(send(Call("GET", "http://a.test/", follow_redirects=1, timeout_s=20)))
    assert server.requests[1].startswith(b"GET /%C3%BC HTTP/1.1\r\n")


def test_times_of_all_steps_add_up() -> None:
    """Every step's phases count, and one deadline is over all."""
    with serving(counting_down) as server:
        answer = call(server, "3", follow_redirects=3)
    phases = (answer.phases.connect, answer.phases.first_byte, answer.phases.body)
    assert 0 < sum(phase for phase in phases if phase) <= answer.latency_ms
