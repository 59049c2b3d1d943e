"""SQL statements of requests, counted and timed where ``PULSE["COUNT_QUERIES"]`` asks for it."""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from pulse.conf import conf
from pulse.logging import say

logger = logging.getLogger(__name__)

#: How much of a statement is logged; its parameters never are.
MAX_SQL: Final = 500


class Queries:
    """What one request asked of databases; its threads add to the same."""

    __slots__ = ("count", "us")

    def __init__(self) -> None:
        self.count = self.us = 0


_current: Final[ContextVar[Queries | None]] = ContextVar("pulse_queries", default=None)


def begin() -> Queries:
    """Count from now on, in this request."""
    queries = Queries()
    _current.set(queries)
    return queries


def end() -> None:
    """Count no longer."""
    _current.set(None)


def watch(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Count what is asked by a connection, now and whenever it connects again."""
    if conf.COUNT_QUERIES and _counted not in connection.execute_wrappers:
        connection.execute_wrappers.append(_counted)


def connect() -> None:
    """Watch connections as they are made, and those that there are in this thread."""
    connection_created.connect(watch, dispatch_uid="pulse.metrics.queries")
    for connection in connections.all(initialized_only=True):
        watch(connection)


def _counted(
    execute: Callable[..., Any],
    sql: str,
    params: Any,
    many: bool,  # noqa: FBT001 - as Django calls it
    context: dict[str, Any],
) -> Any:
    queries = _current.get()
    if queries is None:
        return execute(sql, params, many, context)
    started = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        taken_s = time.perf_counter() - started
        queries.count += 1
        queries.us += int(taken_s * 1_000_000)
        slow_ms = conf.SLOW_QUERY_MS
        if slow_ms and taken_s * 1000 > slow_ms:
            say(
                logger,
                logging.WARNING,
                "Slow query: %.0f ms on %s: %s",
                taken_s * 1000,
                context["connection"].alias,
                str(sql)[:MAX_SQL],
            )
