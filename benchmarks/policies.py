"""The documents that pulse has in force in its cases, and the databases that hold them."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

Document = dict[str, Any]

#: Nobody comes near these, so that what is measured is the counting.
AMPLE: Final = {"rate": "1000000/h"}
#: What every benchmarked request asks for; the URLconf has it first.
PATH: Final = "/shop/items/"
#: Where it says it comes from.
ORIGIN: Final = "https://app.example.com"
#: Every hundredth rule or so is by URL name; the URLconf has as many names.
NAMED: Final = 100
#: Where many endpoints are, so many beneath each first part.
MANY: Final = "many"
WIDTH: Final = 32
EIGHT: Final = [
    {"rate": "10000/s"}, {"rate": "20000/10s"}, {"rate": "40000/m"}, {"rate": "80000/10m"},
    {"rate": "160000/h"}, {"rate": "320000/6h"}, {"rate": "640000/d"}, {"rate": "1280000/7d"},
]  # fmt: skip


def document(name: str) -> Document:
    """The whole policy of a name."""
    if name.startswith("rules"):
        return _document(_rules(int(name.removeprefix("rules"))))
    if name.startswith("edge"):
        return _edge(int(name.removeprefix("edge")))
    return DOCUMENTS[name]()


def paths(endpoints: int) -> list[str]:
    """What the requests of a case ask for in turn."""
    if not endpoints:
        return [PATH]
    return [f"/{MANY}/{i // WIDTH}/{i % WIDTH}/" for i in range(endpoints)]


def _document(endpoint_limits: list[Document], limits: list[Document] | None = None) -> Document:
    tier = {"name": "default", "default": True, "limits": limits or [AMPLE]}
    return {"version": 1, "rate_tiers": [tier], "endpoint_limits": endpoint_limits}


def _rules(count: int) -> list[Document]:
    """``count`` endpoint limits, of which the first matches the benchmarked request."""
    named = min(NAMED, count // 10)
    prefixed = count - named - 1
    return [
        _rule("limit-match", path=PATH),
        *(_rule(f"limit-name-{i}", url_name=f"named-{i}") for i in range(named)),
        *(_rule(f"limit-path-{i}", path=f"/section-{i % 97}/part-{i}/") for i in range(prefixed)),
    ]


def _edge(count: int) -> Document:
    """All that pulse does at once: limits, headers, body, ``count`` origins and networks.

    The first origin is that of the benchmarked request; no network is its client's.
    """
    return {
        **_document([{"name": "items", "path": PATH, "max_body_bytes": 2**20}]),
        "cors_origins": [
            {"origin": ORIGIN},
            *({"origin": f"https://app-{i}.example.com"} for i in range(count // 2)),
            *(
                {"origin": f"https://*.tenant-{i}.example.com"}
                for i in range(count // 2, count - 1)
            ),
        ],
        "access_rules": [{"network": f"11.{i >> 8}.{i & 255}.0/24"} for i in range(count)],
        "header_policies": [{"name": "api", "preset": "api"}],
    }


def _rule(name: str, **matcher: str) -> Document:
    return {"name": name, "limits": [AMPLE], **matcher}


DOCUMENTS: Final[dict[str, Callable[[], Document]]] = {
    "tier": lambda: _document([]),
    "eight": lambda: _document([], EIGHT),
    "endpoint": lambda: _document([_rule("items", url_name="items")]),
    "hundred": lambda: _document([], [{"rate": "100/h"}]),
    "spent": lambda: _document([], [{"rate": "1/d"}]),
}


def database(directory: Path, name: str) -> Path:
    """Where the database of a policy lies."""
    return directory / f"{name}.sqlite3"


def prepare(directory: Path, names: list[str]) -> dict[str, float]:
    """Make one database for each policy, Django being set up with ``template`` as its database.

    Returns:
        The seconds that each document took to apply.
    """
    from django.core.management import call_command
    from django.db import connection

    from pulse.policies import current
    from pulse.policies.document import apply
    from pulse.policies.publisher import Actor

    template = database(directory, "template")
    call_command("migrate", verbosity=0)
    took = {}
    for name in names:
        connection.close()
        path = database(directory, name)
        shutil.copyfile(template, path)
        connection.settings_dict["NAME"] = str(path)
        current.forget()
        start = time.perf_counter()
        apply(document(name), Actor("command", "bench"), prune=True)
        took[name] = time.perf_counter() - start
    connection.close()
    return took
