"""Sends calls to this site without a network: through its handler, in a process beside the worker.

A view cannot be broken off within a process, so each runs in one that can be killed: at its limit,
or when its call is cancelled, and another one takes its place. A process answers one request at a
time and is kept for the next; it never outlives its worker.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from pulse.conf import conf
from pulse.core.attempts import Answer, Call, Failure, Phases
from pulse.core.requests import MAX_REDIRECTS, REDIRECTS, Request, request_of
from pulse.exceptions import CallFailed, ForbiddenUrl
from pulse.probes import frames

logger = logging.getLogger(__name__)

#: Processes of one worker, whatever the budget says of probes at once.
MOST: Final = 8
#: One that nobody has used for so long is ended, before it ends by itself, in seconds.
KEPT_S: Final = 120.0
#: What is taken from a process that has answered so often: views may leak.
MOST_ANSWERS: Final = 1000
#: At most so long after it hung up its exit code is waited for, in seconds.
END_S: Final = 2.0
#: Between two looks whether a process is free, in seconds.
LOOK_S: Final = 0.02


async def send(call: Call) -> Answer:
    """Send a call and return what came of it, as ``client.calls.send`` does.

    Never raises, save ``asyncio.CancelledError``; then the process that answers is killed.

    Args:
        call: What to send, and its bounds; its URL is a path of this site, with a query. Of its
            time, what a process takes to begin is not counted as latency.
    """
    course = _Course(call)
    try:
        async with asyncio.timeout(call.timeout_s):
            await course.run()
    except ForbiddenUrl as error:
        return course.answer(Failure.URL_FORBIDDEN, str(error))
    except CallFailed as error:
        return course.answer(Failure(error.failure), error.detail)
    except TimeoutError:
        return course.late()
    except Exception as error:
        logger.exception("A call within the site failed in pulse itself")
        return course.answer(Failure.INTERNAL, f"pulse itself failed: {type(error).__name__}.")
    finally:
        course.leave()
    return course.answer()


def close() -> None:
    """End every process that waits for a request; those at one end with their calls."""
    _pool.close()


def site_url() -> str:
    """Return the address under which the site is asked: its own, or one that it lets through."""
    if conf.PROBE_BASE_URL:
        return conf.PROBE_BASE_URL
    hosts = [host.removeprefix(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    scheme = "https" if settings.SECURE_SSL_REDIRECT else "http"
    return f"{scheme}://{hosts[0] if hosts else 'localhost'}"


class Process:
    """One process of the site, and the socket to it.

    Attributes:
        is_busy: It is at a request, or broken off at one: nobody else can use it.
        answers: How many requests it has answered.
        used_at: When it began, or answered last, by the monotonic clock.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ends, self._life = os.pipe()
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
                [
                    sys.executable,
                    *("-m", "pulse.probes.site_process"),
                    *(str(theirs.fileno()), str(ends)),
                ],
                pass_fds=(theirs.fileno(), ends),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # What a view starts is killed with it.
                start_new_session=True,
            )
        except OSError:
            ours.close()
            os.close(self._life)
            raise
        finally:
            theirs.close()
            os.close(ends)
        ours.settimeout(0)
        self._socket = ours
        self.is_ready = False
        self.is_busy = False
        self.answers = 0
        self.used_at = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    async def begin(self) -> None:
        """Wait until it can take its first request.

        Raises:
            CallFailed: It ended before.
        """
        if not self.is_ready:
            if await self._received(len(frames.READY)) != frames.READY:
                self.is_busy = True
                raise CallFailed(Failure.INTERNAL, f"The site does not start: {await self._end()}.")
            self.is_ready = True

    async def ask(self, request: Request, limit_s: float) -> tuple[Mapping[str, Any], bytes]:
        """Send a request and return the head and the body of what came.

        Raises:
            CallFailed: It ended before it had answered, or answered nonsense.
        """
        head = {
            "method": request.method,
            "target": request.url.target,
            "authority": request.url.authority,
            "scheme": request.url.scheme,
            "headers": dict(request.headers),
            "limit_s": limit_s,
        }
        self.is_busy = True
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(self._socket, frames.packed(head, request.body))
            prefix = await self._received(frames.LENGTHS.size)
            if len(prefix) < frames.LENGTHS.size:
                detail = f"The site's process ended: {await self._end()}."
                raise CallFailed(Failure.PROTOCOL, detail)
            first, second = frames.lengths_of(prefix)
            whole = await self._received(first + second)
            answer = frames.head_of(whole[:first]), whole[first:]
        except (OSError, ValueError) as error:
            detail = f"The site's process is broken: {type(error).__name__}."
            raise CallFailed(Failure.PROTOCOL, detail) from error
        self.is_busy = False
        self.answers += 1
        self.used_at = time.monotonic()
        return answer

    def kill(self) -> None:
        """End it at once, with all that it started."""
        self.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def close(self) -> None:
        """Hang up: it ends by itself, unless others hold the other end of the line."""
        self._socket.close()
        if self._life >= 0:
            os.close(self._life)
            self._life = -1

    async def _received(self, number: int) -> bytes:
        """Read so many bytes; fewer where it hung up."""
        loop, parts = asyncio.get_running_loop(), bytearray()
        while len(parts) < number:
            part = await loop.sock_recv(self._socket, min(number - len(parts), 65_536))
            if not part:
                break
            parts += part
        return bytes(parts)

    async def _end(self) -> str:
        """Tell how it ended; it hangs up a moment before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._popen.wait, END_S)
        code = self._popen.returncode
        if code is None:
            return "it hung up"
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class _Pool:
    """The processes of this worker, for its event loops in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Process] = []
        self._taken: set[Process] = set()
        self._ended: list[Process] = []

    def take(self) -> Process | None:
        """Return a process that is free, begun or not, or a new one; None if there are enough."""
        with self._lock:
            self._reap()
            for process in sorted(self._free, key=lambda one: not one.is_ready):
                self._free.remove(process)
                is_old = time.monotonic() - process.used_at > KEPT_S
                if process.is_alive and not is_old:
                    break
                self._end(process)
            else:
                if len(self._taken) >= MOST:
                    return None
                process = Process()
            self._taken.add(process)
            return process

    def give_back(self, process: Process) -> None:
        """Keep a process for the next call; one that is at its request still is killed."""
        with self._lock:
            self._taken.discard(process)
            if process.is_busy or process.answers >= MOST_ANSWERS or not process.is_alive:
                self._end(process)
            else:
                self._free.append(process)
            self._reap()

    def close(self) -> None:
        with self._lock:
            for process in self._free:
                self._end(process)
            self._free.clear()
            self._reap()

    def forget(self) -> None:
        """Leave the processes to the parent, whose fork this is."""
        mine = (*self._free, *self._taken, *self._ended)
        self.__init__()  # type: ignore[misc]  # begins anew: a lock may be held by a thread that is gone
        for process in mine:
            process.close()

    def _end(self, process: Process) -> None:
        process.kill()
        self._ended.append(process)

    def _reap(self) -> None:
        self._ended = [process for process in self._ended if process.is_alive]


