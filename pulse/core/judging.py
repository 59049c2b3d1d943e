"""Judging one answer of a probe by what is expected of it."""

import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from pulse.core.attempts import Answer, Failure
from pulse.core.expectations import Expectations, JsonPath
from pulse.core.redaction import Redactor, is_secret_name

#: How much of an actual value is kept, and of what is said of it.
MAX_ACTUAL: Final = 100
MAX_DETAIL: Final = 300
#: Missed alone, these degrade: the answer was right, only late, or will not be for long.
DEGRADING: Final = frozenset({"max_latency_ms", "certificate_days"})
#: Encodings that are read; others can take long, or are none of texts.
CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16"})
#: Stands for what is not there, as null is a value.
MISSING: Final = object()

#: Says what is wrong with an answer by its endpoint's schema; empty if nothing is.
SchemaCheck = Callable[[Answer], str]


class State(StrEnum):
    """How a probe ended."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"


class Check(NamedTuple):
    """One expectation and what came of it, as JSON values without secrets."""

    name: str
    expected: object
    actual: object
    ok: bool


class Judgement(NamedTuple):
    """What an answer is.

    Attributes:
        error: Why it is not ``ok``; None where it is.
        detail: Its first miss, in words, without secrets; empty where it is ``ok``.
        checks: Each expectation, the serious ones first; none where there was no whole answer.
    """

    state: State
    error: Failure | None
    detail: str
    checks: tuple[Check, ...]


class _Miss(NamedTuple):
    check: Check
    detail: str


def judge(
    expectations: Expectations,
    answer: Answer,
    schema: SchemaCheck | None = None,
    *,
    redactor: Redactor | None = None,
) -> Judgement:
    """Judge an answer.

    Without a whole answer nothing else is looked at. With one, it is ``failed`` if a serious
    expectation is missed, ``degraded`` if only latency or certificate are; each names its miss as
    ``expectation``.

    Args:
        expectations: What is expected.
        answer: What came.
        schema: Checks the answer by its endpoint's schema. Where one is expected and there is
            none, that is a miss, as nothing was checked.
        redactor: Knows the secrets that were sent, which an answer may repeat.
    """
    redactor = redactor or Redactor()
    if answer.failure is not None:
        late = answer.failure in {Failure.TIMEOUT, Failure.DEADLINE}
        state = State.TIMEOUT if late else State.FAILED
        return Judgement(state, answer.failure, redactor.excerpt(answer.detail, MAX_DETAIL), ())
    results = list(_checks(expectations, answer, schema, redactor))
    checks = tuple(result.check for result in results)
    missed = [result for result in results if not result.check.ok]
    if not missed:
        return Judgement(State.OK, None, "", checks)
    only_degraded = all(result.check.name in DEGRADING for result in missed)
    state = State.DEGRADED if only_degraded else State.FAILED
    detail = redactor.excerpt(missed[0].detail, MAX_DETAIL)
    return Judgement(state, Failure.EXPECTATION, detail, checks)


def _checks(
    expected: Expectations, answer: Answer, schema: SchemaCheck | None, redactor: Redactor
) -> Iterator[_Miss]:
    yield _check_status(expected, answer)
    for name, text in expected.headers.items():
        yield _check_header(name, text, answer, redactor)
    if expected.contains is not None:
        yield _check_contains(expected.contains, answer, redactor)
    if expected.json:
        value = _json_of(answer.body)
        for path, wanted in expected.json:
            yield _check_json(path, wanted, value, redactor)
    if expected.schema:
        error = schema(answer) if schema else "none is known of this endpoint"
        told = redactor.excerpt(error, MAX_ACTUAL)
        yield _Miss(Check("schema", True, told or True, not error), f"schema: {error}")  # noqa: FBT003 - JSON's true
    if expected.max_latency_ms is not None:
        most, latency = expected.max_latency_ms, round(answer.latency_ms, 1)
        check = Check("max_latency_ms", most, latency, answer.latency_ms <= most)
        yield _Miss(check, f"latency {latency:g} ms, expected at most {most:g} ms")
    if expected.certificate_days is not None:
        yield _check_certificate(expected.certificate_days, answer.certificate_days)


def _check_status(expected: Expectations, answer: Answer) -> _Miss:
    status, written = answer.status_code, expected.status_as_written
    ok = status is not None and any(first <= status <= last for first, last in expected.status)
    check = Check("status", list(written), status, ok)
    if ok:
        return _Miss(check, "")
    return _Miss(check, f"status {status}, expected {', '.join(map(str, written))}")


def _check_header(name: str, text: str, answer: Answer, redactor: Redactor) -> _Miss:
    actual = answer.headers.get(name)
    ok = actual is not None and text.lower() in actual.lower()
    told = redactor.value(actual, name=name)
    told = redactor.excerpt(told, MAX_ACTUAL) if isinstance(told, str) else told
    check = Check(f"headers.{name}", redactor.value(text, name=name), told, ok)
    is_what = "missing" if actual is None else f'"{told}"'
    return _Miss(check, f'header {name} {is_what}, expected "{check.expected}"')


def _check_contains(text: str, answer: Answer, redactor: Redactor) -> _Miss:
    body = _text_of(answer)
    ok = text in body
    told = redactor.text(text)
    # What is there instead helps; what was found needs no proof.
    actual = told if ok else redactor.excerpt(body, MAX_ACTUAL)
    return _Miss(Check("contains", told, actual, ok), f'body does not contain "{told}"')


def _check_json(path: JsonPath, wanted: object, value: object, redactor: Redactor) -> _Miss:
    actual = _at(value, path)
    ok = actual is not MISSING and _is_same(wanted, actual)
    name = str(path.steps[-1]) if path.steps else ""
    told = None if actual is MISSING else _brief(actual, name, redactor)
    check = Check(f"json.{path.text}", redactor.value(wanted, name=name), told, ok)
    if value is MISSING:
        return _Miss(check, "body is no JSON")
    is_what = "missing" if actual is MISSING else json.dumps(told, ensure_ascii=False)
    wanted_text = json.dumps(check.expected, ensure_ascii=False)
    return _Miss(check, f"json {path.text} {is_what}, expected {wanted_text}")


def _check_certificate(least: float, days: float | None) -> _Miss:
    actual = None if days is None else round(days, 1)
    check = Check("certificate_days", least, actual, days is not None and days >= least)
    ends = "no certificate" if actual is None else f"certificate ends in {actual:g} days"
    return _Miss(check, f"{ends}, expected at least {least:g} days")


def _brief(value: object, name: str, redactor: Redactor) -> object:
    """Tell a JSON value within bounds: containers, and what is long, as text."""
    if isinstance(value, dict | list) and not is_secret_name(name):
        # As one text: an answer may be a list of a hundred thousand.
        return redactor.excerpt(_json_text(value), MAX_ACTUAL)
    told = redactor.value(value, name=name)
    text = told if isinstance(told, str) else json.dumps(told)
    return redactor.excerpt(text, MAX_ACTUAL) if len(text) > MAX_ACTUAL else told


def _json_text(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"


def _text_of(answer: Answer) -> str:
    _, _, charset = answer.headers.get("content-type", "").lower().partition("charset=")
    charset = charset.partition(";")[0].strip(" \"'")
    return answer.body.decode(charset if charset in CHARSETS else "utf-8", "replace")


def _json_of(body: bytes) -> object:
    """Read a body as JSON; MISSING where it is none, or none that can be read."""
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return MISSING
    return value


def _at(value: object, path: JsonPath) -> object:
    for step in path.steps:
        if isinstance(value, dict):
            value = value.get(str(step), MISSING)
        elif isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def _is_same(wanted: object, actual: object) -> bool:
    """Compare as JSON does: true is not 1, and 1 is 1.0."""
    if isinstance(wanted, bool) or isinstance(actual, bool):
        return wanted is actual
    if isinstance(wanted, Mapping) and isinstance(actual, Mapping):
        return wanted.keys() == actual.keys() and all(
            _is_same(wanted[name], actual[name]) for name in wanted
        )
    if isinstance(wanted, list | tuple) and isinstance(actual, list):
        return len(wanted) == len(actual) and all(map(_is_same, wanted, actual))
    return wanted == actual
