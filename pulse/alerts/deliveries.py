"""Words to channels as rows: written with what they tell of, claimed by leases, recorded once."""

import random
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.alerts.models import ChannelSecret
from pulse.alerts.rules import is_in_time, items
from pulse.alerts.state import (
    AlertDelivery,
    AlertTally,
    DeliveryState,
    Incident,
    IncidentState,
)
from pulse.conf import conf
from pulse.core.document import Item
from pulse.core.snapshot import Mode
from pulse.policies import publisher
from pulse.policies.kinds import time_to_text
from pulse.policies.publisher import Actor
from pulse.probes import engine

CHANNELS: Final = "alert_channels"
#: One attempt takes less, by mail to a slow server too; who holds a row longer has died or hangs.
LEASE: Final = timedelta(seconds=120)
#: When each attempt after the first is made, in seconds after the one before (Standard Webhooks).
WAITS_S: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
#: So much later or earlier than that, as a share of it.
JITTER: Final = 0.1
#: Attempts that a row remembers.
MAX_LOG: Final = 20
#: What was tried so often and has not arrived will hardly arrive by itself.
STRUGGLING: Final = 3
#: What failed so long ago needs nobody any more.
LATELY: Final = timedelta(days=1)
#: Words that are looked at in one go.
MANY: Final = 50
#: How much of an error is kept.
MAX_ERROR: Final = 500


class Event(StrEnum):
    """What a word tells of."""

    FIRING = "alert.firing"
    RESOLVED = "alert.resolved"
    TEST = "alert.test"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A word that this process may send, until its lease ends.

    Attributes:
        attempt: Which one it is, from 1.
        channel: As the policy in force has it; None where it has none of that name any more.
        kept: What the channel's word is signed with, encrypted; empty for none.
    """

    pk: int
    fence: int
    attempt: int
    webhook_id: str
    event: str
    name: str
    channel: Item | None
    body: Mapping[str, Any]
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of an attempt.

    Attributes:
        error: Why the receiver did not take it, in words without secrets; empty where it did.
        again: Another attempt makes sense.
        retry_after_s: When the receiver wants it.
    """

    status_code: int | None = None
    error: str = ""
    again: bool = True
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return not self.error


def enqueue(incident: Incident, event: Event, names: Iterable[str]) -> int:
    """Write a word of an incident for each channel in force, in the caller's transaction.

    A channel that has the word already gets no other.

    Returns:
        How many channels are to be told.
    """
    known = in_force()
    wanted = [name for name in dict.fromkeys(names) if name in known]
    body = {
        "type": str(event),
        "timestamp": time_to_text(timezone.now()),
        "data": {
            "rule": incident.rule or None,
            "title": incident.title,
            "subject": incident.subject or None,
            "severity": str(incident.severity),
            "value": incident.value,
            "threshold": incident.threshold,
            "incident": str(incident.pk),
            "started_at": time_to_text(incident.started_at),
            "resolved_at": time_to_text(incident.resolved_at),
            "url": url_of(incident),
        },
    }
    _write((name, event, body, incident) for name in wanted)
    return len(wanted)


def send_test(name: str, actor: Actor) -> AlertDelivery:
    """Write a word that tells of nothing, to try a channel of any mode; due at once."""
    now = time_to_text(timezone.now())
    data = {
        "rule": None,
        "title": _("A test by %s: nothing is wrong.") % (actor.name or actor.type),
        "subject": None,
        "severity": "warning",
        "value": None,
        "threshold": None,
        "incident": None,
        "started_at": now,
        "resolved_at": None,
        "url": None,
    }
    body = {"type": str(Event.TEST), "timestamp": now, "data": data}
    (row,) = _write([(name, Event.TEST, body, None)])
    return row


def in_force() -> dict[str, Item]:
    """Return the channels that word goes to now, by name."""
    now = timezone.now()
    return {
        item["name"]: item
        for item in items(CHANNELS)
        if item["mode"] == Mode.ENFORCE and is_in_time(item, now)
    }


