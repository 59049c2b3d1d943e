"""The cases without a request: what the counters cost by themselves. Each takes an address."""

import hashlib
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from benchmarks.reference import GCRA, dict_gcra, gcra_arguments, redis_client
from benchmarks.site import bench

Call = Callable[[str], Any]


def make_call(subject: str) -> Call:
    """The call of a case."""
    name, _, rest = subject.partition("_")
    if name in {"script", "decide"}:
        limits = int(rest.removesuffix("_local"))
        return _script(limits) if name == "script" else _decide(limits)
    return CALLS[subject]()


def _evalsha() -> Call:
    client = redis_client(bench().redis_url)
    digest, arguments, prefix = client.script_load(GCRA), gcra_arguments(), bench().prefix
    return lambda address: client.evalsha(digest, 1, f"{prefix}:{address}", *arguments)


def _raw_evalsha() -> Call:
    import hiredis

    digest = redis_client(bench().redis_url).script_load(GCRA)
    url = urlsplit(bench().redis_url)
    connection = socket.create_connection((url.hostname, url.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = hiredis.Reader()
    pack: Any = hiredis.pack_command  # Its stub says: of one.
    arguments, prefix = gcra_arguments(), bench().prefix

    def call(address: str) -> Any:
        command = ("EVALSHA", digest, 1, f"{prefix}:{address}", *arguments)
        connection.sendall(pack(command))
        reader.feed(connection.recv(4096))
        return reader.gets()

    return call


def _transport() -> Call:
    """The reference script the way pulse sends its own: what is left is pulse's script."""
    from pulse.store.connection import current_backend

    backend = current_backend()
    assert backend is not None
    script: Any = SimpleNamespace(source=GCRA, digest=hashlib.sha1(GCRA.encode()).hexdigest())
    arguments, prefix = gcra_arguments(), bench().prefix
    return lambda address: backend.run(script, (f"{prefix}:{address}",), arguments)


def _script(limits: int) -> Call:
    """The command of ``decide()``, made ahead: the round trip, and what the server does."""
    from pulse.store.connection import current_backend
    from pulse.store.limits import DECIDE

    backend = current_backend()
    assert backend is not None
    stamp = _announced() or ""
    allowance = _allowance(limits)
    groups = bytes(limits)
    made: dict[str, list[str]] = {}

    def call(address: str) -> Any:
        keys = made.get(address)
        if keys is None:
            slots = backend.keys.limits(f"rate_tiers:bench:ip:{address}", allowance.slots)
            keys = made[address] = [backend.keys.announcement, *slots]
        return backend.run(DECIDE, keys, (stamp, allowance.wire, groups))

    return call


def _decide(limits: int) -> Call:
    from pulse.core.claims import Claim
    from pulse.store.limits import decide

    stamp = _announced()
    allowance = _allowance(limits)
    return lambda address: decide([Claim(f"rate_tiers:bench:ip:{address}", allowance)], stamp)


def _allowance(limits: int) -> Any:
    from benchmarks.policies import AMPLE, EIGHT
    from pulse.core.claims import Allowance
    from pulse.core.quotas import make_quota

    rates = [AMPLE] if limits == 1 else EIGHT[:limits]
    return Allowance(tuple(make_quota(limit["rate"]) for limit in rates))


def _announced() -> str | None:
    """The stamp of the policy in force, announced where there is a Redis to compare it in."""
    from pulse.policies.current import current_snapshot
    from pulse.store.announcement import announce
    from pulse.store.connection import current_backend

    snapshot = current_snapshot()
    assert snapshot.announcement is not None
    if current_backend() is not None:
        announce(snapshot.announcement)
    return snapshot.stamp


def _limits_fixed() -> Call:
    from limits import parse, storage, strategies

    url = bench().redis_url if bench().case.store == "redis" else "memory://"
    limiter = strategies.FixedWindowRateLimiter(storage.storage_from_string(url))
    item, prefix = parse("1000000/hour"), bench().prefix
    return lambda address: limiter.hit(item, prefix, address)


CALLS: dict[str, Callable[[], Call]] = {
    "evalsha": _evalsha,
    "raw_evalsha": _raw_evalsha,
    "transport": _transport,
    "limits_fixed": _limits_fixed,
    "limits_fixed_local": _limits_fixed,
    "dict_gcra": dict_gcra,
}
