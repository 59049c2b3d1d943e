"""Whatever order things happen in: one result an item, and never more at once than may be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pulse.core.judging import State
from pulse.probes import due, engine, jobs, leases, recorder
from pulse.probes.attempt import Claimed, Finished
from pulse.probes.plan import Plan
from pulse.probes.runner import Runner
from pulse.probes.state import ItemState, JobStatus, ProbeHour, ProbeItem, ProbeJob, ProbeStart
from tests.probes.conftest import Apply
from tests.probes.engines import answering, elsewhere, held, outcome, start, targets

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["claim", "flush", "fail", "again", "expire", "cancel", "give", "disown"]),
        st.integers(0, 2),
        st.integers(1, 6),
    ),
    max_size=25,
)


class Workers:
    """Three workers that do things in any order; one may be asleep past its lease."""

    def __init__(self) -> None:
        self.held: dict[int, list[Claimed]] = {0: [], 1: [], 2: []}
        self.flushed: list[Claimed] = []
        self.ended: dict[int, int] = {}

    def move(self, what: str, who: int, number: int, job: ProbeJob) -> None:
        with held() as (plan, lock):
            self.move_held(what, who, number, job, plan, lock)

    def move_held(
        self, what: str, who: int, number: int, job: ProbeJob, plan: Plan, lock: engine.Engine
    ) -> None:
        name, mine = f"worker {who}", self.held[who]
        if what == "claim":
            mine += due.claim(plan, lock, name, number)
        elif what in {"flush", "fail"}:
            state = State.OK if what == "flush" else State.FAILED
            self.flush(mine[:number], state, plan, lock)
            self.flushed += mine[:number]
            del mine[:number]
        elif what == "again":
            # A flush that was answered by an error although it was committed.
            self.flush(self.flushed[-number:], State.OK, plan, lock)
        elif what == "expire":
            ProbeItem.objects.filter(owner=name, state=ItemState.RUNNING).update(
                lease_until=lock.now
            )
            leases.reclaim(plan, lock)
        elif what == "cancel" and number == 1:
            jobs.end(job, JobStatus.CANCELLED, lock)
            jobs._close_items(ProbeItem.objects.filter(job=job), ItemState.CANCELLED, lock)
        elif what == "give":
            leases.give_back([each.key for each in mine[:number]], plan, lock, begun=who == 0)
            del mine[:number]
        elif what == "disown":
            leases.disown(name, [each.key for each in mine], lock)

    def flush(self, claimed: list[Claimed], state: State, plan: Plan, lock: engine.Engine) -> None:
        ended = outcome(state, at_s=lock.now.timestamp())
        before = open_items()
        recorder.record([Finished(each, ended) for each in claimed], plan, lock)
        for item in before - open_items():
            self.ended[item] = self.ended.get(item, 0) + 1


def open_items() -> set[int]:
    return set(ProbeItem.objects.filter(finished_at=None).values_list("pk", flat=True))


def test_any_order_of_things_gives_one_result_and_keeps_the_caps(apply: Apply) -> None:
    """Claims, flushes, doubled flushes, leases that end, cancels: each item ends once."""
    others = [each | {"name": f"x{each['name']}"} for each in elsewhere(4)]
    apply(
        probe_targets=[*targets(5), *others],
        probe_budgets=[{"name": "default", "max_concurrency": 5, "max_per_host": 2}],
    )

    @given(moves=MOVES)
    @settings(max_examples=60, deadline=None)
    def holds(moves: list[tuple[str, int, int]]) -> None:
        for model in (ProbeJob, ProbeStart, ProbeHour):
            model.objects.all().delete()
        job = start()
        hands = Workers()
        for what, who, number in moves:
            hands.move(what, who, number, job)
            running = ProbeItem.objects.filter(state=ItemState.RUNNING)
            assert running.count() <= 5
            assert running.filter(host="127.0.0.1:8000").count() <= 2
        assert set(hands.ended.values()) <= {1}
        rows = list(ProbeItem.objects.values_list("state", flat=True))
        hours = ProbeHour.objects.all()
        for state in ("ok", "failed"):
            assert sum(getattr(hour, state) for hour in hours) == rows.count(state)
        bring_to_an_end(job)

    holds()


def bring_to_an_end(job: ProbeJob) -> None:
    """Whatever happened, who is left can."""
    with held() as (plan, lock):
        ProbeItem.objects.filter(state=ItemState.RUNNING).update(lease_until=lock.now)
        leases.reclaim(plan, lock)
    Runner("last", sends=answering(), soon_s=0.0).run()
    job.refresh_from_db()
    assert job.status in {JobStatus.COMPLETED, JobStatus.CANCELLED}
    assert not open_items()
