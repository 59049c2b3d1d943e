"""What every log record knows of its request, and logging that cannot fail a request."""

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from django.utils.functional import Promise

from pulse.core.redaction import REDACTED, SECRET_PARTS
from pulse.core.traces import trace_id_of

#: Stands for the request id outside of requests.
NO_REQUEST_ID: Final = "no-request-id"
#: What pulse adds to every record.
OWN_FIELDS: Final = frozenset({"request_id", "trace_id"})

request_id: Final[ContextVar[str]] = ContextVar("pulse_request_id", default=NO_REQUEST_ID)
#: The W3C trace context that the request came with; empty outside, and where it had none.
traceparent: Final[ContextVar[str]] = ContextVar("pulse_traceparent", default="")

#: What ``JsonFormatter`` writes of one text, of an exception, and of all extras together.
MAX_TEXT: Final = 4096
MAX_EXCEPTION: Final = 4 * MAX_TEXT
MAX_VALUES: Final = 200
MAX_DEPTH: Final = 4
#: The longest name that is remembered as being a secret's, or none.
MAX_NAME: Final = 64
#: A longer number is no number that anybody counted.
MAX_BITS: Final = 1024
#: Parts of names whose values are not for a log.
SECRET_NAMES: Final = (*SECRET_PARTS, "querystring")
#: Values that say what they are as text.
TELLING: Final = (date, time, timedelta, Decimal, UUID, PurePath, Promise)


def say(logger: logging.Logger, level: int, message: str, *args: object, **options: Any) -> None:
    """Log on the request's way, where a handler that fails must not fail the request."""
    try:
        if logger.isEnabledFor(level):
            logger.log(level, message, *args, stacklevel=2, **options)
    except Exception:  # noqa: BLE001, S110 - there is nobody left to tell
        pass


def forget_request(**_: object) -> None:
    """Log what follows as being outside of requests. Receives ``request_finished``."""
    request_id.set(NO_REQUEST_ID)
    traceparent.set("")


@cache
def install_factory() -> None:
    """Have every record of this process carry ``request_id`` and ``trace_id``; once.

    What made records before still does. A record that has these fields already keeps them, and a
    caller may pass its own as ``extra``.
    """
    make = logging.getLogRecordFactory()

    def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.__dict__ = _Fields(record.__dict__)
        _mark(record)
        return record

    logging.setLogRecordFactory(make_record)


class RequestIdFilter(logging.Filter):
    """Gives records their ``request_id`` and ``trace_id``, for a handler that names it.

    pulse's record factory gives them to all records that are made once the apps are ready; this
    is for a handler that also writes what comes before, or in a process without Django's apps.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass every record."""
        _mark(record)
        return True


