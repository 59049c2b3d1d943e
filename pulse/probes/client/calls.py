"""Sends one call, with every redirect that it may follow, and says what came of it."""

import asyncio
import logging
import time
from typing import Final

from pulse.core.addresses import parse_openings
from pulse.core.attempts import Answer, Call, Failure, Phases
from pulse.core.networks import Address
from pulse.core.requests import MAX_REDIRECTS, REDIRECTS, Request, request_of
from pulse.exceptions import CallFailed, ForbiddenAddress, ForbiddenUrl
from pulse.probes.client.dial import FAMILIES, MAX_TRIED, connect, look_up
from pulse.probes.client.network import Network, current_network
from pulse.probes.client.reader import Reader
from pulse.probes.client.tls import Tls
from pulse.probes.client.wire import Wire

logger = logging.getLogger(__name__)

#: What was being waited for when the time was up, by the phase.
WAITING: Final = {
    "dns": "looking the name up",
    "connect": "connecting",
    "tls": "the TLS handshake",
    "first_byte": "waiting for the first byte",
    "body": "reading the answer",
}


async def send(call: Call, network: Network | None = None) -> Answer:
    """Send a call and return what came of it: a target that is down is an answer, no exception.

    Never raises, save ``asyncio.CancelledError``; then the connection is closed at once.

    Args:
        call: What to send, and its bounds.
        network: What lies under the guard; by default what ``PULSE["OUTBOUND_NETWORK"]`` says.
    """
    course = Course(call)
    try:
        async with asyncio.timeout(call.timeout_s):
            await course.run(current_network() if network is None else network)
    except ForbiddenUrl as error:
        return course.answer(Failure.URL_FORBIDDEN, str(error))
    except ForbiddenAddress as error:
        return course.answer(Failure.ADDRESS_FORBIDDEN, str(error))
    except CallFailed as error:
        return course.answer(Failure(error.failure), error.detail)
    except TimeoutError:
        return course.answer(Failure.TIMEOUT, course.late())
    except Exception as error:
        logger.exception("A call of the outbound client failed in pulse itself")
        return course.answer(Failure.INTERNAL, f"pulse itself failed: {type(error).__name__}.")
    return course.answer()


class Course:
    """One call under way: where it is, and what is known so far."""

    __slots__ = (
        "_address",
        "_began",
        "_call",
        "_certificate_days",
        "_phase",
        "_reader",
        "_since",
        "_spent",
        "_started_at",
        "_url",
    )

    def __init__(self, call: Call) -> None:
        self._call = call
        self._started_at = time.time()
        self._began = self._since = time.perf_counter()
        self._phase: str | None = None
        self._spent: dict[str, float] = {}
        self._reader: Reader | None = None
        self._address: Address | None = None
        self._certificate_days: float | None = None
        self._url = ""

    async def run(self, network: Network) -> None:
        """Send the request, and those that redirects make of it.

        Raises:
            TargetForbidden: The guard refuses.
            CallFailed: There is no whole answer.
        """
        request = request_of(self._call)
        own = request.url.origin
        left = most = max(0, min(self._call.follow_redirects, MAX_REDIRECTS))
        while True:
            self._url = str(request.url)
            trusted = self._call.trusts_origin and request.url.origin == own
            reader = await self._hop(request, network, trusted=trusted)
            status = reader.status_code
            location = reader.headers.get("location") if most and status in REDIRECTS else None
            if status is None or location is None:
                return
            if not left:
                raise CallFailed(
                    Failure.TOO_MANY_REDIRECTS, f"There are more redirects than {most}."
                )
            left -= 1
            request = request.redirected(status, location)

    def answer(self, failure: Failure | None = None, detail: str = "") -> Answer:
        """Say what came of it, now."""
        self._enter(None)
        reader = self._reader
        spent = {phase: round(seconds * 1000, 3) for phase, seconds in self._spent.items()}
        return Answer(
            started_at=self._started_at,
            latency_ms=round((self._since - self._began) * 1000, 3),
            failure=failure,
            detail=detail,
            phases=Phases(**spent),
            status_code=reader.status_code if reader else None,
            headers=reader.headers if reader and reader.status_code else {},
            body=reader.body if reader and failure is None else b"",
            bytes=reader.bytes if reader else 0,
            address=str(self._address) if self._address else None,
            certificate_days=self._certificate_days,
            url=self._url,
        )

    def late(self) -> str:
        """Say what took the time."""
        doing = WAITING.get(self._phase or "", "beginning")
        return f"There was no whole answer within {self._call.timeout_s:g} s: {doing}."

    async def _hop(self, request: Request, network: Network, *, trusted: bool) -> Reader:
        url = request.url
        self._reader = None
        openings = parse_openings(self._call.allow_networks)
        if url.address is None:
            self._enter("dns")
        public = self._call.public
        found = await look_up(url, network, openings, trusted=trusted, public=public)
        addresses = found[:MAX_TRIED]
        for others, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            self._enter("connect")
            self._address = address
            wire = Wire(FAMILIES[address.version])
            try:
                if not others:
                    await connect(wire, address, url.port, network)
                elif not await self._connects(wire, address, url.port, network, others=others):
                    continue
                return await self._exchange(request, wire)
            finally:
                wire.close()
        raise AssertionError  # A look-up without an address has raised.

    async def _connects(
        self, wire: Wire, address: Address, port: int, network: Network, *, others: int
    ) -> bool:
        """Try an address for its share of the time, as others are left."""
        left = self._call.timeout_s - (time.perf_counter() - self._began)
        try:
            async with asyncio.timeout(max(left, 0) / (others + 1)):
                await connect(wire, address, port, network)
        except (CallFailed, TimeoutError):
            return False
        return True

    async def _exchange(self, request: Request, wire: Wire) -> Reader:
        data = request.encode()
        secured = None
        self._certificate_days = None
        if request.url.scheme == "https":
            self._enter("tls")
            secured = Tls(wire, request.url.host, verify=self._call.verify_tls)
            await secured.handshake()
            self._certificate_days = secured.certificate_days()
        self._enter("first_byte")
        reader = self._reader = Reader(request.method, lambda: self._enter("body"))
        try:
            await (secured or wire).exchange(data, reader.feed)
        except OSError as error:
            reason = (error.strerror or "broken").lower()
            raise CallFailed(Failure.PROTOCOL, f"The connection broke: {reason}.") from None
        finally:
            reader.end()
        return reader

    def _enter(self, phase: str | None) -> None:
        """End the phase that was, and begin another; those of redirects add up."""
        now = time.perf_counter()
        if self._phase is not None:
            self._spent[self._phase] = self._spent.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now
