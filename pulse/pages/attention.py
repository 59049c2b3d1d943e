"""What somebody should look at, the worst first: the list that a dashboard is opened for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.http import urlencode
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.alerts.deliveries import CHANNELS, failing
from pulse.alerts.state import Incident, IncidentState, Severity
from pulse.conf import conf
from pulse.core.health import Status
from pulse.core.measures import Targets, Window
from pulse.core.snapshot import TIERS, Mode
from pulse.pages.places import Places
from pulse.policies import current, kinds, publisher
from pulse.policies.headroom import Headroom
from pulse.policies.overview import EXPIRING, SOON, Sort
from pulse.policies.processes import Convergence
from pulse.policies.state import GuardState, PolicyGuard
from pulse.probes import engine
from pulse.probes.state import ProbeScheduleState, ScheduleState
from pulse.probes.summary.machine import Machine

#: From this share of its capacity on a limit is close to refusing.
NEAR: Final = 0.8
#: What was measured so long ago and has not arrived is late, in seconds.
LATE_S: Final = 5.0
#: Less than this share is told as less than it.
LEAST_SHARE: Final = 0.001


#: Of one sort so many are listed.
MOST: Final = 3


class Level(StrEnum):
    """How much it matters, from most to least."""

    BAD = "bad"
    SLOW = "slow"
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to look at, and where to.

    Attributes:
        address: Empty where there is no page for it, or not for who asks.
        link: What it is called.
    """

    level: Level
    text: str
    address: str = ""
    link: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return what machines are told of it."""
        return {"level": str(self.level), "text": self.text}


@dataclass(frozen=True, slots=True)
class Situation:
    """What was found out for a page, which is looked through for needs.

    Attributes:
        headroom: None where the counters cannot be asked.
        statuses: How many targets have each status.
    """

    now: datetime
    reading: Window
    promised: Targets
    convergence: Convergence
    headroom: Mapping[str, Headroom] | None
    machine: Machine
    statuses: Mapping[Status, int]


def needs(found: Situation, places: Places) -> list[Need]:
    """List what needs attention, the worst first; six queries at most."""
    listed = [
        *_switches(),
        *_store(found),
        *_incidents(places),
        *_service(found),
        *_probes(found),
        *_processes(found),
        *_limits(found),
        *_policy(found, places),
        *_measures(found),
    ]
    order = list(Level)
    return sorted(listed, key=lambda need: order.index(need.level))


def _switches() -> Iterator[Need]:
    if not conf.ENABLED:
        yield Need(Level.BAD, _("Pulse is switched off here: no policy acts."))
    if not conf.METRICS:
        yield Need(Level.CALM, _("Nothing is measured here: METRICS is off."))


def _store(found: Situation) -> Iterator[Need]:
    reading = found.reading
    if reading.is_stale or found.convergence.unavailable:
        text = _(
            "Redis cannot be asked: each process limits by counters of its own, and what was "
            "measured is as of %s."
        )
        yield Need(Level.BAD, text % f"{localtime(reading.to_at):%H:%M:%S}")
    elif reading.scope == "process":
        text = _("No Redis brings processes together: these numbers are of one process alone.")
        yield Need(Level.CALM, text)


def _incidents(places: Places) -> Iterator[Need]:
    using = publisher.database()
    rows = Incident.objects.using(using).filter(state=IncidentState.OPEN).order_by("-pk")
    for row in rows[:MOST]:
        level = Level.BAD if row.severity == Severity.CRITICAL else Level.SLOW
        address = reverse("pulse:incident", args=[row.pk])
        yield Need(level, f"{row.title}.", address, _("Incident"))
    for channel in list(failing(timezone.now()))[:MOST]:
        text = _("Word of alerts does not arrive by the channel %s.") % channel
        address = places.of(CHANNELS, {"name": channel})
        yield Need(Level.BAD, text, address, _("Channel") if address else "")


def _service(found: Situation) -> Iterator[Need]:
    total, promised = found.reading.total, found.promised
    link = (reverse("pulse:endpoints"), _("Endpoints"))
    rate = total.error_rate
    if rate is not None and rate > promised.error_rate:
        text = _("%(rate)s of all answers are errors; promised are at most %(most)s.")
        told = {"rate": percent(rate), "most": percent(promised.error_rate)}
        yield Need(Level.BAD, text % told, *link)
    p95_ms = total.latencies.quantile_ms(0.95)
    if p95_ms is not None and p95_ms > promised.p95_ms:
        text = _("95 %% of answers take up to %(p95)s ms; promised are %(most)s ms.")
        told = {"p95": number_format(p95_ms, 0), "most": number_format(promised.p95_ms, 0)}
        yield Need(Level.SLOW, text % told, *link)


def _probes(found: Situation) -> Iterator[Need]:
    probes, link = reverse("pulse:probes"), _("Probes")
    if found.machine.problem == "nobody":
        text = _("Probes are due, and no worker is there to send them.")
        yield Need(Level.BAD, text, probes, link)
    elif found.machine.problem == "late":
        yield Need(Level.SLOW, _("Probes run late: more is due than is sent."), probes, link)
    down, degraded = (found.statuses.get(each, 0) for each in (Status.DOWN, Status.DEGRADED))
    if down:
        text = ngettext("%d target is down.", "%d targets are down.", down) % down
        yield Need(Level.BAD, text, f"{probes}?status=down", link)
    if degraded:
        text = ngettext("%d target is degraded.", "%d targets are degraded.", degraded) % degraded
        yield Need(Level.SLOW, text, f"{probes}?status=degraded", link)
    stuck = ProbeScheduleState.objects.using(engine.database())
    names = stuck.filter(state=ScheduleState.QUARANTINED).values_list("name", flat=True)
    for name in names[:MOST]:
        text = _("The schedule %s is quarantined: its job failed again and again.") % name
        yield Need(Level.BAD, text, f"{probes}?{urlencode({'schedule': name})}", link)


def _processes(found: Situation) -> Iterator[Need]:
    behind = len(found.convergence.behind)
    if behind:
        text = ngettext(
            "%(behind)d process does not run revision %(revision)d yet.",
            "%(behind)d processes do not run revision %(revision)d yet.",
            behind,
        )
        told = text % {"behind": behind, "revision": found.convergence.revision}
        yield Need(Level.SLOW, told, reverse("pulse:policies"), _("Policies"))


def _limits(found: Situation) -> Iterator[Need]:
    snapshot = current.current_snapshot()
    enforced = {rule.prefix.rstrip(":") for rule in snapshot.rules if rule.mode is Mode.ENFORCE}
    near = [
        (headroom.peak, rule)
        for rule, headroom in (found.headroom or {}).items()
        if headroom.peak is not None and headroom.peak >= NEAR and rule in enforced
    ]
    if near:
        peak, rule = max(near)
        text = ngettext(
            "%(count)d limit came close to what it allows in 24 hours: %(rule)s, to %(peak)s.",
            "%(count)d limits came close to what they allow in 24 hours; %(rule)s to %(peak)s.",
            len(near),
        )
        name = rule.partition(":")[2]
        told = text % {"count": len(near), "rule": name, "peak": percent(peak or 0.0)}
        address = f"{reverse('pulse:policies')}?sort={Sort.PEAK}"
        yield Need(Level.SLOW, told, address, _("Policies"))


def _policy(found: Situation, places: Places) -> Iterator[Need]:
    policies, link = reverse("pulse:policies"), _("Policies")
    using = publisher.database()
    watching = PolicyGuard.objects.using(using).filter(state=GuardState.WATCHING)
    for number, seen, most in watching.values_list("revision__number", "seen", "refusals"):
        text = _("Revision %(number)d is watched: %(seen)d of %(most)d refusals so far.")
        told = text % {"number": number, "seen": seen, "most": most}
        yield Need(Level.CALM, told, policies, link)
    if publisher.has_unpublished():
        review = places.screen("pulse_policyrevision_publish")
        yield Need(Level.CALM, _("A draft waits to be published."), review, _("Review it"))
    document = current.document_in_force()
    items = (item for kind in kinds.all_kinds() for item in document.get(kind.name, ()))
    ending = sum(_ends_soon(item, found.now) for item in items)
    if ending:
        text = ngettext(
            "%d rule ends within seven days.", "%d rules end within seven days.", ending
        )
        yield Need(Level.CALM, text % ending, f"{policies}?state={EXPIRING}", link)
    default = next((tier for tier in document.get(TIERS, ()) if tier.get("default")), None)
    if default is None:
        text = _("No tier is the default: who has none is held by endpoint limits alone.")
        yield Need(Level.CALM, text, places.screen("pulse_ratetier_changelist"), _("Tiers"))
    elif default.get("mode") == Mode.SHADOW:
        text = _("The tier %s is in shadow: nobody is refused by it yet.") % default["name"]
        yield Need(Level.CALM, text, places.of(TIERS, {"name": default["name"]}), _("Tiers"))


def _measures(found: Situation) -> Iterator[Need]:
    reading = found.reading
    if reading.dropped:
        text = ngettext(
            "The measures of %d answer were lost: there was no room or no store for them.",
            "The measures of %d answers were lost: there was no room or no store for them.",
            reading.dropped,
        )
        yield Need(Level.SLOW, text % reading.dropped)
    if reading.lag_s > LATE_S and not reading.is_stale:
        text = _("A process has not told what it measured for %s s.")
        yield Need(Level.SLOW, text % number_format(reading.lag_s, 0))


def percent(share: float) -> str:
    """Write a share of 0 to 1, never as more than it is, nor something as nothing."""
    if 0 < share < LEAST_SHARE:
        return _("less than %s %%") % number_format(LEAST_SHARE * 100, 1)
    return _("%s %%") % number_format(int(share * 1000) / 10, 1)


def _ends_soon(item: Mapping[str, Any], now: datetime) -> bool:
    text = item.get("ends_at")
    if not text or item.get("mode") == Mode.OFF:
        return False
    ends = datetime.fromisoformat(str(text))
    return now < ends <= now + SOON