class JsonFormatter(logging.Formatter):
    """Writes each record as one JSON object on one line.

    ``time`` (RFC 3339, UTC, milliseconds), ``level``, ``logger``, ``message``, ``request_id``,
    ``trace_id`` where there is one, each ``extra`` by its name, ``exception`` and ``stack``. An
    extra's name that is taken gets an underscore behind it. Values are bounded, those whose names
    look secret are left out, of objects only the type is told, and no record fails it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = {
            "time": _time(record),
            "level": _text(record.levelname),
            "logger": _text(record.name),
            "message": _text(_message(record)),
            "request_id": _text(getattr(record, "request_id", NO_REQUEST_ID)),
        }
        if trace_id := getattr(record, "trace_id", ""):
            told["trace_id"] = _text(trace_id)
        if exception := self._exception(record):
            told["exception"] = _text(exception, -MAX_EXCEPTION)
        if record.stack_info:
            told["stack"] = _text(record.stack_info, MAX_EXCEPTION)
        return json.dumps(told | _extras(record, told))

    def _exception(self, record: logging.LogRecord) -> str | None:
        try:
            if record.exc_text is None and record.exc_info and record.exc_info[0] is not None:
                record.exc_text = self.formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - the exception's own text may fail
            return "An exception that cannot be told"
        return record.exc_text


class _Fields(dict[str, Any]):
    """A record's fields, of which a caller's ``extra`` may overwrite pulse's own.

    ``Logger.makeRecord`` raises KeyError for an extra whose name the record has, and a host that
    passes a ``request_id`` did so before it had pulse.
    """

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return name not in OWN_FIELDS and super().__contains__(name)

    def __reduce__(self) -> tuple[Any, ...]:
        # Whoever reads a pickled record may have no pulse.
        return dict, (dict(self),)


def _mark(record: logging.LogRecord) -> None:
    fields = record.__dict__
    fields.setdefault("request_id", request_id.get())
    fields.setdefault("trace_id", trace_id_of(traceparent.get()))


#: What every record has, so that it is no extra.
_STANDARD: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    *("message", "asctime", "taskName", "request"),
    *OWN_FIELDS,
}


def _time(record: logging.LogRecord) -> str:
    try:
        moment = datetime.fromtimestamp(record.created, UTC)
    except (OverflowError, OSError, TypeError, ValueError):
        moment = datetime.fromtimestamp(0, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or that cannot be told
        return f"{_safe_str(record.msg)} (with arguments that do not fit)"


def _extras(record: logging.LogRecord, taken: Mapping[str, Any]) -> dict[str, Any]:
    try:
        values = _Values()
        extras = {}
        for name in list(record.__dict__):
            if name not in _STANDARD:
                free = f"{name}_" if name in taken else name
                extras[_text(free)] = values.of_item(name, record.__dict__[name])
    except Exception:  # noqa: BLE001 - a mapping or a number may be of any kind
        return {"extras": "cannot be told"}
    return extras


class _Values:
    """Makes JSON of one record's extras, within bounds."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def of_item(self, name: object, value: object, depth: int = 0) -> Any:
        return REDACTED if _is_secret(name) else self.of(value, depth)

    def of(self, value: object, depth: int) -> Any:  # noqa: PLR0911 - a line for each kind
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self.of(value.value, depth + 1) if depth < MAX_DEPTH else _kind(value)
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, int):
            return int(value) if value.bit_length() <= MAX_BITS else _kind(value)
        if isinstance(value, float):
            # NaN and the infinities are no JSON.
            return float(value) if value - value == 0 else str(float(value))
        if isinstance(value, bytes):
            return _text(value[:MAX_TEXT].decode("utf-8", "replace"))
        if isinstance(value, TELLING):
            return _text(_safe_str(value))
        if isinstance(value, BaseException):
            return _text(f"{type(value).__name__}: {_safe_str(value)}")
        return self._container(value, depth + 1) if depth < MAX_DEPTH else _kind(value)

    def _container(self, value: object, depth: int) -> Any:
        if isinstance(value, dict):
            return {
                _text(_safe_str(name)): self.of_item(name, inner, depth)
                for name, inner in islice(value.items(), self._room)
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(inner, depth) for inner in islice(value, self._room)]
        return _kind(value)

    @property
    def _room(self) -> int:
        return max(0, self._left)


def _is_secret(name: object) -> bool:
    text = _safe_str(name)
    # Names of fields are few; a host that logs a mapping by clients' values may have any.
    return _names_secret(text) if len(text) <= MAX_NAME else _names_secret.__wrapped__(text)


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    plain = name[:MAX_TEXT].lower().replace("_", "").replace("-", "")
    return any(part in plain for part in SECRET_NAMES)


def _kind(value: object) -> str:
    """Tell the type alone: what an object says of itself may hold anything."""
    return f"<{type(value).__name__}>"


def _safe_str(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - any __str__ may fail
        return _kind(value)


def _text(value: object, most: int = MAX_TEXT) -> str:
    """Cut a text, at its front where ``most`` is negative, to what any reader of JSON takes."""
    text = value if type(value) is str else _safe_str(value)
    if len(text) > abs(most):
        text = f"{text[:most]}…" if most > 0 else f"…{text[most:]}"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
