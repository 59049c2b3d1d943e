"""What the tests of alerts share: a policy, measures, and somebody who is told."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pulse.metrics import flush, record_request, window
from pulse.policies import current, document
from pulse.store import heartbeat
from tests.factories import KIM

SECRET = "whsec_" + "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="


@dataclass
class Receiver:
    """A server on loopback that answers as it is told, and keeps what it got.

    Attributes:
        answers: Status and headers of the next answers; the last one stays.
        hold: While it is clear, nobody is answered.
    """

    port: int
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def opened(self) -> list[str]:
        return [f"127.0.0.1/32:{self.port}"]

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _headers, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            found.hold.wait(30)
            status, headers = found.answers[0]
            if len(found.answers) > 1:
                found.answers.pop(0)
            with contextlib.suppress(OSError):  # Who asked may be gone.
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def fresh(fresh_process: None, db: None, redis_cache: Any) -> Iterator[None]:
    window.forget()
    current.forget()
    with heartbeat.suspended():
        yield
    window.forget()
    current.forget()


@pytest.fixture
def apply() -> Callable[..., None]:
    """Put a document in force, whole."""

    def put_in_force(**kinds: Any) -> None:
        document.apply({"version": 1, **kinds}, KIM, prune=True)
        current.forget()

    return put_in_force


@pytest.fixture
def hook(receiver: Receiver) -> dict[str, Any]:
    """A channel to the receiver."""
    return {
        "name": "hook",
        "type": "webhook",
        "url": receiver.url,
        "secret": SECRET,
        "allow_networks": receiver.opened,
    }


def answered(*statuses: int, endpoint: str = "/shop/", taken_ms: float = 10.0) -> None:
    """Answers of the site, as all processes tell them now."""
    for status in statuses:
        record_request(endpoint, "GET", status, taken_ms)
    flush.flush()
