"""Charts as coordinates, which a template writes down: no script, no style, a table beside each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

WIDTH: Final = 720
HEIGHT: Final = 200
LEFT: Final = 76
RIGHT: Final = 12
TOP: Final = 18
BOTTOM: Final = 24
#: Steps of an axis: the least that has at most four.
STEPS: Final = (1, 2, 5)
MAX_LINES: Final = 4
TICKS: Final = 6


@dataclass(frozen=True, slots=True)
class Point:
    """One span of a chart; its latencies are None where there was no result."""

    at: datetime
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    checks: int
    uptime: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, as a line through a chart."""

    x: float
    at: datetime
    text: str
    address: str
    number: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the grid, and what it stands for."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A time below a chart."""

    x: float
    at: datetime
    anchor: str


@dataclass(frozen=True, slots=True)
class Band:
    """Percentiles over time: the band from the median to the 99th, and three lines.

    Attributes:
        paths: The ``d`` of each path by name: ``band p50 p90 p99``.
        dots: Where a point has no neighbour to be joined with.
    """

    points: Sequence[Point]
    paths: Mapping[str, str]
    dots: Sequence[tuple[float, float]]
    grid: Sequence[Line]
    ticks: Sequence[Tick]
    marks: Sequence[Mark]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a bar that is divided."""

    name: str
    x: float
    width: float
    value: float


def band(
    points: Sequence[Point],
    step: timedelta,
    changes: Iterable[tuple[datetime, str, str, int]] = (),
) -> Band:
    """Draw percentiles.

    Args:
        points: One for each span, oldest first, gaps with None.
        step: How long a span is.
        changes: Time, text, address and number of what is marked.
    """
    first, last = points[0].at, points[-1].at + step
    most = max((point.p99_ms or 0.0 for point in points), default=0.0)
    grid = _grid(most)
    top_ms = grid[-1] if grid else 1.0

    def x_of(at: datetime) -> float:
        share = (at - first).total_seconds() / (last - first).total_seconds()
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y_of(value_ms: float) -> float:
        return round(HEIGHT - BOTTOM - value_ms / top_ms * (HEIGHT - TOP - BOTTOM), 1)

    paths: dict[str, list[str]] = {name: [] for name in ("band", "p50", "p90", "p99")}
    dots: list[tuple[float, float]] = []
    for run in _runs(points):
        lines: dict[str, list[tuple[float, float]]] = {
            name: [(x_of(point.at + step / 2), y_of(getattr(point, f"{name}_ms"))) for point in run]
            for name in ("p50", "p90", "p99")
        }
        if len(run) == 1:
            dots += [line[0] for line in lines.values()]
            continue
        for name, line in lines.items():
            paths[name].append(_path(line))
        paths["band"].append(f"{_path([*lines['p99'], *reversed(lines['p50'])])}z")
    return Band(
        points=points,
        paths={name: "".join(parts) for name, parts in paths.items()},
        dots=dots,
        grid=[Line(y_of(value), value) for value in grid],
        ticks=_ticks(points, x_of),
        marks=[
            Mark(x_of(at), at, text, address, number)
            for at, text, address, number in changes
            if first <= at <= last
        ],
    )


def slices(parts: Mapping[str, float | None], width: float = 100.0) -> list[Slice]:
    """Divide a bar by values that add up to its whole; what is None or 0 has no part."""
    known = {name: value for name, value in parts.items() if value}
    total = sum(known.values())
    found: list[Slice] = []
    x = 0.0
    for name, value in known.items():
        size = value / total * width
        found.append(Slice(name, round(x, 2), round(size, 2), value))
        x += size
    return found


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Return what hangs together: a gap is not drawn over."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.p50_ms is None or point.p90_ms is None or point.p99_ms is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _path(line: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in line)


def _grid(most: float) -> list[float]:
    if most <= 0:
        return []
    size = 0.01
    while True:
        for step in STEPS:
            unit = step * size
            if most / unit <= MAX_LINES:
                number = -(-most // unit)
                return [round(unit * place, 2) for place in range(1, int(number) + 1)]
        size *= 10


def _ticks(points: Sequence[Point], x_of: Any) -> list[Tick]:
    every = max(1, -(-len(points) // TICKS))
    chosen = points[::every]
    return [
        Tick(x_of(point.at), point.at, "start" if place == 0 else "middle")
        for place, point in enumerate(chosen)
    ]
