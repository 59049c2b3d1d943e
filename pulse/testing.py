"""For the tests of a host: a policy in force for the length of a test, and its counters' clock.

And a network for what goes out. Needs neither Redis nor a database, and leaves both alone.
"""

import asyncio
import json
import math
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from django.test.utils import TestContextDecorator

from pulse.core.attempts import Answer, Call, Failure
from pulse.core.document import Document
from pulse.core.quotas import SECOND_US
from pulse.core.snapshot import Snapshot
from pulse.policies import current
from pulse.policies.completion import complete
from pulse.probes.client.calls import send
from pulse.probes.client.network import overridden
from pulse.store import heartbeat, limits
from pulse.store.memory import MemoryStore, monotone_clock

__all__ = ["StubNetwork", "advance", "override_policies", "probe", "stub_network"]

#: Names the file of the stub network.
STUB_FILE: Final = "PULSE_STUB_NETWORK"


class override_policies(TestContextDecorator):  # noqa: N801 - beside Django's override_settings
    """Put exactly this policy document in force, in this process and every thread of it.

    A context manager, and a decorator of functions, coroutines and ``unittest.TestCase``
    classes. What the document does not name does not exist; rows are neither read nor written.
    Counters begin fresh, in this process alone, and are gone at the end.

    Their clock stands still until ``advance()`` moves it, so that a test counts the same on a slow
    machine. Policies that start or end do so by the time at which the override began.

    Within another override this one alone is in force, with counters of its own.

    Args:
        document: As for ``pulse_apply``, defaults left out; ``version`` may be.
        real_time: Let the counters' clock run, as for a test with a browser that waits.

    Raises:
        InvalidDocument: On entering, as only then every app is loaded: something in the document
            cannot be. ``errors`` has the texts by their places.
    """

    def __init__(self, document: Document, *, real_time: bool = False) -> None:
        super().__init__()
        self._document = document
        self._real_time = real_time
        #: One for each time that it was entered: a decorated test may call itself.
        self._entered: list[ExitStack] = []

    def enable(self) -> Snapshot:
        """Put the policy in force; ``with … as`` gives it compiled."""
        document = complete(self._document)
        clock = _Clock(runs=self._real_time)
        with ExitStack() as stack:
            stack.enter_context(heartbeat.suspended())
            snapshot = stack.enter_context(current.overridden(document))
            stack.enter_context(limits.using_memory(MemoryStore(clock)))
            _clocks.append(clock)
            stack.callback(_clocks.remove, clock)
            self._entered.append(stack.pop_all())
        return snapshot

    def disable(self) -> None:
        """Put back what was in force before."""
        self._entered.pop().close()


def advance(seconds: float) -> None:
    """Move the clock of the counters, of the override that is in force.

    After the ``Retry-After`` of a refusal the same request passes again.

    Raises:
        RuntimeError: No ``override_policies`` is in force.
        ValueError: The time would go back.
    """
    if not _clocks:
        raise RuntimeError("Only within override_policies() is there a clock to move.")
    if seconds < 0:
        raise ValueError("The clock of the counters never goes back.")
    _clocks[-1].ahead_us += math.ceil(seconds * SECOND_US)


