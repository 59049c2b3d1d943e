"""Every record has a request id, JSON lines are whole, and secrets stay out."""

import copy
import io
import json
import logging
import logging.handlers
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from pulse import logging as pulse_logging
from pulse.logging import (
    NO_REQUEST_ID,
    JsonFormatter,
    RequestIdFilter,
    request_id,
    say,
    traceparent,
)

ROOT = Path(__file__).parents[1]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
#: What a host names in its own formats.
NAMING = "%(request_id)s %(trace_id)s %(message)s"


class Lines(logging.Handler):
    """A handler that a host made, here or anywhere."""

    def __init__(self, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(formatter or logging.Formatter(NAMING))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("host.shop")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def lines(logger) -> list[str]:
    handler = Lines()
    logger.addHandler(handler)
    return handler.lines


@pytest.fixture
def in_request() -> Iterator[None]:
    tokens = request_id.set("abc123"), traceparent.set(PARENT)
    yield
    request_id.reset(tokens[0])
    traceparent.reset(tokens[1])


def written(record: logging.LogRecord) -> dict[str, object]:
    """What the formatter writes of a record: one line of JSON, without exception."""
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    line.encode("ascii")
    return found


def record_of(message: object = "said", *args: object, **extra: object) -> logging.LogRecord:
    record = logging.getLogger("host").makeRecord(
        "host", logging.INFO, "f.py", 1, message, args, None, extra=extra
    )
    record.created = 1_700_000_000.123
    return record


# Every record has an id


def test_a_record_outside_of_requests_has_the_word_for_it(lines, logger) -> None:
    """No KeyError for ``request_id``, ever (S1-35)."""
    logger.info("started")
    assert lines == ["no-request-id  started"]


@pytest.mark.usefixtures("in_request")
def test_a_record_within_a_request_has_its_id(lines, logger) -> None:
    """By context variables, for any logger and handler (S1-34)."""
    logger.info("served")
    assert lines == [f"abc123 {TRACE} served"]


@pytest.mark.usefixtures("in_request")
def test_a_handler_that_is_made_later_needs_nothing(logger) -> None:
    """The factory covers every handler; nothing of logging is patched (S1-36)."""
    later = Lines(logging.Formatter("{request_id} {message}", style="{"))
    logger.addHandler(later)
    logger.info("x")
    assert later.lines == ["abc123 x"]
    assert logging.Logger.addHandler.__module__ == "logging"
    assert logging.Logger.makeRecord.__module__ == "logging"


@pytest.mark.usefixtures("in_request")
def test_a_thread_of_its_own_is_outside_of_the_request(lines, logger) -> None:
    """What runs on is nobody's request (S1-35)."""
    thread = threading.Thread(target=logger.info, args=("beside",))
    thread.start()
    thread.join()
    assert lines == ["no-request-id  beside"]


@pytest.mark.usefixtures("in_request")
def test_a_caller_may_pass_a_request_id_of_its_own(lines, logger) -> None:
    """As hosts did before pulse: ``extra`` neither fails nor loses (S1-36)."""
    logger.info("x", extra={"request_id": "mine", "trace_id": "too", "else": 1})
    assert lines == ["mine too x"]
    with pytest.raises(KeyError, match="Attempt to overwrite"):  # Python's own rule stays.
        logger.info("x", extra={"levelname": "mine"})  # noqa: G101 - that is asked


@pytest.mark.usefixtures("in_request")
@pytest.mark.parametrize("style", ["%", "{", "$"])
def test_every_style_of_format_finds_the_id(logger, style: str) -> None:
    """Also with defaults, which Python merges with the record's fields."""
    form = {"%": "%(request_id)s", "{": "{request_id}", "$": "${request_id}"}[style]
    handler = Lines(logging.Formatter(form, style=style, defaults={"request_id": "?"}))
    logger.addHandler(handler)
    logger.info("x")
    assert handler.lines == ["abc123"]


@pytest.mark.usefixtures("in_request")
@pytest.mark.parametrize("extra", [None, {"request_id": "mine"}])
def test_a_record_survives_its_travels(logger, extra) -> None:
    """Queue, pickle, copy, and a record made of fields: the id goes along, and stays (S1-36)."""
    queued: queue.Queue[logging.LogRecord] = queue.Queue()
    logger.addHandler(logging.handlers.QueueHandler(queued))
    kept: list[logging.LogRecord] = []
    keeper = logging.Handler()
    keeper.emit = kept.append  # type: ignore[method-assign]
    logger.addHandler(keeper)
    logger.info("x %d", 1, extra=extra)
    record = kept[0]
    expected = "mine" if extra else "abc123"
    request_id.set("another")
    for found in (
        queued.get_nowait(),
        copy.copy(record),
        copy.deepcopy(record),
        pickle.loads(pickle.dumps(record)),
        logging.makeLogRecord(record.__dict__),
        logging.makeLogRecord(pickle.loads(pickle.dumps(dict(record.__dict__)))),
    ):
        assert logging.Formatter(NAMING).format(found) == f"{expected} {TRACE} x 1"
        assert found.request_id == expected


def test_a_pickled_record_needs_no_pulse_to_be_read() -> None:
    """Whoever gathers logs may have none installed."""
    assert b"pulse" not in pickle.dumps(record_of())


def test_a_factory_of_the_hosts_is_kept() -> None:
    """pulse's stands over it, is installed once, and leaves what that says."""
    before = logging.getLogRecordFactory()

    class Own(logging.LogRecord):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self.request_id, self.pod = "the-hosts", "web-1"

    try:
        logging.setLogRecordFactory(Own)
        pulse_logging.install_factory.__wrapped__()
        record = record_of()
        assert isinstance(record, Own)
        assert (record.request_id, record.trace_id, record.pod) == ("the-hosts", "", "web-1")
        over = logging.getLogRecordFactory()
        pulse_logging.install_factory()
        pulse_logging.install_factory()
        assert logging.getLogRecordFactory() is over
    finally:
        logging.setLogRecordFactory(before)


def test_a_record_made_without_the_factory_is_given_its_id_by_the_filter() -> None:
    """For what comes before the apps are ready (S1-34, S1-35)."""
    bare = logging.LogRecord("early", logging.INFO, "f.py", 1, "x", (), None)
    with pytest.raises(ValueError, match="request_id"):
        logging.Formatter(NAMING).format(bare)
    assert RequestIdFilter().filter(bare)
    assert logging.Formatter(NAMING).format(bare) == "no-request-id  x"
    bare.request_id = "kept"
    assert RequestIdFilter().filter(bare)
    assert bare.request_id == "kept"


def test_a_command_logs_from_its_first_line_to_its_last() -> None:
    """Startup, third-party loggers, the command's own: none lacks the id (S1-35)."""
    source = """
import logging
import django
import django.utils.log
configure = django.utils.log.configure_logging
def configure_and_tell(*args):
    configure(*args)
    logging.getLogger("early.party").warning("before the apps")
django.utils.log.configure_logging = configure_and_tell
django.setup()
logging.getLogger("urllib3.pool").warning("a third party")
from django.core.management import call_command
call_command("check", verbosity=0)
logging.getLogger("host").error("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "project.settings.test", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Logging error" not in done.stderr
    told = [line for line in done.stderr.splitlines() if "[no-request-id]" in line]
    assert [line.rpartition("] ")[2] for line in told] == [
        "before the apps",
        "a third party",
        "done",
    ]


# What fails


@pytest.mark.parametrize("where", ["emit", "filter", "arguments"])
def test_logging_that_fails_is_nobodys_failure(logger, where: str) -> None:
    """A handler that raises does not reach the request (S0-20)."""
    logger.addHandler(Broken() if where == "emit" else logging.NullHandler())
    if where == "filter":
        logger.addFilter(lambda record: 1 / 0)
    say(logger, logging.ERROR, "x %d", *(["no number"] if where == "arguments" else [1]))
    logger.filters.clear()


def test_what_nobody_hears_is_not_made(logger) -> None:
    """One look at the level."""

    class Loud:
        def __str__(self) -> str:
            raise AssertionError("it was told")

    logger.addHandler(Lines())
    logger.setLevel(logging.ERROR)
    say(logger, logging.INFO, "%s", Loud())


# JSON


@pytest.mark.usefixtures("in_request")
def test_a_line_has_the_documented_fields() -> None:
    """Time in UTC, level, logger, message, ids and extras (S2-48)."""
    assert written(record_of("said %s", "this", route="api/", count=3)) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "INFO",
        "logger": "host",
        "message": "said this",
        "request_id": "abc123",
        "trace_id": TRACE,
        "route": "api/",
        "count": 3,
    }


def test_a_line_outside_of_requests_says_so() -> None:
    """The formatter has the default too; no trace, no field (S1-35)."""
    bare = logging.LogRecord("early", logging.INFO, "f.py", 1, "x", (), None)
    found = written(bare)
    assert found["request_id"] == NO_REQUEST_ID
    assert "trace_id" not in found


def test_an_exception_is_text_on_the_same_line() -> None:
    """With its traceback; a long one keeps its end, which says what happened."""
    try:
        int("broken\nin two")
    except ValueError:
        record = logging.getLogger("host").makeRecord(
            "host", logging.ERROR, "f.py", 1, "x", (), sys.exc_info(), sinfo="Stack:\n  here"
        )
    found = written(record)
    assert str(found["exception"]).startswith("Traceback (most recent call last):\n")
    assert str(found["exception"]).endswith("base 10: 'broken\\nin two'")
    assert found["stack"] == "Stack:\n  here"
    record.exc_text = "x" * 100_000 + "END"
    found = written(record)
    assert len(str(found["exception"])) < 20_000
    assert str(found["exception"]).endswith("END")


@pytest.mark.parametrize(
    "name",
    ["Authorization", "cookie", "Set-Cookie", "password", "new_password", "api_key", "X-API-Key",
     "access_token", "csrfmiddlewaretoken", "client_secret", "sessionid", "query_string",
     "private_key"],
)  # fmt: skip
def test_what_is_named_like_a_secret_is_not_written(name: str) -> None:
    """At the top and within (S1-31, S2-48)."""
    value = "hunter2"
    found = written(record_of(**{name: value, "headers": {name: value, "Accept": "*/*"}}))
    assert found[name] == "***"
    assert found["headers"] == {name: "***", "Accept": "*/*"}
    assert "hunter2" not in json.dumps(found)


def test_a_name_that_is_no_secrets_is_written() -> None:
    """The keys that pulse itself logs."""
    extras = {
        "client_key": "b51c",
        "rule": "x",
        "route": "a/",
        "error": "E: no",
        "correlation_id": "a",
    }
    assert extras.items() <= written(record_of(**extras)).items()


def test_the_request_is_never_written(rf) -> None:
    """Django passes it with every 4xx and 5xx; its text has the whole URL."""
    request = rf.get("/reset/SECRET-LINK/?token=hunter2")
    found = written(record_of(request=request, status_code=404, nested=[request]))
    assert found["status_code"] == 404
    assert "request" not in found
    assert found["nested"] == ["<WSGIRequest>"]


class Colour(Enum):
    RED = "red"


class Evil:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class EvilDict(dict):
    def items(self):
        raise RuntimeError("no")


class EvilInt(int):
    def bit_length(self) -> int:
        raise RuntimeError("no")


ODD = {
    "bytes": (b"\xff\x00a", "\ufffd\x00a"),
    "object": (Evil(), "<Evil>"),
    "surrogate": ("a\udc80b", "a?b"),
    "newlines": ("a\r\nb\u2028c", "a\r\nb\u2028c"),
    "nan": (float("nan"), "nan"),
    "infinity": (float("-inf"), "-inf"),
    "huge": (10**5000, "<int>"),
    "large": (2**70, 2**70),
    "decimal": (Decimal("1.10"), "1.10"),
    "date": (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
    "uuid": (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "path": (Path("/a"), "/a"),
    "lazy": (gettext_lazy("Yes"), "Yes"),
    "enum": (Colour.RED, "red"),
    "exception": (ValueError("x"), "ValueError: x"),
    "evil exception": (ValueError(Evil()), "ValueError: <ValueError>"),
    "tuple": ((1, None, True), [1, None, True]),
    "keys": ({1: 2, None: 3, Evil(): 4}, {"1": 2, "None": 3, "<Evil>": 4}),
    "view": (MappingProxyType({}), "<mappingproxy>"),
    "type": (Evil, "<type>"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_value_of_any_kind_is_written_or_named(name: str) -> None:
    """No value fails the line, and no object tells more than its type (S2-48)."""
    value, expected = ODD[name]
    assert written(record_of(value=value))["value"] == expected


@pytest.mark.parametrize("value", [EvilDict(a=1), EvilInt(3)])
def test_a_value_that_fails_costs_the_extras_alone(value: object) -> None:
    """The message is still told."""
    found = written(record_of("said", value=value))
    assert found["message"] == "said"
    assert found["extras"] == "cannot be told"


def test_what_is_endless_or_large_is_cut() -> None:
    """Depth, number, length: a line has an end."""
    circle: list[object] = []
    circle.append(circle)
    deep: dict[str, object] = {}
    deep["again"] = deep
    found = written(
        record_of(
            circle=circle, deep=deep, many=list(range(10**6)), text="x" * 10**6, b=b"y" * 10**6
        )
    )
    assert len(json.dumps(found)) < 20_000
    assert str(found["text"]).endswith("x…")
    wide = {str(number): list(range(50)) for number in range(500)}
    assert len(json.dumps(written(record_of("x" * 10**6, wide=wide)))) < 20_000


@pytest.mark.parametrize(
    ("message", "args"), [("%d", ("x",)), ("%s %s", (1,)), (Evil(), ()), ("%s", (Evil(),))]
)
def test_a_message_that_does_not_fit_is_told_as_it_is(message, args) -> None:
    """The line is written; what it would have said is said to be missing."""
    assert "do not fit" in str(written(record_of(message, *args))["message"])


def test_an_extra_may_have_a_taken_name() -> None:
    """Pulse's own fields keep their meaning."""
    found = written(record_of("said", level="mine", time=1, logger="x"))
    assert (found["level"], found["level_"]) == ("INFO", "mine")
    assert (found["time_"], found["logger_"]) == (1, "x")


_odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=50,
)


@given(st.text(st.characters(exclude_categories=[])), _odd, st.text(max_size=5))
def test_any_record_is_one_line_of_json(message: str, value: object, name: str) -> None:
    """Whatever is logged."""
    record = logging.LogRecord(name, 20, "f.py", 1, "%s", (message,), None)
    record.__dict__["x" + name] = value
    written(record)


def test_a_record_of_odd_time_is_written() -> None:
    """A clock that is wrong loses no line."""
    record = record_of()
    for moment in (float("nan"), 1e300, "x", -1e10):
        record.created = moment  # type: ignore[assignment]
        assert str(written(record)["time"]).endswith("Z")


def test_json_goes_through_a_real_handler(logger) -> None:
    """To a stream that takes ASCII alone."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.info("né à Łódź")
    stream.seek(0)
    assert json.loads(stream.read())["message"] == "né à Łódź"