class _Course:
    """One call under way: where it is, and what is known so far."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._started_at = time.time()
        self._began = time.perf_counter()
        self._process: Process | None = None
        self._asked = False
        self._head: Mapping[str, Any] = {}
        self._body = b""
        self._url = ""
        self._spent = [0.0, 0.0]

    async def run(self) -> None:
        """Send the request, and those that redirects within the site make of it.

        Raises:
            ForbiddenUrl: It is none of this site.
            CallFailed: There is no whole answer.
        """
        request = request_of(replace(self._call, url=f"{site_url()}{self._call.url}"))
        own = request.url.origin
        left = most = max(0, min(self._call.follow_redirects, MAX_REDIRECTS))
        self._process = await self._ready()
        self._asked, self._began = True, time.perf_counter()
        while True:
            self._url = str(request.url)
            headers = await self._hop(self._process, request)
            status = self._head["status"]
            location = headers.get("location") if most and status in REDIRECTS else None
            if location is None:
                return
            if not left:
                detail = f"There are more redirects than {most}."
                raise CallFailed(Failure.TOO_MANY_REDIRECTS, detail)
            left -= 1
            request = request.redirected(status, location)
            if request.url.origin != own:
                raise CallFailed(Failure.REDIRECT_FORBIDDEN, "A redirect leads out of the site.")

    def answer(self, failure: Failure | None = None, detail: str = "") -> Answer:
        """Say what came of it, now."""
        first_byte, body = (round(ms, 3) for ms in self._spent)
        return Answer(
            started_at=self._started_at,
            latency_ms=round((time.perf_counter() - self._began) * 1000, 3),
            failure=failure,
            detail=detail,
            phases=Phases(first_byte=first_byte, body=body) if self._head else Phases(),
            status_code=self._head.get("status"),
            headers=_joined(self._head.get("headers", ())),
            body=self._body if failure is None else b"",
            bytes=len(self._body),
            url=self._url,
        )

    def late(self) -> Answer:
        """Say that the time is up; where no request was made, that is no fault of the site."""
        limit = f"{self._call.timeout_s:g} s"
        if self._asked:
            detail = f"There was no whole answer within {limit}; its process was killed."
            return self.answer(Failure.TIMEOUT, detail)
        detail = f"No process of the site was ready within {limit}."
        return self.answer(Failure.INTERNAL, detail)

    def leave(self) -> None:
        """Give the process back."""
        if self._process is not None:
            _pool.give_back(self._process)
            self._process = None

    async def _ready(self) -> Process:
        while (process := _pool.take()) is None:  # noqa: ASYNC110 - no event is of both loops
            await asyncio.sleep(LOOK_S)
        self._process = process
        await process.begin()
        return process

    async def _hop(self, process: Process, request: Request) -> Mapping[str, str]:
        self._head, self._body = {}, b""
        self._head, self._body = await process.ask(request, self._call.timeout_s)
        self._spent[0] += self._head["first_byte_ms"]
        self._spent[1] += self._head["body_ms"]
        if (failure := self._head["failure"]) is not None:
            raise CallFailed(failure, "The answer is larger than a probe reads.")
        return _joined(self._head["headers"])


def _joined(pairs: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _environment() -> dict[str, str]:
    """The worker's own, so that its modules and settings are found again."""
    path = [entry or str(Path.cwd()) for entry in sys.path]
    module = os.environ.get("DJANGO_SETTINGS_MODULE") or settings.SETTINGS_MODULE or ""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "DJANGO_SETTINGS_MODULE": module,
    }


_pool = _Pool()
atexit.register(close)
os.register_at_fork(after_in_child=_pool.forget)
