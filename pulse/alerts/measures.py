"""What alert rules may look at, and how it is read: each distinct time once for all rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import floor
from typing import Any, Final

from django.db.models import Count
from django.utils.translation import gettext as _

from pulse.alerts.measured import IN_FLIGHT, JOBS_FAILED, PROBE_DOWN
from pulse.alerts.rules import ABSENT, Rule
from pulse.core.health import Status
from pulse.core.measures import Measures, Window, told
from pulse.core.snapshot import Mode
from pulse.metrics import flush, history, series, window, wire
from pulse.metrics.series import HOUR, MINUTE
from pulse.policies import publisher
from pulse.probes.plan import current_plan
from pulse.probes.state import JobStatus, ProbeJob
from pulse.probes.summary import targets

#: Of targets that stand so nothing is known.
UNSEEN: Final = frozenset({Status.NOT_WATCHED, Status.MAINTENANCE})
#: What is counted over a time, and so is more over a longer one.
SUMS: Final = frozenset(
    {
        *("requests", "errors", "refused", "would_refuse", "slow"),
        *("bytes_in", "bytes_out", "queries", "query_ms"),
    }
)
#: Stands for any multiple of nothing.
MANY_TIMES: Final = 1e9
#: From here on nobody reads parts of a millisecond.
WHOLE_MS: Final = 100
#: Beyond so much the minutes of a day are too many to add up.
LONG: Final = timedelta(days=1)


@dataclass(slots=True)
class Reading:
    """What the rules of one look share: each time is read once.

    Attributes:
        now: The database's time.
    """

    now: datetime
    _windows: dict[int, Window] = field(default_factory=dict)
    _past: dict[tuple[str, datetime, datetime], tuple[float, Measures]] = field(
        default_factory=dict
    )
    _down: dict[str, float | None] | None = None

    def values(self, rule: Rule) -> Mapping[str, float | None] | None:
        """Return what a rule looks at, by subject; None where that cannot be known now.

        Queries once for what no rule before has asked for.
        """
        metric, subject = rule.metric, rule.endpoint
        if metric == PROBE_DOWN:
            down = self._targets()
            if not subject:
                return down
            # One that nobody watches any more is as gone as one that the policy has not.
            return {subject: down[subject]} if subject in down else {}
        if metric == JOBS_FAILED:
            return {"": self._failed_jobs(rule.window_s)}
        # How many there are now is not a matter of long.
        window_s = min(rule.window_s, flush.KEPT_S) if metric == IN_FLIGHT else rule.window_s
        value = self._measured(metric, subject, window_s, scales=rule.baseline_s is not None)
        if rule.op == ABSENT:
            if value is _UNKNOWN and self._is_silent(window_s):
                value = None
            elif not self._measured("requests", subject, window_s):
                value = None  # A count of nothing is no measure.
        if value is _UNKNOWN or rule.baseline_s is None:
            return None if value is _UNKNOWN else {subject: value}
        return self._ratio(rule, rule.baseline_s, value)

    def _ratio(
        self, rule: Rule, baseline_s: int, value: float | None
    ) -> Mapping[str, float | None] | None:
        """Compare with what was before."""
        until = self.now - timedelta(seconds=rule.window_s)
        since = until - timedelta(seconds=baseline_s)
        seconds, before = self._kept(rule.endpoint, since, until)
        if not seconds:
            return None
        normal = _pick(rule.metric, before, seconds)
        if value is None or normal is None:
            return {rule.endpoint: None}
        if rule.metric in SUMS:
            # What adds up is compared for as long as the window.
            normal *= rule.window_s / seconds
        if not normal:
            # Of nothing, nothing is as much as ever; and anything is more than any multiple.
            return {rule.endpoint: MANY_TIMES if value else None}
        return {rule.endpoint: value / normal}

    def _is_silent(self, window_s: int) -> bool:
        """Whether the store answers, has been counting for so long, and has nothing of anybody."""
        if window_s > flush.KEPT_S:
            return False
        reading = self._window(window_s)
        since = reading.lifetime.since_at
        has_counted = since is not None and since <= reading.from_at
        return _is_shared(reading) and has_counted and _is_empty(reading)

    def _window(self, window_s: int) -> Window:
        if window_s not in self._windows:
            self._windows[window_s] = window.read(window_s)
        return self._windows[window_s]

    def _measured(self, metric: str, endpoint: str, window_s: int, *, scales: bool = False) -> Any:
        """Return a value of the last so many seconds; of sums, what they come to in these.

        Args:
            metric: Which.
            endpoint: Of which; empty for all.
            window_s: A reading is of whole buckets, and so of up to one more than this.
            scales: What was recorded for less counts as much, as beside what was before.
        """
        if window_s > flush.KEPT_S:
            since = self.now - timedelta(seconds=window_s)
            seconds, found = self._kept(endpoint, since, self.now)
            return _pick(metric, found, seconds) if seconds else _UNKNOWN
        reading = self._window(window_s)
        if not _is_shared(reading) or _is_empty(reading):
            return _UNKNOWN
        if metric == IN_FLIGHT:
            return float(reading.in_flight)
        found = reading.endpoints.get(endpoint, Measures()) if endpoint else reading.total
        value = _pick(metric, found, reading.covered_s)
        if value is None or metric not in SUMS:
            return value
        share = window_s / max(reading.covered_s, 1.0)
        if share >= 1 and not scales:
            return value
        # One event stays one: a bucket is no longer than the shortest window.
        return value * share if scales else float(floor(value * share + 0.5))

    def _kept(self, endpoint: str, since: datetime, until: datetime) -> tuple[float, Measures]:
        place = (endpoint, since, until)
        if place not in self._past:
            is_kept = since >= self.now - history.MINUTES
            step = MINUTE if is_kept and until - since <= LONG else HOUR
            total = series.Span(since)
            for span in series.between(since, until - step, step, endpoint):
                total.add(span.seconds, span.measures)
            self._past[place] = (total.seconds, total.measures)
        return self._past[place]

    def _targets(self) -> dict[str, float | None]:
        if self._down is None:
            plan = current_plan(self.now.timestamp())
            self._down = {
                view.name: None if view.status in UNSEEN else float(view.status is Status.DOWN)
                for view in targets.views(plan, self.now)
                if view.mode == Mode.ENFORCE
            }
        return self._down

    def _failed_jobs(self, window_s: int) -> float:
        rows = ProbeJob.objects.using(publisher.database()).filter(
            status__in=(JobStatus.FAILED, JobStatus.TIMEOUT),
            finished_at__gt=self.now - timedelta(seconds=window_s),
        )
        return float(rows.aggregate(number=Count("pk"))["number"])


def say(metric: str, value: float | None) -> str:
    """Write a value as people read it."""
    if value is None:
        return _("nothing")
    if metric in {"error_rate", "success_rate"}:
        return f"{value * 100:.3g} %"
    if metric.startswith("latency_ms."):
        return f"{value:,.0f} ms" if value >= WHOLE_MS else f"{value:.3g} ms"
    return f"{value:.6g}"


_UNKNOWN: Final = object()


def _is_shared(reading: Window) -> bool:
    """Whether it tells of now: this process alone serves nobody, and what is old is over."""
    return reading.scope == "all" and not reading.is_stale


def _is_empty(reading: Window) -> bool:
    """Whether nobody recorded; the second that is under way counts as recorded in any case."""
    return not reading.total.requests and reading.covered_s < 1


def _pick(metric: str, measures: Measures, seconds: float) -> float | None:
    body: Any = told(measures, seconds, wire.promised())
    for name in metric.split("."):
        body = body.get(name) if isinstance(body, Mapping) else None
    return None if body is None else float(body)
