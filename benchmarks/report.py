"""The figures as tables for people, and as JSON for programs."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.budgets import MICRO, TIMES, added, budgets, ratio
from benchmarks.cases import CASES, EXACT, Case
from benchmarks.measure import quiet

TITLES: Final = {
    "sync": "Requests under WSGI",
    "asgi": "Requests under ASGI",
    "store": "The counters alone",
}
PACKAGES: Final = (
    "Django", "redis", "hiredis", "django-redis", "django-ratelimit", "djangorestframework",
    "limits", "django-smart-ratelimit", "django-cors-headers", "django-csp", "django-guid",
    "django-prometheus", "celery", "requests", "aiohttp", "httptools", "psycopg",
)  # fmt: skip
STORES: Final = {"redis": "Redis", "local": "in process", "": ""}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "packages": versions,
    }


def as_json(results: dict[str, Any]) -> str:
    def plain(value: object) -> object:
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        raise TypeError(type(value))

    judged = [{**asdict(b), "verdict": b.verdict} for b in budgets(results)]
    return json.dumps({**results, "budgets": judged}, default=plain, indent=1) + "\n"


def as_markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    return "\n".join([
        f"# pulse beside its peers, {results['date']}", "",
        *_preface(results),
        *(line for group in TITLES for line in _group(results, group)),
        *_measuring(results),
        *_counts(results),
        *_let_through(results),
        *_edits(results),
        *_probes(results),
        *_left_out(results),
        *_budgets(results),
        "",
    ])  # fmt: skip


def _preface(results: dict[str, Any]) -> Iterator[str]:
    about = results["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    yield (
        f"{results['server']}; Python {about['python']}, {packages}. {about['processor']}, "
        f"{about['cores']} cores, {about['system']}, load {about['load']:.1f} at the start."
    )
    yield ""
    yield (
        "Microseconds a call. Each case is a process of its own; those of one table were alive at "
        "once and took turns in random order on one core that they share with the server. *quiet*: "
        "10th percentile of the batches. *CPU*: the process's own, 10th percentile. *added*: less "
        "the same figure of the floor (the bare view; for DRF a view without throttles). "
        f"*{TIMES} floor*: what is added on the wall, to what one EVALSHA in a view adds. Compare "
        "rows of one table only."
    )
    yield ""


def _group(results: dict[str, Any], group: str) -> Iterator[str]:
    measured = results["figures"]
    cases = [case for case in CASES if case.group == group and case.name in measured]
    if not cases:
        return
    yield f"## {TITLES[group]}"
    yield ""
    if group == "store":
        yield from _table(
            (
                "call", "counters", "median", "quiet", "CPU", "server",
                f"{TIMES} EVALSHA", f"{TIMES} own EVALSHA",
            ),
            [_store_row(measured, case) for case in cases],
        )  # fmt: skip
    else:
        yield from _table(
            (
                "case", "counters", "median", "quiet", "CPU", "added quiet", "added CPU",
                f"{TIMES} floor",
            ),
            [_request_row(measured, case, group) for case in cases],
        )  # fmt: skip


def _request_row(measured: dict[str, Any], case: Case, group: str) -> list[str]:
    figures = measured[case.name]
    quiet = added(measured, case.name, case.floor)
    cpu = added(measured, case.name, case.floor, "cpu")
    base = added(measured, f"{group}-evalsha-redis", f"{group}-bare")
    return [
        case.title, STORES[case.store], _us(figures.median), _us(figures.quiet), _us(figures.cpu),
        _us(quiet), _us(cpu), _times(ratio(quiet, base)),
    ]  # fmt: skip


def _store_row(measured: dict[str, Any], case: Case) -> list[str]:
    figures = measured[case.name]

    def to(name: str) -> str:
        base = measured.get(name)
        return _times(ratio(figures.quiet, base.quiet if base else None))

    return [
        case.title, STORES[case.store], _us(figures.median), _us(figures.quiet), _us(figures.cpu),
        _us(figures.server), to("store-evalsha"), to("store-transport"),
    ]  # fmt: skip


def _measuring(results: dict[str, Any]) -> Iterator[str]:
    if not results["measuring"]:
        return
    yield "## What measuring adds to a request"
    yield ""
    yield (
        "CPU of the thread that answers, by pairs of batches within one process, measured and not. "
        "*added*: the median over the pairs of all processes, with the *counting* that follows "
        "later and many at once; and the range of the processes' own. *flush*: beside the "
        "requests, once a second."
    )
    yield ""
    yield from _table(
        ("under", "case", "not measured", "added", "range", "counting", "flush"),
        [
            [
                case.group, case.title, _us(found.without), f"{found.added:.2f}",
                f"{found.low:.2f} to {found.high:.2f}", f"{found.counting:.2f}",
                f"{found.flush_ms:.1f} ms",
            ]
            for case in CASES
            if (found := results["measuring"].get(case.name))
        ],
    )  # fmt: skip


def _counts(results: dict[str, Any]) -> Iterator[str]:
    if not results["counts"]:
        return
    titles = {case.name: case for case in CASES}
    yield "## Commands and SQL a request, steady state"
    yield ""
    yield from _table(
        ("case", "under", "counters", "commands", "which", "SQL"),
        [
            [
                titles[name].title, titles[name].group, STORES[titles[name].store],
                f"{count.commands:g}", ", ".join(sorted(count.named)) or "none", f"{count.sql:g}",
            ]
            for name, count in results["counts"].items()
        ],
    )  # fmt: skip


def _let_through(results: dict[str, Any]) -> Iterator[str]:
    if not results["let_through"]:
        return
    yield "## Who is let through"
    yield ""
    yield "A limit of 100 an hour and 1600 tries of one client: median, and range, of the trials."
    yield ""
    yield from _table(
        ("limiter", "counters", "8 threads of one process", "4 processes"),
        [
            [case.title, STORES[case.store], _range(found.threads), _range(found.processes)]
            for case in EXACT
            if (found := results["let_through"].get(case.name))
        ],
    )


def _edits(results: dict[str, Any]) -> Iterator[str]:
    if not results["edits"]:
        return
    yield "## An edit among many endpoint limits"
    yield ""
    yield from _table(
        (
            "endpoint limits", "apply the document, s", "one edit(), s", "a plain save(), s",
            "load and compile, ms", "compile alone, ms",
        ),
        [
            [
                f"{row['rows']:,}", _digits(results["applied"].get(f"rules{row['rows']}")),
                _digits(row["save_s"]), _digits(row["plain_save_s"]), _digits(row["reload_ms"]),
                _digits(row["compile_ms"]),
            ]
            for row in results["edits"]
        ],
    )  # fmt: skip


def _probes(results: dict[str, Any]) -> Iterator[str]:
    if not results["probes"]:
        return
    fetching, lateness = results["probes"]["fetching"], results["probes"]["lateness"]
    yield "## Probes"
    yield ""
    yield (
        "From one cheap target in a process of its own, by turns; a connection for each. "
        f"{MICRO} of CPU for each one fetched, *quiet* the 10th percentile of the rounds and the "
        "others their median; of the process that fetches and records (with its children), and "
        "apart: the database's, the target's, and that of who sends Celery's messages. SQLite is "
        "within the process."
    )
    yield ""
    yield from _table(
        (
            "what fetches", "records in", "a CPU second", f"quiet, {MICRO}", f"median, {MICRO}",
            f"database, {MICRO}", f"sending, {MICRO}", f"target, {MICRO}", "a second",
        ),
        [
            [
                found["title"], found["records"], f"{1e6 / quiet(found['cpu']):,.0f}",
                _us(quiet(found["cpu"])), _us(median(found["cpu"])),
                _median(found["database"]), _median(found["publishing"]), _median(found["target"]),
                f"{found['number'] / median(found['wall_s']):,.0f}",
            ]
            for found in fetching.values()
            if found["cpu"]
        ],
    )  # fmt: skip
    if not lateness:
        return
    yield "From when a probe of a schedule was due until it was begun, with one `pulse_worker`."
    yield ""
    yield from _table(
        (
            "records in", "schedules", "seconds", "due", "ok", "missed", "p50, s", "p99, s",
            "most, s", "CPU of the worker", "of the database", "load",
        ),
        [
            [
                late["records"], f"{late['schedules']:,}", f"{late['seconds']:.0f}",
                f"{late['due']:,}", f"{late['ok']:,}", str(late["missed"]),
                f"{late['p50_s']:.3f}", f"{late['p99_s']:.3f}", f"{late['most_s']:.3f}",
                f"{late['cpu_share']:.0%}", f"{late['database_share']:.0%}", f"{late['load']:.1f}",
            ]
            for late in lateness.values()
        ],
        words=(0,),
    )  # fmt: skip


def _median(values: Sequence[float]) -> str:
    return _us(median(values)) if values else ""


def _left_out(results: dict[str, Any]) -> Iterator[str]:
    if not results["failed"]:
        return
    yield "## Left out"
    yield ""
    for name, reason in sorted(results["failed"].items()):
        yield f"- `{name}`: {reason}"
    yield ""


def _budgets(results: dict[str, Any]) -> Iterator[str]:
    found = [budget for budget in budgets(results) if budget.measured is not None]
    if not found:
        return
    yield "## Budgets"
    yield ""
    yield from _table(
        ("budget", "at most", "measured", "verdict"),
        [
            [
                f"{budget.what} (goal)" if budget.is_goal else budget.what,
                f"{budget.most:g} {budget.unit}".strip(),
                f"{_digits(budget.measured)} {budget.unit}".strip(),
                budget.verdict,
            ]
            for budget in found
        ],
        words=(0, 3),
    )


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int] = (0, 1)
) -> Iterator[str]:
    wide = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    texts = {i for i in range(len(head)) if i in words or head[i] in {"counters", "which"}}

    def line(row: Sequence[str]) -> str:
        cells = [
            value.ljust(width) if place in texts else value.rjust(width)
            for place, (value, width) in enumerate(zip(row, wide, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    yield line(head)
    yield line(["-" * w if i in texts else "-" * (w - 1) + ":" for i, w in enumerate(wide)])
    for row in rows:
        yield line(row)
    yield ""


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _digits(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _range(values: list[int]) -> str:
    return f"{median(values):.0f} ({min(values)}..{max(values)})" if values else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
