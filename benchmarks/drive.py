"""Requests through Django's own handlers, in process and without sockets."""

import asyncio
import io
from collections.abc import Callable
from itertools import cycle
from typing import Any, Protocol

from benchmarks.policies import ORIGIN, PATH, paths
from benchmarks.site import bench


class Answer:
    """What came back of one request."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers


class Driver(Protocol):
    """One way into Django."""

    def once(self, address: str) -> Answer: ...
    def many(self, addresses: list[str]) -> None: ...


class Wsgi:
    """Requests as a WSGI server makes them."""

    def __init__(self) -> None:
        from django.core.wsgi import get_wsgi_application

        self._handler = get_wsgi_application()
        self._paths = cycle(paths(bench().case.endpoints))
        self._environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET", "PATH_INFO": PATH, "SCRIPT_NAME": "", "QUERY_STRING": "",
            "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost", "HTTP_USER_AGENT": "bench", "HTTP_ACCEPT": "application/json",
            "HTTP_ORIGIN": ORIGIN, "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(b""),
        }  # fmt: skip

    def once(self, address: str) -> Answer:
        seen: list[Any] = []
        self._request(address, lambda *started: seen.append(started))
        status, headers = seen[0][:2]
        return Answer(int(status[:3]), dict(headers))

    def many(self, addresses: list[str]) -> None:
        for address in addresses:
            self._request(address, _ignore)

    def _request(self, address: str, start_response: Callable[..., Any]) -> None:
        environ = {**self._environ, "REMOTE_ADDR": address, "PATH_INFO": next(self._paths)}
        response = self._handler(environ, start_response)
        for _ in response:
            pass
        response.close()


class Asgi:
    """Requests as an ASGI server makes them, one after the other on one loop."""

    def __init__(self) -> None:
        from django.core.asgi import get_asgi_application

        self._handler: Any = get_asgi_application()
        self._paths = cycle(paths(bench().case.endpoints))
        self._loop = asyncio.new_event_loop()
        self._scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": PATH, "raw_path": PATH.encode(), "query_string": b"",
            "root_path": "", "server": ("localhost", 80),
            "headers": [
                (b"host", b"localhost"), (b"user-agent", b"bench"),
                (b"accept", b"application/json"), (b"origin", ORIGIN.encode()),
            ],
        }  # fmt: skip

    def once(self, address: str) -> Answer:
        seen: list[Any] = []
        self._loop.run_until_complete(self._request(address, seen.append))
        start = seen[0]
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], headers)

    def many(self, addresses: list[str]) -> None:
        self._loop.run_until_complete(self._many(addresses))

    async def _many(self, addresses: list[str]) -> None:
        for address in addresses:
            await self._request(address, _ignore)

    async def _request(self, address: str, note: Callable[[Any], object]) -> None:
        body = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if body:
                return body.pop()
            # The client stays connected; Django gives up waiting once it has answered.
            await asyncio.get_running_loop().create_future()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            note(message)

        path = next(self._paths)
        asked = {"client": (address, 50000), "path": path, "raw_path": path.encode()}
        await self._handler({**self._scope, **asked}, receive, send)


def _ignore(*_: object, **__: object) -> None:
    pass