def url_of(incident: Incident) -> str | None:
    """Return where people see an incident; None where ``PULSE["SITE_URL"]`` is not set."""
    if not conf.SITE_URL:
        return None
    try:
        path = reverse("pulse:incident", args=[incident.pk])
    except NoReverseMatch:  # A host may mount only what it wants of pulse.
        return None
    return conf.SITE_URL.rstrip("/") + path


def claim(most: int, busy: Mapping[str, int] | None = None, share: int = MANY) -> list[Claimed]:
    """Take words that are due and nobody's, for as long as ``LEASE``; by the database's clock.

    What was never tried is due whatever that clock says: it may have been set back since. Word of
    an end waits for that of its beginning, and puts an end to one that was tried in vain.

    Args:
        most: How many.
        busy: How many words to each channel are under way with who asks.
        share: How many to one channel may be.
    """
    using = publisher.database()
    rows = AlertDelivery.objects.using(using)
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    _end_superseded(rows.filter(free, state=DeliveryState.PENDING), using)
    is_due = Q(next_attempt_at__lte=Now()) | Q(attempt=0)
    due = rows.filter(free, is_due, state=DeliveryState.PENDING)
    beginning = rows.filter(
        incident=OuterRef("incident"),
        channel=OuterRef("channel"),
        event=Event.FIRING,
        state=DeliveryState.PENDING,
    )
    taken = Counter(busy)
    ready = due.exclude(channel__in=[name for name, many in taken.items() if many >= share])
    ready = ready.filter(~Q(event=Event.RESOLVED) | ~Exists(beginning))
    channels = {item["name"]: item for item in items(CHANNELS)}
    until = engine.clock(using) + LEASE
    claimed: list[Claimed] = []
    found = list(ready.order_by("next_attempt_at", "pk")[:MANY])
    kept = _kept({row.channel for row in found}, using)
    for row in found:
        if len(claimed) >= most or taken[row.channel] >= share:
            continue
        # Another may have it meanwhile: then its fence is another one.
        mine = due.filter(pk=row.pk, fence=row.fence).update(
            fence=F("fence") + 1, attempt=F("attempt") + 1, lease_until=until
        )
        if mine:
            taken[row.channel] += 1
            claimed.append(
                Claimed(
                    pk=row.pk,
                    fence=row.fence + 1,
                    attempt=row.attempt + 1,
                    webhook_id=row.webhook_id,
                    event=row.event,
                    name=row.channel,
                    channel=_open(channels.get(row.channel), row),
                    body=row.body,
                    kept=kept.get(row.channel, ""),
                )
            )
    return claimed


def record(claimed: Claimed, sent: Sent) -> bool:
    """Write down what came of an attempt; False for who took too long and was overtaken."""
    using = publisher.database()
    now = engine.clock(using)
    with transaction.atomic(using=using):
        rows = AlertDelivery.objects.using(using).filter(
            pk=claimed.pk, fence=claimed.fence, state=DeliveryState.PENDING
        )
        # Begins with a write: on SQLite a read that turns into one fails at once.
        if not rows.update(lease_until=None):
            return False
        row = rows.get()
        line = {
            "at": time_to_text(now),
            "attempt": claimed.attempt,
            "status_code": sent.status_code,
            "error": sent.error[:MAX_ERROR],
        }
        row.log = [*row.log, line][-MAX_LOG:]
        row.status_code, row.error = sent.status_code, sent.error[:MAX_ERROR]
        wait_s = None if sent.delivered else wait_after(claimed.attempt, sent)
        if wait_s is not None:
            row.next_attempt_at = now + timedelta(seconds=wait_s)
        else:
            row.state = DeliveryState.DELIVERED if sent.delivered else DeliveryState.FAILED
            row.next_attempt_at, row.finished_at = None, now
            _count(row.channel, row.state, using)
        row.save(using=using)
    return True


