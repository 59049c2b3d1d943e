"""A target of probes that counts exactly who is at it: a process of its own, on loopback.

``python -m tests.targets PORTS`` serves on so many ports, each a host of its own to probes. It says
on standard output, in JSON, which they are and where it is controlled. Requests are told apart by
their path: pulse's mark goes to its own site alone.
"""

import asyncio
import json
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.servers import end_with_parent

ROOT = Path(__file__).parents[1]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@dataclass
class Ledger:
    """Who is being answered now, who was at most, and who asked how often.

    Attributes:
        free: So many requests more are answered; None for any number.
        held: Requests that wait until they are released.
        broken_off: Those whose client left before its answer.
    """

    delay_s: float = 0.0
    free: int | None = None
    held: list["Request"] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0
    broken_off: int = 0
    at_port: Counter[int] = field(default_factory=Counter)
    peaks: Counter[int] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)

    def begin(self, port: int, path: str) -> None:
        self.requests[path] += 1
        self.in_flight += 1
        self.at_port[port] += 1
        self.peak = max(self.peak, self.in_flight)
        self.peaks[port] = max(self.peaks[port], self.at_port[port])

    def end(self, port: int) -> None:
        self.in_flight -= 1
        self.at_port[port] -= 1

    def report(self) -> dict[str, Any]:
        return {
            "in_flight": self.in_flight,
            "peak": self.peak,
            "peak_of_a_port": max(self.peaks.values(), default=0),
            "requests": self.requests.total(),
            "paths": len(self.requests),
            "broken_off": self.broken_off,
        }


class Request(asyncio.Protocol):
    """One connection, with one request."""

    def __init__(self, ledger: Ledger, port: int) -> None:
        self.ledger, self.port = ledger, port
        self.head = b""
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.is_open:
            return
        self.head += data
        if b"\r\n\r\n" not in self.head:
            return
        self.is_open = True
        self.ledger.begin(self.port, self.head.split(b" ", 2)[1].decode("ascii"))
        if self.ledger.free is not None:
            self.ledger.free -= 1
        if self.ledger.free is not None and self.ledger.free < 0:
            self.ledger.held.append(self)
        elif self.ledger.delay_s:
            asyncio.get_running_loop().call_later(self.ledger.delay_s, self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        if self.is_open:
            self.is_open = False
            # Before it is written: whoever reads it may ask for the next at once.
            self.ledger.end(self.port)
            self.transport.write(ANSWER)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_open:
            self.is_open = False
            self.ledger.broken_off += 1
            self.ledger.end(self.port)


async def _serve(ports: int) -> None:
    loop = asyncio.get_running_loop()
    ledger = Ledger()

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode().split("/")
        match words[1:]:
            case ["hold", number]:
                ledger.free = int(number)
            case ["release", delay_s, number]:
                ledger.delay_s = float(delay_s)
                ledger.free = None if number == "all" else int(number)
                held, ledger.held = ledger.held, []
                for request in held:
                    request.answer()
            case ["requests"]:
                pass
        body = ledger.requests if words[1] == "requests" else ledger.report()
        payload = json.dumps(body).encode()
        length = f"Content-Length: {len(payload)}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + b"\r\n\r\n" + payload)
        await writer.drain()
        writer.close()

    served = []
    for _ in range(ports):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        port = listener.getsockname()[1]
        await loop.create_server(partial(Request, ledger, port), sock=listener, backlog=1024)
        served.append(port)
    controlled = await asyncio.start_server(control, "127.0.0.1", 0)
    found = {"ports": served, "control": controlled.sockets[0].getsockname()[1]}
    print(json.dumps(found), flush=True)
    await asyncio.Event().wait()


class CountingTarget:
    """Such a process, and what it has counted."""

    def __init__(self, ports: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.targets", str(ports)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - nothing else starts processes here
        )
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.readline())
        self.ports: list[int] = found["ports"]
        self._control = f"http://127.0.0.1:{found['control']}"

    def url(self, number: int) -> str:
        """Name one place to probe, the ports by turns."""
        return f"http://127.0.0.1:{self.ports[number % len(self.ports)]}/t/{number}"

    def report(self) -> dict[str, Any]:
        return self._ask("report")

    def requests(self) -> dict[str, int]:
        """How often each path was asked for."""
        return self._ask("requests")

    def hold(self, after: int = 0) -> None:
        """Answer so many more, and then nobody."""
        self._ask(f"hold/{after}")

    def release(self, delay_s: float = 0.0, *, after: int | None = None) -> None:
        """Answer whoever waits, and from now on so many more, or everybody, so late."""
        self._ask(f"release/{delay_s}/{'all' if after is None else after}")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, what: str) -> dict[str, Any]:
        # No proxy of the environment's stands between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self._control}/{what}", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