class StubNetwork:
    """What probes and webhooks reach in a test: a file says which names and addresses there are.

    ``PULSE["OUTBOUND_NETWORK"] = "pulse.testing.StubNetwork"`` puts it in force; the file is named
    by the environment variable ``PULSE_STUB_NETWORK`` and read anew at each use::

        {"answers": {"a.test": ["93.184.216.34"], "b.test": [["93.184.216.34"], ["127.0.0.1"]]},
         "routes": {"93.184.216.34:80": "127.0.0.1:39001"}}

    A list of lists answers successive look-ups of this process; the last one stays. The guard
    judges what is answered, and only then a route leads the connection elsewhere. Loopback
    without a route is dialled as it is, anything else is refused. Addresses of IPv6 stand in
    brackets: ``[2606:2800::1]:80``. Each dial and look-up is a line of the files of the same name
    with ``.dialled`` and ``.looked_up``.

    Args:
        path: Of the file, instead of the environment's.

    Attributes:
        dialled: Each connection of this process that the guard let pass, such as
            ``93.184.216.34:80``, before routing.
        looked_up: Each name that this process looked up.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self.dialled: list[str] = []
        self.looked_up: list[str] = []

    def look_up(self, host: str) -> Sequence[str]:
        """Answer as the file says.

        Raises:
            OSError: It has no answer.
        """
        self.looked_up.append(host)
        self._note("looked_up", host)
        answers = self._read("answers").get(host, [])
        if any(isinstance(answer, list) for answer in answers):
            with self._lock:
                turn, self._asked[host] = self._asked[host], self._asked[host] + 1
            answers = answers[min(turn, len(answers) - 1)]
        if not answers:
            raise OSError(0, "the stub network has no answer")
        return [str(answer) for answer in answers]

    def route(self, address: str, port: int) -> tuple[str, int]:
        """Lead a connection where the file says.

        Raises:
            OSError: It says nothing, and the address is not loopback.
        """
        dialled = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.dialled.append(dialled)
        self._note("dialled", dialled)
        routed = self._read("routes").get(dialled)
        if routed is not None:
            host, _, routed_port = routed.rpartition(":")
            return host.strip("[]"), int(routed_port)
        if ip_address(address).is_loopback:
            return address, port
        raise OSError(0, "the stub network has no route")

    def _file(self) -> Path:
        if self._path is not None:
            return self._path
        name = os.environ.get(STUB_FILE)
        if not name:
            raise OSError(0, f"{STUB_FILE} names no file")
        return Path(name)

    def _read(self, key: str) -> dict[str, Any]:
        try:
            value = json.loads(self._file().read_text()).get(key, {})
        except ValueError:
            raise OSError(0, "the stub network's file is no JSON") from None
        return value if isinstance(value, dict) else {}

    def _note(self, suffix: str, line: str) -> None:
        path = self._file()
        with path.with_name(f"{path.name}.{suffix}").open("a") as file:
            file.write(f"{line}\n")  # One write of a short line: processes do not mix theirs.


@contextmanager
def stub_network(
    answers: Mapping[str, Sequence[str] | Sequence[Sequence[str]]],
    routes: Mapping[str, str] | None = None,
) -> Iterator[StubNetwork]:
    """Put a stub network in force, in every thread of this process.

    Args:
        answers: Addresses by name, as in ``StubNetwork``'s file.
        routes: Where a connection to an address and port really goes.
    """
    with tempfile.TemporaryDirectory(prefix="pulse-stub-") as folder:
        path = Path(folder) / "network.json"
        path.write_text(json.dumps({"answers": dict(answers), "routes": dict(routes or {})}))
        network = StubNetwork(path)
        with overridden(network):
            yield network


def probe(url: str, **target_fields: Any) -> dict[str, Any]:
    """Send one probe through the real client, and return its result as the API shows one.

    No row is read or written, and no worker is needed. It may be called in an event loop too,
    which it blocks.

    Args:
        url: Whole, as a target's ``url``.
        **target_fields: Those of ``core.attempts.Call``: ``method``, ``headers``,
            ``secret_headers``, ``body``, ``timeout_s``, ``follow_redirects``, ``verify_tls``,
            ``allow_networks``, ``trusts_origin``.
    """
    fields: dict[str, Any] = {"method": "GET", **target_fields}
    fields["allow_networks"] = tuple(fields.get("allow_networks", ()))
    if isinstance(fields.get("body"), str):
        fields["body"] = fields["body"].encode()
    call = Call(url=url, **fields)
    # A thread of its own has no running loop, whoever asks.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pulse-probe") as executor:
        return _as_result(executor.submit(asyncio.run, send(call)).result())


def _as_result(answer: Answer) -> dict[str, Any]:
    state, failure, detail = _judge(answer)
    started_at = datetime.fromtimestamp(answer.started_at, UTC)
    return {
        "state": state,
        "error": failure.value if failure else None,
        "detail": detail,
        "attempts": 1,
        "started_at": started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "latency_ms": answer.latency_ms,
        "phases_ms": asdict(answer.phases),
        "status_code": answer.status_code,
        "bytes": answer.bytes,
        "address": answer.address,
        "certificate_days": answer.certificate_days,
    }


def _judge(answer: Answer) -> tuple[str, Failure | None, str]:
    """Return state, error and detail, by the expectation that a target has of itself."""
    if answer.failure is not None:
        state = "timeout" if answer.failure is Failure.TIMEOUT else "failed"
        return state, answer.failure, answer.detail
    if answer.status_code is not None and 200 <= answer.status_code <= 399:
        return "ok", None, ""
    detail = f"status {answer.status_code}, expected 200 to 399"
    return "failed", Failure.EXPECTATION, detail


class _Clock:
    """Epoch microseconds: those of its beginning, or running, and what it was moved ahead."""

    def __init__(self, *, runs: bool) -> None:
        began_us = time.time_ns() // 1000
        self._base = monotone_clock() if runs else lambda: began_us
        self.ahead_us = 0

    def __call__(self) -> int:
        return self._base() + self.ahead_us


_clocks: Final[list[_Clock]] = []