def wait_after(attempt: int, sent: Sent) -> float | None:
    """Return how long to wait after an attempt that failed, in seconds; None to give up."""
    if not sent.again or attempt > len(WAITS_S):
        return None
    wait_s = WAITS_S[attempt - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - a delay
    if sent.retry_after_s is not None:
        # The receiver's word counts, within a day.
        wait_s = min(max(wait_s, sent.retry_after_s), float(WAITS_S[-1]))
    return wait_s


def totals() -> list[tuple[str, str, int]]:
    """Return how many words were delivered to each channel, or failed, since counting began."""
    rows = AlertTally.objects.using(publisher.database()).order_by("channel", "outcome")
    return list(rows.values_list("channel", "outcome", "count"))


def failing(now: datetime) -> dict[str, str]:
    """Return what is wrong with each channel that took nothing since a word to it failed of late.

    Two queries. A word that was tried three times counts as failed, also while it is tried again.
    """
    rows = AlertDelivery.objects.using(publisher.database())
    is_given_up = Q(state=DeliveryState.FAILED, finished_at__gte=now - LATELY)
    is_struggling = Q(state=DeliveryState.PENDING, attempt__gte=STRUGGLING)
    failed = {
        channel: (finished_at or created_at, error)
        for channel, finished_at, created_at, error in rows.filter(is_given_up | is_struggling)
        .order_by("pk")
        .values_list("channel", "finished_at", "created_at", "error")
    }
    taken = rows.filter(state=DeliveryState.DELIVERED, channel__in=failed).order_by()
    newest = dict(taken.values_list("channel").annotate(last=Max("finished_at")))
    return {
        channel: error
        for channel, (at, error) in sorted(failed.items())
        if channel not in newest or newest[channel] < at
    }


def _open(channel: Item | None, row: AlertDelivery) -> Item | None:
    """Return a channel that takes a word: a test is for any, an incident's for none that is off."""
    is_off = channel is not None and channel["mode"] == Mode.OFF and row.incident_id is not None
    return None if is_off else channel


def _write(
    words: Iterable[tuple[str, Event, Mapping[str, Any], Incident | None]],
) -> Sequence[AlertDelivery]:
    using = publisher.database()
    now = engine.clock(using)
    rows = [
        AlertDelivery(
            channel=name,
            webhook_id=f"msg_{uuid.uuid4().hex}",
            event=event,
            incident=incident,
            body=body,
            created_at=now,
            next_attempt_at=now,
        )
        for name, event, body, incident in words
    ]
    is_told_once = all(row.incident for row in rows)
    return AlertDelivery.objects.using(using).bulk_create(rows, ignore_conflicts=is_told_once)


def _kept(names: Iterable[str], using: str) -> dict[str, str]:
    rows = ChannelSecret.objects.using(using).filter(channel__name__in=list(names))
    return dict(rows.values_list("channel__name", "value"))


def _end_superseded(free: QuerySet[AlertDelivery], using: str) -> None:
    """End words of beginnings that were tried in vain until it was over.

    Who hears of one last would take it for the newest.
    """
    over = free.filter(event=Event.FIRING, attempt__gt=0, incident__state=IncidentState.RESOLVED)
    for row in over.only("pk", "fence", "channel")[:MANY]:
        with transaction.atomic(using=using):
            mine = AlertDelivery.objects.using(using).filter(
                pk=row.pk, fence=row.fence, state=DeliveryState.PENDING
            )
            ended = mine.update(
                state=DeliveryState.FAILED,
                error=_("It was over before word of its beginning arrived."),
                finished_at=Now(),
                next_attempt_at=None,
                fence=F("fence") + 1,
            )
            if ended:
                _count(row.channel, DeliveryState.FAILED, using)


def _count(channel: str, outcome: str, using: str) -> None:
    """Count what rows that are pruned one day have told."""
    rows = AlertTally.objects.using(using).filter(channel=channel, outcome=outcome)
    while not rows.update(count=F("count") + 1):
        AlertTally.objects.using(using).bulk_create(
            [AlertTally(channel=channel, outcome=outcome)], ignore_conflicts=True
        )
