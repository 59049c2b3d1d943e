"""One connection: bytes out, bytes in, and closed at once however it ends."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

READ_BYTES: Final = 64 * 1024
UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})

#: Takes what came, ``b""`` at the end; says whether it has enough.
Take = Callable[[bytes], bool]


class Wire:
    """A TCP socket on the running event loop.

    It asks the loop for readiness alone. A transport would cost twice as much for one exchange,
    and outlive a call that is broken off.
    """

    __slots__ = ("_done", "_fd", "_loop", "_pending", "_socket", "_take")

    def __init__(self, family: socket.AddressFamily) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(0)
        # By its number: asked for a socket that it does not know, a selector writes its ``repr``,
        # which costs more than the request.
        self._fd = self._socket.fileno()
        self._pending = memoryview(b"")
        self._done: asyncio.Future[None] | None = None
        self._take: Take | None = None

    async def connect(self, address: str, port: int) -> None:
        """Connect to a literal address.

        Raises:
            OSError: Nobody answers there.
        """
        number = self._socket.connect_ex((address, port))
        if number in UNDER_WAY:
            # On this machine it has happened by now, and asking is cheaper than waiting.
            number = self._socket.connect_ex((address, port))
        if number in UNDER_WAY:
            await self._until_writable()
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        elif number == errno.EISCONN:
            number = 0
        if number:
            raise OSError(number, os.strerror(number))
        # A small write after another must not wait for the other side's acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def exchange(self, data: bytes, take: Take) -> None:
        """Send, and hand what comes to ``take`` until that has enough.

        Raises:
            OSError: The connection broke.
            Exception: What ``take`` raised.
        """
        self._take = take
        self._done = self._loop.create_future()
        self._loop.add_reader(self._fd, self._on_readable)
        try:
            self.send(data)
            await self._done
        finally:
            self._loop.remove_reader(self._fd)
            self._done = self._take = None

    def send(self, data: bytes) -> None:
        """Send, now or as soon as the other side reads; what cannot be sent is forgotten.

        Whoever closes while it is being written to may have answered first, so the answer is
        still waited for, and reading tells what broke.
        """
        if self._pending:
            self._pending = memoryview(bytes(self._pending) + data)
            return
        self._pending = memoryview(data)
        self._flush()
        if self._pending:
            self._loop.add_writer(self._fd, self._on_writable)

    def close(self) -> None:
        """Close, now: what was not sent is not sent any more."""
        if self._pending:
            self._loop.remove_writer(self._fd)
            self._pending = memoryview(b"")
        self._socket.close()

    async def _until_writable(self) -> None:
        writable = self._loop.create_future()
        self._loop.add_writer(self._fd, _set, writable)
        try:
            await writable
        finally:
            self._loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        done, take = self._done, self._take
        if done is None or take is None or done.done():
            return
        try:
            if take(self._socket.recv(READ_BYTES)):
                done.set_result(None)
        except (BlockingIOError, InterruptedError):
            return
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            done.set_exception(error)

    def _on_writable(self) -> None:
        self._flush()
        if not self._pending:
            self._loop.remove_writer(self._fd)

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._pending) if self._pending else 0
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._pending = memoryview(b"")
            return
        self._pending = self._pending[sent:]


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
