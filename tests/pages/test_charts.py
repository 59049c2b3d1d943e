"""Charts as coordinates."""

from datetime import UTC, datetime, timedelta

from pulse.pages.charts import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, band, slices

START = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def points(*p99: float | None) -> list[Point]:
    return [
        Point(START + HOUR * place, value and value / 4, value and value / 2, value, 3, 1.0)
        for place, value in enumerate(p99)
    ]


def test_a_gap_is_not_drawn_over():
    drawn = band(points(100, 100, None, 100, 100), HOUR)
    assert drawn.paths["p99"].count("M") == 2
    assert drawn.paths["band"].count("z") == 2


def test_a_point_without_neighbours_is_a_dot():
    drawn = band(points(None, 100, None), HOUR)
    assert (len(drawn.dots), drawn.paths["band"]) == (3, "")


def test_everything_lies_within_the_picture():
    drawn = band(points(1, 99, 1000.5), HOUR)
    numbers = drawn.paths["p99"].removeprefix("M").replace("L", " ").split()
    xs, ys = [float(n) for n in numbers[::2]], [float(n) for n in numbers[1::2]]
    assert LEFT <= min(xs) <= max(xs) <= WIDTH - RIGHT
    assert TOP <= min(ys) <= max(ys) <= HEIGHT
    assert [line.value for line in drawn.grid] == [500, 1000, 1500]


def test_without_a_result_there_is_nothing_to_draw():
    drawn = band(points(None, None), HOUR)
    assert (drawn.grid, drawn.paths["band"], drawn.dots) == ([], "", [])


def test_only_what_happened_in_the_window_is_marked():
    changes = [
        (START - HOUR, "before", "", 1),
        (START + HOUR, "within", "/revision/2/", 2),
        (START + 9 * HOUR, "after", "", 3),
    ]
    drawn = band(points(1, 1), HOUR, changes)
    assert [(mark.text, mark.x) for mark in drawn.marks] == [
        ("within", LEFT + (WIDTH - LEFT - RIGHT) / 2)
    ]


def test_a_bar_is_divided_by_what_there_is():
    found = slices({"dns": 1.0, "connect": None, "first_byte": 3.0, "body": 0.0})
    assert [(part.name, part.x, part.width) for part in found] == [
        ("dns", 0.0, 25.0),
        ("first_byte", 25.0, 75.0),
    ]
    assert slices({"dns": None}) == []
