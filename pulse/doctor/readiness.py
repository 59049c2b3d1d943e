"""Whether this process can serve: what it stands on, each looked at within a time of its own.

A database, a Redis or a broker that is frozen answers nothing, not even by an error. So each is
asked in a thread that is waited for so long and no longer; one that still waits is not joined by a
second. What was found is kept for two seconds, however many ask.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from celery import current_app
from django.db import connections
from django.utils.translation import gettext as _

from pulse.logging import say
from pulse.policies import current, publisher
from pulse.policies.kinds import time_to_text
from pulse.probes.plan import current_plan
from pulse.probes.summary import machine
from pulse.store.connection import current_backend

logger = logging.getLogger(__name__)

KEPT_S: Final = 2.0
#: How long each is waited for, in seconds; all are asked at once.
BUDGET_S: Final = 1.0
#: After so many seconds another look is begun beside one that has no end; so many wait at most.
GIVEN_UP_S: Final = 5.0
MAX_GIVEN_UP: Final = 3


class Health(StrEnum):
    """How well something is, from well to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found.

    Attributes:
        detail: In words, for those who run the site; empty where there is nothing to say.
    """

    status: Health
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that was made, or given up."""

    name: str
    status: Health
    duration_ms: float
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Write it as JSON tells it."""
        return {
            "name": self.name,
            "status": str(self.status),
            "duration_ms": round(self.duration_ms, 1),
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Readiness:
    """All checks together.

    Attributes:
        revision: Of the policy in force in this process; None without any.
    """

    status: Health
    checked_at: datetime
    revision: int | None
    checks: Sequence[Checked]

    def says(self, name: str) -> Health | None:
        """Return what the check of a name found; None where it was not made."""
        return next((check.status for check in self.checks if check.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        """Write all of it as JSON tells it to those who may see it."""
        return {
            "status": str(self.status),
            "revision": self.revision,
            "checked_at": time_to_text(self.checked_at),
            "checks": [check.as_dict() for check in self.checks],
        }


class Check:
    """One thing that the site stands on.

    Looks in a thread of its own; a look that is still going on is waited for again, not doubled,
    until it is given up: the connection that it waits on may be lost, and others good.
    """

    def __init__(
        self, name: str, look: Callable[[], Found | None], *, is_vital: bool = False
    ) -> None:
        """Make a check.

        Args:
            name: As the answer names it.
            look: Returns what it found; None where the site does without, which leaves it out.
                What it raises is told as its failure.
            is_vital: Nothing can be served without it.
        """
        self.name, self.is_vital, self._look = name, is_vital, look
        self.reset()

    def reset(self) -> None:
        """Forget a look that is going on, as a forked child must."""
        self._thread: threading.Thread | None = None
        self._given_up: list[threading.Thread] = []
        self._began = 0.0
        self._made: list[Checked] = []

    def begin(self) -> None:
        """Start to look, unless an earlier look goes on."""
        thread = self._thread
        if thread is not None and time.monotonic() - self._began > GIVEN_UP_S:
            self._given_up = [one for one in self._given_up if one.is_alive()]
            if len(self._given_up) < MAX_GIVEN_UP:
                self._given_up.append(thread)
                self._thread = None
        if self._thread is None:
            self._began, self._made = time.monotonic(), []
            self._thread = threading.Thread(
                target=self._run,
                args=(self._began, self._made),
                name=f"pulse-check-{self.name}",
                daemon=True,
            )
            self._thread.start()

    def result(self, until: float) -> Checked | None:
        """Wait for what is found until a time of ``time.monotonic``'s; None where left out."""
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                waited_s = time.monotonic() - self._began
                detail = _("No answer within %.1f s.") % waited_s
                return Checked(self.name, self._failed, waited_s * 1000, detail)
            self._thread = None
        return self._made[0] if self._made else None

    def _run(self, began: float, made: list[Checked]) -> None:
        try:
            found = self._look()
        except Exception as error:  # noqa: BLE001 - whatever fails is what is told
            say(logger, logging.WARNING, "The check of the %s fails: %s", self.name, error)
            # The error's own words may hold addresses and passwords.
            found = Found(self._failed, type(error).__name__)
        finally:
            connections.close_all()
        if found is not None:
            taken_ms = (time.monotonic() - began) * 1000
            made.append(Checked(self.name, found.status, taken_ms, found.detail))

    @property
    def _failed(self) -> Health:
        return Health.UNHEALTHY if self.is_vital else Health.DEGRADED


class Board:
    """All checks, made at most once in so many seconds."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks
        self.reset()

    def reset(self) -> None:
        """Forget what was found, as a forked child must."""
        self._lock = threading.Lock()
        self._last: Readiness | None = None
        self._until = 0.0
        for check in self._checks:
            check.reset()

    def read(self) -> Readiness:
        """Return what was found a moment ago, or look anew; waits for ``BUDGET_S`` at most."""
        last = self._last
        if last is not None and time.monotonic() < self._until:
            return last
        # Whoever comes meanwhile waits for the same look.
        with self._lock:
            if self._last is None or time.monotonic() >= self._until:
                self._last = self._look()
                self._until = time.monotonic() + KEPT_S
            return self._last

    def _look(self) -> Readiness:
        until = time.monotonic() + BUDGET_S
        for check in self._checks:
            check.begin()
        made = [each for check in self._checks if (each := check.result(until)) is not None]
        status = max((check.status for check in made), key=list(Health).index)
        revision = current.standing()["revision"]
        return Readiness(status, datetime.now(UTC), revision, made)


def read() -> Readiness:
    """Return whether this process can serve, as it was at most two seconds ago."""
    return _board.read()


def forget() -> None:
    """Look anew at the next reading."""
    _board.reset()


def _database() -> Found:
    with connections[publisher.database()].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return Found(Health.HEALTHY)


def _cache() -> Found:
    backend = current_backend()
    if backend is None:
        return Found(Health.HEALTHY, _("No Redis: each process counts alone."))
    # Through the guard: while it is open, every request is decided without Redis too.
    backend.call("PING")
    return Found(Health.HEALTHY)


def _broker() -> Found | None:
    if not current_app.conf.broker_url:
        return None
    with current_app.connection_for_write() as connection:
        connection.connect()
    return Found(Health.HEALTHY)


def _policy() -> Found:
    snapshot = current.current_snapshot()
    if snapshot.announcement is None:
        return Found(Health.UNHEALTHY, _("No policy could be loaded: nothing is enforced."))
    return Found(Health.HEALTHY)


def _worker() -> Found | None:
    engine = _engine()
    if engine is None:
        return None
    if engine.workers:
        return Found(Health.HEALTHY)
    return Found(Health.DEGRADED, _("Something is scheduled, and no worker was heard lately."))


def _probes() -> Found | None:
    engine = _engine()
    if engine is None:
        return None
    detail = _("The oldest of what is due has waited for %.0f s.") % engine.lag_s
    return Found(Health.DEGRADED, detail) if engine.problem else Found(Health.HEALTHY)


def _engine() -> machine.Machine | None:
    """Look at the probes' engine; None where nothing is scheduled."""
    plan = current_plan(time.time())
    return machine.read(plan) if plan.schedules else None


_board: Final = Board(
    (
        Check("database", _database, is_vital=True),
        Check("cache", _cache),
        Check("broker", _broker),
        Check("policy", _policy, is_vital=True),
        Check("worker", _worker),
        Check("probes", _probes),
    )
)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_board.reset)
