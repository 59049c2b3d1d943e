"""The budgets, and whether what was measured meets them."""

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.cases import ENDPOINTS
from benchmarks.measure import Figures, Measuring, quiet

Measured = dict[str, Figures]

TIMES: Final = "\N{MULTIPLICATION SIGN}"
MICRO: Final = "\N{MICRO SIGN}s"


@dataclass(frozen=True, slots=True)
class Budget:
    """One promise.

    Attributes:
        what: In words.
        most: What it may be at most.
        unit: Behind both figures.
        is_goal: It is aimed at, not promised.
    """

    what: str
    most: float
    measured: float | None
    unit: str = TIMES
    is_goal: bool = False

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        # As precise as it is shown.
        if round(self.measured, 2) <= self.most:
            return "met"
        return "not reached" if self.is_goal else "**missed**"


def added(measured: Measured, name: str, floor: str, kind: str = "quiet") -> float | None:
    """What a case adds to its floor, in microseconds."""
    if name not in measured or floor not in measured:
        return None
    return float(getattr(measured[name], kind) - getattr(measured[floor], kind))


def ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other or other <= 0 else one / other


def budgets(results: dict[str, Any]) -> list[Budget]:
    """Every budget, beside what this run measured."""
    measured: Measured = results["figures"]
    return [
        *_counters(measured),
        *(budget for group in ("sync", "asgi") for budget in _requests(measured, group)),
        *_measuring(results["measuring"]),
        *_counts(results),
        *_edits(results),
        *_exactness(results),
        *_probes(results),
    ]


def _counters(measured: Measured) -> list[Budget]:
    def to(name: str, base: str) -> float | None:
        one, other = measured.get(f"store-{name}"), measured.get(f"store-{base}")
        return ratio(one.quiet, other.quiet) if one and other else None

    base = "evalsha"
    return [
        Budget("script call, 1 limit, to one EVALSHA of redis-py", 1.3, to("script_1", base)),
        Budget("script call, 8 limits", 2.3, to("script_8", base)),
        Budget("whole decide(), 1 limit", 1.6, to("decide_1", base)),
        Budget("whole decide(), 8 limits", 2.6, to("decide_8", base)),
        Budget(
            "script call, 1 limit, to the same EVALSHA over pulse's own connection",
            1.3, to("script_1", "transport"), is_goal=True,
        ),
        Budget(
            "whole decide(), 8 limits, to the same", 2.6, to("decide_8", "transport"), is_goal=True
        ),
    ]  # fmt: skip


def _requests(measured: Measured, group: str) -> list[Budget]:
    bare = f"{group}-bare"

    def adds(name: str) -> float | None:
        return added(measured, f"{group}-{name}", bare)

    floor = adds("evalsha-redis")
    found = [
        Budget(
            f"{group}, Redis: limits add, to the floor's one EVALSHA", 2.0,
            ratio(adds("pulse-tier-redis"), floor), is_goal=True,
        ),
    ]  # fmt: skip
    for store, name in (("redis", "Redis"), ("local", "in process")):
        one = adds(f"pulse-tier-{store}")
        whole = adds(f"pulse-edge1-{store}")
        found += [
            Budget(
                f"{group}, {name}: limits add, to django-ratelimit", 1.0,
                ratio(one, adds(f"ratelimit-{store}")), is_goal=True,
            ),
            Budget(
                f"{group}, {name}: the whole stack adds, to the assembled peers", 0.33,
                ratio(whole, adds(f"assembled-{store}")),
            ),
            Budget(
                f"{group}, {name}: with 10,000 origins and networks it adds, to 1", 1.2,
                ratio(adds(f"pulse-edge10000-{store}"), whole),
            ),
            Budget(
                f"{group}, {name}: 10,000 endpoint limits add, to 10", 1.2,
                ratio(adds(f"pulse-rules10000-{store}"), adds(f"pulse-rules10-{store}")),
            ),
        ]  # fmt: skip
    return found


def _measuring(measured: dict[str, Measuring]) -> list[Budget]:
    def budget(group: str, endpoints: int) -> Budget:
        what = f"{group}: measures add to a request, {endpoints:,} endpoints"
        found = measured.get(f"{group}-pulse-over{endpoints}")
        return Budget(what, 5.0, None if found is None else found.added, f" {MICRO}")

    return [budget(group, endpoints) for group in ("sync", "asgi") for endpoints in ENDPOINTS]


def _counts(results: dict[str, Any]) -> list[Budget]:
    counts = {n: c for n, c in results["counts"].items() if "-pulse-" in n}
    shared = [c.commands for n, c in counts.items() if n.endswith("-redis")]
    sql = [c.sql for c in counts.values()]
    return [
        Budget("commands a request, the most of any pulse case", 1, max(shared, default=None), ""),
        Budget("SQL a request, the most of any", 0, max(sql, default=None), ""),
    ]


def _edits(results: dict[str, Any]) -> list[Budget]:
    most = max(results["edits"], key=lambda row: row["rows"], default=None)
    if most is None:
        return []
    rows = f"{most['rows']:,}"
    return [
        Budget(f"an edit among {rows} endpoint limits saves", 2, most["save_s"], "s"),
        Budget(f"a process reloads {rows}", 250, most["reload_ms"], "ms"),
    ]


def _exactness(results: dict[str, Any]) -> list[Budget]:
    passed = results["let_through"].get("exact-pulse-redis")
    if passed is None:
        return []
    over = max(*passed.threads, *passed.processes) - 100
    return [Budget("let through beyond a limit of 100, threads and processes", 0, over, "")]


def _probes(results: dict[str, Any]) -> list[Budget]:
    if not results["probes"]:
        return []

    def cpu(name: str) -> float | None:
        found = results["probes"]["fetching"].get(name)
        return quiet(found["cpu"]) if found and found["cpu"] else None

    found = []
    for database in ("SQLite", "PostgreSQL"):
        one = cpu(f"pulse-http-{database}")
        found += [
            Budget(f"a probe over plain HTTP, recorded in {database}: CPU", 1e6 / 3000, one, MICRO),
            Budget(
                f"the same, to one requests.get a Celery task, recording nothing ({database})",
                0.2, ratio(one, cpu("celery")), is_goal=True,
            ),
        ]  # fmt: skip
    for database, late in results["probes"]["lateness"].items():
        what = f"{late['schedules']:,} schedules a minute, {database}"
        found += [
            Budget(f"{what}: lateness, p99", 1, late["p99_s"], "s"),
            Budget(f"{what}: slots missed", 0, late["missed"], ""),
        ]
    return found
