"""Whether pools and local caches have room, in every process."""

from collections.abc import Iterator
from typing import Any, Final

from pulse.conf import conf
from pulse.doctor.findings import Finding, Progress, Severity, name_some
from pulse.exceptions import StoreUnavailable
from pulse.store import processes

TOPIC: Final = "resources"


def examine(_progress: Progress) -> Iterator[Finding]:
    """Ask every process how full its pools and caches are."""
    try:
        running = processes.running()
    except StoreUnavailable:
        running = None
    if running is None:
        running = [processes.this_process()]
    full = [text for one in running for text in _full(one)]
    if full:
        yield Finding(
            TOPIC,
            Severity.WARNING,
            f"Pools and local caches that are nearly full: {len(full)}.",
            name_some(full, "; "),
            "Give them more room (OPTIONS of the database or the cache, LOCAL_MAX_KEYS, "
            "MAX_ENDPOINTS), or have more processes.",
        )
        return
    memory = [said.get("memory_bytes") for one in running if (said := _said(one))]
    known = [number for number in memory if isinstance(number, int)]
    evidence = f"{len(running)} processes told of themselves"
    if known:
        evidence += f"; the largest takes {max(known) / 2**20:.0f} MB of memory"
    yield Finding(TOPIC, Severity.OK, "Pools and local caches have room.", f"{evidence}.")


def _full(one: processes.Running) -> Iterator[str]:
    said = _said(one)
    for kind in ("pools", "caches"):
        found = said.get(kind)
        for name, usage in found.items() if isinstance(found, dict) else ():
            size, most = usage.get("size"), usage.get("most")
            if size is not None and most and size / most > conf.USAGE_WARNING:
                yield f"{kind.removesuffix('s')} {name} of {one.id}: {size} of {most}"


def _said(one: processes.Running) -> dict[str, Any]:
    said = one.said.get("resources")
    return said if isinstance(said, dict) else {}
