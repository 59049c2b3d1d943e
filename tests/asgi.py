"""One request to an ASGI application, message by message, as a server speaks to it."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

DISCONNECT = {"type": "http.disconnect"}
LAST = {"type": "http.request", "body": b"", "more_body": False}


@dataclass
class Exchange:
    """What a server saw of one request.

    Attributes:
        asked: How many messages the application took before it began to answer.
        taken: How many bytes of the body it took in all.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    asked: int = 0
    taken: int = 0
    ended: bool = False

    def json(self) -> Any:
        return json.loads(self.body)


def scope(method: str = "POST", path: str = "/", **fields: Any) -> dict[str, Any]:
    headers = fields.pop("headers", ())
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("203.0.113.1", 40000),
        "server": ("testserver", 80),
        "headers": [(b"host", b"testserver"), *headers],
        **fields,
    }


def chunks(*sizes: int) -> list[dict[str, Any]]:
    """A body in pieces; the last says that it is the last."""
    parts = [{"type": "http.request", "body": b"x" * size, "more_body": True} for size in sizes]
    return [*parts[:-1], {**parts[-1], "more_body": False}]


async def exchange(
    application: Any, asked: dict[str, Any], messages: Iterable[dict[str, Any]] = (LAST,)
) -> Exchange:
    """Make a request; after its messages the client waits until it is answered, and leaves."""
    seen, coming, answered = Exchange(), iter(messages), asyncio.Event()

    async def receive() -> dict[str, Any]:
        message = next(coming, None)
        if message is None:
            await answered.wait()
            return DISCONNECT
        seen.asked += not seen.status
        seen.taken += len(message.get("body", b""))
        await asyncio.sleep(0)
        return message

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            pairs: Sequence[tuple[bytes, bytes]] = message["headers"]
            seen.headers = {key.decode().lower(): value.decode() for key, value in pairs}
            return
        seen.body += message.get("body", b"")
        if not message.get("more_body", False):
            seen.ended = True
            answered.set()

    await asyncio.wait_for(application(asked, receive, send), 20)
    return seen
