"""One attempt: what was claimed becomes a call, and what came of it an outcome.

``ready`` runs in the thread that has the database; ``run`` runs in the event loop's thread, and has
plain values only.
"""

import codecs
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from pulse.conf import conf
from pulse.core import marks
from pulse.core.attempts import Answer, Call, Failure
from pulse.core.expectations import Expectations
from pulse.core.judging import Check, Judgement, SchemaCheck, State, judge
from pulse.core.redaction import REDACTED, Redactor
from pulse.exceptions import PolicyError, SecretUnreadable, TargetResting, UnknownTarget
from pulse.probes import contracts, secrets
from pulse.probes.plan import Plan, Target

logger = logging.getLogger(__name__)

#: Sends a call; never raises, save ``asyncio.CancelledError``.
Send = Callable[[Call], Awaitable[Answer]]

#: An item, and the fence under which it was claimed.
Key = tuple[int, int]

#: After the client's own limit, before it is broken off from outside, in seconds.
BREAK_OFF_S: Final = 0.5
#: After the claim it is not begun any more: its lease would end before its own limit does.
BEGUN_WITHIN_S: Final = 2.0
#: How much is kept of a body, in characters.
MAX_EXCERPT: Final = 4096
#: How much of a body is looked at for it, in bytes.
MAX_READ: Final = 4 * MAX_EXCERPT
Utf8: Final = codecs.getincrementaldecoder("utf-8")
NO_SECRETS: Final = Redactor()
#: Of an answer's headers so many are kept.
MAX_HEADERS: Final = 50


@dataclass(frozen=True, slots=True)
class Claimed:
    """One probe that is this worker's to send, and to record under its fence.

    Attributes:
        attempts: How often it was tried before.
        timeout_s: The hard limit of this attempt, in seconds.
        lease_s: For how long it is this worker's, from the claim on, in seconds.
        late_s: How long after its time it was claimed.
        slot_at: Of the schedule that it is for; None where it was started by hand.
        is_last_try: So many workers vanished with it that nothing is to run beside it.
    """

    item: int
    job: int
    fence: int
    schedule: str
    target: str
    sample: Mapping[str, Any]
    attempts: int
    timeout_s: float
    lease_s: float
    late_s: float
    deadline_at: datetime
    slot_at: datetime | None = None
    is_last_try: bool = False

    @property
    def key(self) -> Key:
        """The item, and the fence that makes this claim one of its own."""
        return self.item, self.fence


@dataclass(frozen=True, slots=True)
class Clock:
    """The database's time, told by this process's own monotonic clock since it was last read."""

    epoch_s: float
    monotonic_s: float

    def now(self) -> float:
        """Return epoch seconds."""
        return self.epoch_s + time.monotonic() - self.monotonic_s


@dataclass(frozen=True, slots=True)
class Attempt:
    """One probe that is ready to be sent.

    Attributes:
        call: What is sent; None where there is a problem instead.
        schema: Holds the answer against what its endpoint's schema says, where that is expected.
        problem: Why it cannot be sent, in words.
        begun_by: When it is too late to begin, on ``time.monotonic``'s clock.
        lease_ends: When it may be another worker's, likewise.
    """

    claimed: Claimed
    clock: Clock
    begun_by: float
    lease_ends: float
    call: Call | None = None
    expectations: Expectations = field(default_factory=Expectations)
    schema: SchemaCheck | None = None
    redactor: Redactor = NO_SECRETS
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt, as it is recorded; times in epoch seconds of the database.

    Attributes:
        latency_ms: None where nothing was sent.
        evidence: Of one that failed, without secrets: ``request`` (method, url, headers, body)
            and ``response`` (status_code, headers, body), None without an answer.
    """

    state: State
    started_s: float
    ended_s: float
    error: Failure | None = None
    detail: str = ""
    latency_ms: float | None = None
    phases_ms: Mapping[str, float | None] | None = None
    status_code: int | None = None
    bytes: int | None = None
    address: str = ""
    certificate_days: float | None = None
    expectations: Sequence[Mapping[str, object]] | None = None
    evidence: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A probe that was claimed, and what came of it."""

    claimed: Claimed
    outcome: Outcome


def ready(claimed: Iterable[Claimed], plan: Plan, using: str, clock: Clock) -> list[Attempt]:
    """Make calls of what was claimed; one query where there are secrets."""
    probes = list(claimed)
    targets = {probe.target: plan.find(probe.target, probe.sample or None) for probe in probes}
    stored = _stored(filter(None, targets.values()), using)
    attempts = []
    for probe in probes:
        target, values = targets[probe.target], stored.get(probe.target, {})
        try:
            fields = _fields(probe, target, plan, values)
        except Exception as error:
            # One that cannot be made keeps none of the others from being sent.
            logger.exception("A probe of %s cannot be made", probe.target)
            fields = {"problem": f"{type(error).__name__} in pulse itself"}
        attempts.append(
            Attempt(
                probe,
                clock,
                begun_by=clock.monotonic_s + BEGUN_WITHIN_S,
                lease_ends=clock.monotonic_s + probe.lease_s,
                **fields,
            )
        )
    return attempts


async def run(attempt: Attempt, send: Send) -> Outcome | None:
    """Send it, and judge what came; None where it is too late to begin.

    Never raises, save ``asyncio.CancelledError``. That what sends keeps its limit is for who calls
    to watch.
    """
    clock = attempt.clock
    if time.monotonic() > attempt.begun_by:
        return None
    started_s = clock.now()
    if attempt.call is None:
        return broken(attempt.problem, started_s, started_s)
    try:
        return _outcome(attempt, await send(attempt.call), started_s)
    except Exception as error:
        logger.exception("A probe of %s failed in pulse itself", attempt.claimed.target)
        return broken(f"{type(error).__name__} in pulse itself", started_s, clock.now())


