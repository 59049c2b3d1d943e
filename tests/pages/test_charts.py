"""Charts as coordinates."""

from datetime import UTC, datetime, timedelta

from pulse.pages.charts import (
    HEIGHT,
    LEFT,
    RIGHT,
    SPARK_HEIGHT,
    TOP,
    WIDTH,
    Point,
    Volume,
    band,
    columns,
    slices,
    spark,
)

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


def test_columns_stand_on_each_other_by_the_second():
    volumes = [
        Volume(START, 60, passed=60, refused=30, failed=30),
        Volume(START + HOUR, 0),
        Volume(START + 2 * HOUR, 30, passed=60),
    ]
    drawn = columns(volumes, HOUR)
    assert [line.value for line in drawn.grid] == [0.5, 1.0, 1.5, 2.0]
    ground = HEIGHT - 24
    assert drawn.paths["failed"].startswith(f"M{LEFT} {ground}V")
    assert {name: path.count("z") for name, path in drawn.paths.items()} == {
        "failed": 1,
        "refused": 1,
        "passed": 2,
    }
    heads = [float(path.partition("V")[2].partition("h")[0]) for path in drawn.paths.values()]
    assert heads == sorted(heads, reverse=True)
    assert (
        float(drawn.paths["passed"].rpartition("V")[0].rpartition("V")[2].partition("h")[0]) == TOP
    )


def test_a_line_without_axes_leaves_gaps_and_shows_a_lone_value():
    drawn = spark([1.0, 2.0, None, 4.0])
    assert drawn.line.count("M") == drawn.area.count("z") == 2
    assert drawn.line.endswith("L121 1")
    assert f"V{SPARK_HEIGHT}H" in drawn.area
    assert spark([None, None]).line == ""
    assert spark([0.0, 0.0]).line.count("M") == 1


def test_marks_that_would_hide_each_other_are_one():
    second = timedelta(seconds=1)
    changes = [(START + HOUR + place * second, f"m{place}", "", place) for place in range(5)]
    changes.append((START + 2 * HOUR, "later", "", 9))
    drawn = band(points(1, 1, 1), HOUR, changes)
    assert [mark.text for mark in drawn.marks] == ["m0; m1; m2; m3; m4", "later"]
    assert [part[1] for part in drawn.marks[0].parts] == ["m0", "m1", "m2", "m3", "m4"]
