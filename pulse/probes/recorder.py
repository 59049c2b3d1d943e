"""What came of probes is written: once, in one transaction, with everything that follows from it.

Who records names the fence under which a probe was claimed. Where that is another by now, somebody
else has the probe or it was ended; what came of it here is nobody's, and is dropped.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pulse.core.attempts import Failure
from pulse.core.health import Span, by_hour
from pulse.core.judging import State
from pulse.core.snapshot import Mode
from pulse.probes import bulk, hours, jobs, standings
from pulse.probes.attempt import Finished, Key
from pulse.probes.engine import Engine, moment_of
from pulse.probes.plan import Plan, Planned, Target
from pulse.probes.state import ItemState, ProbeItem

logger = logging.getLogger(__name__)

#: What another try does not change.
FINAL: Final = frozenset({Failure.INTERNAL, Failure.URL_FORBIDDEN, Failure.ADDRESS_FORBIDDEN})
MAX_ADDRESS: Final = 64
COLUMNS: Final = (
    *("id", "state", "lease_until", "owner", "attempts", "started_at", "finished_at"),
    *("latency_ms", "phases_ms", "status_code", "bytes", "address", "certificate_days"),
    *("error", "detail", "expectations", "evidence"),
)
AGAIN: Final = ("id", "state", "lease_until", "owner", "attempts", "fence", "due_at")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of what was to be recorded.

    Attributes:
        results: Those that were written.
        retried: Probes that wait for another try.
        refused: Those that are not this worker's any more.
    """

    results: Sequence[Finished] = ()
    retried: int = 0
    refused: int = 0

    @property
    def ended(self) -> int:
        """How many results were written."""
        return len(self.results)


def record(finished: Sequence[Finished], plan: Plan, held: Engine) -> Recorded:
    """Write outcomes that are still ours, and all that follows: jobs, standings, hours.

    Args:
        finished: In any order; none twice.
        plan: Says what is tried again, and when a target counts as down.
        held: The lock.
    """
    if not finished:
        return Recorded()
    ours = still_ours((each.claimed.key for each in finished), held)
    again: list[tuple[Any, ...]] = []
    ended: list[Finished] = []
    for each in finished:
        if each.claimed.key not in ours:
            continue
        retry_s = _retry_s(each, plan.schedules.get(each.claimed.schedule))
        if retry_s is None:
            ended.append(each)
        else:
            claimed = each.claimed
            again.append(
                (
                    *(claimed.item, ItemState.QUEUED, None, ""),
                    *(claimed.attempts + 1, claimed.fence + 1, moment_of(retry_s)),
                )
            )
    bulk.update(ProbeItem, held.using, AGAIN, again)
    if ended:
        bulk.update(ProbeItem, held.using, COLUMNS, [_row(each) for each in ended])
        _follow(ended, plan, held)
        unsent = {
            each.claimed.job: each.outcome.detail
            for each in ended
            if each.outcome.error == Failure.INTERNAL
        }
        jobs.end_finished({each.claimed.job for each in ended}, held, unsent)
    return Recorded(tuple(ended), len(again), len(finished) - len(ours))


def still_ours(keys: Iterable[Key], held: Engine) -> set[Key]:
    """Return those items that run under the fences that they were claimed with."""
    wanted = set(keys)
    items = sorted({item for item, _fence in wanted})
    running = bulk.read(
        ProbeItem, held.using, ("id", "fence"), "id", items, state=ItemState.RUNNING
    )
    return wanted.intersection((item, fence) for item, fence in running)


def _retry_s(each: Finished, planned: Planned | None) -> float | None:
    """Say when it is tried again; None where it has ended."""
    claimed, outcome = each.claimed, each.outcome
    if planned is None or claimed.attempts >= planned.retries:
        return None
    if outcome.state not in {State.FAILED, State.TIMEOUT} or outcome.error in FINAL:
        return None
    retry_s = outcome.ended_s + planned.retry_backoff_s * 2**claimed.attempts
    until_s = claimed.deadline_at.timestamp()
    if claimed.slot_at is not None:
        # In the next slot it is the next probe's to say how the target is.
        until_s = min(until_s, planned.schedule.next_after(claimed.slot_at.timestamp()))
    return retry_s if retry_s < until_s else None


def _row(each: Finished) -> tuple[Any, ...]:
    claimed, outcome = each.claimed, each.outcome
    return (
        *(claimed.item, outcome.state, None, "", claimed.attempts + 1),
        *(moment_of(outcome.started_s), moment_of(outcome.ended_s)),
        *(outcome.latency_ms, outcome.phases_ms, outcome.status_code, outcome.bytes),
        *(outcome.address[:MAX_ADDRESS], outcome.certificate_days, outcome.error or ""),
        *(outcome.detail, outcome.expectations, outcome.evidence),
    )


def _follow(ended: Iterable[Finished], plan: Plan, held: Engine) -> None:
    """Move the standings of targets, and add to their hours."""
    results: list[standings.Result] = []
    tallies: dict[hours.Hour, hours.Tally] = {}
    targets: dict[str, Target | None] = {}
    for each in ended:
        claimed, outcome = each.claimed, each.outcome
        name = claimed.target
        if name not in targets:
            targets[name] = plan.find(name)
        results.append(_result(each, targets[name], plan.schedules.get(claimed.schedule)))
        tally = tallies.setdefault((name, hours.hour_of(outcome.ended_s)), hours.Tally())
        tally.counts[outcome.state.value] += 1
        tally.attempts += claimed.attempts + 1
        if outcome.latency_ms is not None and outcome.error in {None, Failure.EXPECTATION}:
            tally.latencies_ms.append(outcome.latency_ms)
    for name, spans in standings.take_in(results, plan.windows, held).items():
        _credit(name, spans, tallies)
    hours.add(tallies, held)


def _result(each: Finished, target: Target | None, planned: Planned | None) -> standings.Result:
    claimed, outcome = each.claimed, each.outcome
    timeout_s = claimed.timeout_s
    modes = [found.mode for found in (target, planned) if found is not None]
    return standings.Result(
        target=claimed.target,
        item=claimed.item,
        state=outcome.state,
        error=outcome.error,
        detail=outcome.detail,
        at_s=outcome.ended_s,
        timeout_s=timeout_s,
        grace_s=_grace_s(each, planned),
        failure_threshold=planned.failure_threshold if planned else 1,
        success_threshold=planned.success_threshold if planned else 1,
        group=target.public_group if target else "",
        in_shadow=Mode.SHADOW in modes,
    )


def _grace_s(each: Finished, planned: Planned | None) -> float | None:
    slot_at = each.claimed.slot_at
    if planned is None or slot_at is None:
        return None
    return 2 * planned.schedule.interval_s(slot_at.timestamp()) + each.claimed.timeout_s


def _credit(target: str, spans: Iterable[Span], tallies: dict[hours.Hour, hours.Tally]) -> None:
    for hour, seconds in by_hour(spans).items():
        tally = tallies.setdefault((target, hour), hours.Tally())
        for status, credited in seconds.items():
            tally.seconds[status] += credited  # type: ignore[assignment]  # Counter of floats