def broken_off(attempt: Attempt, started_s: float) -> Outcome:
    """Make an outcome of one that what sends it let go on past its limit."""
    taken_s = attempt.clock.now() - started_s
    answer = Answer(started_s, taken_s * 1000, Failure.TIMEOUT, "it was broken off")
    return _outcome(attempt, answer, started_s)


def broken(detail: str, started_s: float, ended_s: float) -> Outcome:
    """Make an outcome of a fault of the engine's own, or of the policy's."""
    return Outcome(State.FAILED, started_s, ended_s, Failure.INTERNAL, _storable_text(detail))


def _stored(targets: Iterable[Target], using: str) -> dict[str, dict[str, str]]:
    names = [
        target.name
        for target in targets
        if any(not value.startswith(secrets.REFERENCE) for value in target.secrets.values())
    ]
    return secrets.stored(names, using) if names else {}


def _fields(
    probe: Claimed, target: Target | None, plan: Plan, stored: Mapping[str, str]
) -> dict[str, Any]:
    """Return what an attempt has beside its claim: a call and how it is judged, or a problem."""
    if target is None:
        kind = TargetResting if probe.target in plan.resting else UnknownTarget
        return {"problem": str(kind(probe.target))}
    if target.problem:
        return {"problem": target.problem}
    try:
        revealed = secrets.revealed(target.secrets, stored) if target.secrets else {}
        expectations = plan.expectations(target, probe.schedule)
    except SecretUnreadable as error:
        return {"problem": f"A secret header cannot be read: {error}"}
    except PolicyError as error:
        return {"problem": str(error)}
    audience = "" if target.call.trusts_origin else target.host
    call = replace(
        target.call,
        headers={
            "User-Agent": _agent(),
            **target.call.headers,
            marks.HEADER: _mark(probe.job, conf.probe_secret, audience),
        },
        secret_headers=revealed,
        timeout_s=probe.timeout_s,
    )
    return {
        "call": call,
        "expectations": expectations,
        "schema": contracts.check_of(target.endpoint_id) if expectations.schema else None,
        "redactor": Redactor(revealed.values()) if revealed else NO_SECRETS,
    }


def _outcome(attempt: Attempt, answer: Answer, started_s: float) -> Outcome:
    found = judge(attempt.expectations, answer, attempt.schema, redactor=attempt.redactor)
    phases = answer.phases
    return Outcome(
        state=found.state,
        started_s=started_s,
        ended_s=attempt.clock.now(),
        error=found.error,
        detail=_storable_text(found.detail),
        latency_ms=round(answer.latency_ms, 3),
        phases_ms={
            "dns": _rounded(phases.dns),
            "connect": _rounded(phases.connect),
            "tls": _rounded(phases.tls),
            "first_byte": _rounded(phases.first_byte),
            "body": _rounded(phases.body),
        },
        status_code=answer.status_code,
        bytes=answer.bytes,
        address=answer.address or "",
        certificate_days=answer.certificate_days,
        expectations=[_told(check) for check in found.checks] or None,
        evidence=_evidence(attempt, answer, found),
    )


def _told(check: Check) -> dict[str, object]:
    return {
        "name": check.name,
        "expected": _storable(check.expected),
        "actual": _storable(check.actual),
        "ok": check.ok,
    }


def _evidence(attempt: Attempt, answer: Answer, found: Judgement) -> dict[str, object] | None:
    """Keep what a person would ask for at three in the morning; of failures alone."""
    call, redactor = attempt.call, attempt.redactor
    if call is None or found.state in {State.OK, State.DEGRADED}:
        return None
    headers = {name: value for name, value in call.headers.items() if name != marks.HEADER}
    request = {
        "method": call.method,
        "url": redactor.text(call.url),
        "headers": redactor.mapping(headers) | dict.fromkeys(call.secret_headers, REDACTED),
        "body": _excerpt(call.body, redactor),
    }
    response = None
    if answer.status_code is not None:
        some = dict(list(answer.headers.items())[:MAX_HEADERS])
        response = {
            "status_code": answer.status_code,
            "headers": {
                name: redactor.excerpt(str(value), MAX_EXCERPT)
                for name, value in redactor.mapping(some).items()
            },
            "body": _excerpt(answer.body, redactor),
            "url": redactor.text(answer.url),
        }
    return {"request": _storable(request), "response": _storable(response)}


def _excerpt(body: bytes, redactor: Redactor) -> str:
    # More than is kept, as what is taken out makes room; half a character at the cut is left out.
    is_cut = len(body) > MAX_READ
    text = Utf8("replace").decode(body[:MAX_READ], final=not is_cut)
    return redactor.excerpt(text, MAX_EXCERPT, is_cut=is_cut)


def _storable(value: Any) -> object:
    """Make JSON of a value that any database takes: PostgreSQL has no NUL, JSON has no NaN."""
    if isinstance(value, str):
        return _storable_text(value)
    if isinstance(value, Mapping):
        return {_storable_text(str(name)): _storable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _storable_text(text: str) -> str:
    if "\x00" in text:
        text = text.replace("\x00", "\N{SYMBOL FOR NULL}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)


@lru_cache(maxsize=256)
def _mark(job: int, secret: bytes, audience: str) -> str:
    return marks.sign(str(job), secret, audience)


@lru_cache(maxsize=1)
def _agent() -> str:
    try:
        return f"pulse-probe/{version('django-pulse-policy')}"
    except PackageNotFoundError:
        return "pulse-probe"
