"""Looks at every alert rule, by whoever comes first: one look for any number of workers and beats.

What is measured is read before the engine's lock is taken, so that a store or a database that is
slow holds nobody up who waits for it; who has read before another's look changes nothing.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Count, F
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from pulse.alerts import incidents
from pulse.alerts.incidents import Finding
from pulse.alerts.measured import PROBE_DOWN
from pulse.alerts.measures import MANY_TIMES, Reading, say
from pulse.alerts.rules import ABSENT, RULES, Rule, in_force
from pulse.alerts.state import AlertEngine, AlertStanding, AlertState, Incident, IncidentState
from pulse.core.alerting import Standing, State, calm_after, compare, step
from pulse.core.windows import Scope, find_open
from pulse.policies import publisher
from pulse.probes import engine
from pulse.probes.plan import Plan, current_plan

logger = logging.getLogger(__name__)

#: What came back so lately flaps.
FLAPPING: Final = timedelta(hours=1)

Key = tuple[str, str]


@dataclass(slots=True)
class Look:
    """What a look did.

    Attributes:
        was_late: Another looked meanwhile, and nothing was done.
        told: Words that were written.
    """

    opened: int = 0
    resolved: int = 0
    told: int = 0
    was_late: bool = False


@dataclass(slots=True)
class _Course:
    """One look under way: what it found, and what stood before."""

    now: datetime
    plan: Plan
    states: dict[Key, AlertState]
    returns: Mapping[Key, int]
    changed: dict[Key, AlertState] = field(default_factory=dict)
    look: Look = field(default_factory=Look)


def evaluate() -> Look:
    """Look at every rule once: a query for all states, and what the measures take.

    Raises:
        DatabaseError: There is no database; the next look makes up for it.
    """
    using = publisher.database()
    began = engine.clock(using)
    rules = {rule.name: rule for rule in in_force(began)}
    reading = Reading(began)
    values = {name: reading.values(rule) for name, rule in rules.items()}
    plan = current_plan(began.timestamp())
    with _locked(using) as (row, now):
        # A look that lies ahead was made before the clock was set back.
        if row.looked_at is not None and began <= row.looked_at <= now:
            return Look(was_late=True)
        rows = AlertState.objects.using(using).select_related("incident")
        states = {(one.rule, one.subject): one for one in rows}
        course = _Course(now, plan, states, _returns(now, using))
        _end(course, rules, values)
        for name, rule in rules.items():
            _judge(course, rule, values[name])
        AlertState.objects.using(using).bulk_create(
            course.changed.values(),
            update_conflicts=True,
            unique_fields=["rule", "subject"],
            update_fields=[
                *("state", "since", "clear_since", "value"),
                *("looked_at", "shadow", "silenced", "incident"),
            ],
        )
        AlertEngine.objects.using(using).filter(pk=row.pk).update(looked_at=now)
    return course.look


def title_of(rule: Rule, subject: str, value: float | None) -> str:
    """Say in a line what a rule found."""
    if rule.metric == PROBE_DOWN:
        return _("%s is down") % (subject or rule.name)
    where = _(" of %s") % subject if subject else ""
    told = {"metric": rule.metric, "where": where, "value": say(rule.metric, value)}
    if rule.op == ABSENT:
        return _("%(metric)s%(where)s: nothing was measured") % told
    if rule.baseline_s is not None and value is not None and value >= MANY_TIMES:
        return _("%(metric)s%(where)s is not nothing any more, as it was before") % told
    if rule.baseline_s is not None:
        told["value"] = f"{value:.3g}" if value is not None else "-"
        told["threshold"] = f"{rule.threshold:g}"
        return _("%(metric)s%(where)s is %(value)s times what it was (%(threshold)s)") % told
    told |= {"op": rule.op, "threshold": say(rule.metric, rule.threshold)}
    return _("%(metric)s%(where)s is %(value)s (%(op)s %(threshold)s)") % told


def _judge(course: _Course, rule: Rule, values: Mapping[str, float | None] | None) -> None:
    name = rule.name
    for subject in _subjects(course, rule, values):
        before = course.states.get((name, subject))
        seen_at = before.since if before and before.state == AlertStanding.PENDING else None
        value = None if values is None else values.get(subject)
        is_wrong = None if values is None else _is_wrong(rule, value)
        returns = course.returns.get((name, subject), 0)
        after = step(
            _state_of(before),
            course.now.timestamp(),
            is_wrong=is_wrong,
            for_s=rule.for_s,
            calm_s=calm_after(rule.resolve_for_s, returns),
        )
        if before is None and after.standing == Standing.OK:
            continue  # What was never wrong has no row.
        row = before or AlertState(rule=name, subject=subject, looked_at=course.now)
        row.state, row.since = AlertStanding(after.standing), _moment(after.since_s)
        row.clear_since = None if after.clear_since_s is None else _moment(after.clear_since_s)
        row.looked_at = course.now
        if values is not None:
            row.value = value
        _act(course, rule, row, seen_at)
        course.changed[name, subject] = row


def _act(course: _Course, rule: Rule, row: AlertState, seen_at: datetime | None) -> None:
    """Open, tell of or end the incident of a state, which was first seen at a time."""
    is_silenced = _is_silenced(course, rule)
    row.shadow, row.silenced = rule.shadow, is_silenced
    is_firing = row.state == AlertStanding.FIRING and not rule.shadow
    if not is_firing:
        if row.incident is not None:
            why = _("In shadow now") if rule.shadow else _("It is well again")
            _resolve(course, row, why)
        return
    if row.incident is None or row.incident.state == IncidentState.RESOLVED:
        finding = Finding(
            title=title_of(rule, row.subject, row.value),
            severity=rule.severity,
            rule=rule.name,
            subject=row.subject,
            source_key=rule.name,
            metric=rule.metric,
            value=row.value,
            threshold=rule.threshold,
            channels=rule.channels,
            seen_at=seen_at,
        )
        row.incident = incidents.open_incident(finding, course.now, tells=not is_silenced)
        course.look.opened += 1
        course.look.told += bool(rule.channels) and not is_silenced
        logger.warning("Alert %s: %s", rule.name, finding.title)
    elif not row.incident.told and not is_silenced:
        incidents.change(row.incident, course.now, _("Maintenance is over, and it is still so."))
        incidents.tell(row.incident, rule.channels)
        course.look.told += bool(rule.channels)


def _end(
    course: _Course,
    rules: Mapping[str, Rule],
    values: Mapping[str, Mapping[str, float | None] | None],
) -> None:
    """End what no rule looks at any more: it is gone, off, or about another subject."""
    for (name, subject), row in course.states.items():
        rule, found = rules.get(name), values.get(name)
        is_other = rule is not None and row.incident and row.incident.metric != rule.metric
        if rule is not None and not is_other and (found is None or subject in found):
            continue
        if rule is not None and rule.metric == PROBE_DOWN and not is_other:
            why = _("Nobody watches it any more")
        else:
            why = _("The rule is gone, is off or was changed")
        if row.state == AlertStanding.OK and row.incident is None:
            continue
        if row.incident is not None:
            _resolve(course, row, why)
        row.state, row.since, row.clear_since = AlertStanding.OK, course.now, None
        row.looked_at, row.silenced = course.now, False
        course.changed[name, subject] = row


def _resolve(course: _Course, row: AlertState, why: str) -> None:
    if row.incident is not None and incidents.resolve_incident(row.incident, course.now, why):
        course.look.resolved += 1
        course.look.told += row.incident.told
        logger.info("Alert %s is over: %s", row.rule, why)
    row.incident = None


def _subjects(
    course: _Course, rule: Rule, values: Mapping[str, float | None] | None
) -> Sequence[str]:
    if values is not None:
        return list(values)
    # Nothing is known now: what stands goes on standing.
    return [subject for name, subject in course.states if name == rule.name]


def _is_wrong(rule: Rule, value: float | None) -> bool | None:
    if rule.metric == PROBE_DOWN:
        # Of a target that nobody watches, or that is maintained, nothing is known.
        return None if value is None else bool(value)
    return compare(rule.op, value, rule.threshold)


def _is_silenced(course: _Course, rule: Rule) -> bool:
    windows = course.plan.windows.values()
    return find_open(windows, Scope(rule=rule.name), course.now.timestamp()) is not None


def _returns(now: datetime, using: str) -> Counter[Key]:
    """Count how often each came back of late."""
    rows = Incident.objects.using(using).filter(
        state=IncidentState.RESOLVED, resolved_at__gte=now - FLAPPING, source_kind=RULES
    )
    found: Any = rows.values_list("rule", "subject").annotate(number=Count("pk")).order_by()
    return Counter({(rule, subject): number for rule, subject, number in found})


def _state_of(row: AlertState | None) -> State | None:
    if row is None:
        return None
    clear = row.clear_since
    return State(
        Standing(row.state), row.since.timestamp(), None if clear is None else clear.timestamp()
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@contextmanager
def _locked(using: str) -> Iterator[tuple[AlertEngine, datetime]]:
    """Hold the engine's row for one transaction; begins with a write, as ``engine.locked``.

    On PostgreSQL who cannot have it in time gives up (OperationalError), and who is stopped while
    holding it loses it.
    """
    rows = AlertEngine.objects.using(using)
    with transaction.atomic(using=using):
        engine.be_patient(using)
        while not rows.filter(pk=1).update(looked_at=F("looked_at")):
            rows.bulk_create([AlertEngine(pk=1)], ignore_conflicts=True)
        row = rows.annotate(clock=Now()).get(pk=1)
        yield row, row.clock
