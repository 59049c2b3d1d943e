"""Charts as coordinates, which a template writes down: no script, no style, a table beside each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

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
SPARK_WIDTH: Final = 120
SPARK_HEIGHT: Final = 28
#: From the foot of a column to its head: trouble stands on the ground, where it is compared best.
STACKED: Final = ("failed", "refused", "passed")
#: Marks that are closer would hide each other, and what they stand in.
CLOSE: Final = 6
#: Of several marks together.
MAX_TEXT: Final = 400
#: What is named before it is drawn: a time, its text, its address and its number.
Change = tuple[datetime, str, str, int]


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
    """Something that happened, as a line through a chart.

    Attributes:
        parts: Each thing, where several lie too close to be told apart.
    """

    x: float
    at: datetime
    text: str
    address: str
    number: int
    parts: Sequence[Change] = ()


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
class Volume:
    """Requests of one span of a chart, by what became of them.

    Attributes:
        seconds: How much of the span was recorded; 0: nobody was there.
    """

    at: datetime
    seconds: float
    passed: int = 0
    refused: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """Requests a second over time: each span a column of what failed, was refused and passed.

    Attributes:
        paths: The ``d`` of each path by name: ``failed refused passed``.
    """

    paths: Mapping[str, str]
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
class Spark:
    """A line without axes in a picture of ``SPARK_WIDTH`` by ``SPARK_HEIGHT``.

    Attributes:
        line: The ``d`` of its path; empty where there is nothing to draw.
        area: Likewise, of what is below it.
    """

    line: str
    area: str
    width: int = SPARK_WIDTH
    height: int = SPARK_HEIGHT


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a bar that is divided."""

    name: str
    x: float
    width: float
    value: float


def band(points: Sequence[Point], step: timedelta, changes: Iterable[Change] = ()) -> Band:
    """Draw percentiles.

    Args:
        points: One for each span, oldest first, gaps with None.
        step: How long a span is.
        changes: What is marked.
    """
    axis = _Axis(points[0].at, points[-1].at + step)
    most = max((point.p99_ms or 0.0 for point in points), default=0.0)
    grid = _grid(most)
    top_ms = grid[-1] if grid else 1.0
    paths: dict[str, list[str]] = {name: [] for name in ("band", "p50", "p90", "p99")}
    dots: list[tuple[float, float]] = []
    for run in _runs(points):
        lines: dict[str, list[tuple[float, float]]] = {
            name: [
                (axis.x_of(point.at + step / 2), _y_of(getattr(point, f"{name}_ms"), top_ms))
                for point in run
            ]
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
        grid=[Line(_y_of(value, top_ms), value) for value in grid],
        ticks=axis.ticks([point.at for point in points]),
        marks=axis.marks(changes),
    )


def columns(volumes: Sequence[Volume], step: timedelta, changes: Iterable[Change] = ()) -> Columns:
    """Draw requests a second; the same in every span, however much of it was recorded.

    Args:
        volumes: One for each span, oldest first.
        step: How long a span is.
        changes: What is marked.
    """
    axis = _Axis(volumes[0].at, volumes[-1].at + step)
    rates = [
        [getattr(each, name) / each.seconds if each.seconds else 0.0 for name in STACKED]
        for each in volumes
    ]
    grid = _grid(max(map(sum, rates), default=0.0))
    top = grid[-1] if grid else 1.0
    width = round((WIDTH - LEFT - RIGHT) / len(volumes) * 0.8, 2)
    paths: dict[str, list[str]] = {name: [] for name in STACKED}
    for each, found in zip(volumes, rates, strict=True):
        x, ground = axis.x_of(each.at), 0.0
        for name, rate in zip(STACKED, found, strict=True):
            if not rate:
                continue
            foot, head = _y_of(ground, top), _y_of(ground + rate, top)
            paths[name].append(f"M{x:g} {foot:g}V{head:g}h{width:g}V{foot:g}z")
            ground += rate
    return Columns(
        paths={name: "".join(parts) for name, parts in paths.items()},
        grid=[Line(_y_of(value, top), value) for value in grid],
        ticks=axis.ticks([each.at for each in volumes]),
        marks=axis.marks(changes),
    )


def spark(values: Sequence[float | None]) -> Spark:
    """Draw values, oldest first, from nothing to the highest; gaps, None, are not drawn over."""
    most = max((value for value in values if value is not None), default=0.0)
    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
            continue
        x = place / max(1, len(values) - 1) * SPARK_WIDTH
        share = value / most if most else 0.0
        runs[-1].append((round(x, 1), round((1 - share) * (SPARK_HEIGHT - 2) + 1, 1)))
    # A lone one is drawn as wide as a pen.
    lines = [run if len(run) > 1 else [*run, (run[0][0] + 1, run[0][1])] for run in runs if run]
    return Spark(
        line="".join(map(_path, lines)),
        area="".join(
            f"{_path(line)}V{SPARK_HEIGHT}H{line[0][0]:g}z" for line in lines if len(line) > 1
        ),
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


@dataclass(frozen=True, slots=True)
class _Axis:
    """Time from left to right."""

    first: datetime
    last: datetime

    def x_of(self, at: datetime) -> float:
        share = (at - self.first).total_seconds() / (self.last - self.first).total_seconds()
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def marks(self, changes: Iterable[Change]) -> list[Mark]:
        """Return what happened; what lies too close to be told apart is one, at the first of it."""
        found: list[Mark] = []
        for at, text, address, number in sorted(changes, key=lambda change: change[0]):
            if not self.first <= at <= self.last:
                continue
            mark = Mark(self.x_of(at), at, text, address, number, [(at, text, address, number)])
            if found and mark.x - found[-1].x < CLOSE:
                last = found.pop()
                together = f"{last.text}; {text}"[:MAX_TEXT]
                mark = replace(last, text=together, parts=[*last.parts, *mark.parts])
            found.append(mark)
        return found

    def ticks(self, times: Sequence[datetime]) -> list[Tick]:
        every = max(1, -(-len(times) // TICKS))
        return [
            Tick(self.x_of(at), at, "start" if place == 0 else "middle")
            for place, at in enumerate(times[::every])
        ]


def _y_of(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)


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
