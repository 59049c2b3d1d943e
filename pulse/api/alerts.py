"""Alert rules and channels with how they stand; tests, deliveries, incidents and their notes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse import tasks
from pulse.access.scopes import Scope
from pulse.alerts import deliveries, incidents, timeline
from pulse.alerts.deliveries import CHANNELS
from pulse.alerts.models import AlertChannel
from pulse.alerts.rules import RULES
from pulse.alerts.state import (
    AlertDelivery,
    AlertStanding,
    AlertState,
    DeliveryState,
    Incident,
    IncidentState,
    Severity,
    UpdateKind,
)
from pulse.api.errors import invalid
from pulse.api.filters import Filters, filters_of
from pulse.api.operations import (
    ACTOR,
    FLAG,
    NUMBER,
    TEXT,
    TIME,
    WHOLE,
    Operation,
    Schema,
    Shape,
    nullable,
    page,
    record,
    several,
)
from pulse.api.policies import PolicyDetail, PolicyList, PolicyView
from pulse.api.views import ApiView, DetailView, ListView, find_row
from pulse.policies import publisher
from pulse.policies.kinds import time_to_text
from pulse.policies.reading import is_storable
from pulse.probes import engine


def choices(values: type[Any]) -> Schema:
    """Return the schema of one of a few words."""
    return {"type": "string", "enum": [str(value) for value in values]}


DELIVERY: Final = Shape(
    "AlertDelivery",
    record(
        {
            "id": TEXT,
            "event": TEXT,
            "incident": nullable(TEXT),
            "webhook_id": TEXT,
            "attempt": WHOLE,
            "status_code": nullable(WHOLE),
            "error": nullable(TEXT),
            "state": choices(DeliveryState),
            "created_at": TIME,
            "next_attempt_at": nullable(TIME),
            "finished_at": nullable(TIME),
            "log": several(
                record(
                    {
                        "at": TIME,
                        "attempt": WHOLE,
                        "status_code": nullable(WHOLE),
                        "error": TEXT,
                    }
                )
            ),
        }
    ),
)
UPDATE: Final = Shape(
    "IncidentUpdate",
    record({"at": TIME, "kind": choices(UpdateKind), "text": TEXT, "actor": ACTOR, "public": FLAG}),
)
CHANGE: Final = record(
    {"at": TIME, "kind": {"type": "string", "enum": ["policy", "mark"]}, "text": TEXT, "by": TEXT}
)
INCIDENT: Final = Shape(
    "Incident",
    record(
        {
            "id": TEXT,
            "title": TEXT,
            "severity": choices(Severity),
            "state": choices(IncidentState),
            "rule": nullable(TEXT),
            "subject": nullable(TEXT),
            "source": record({"kind": TEXT, "key": TEXT}),
            "value": nullable(NUMBER),
            "threshold": nullable(NUMBER),
            "started_at": TIME,
            "resolved_at": nullable(TIME),
            "updates": several(UPDATE),
            "changes": several(CHANGE),
        }
    ),
)
NOTE: Final = Shape(
    "IncidentNote",
    record(
        {
            "text": {"type": "string", "minLength": 1, "maxLength": incidents.MAX_NOTE},
            "public": FLAG,
        },
        "public",
        additionalProperties=False,
    ),
)


class RuleView(PolicyView):
    """Where rules stand: one query."""

    extra: ClassVar[Mapping[str, Schema]] = {"state": choices(AlertStanding)}
    resting: ClassVar[Mapping[str, Any]] = {"state": AlertStanding.OK.value}

    def extras(self, listed: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Return the worst standing of each rule's subjects."""
        rows = AlertState.objects.using(publisher.database())
        worst: dict[str, AlertStanding] = {}
        order = list(AlertStanding)
        names = [row.name for row in listed]
        for name, text in rows.filter(rule__in=names).values_list("rule", "state"):
            state = AlertStanding(text)
            worst[name] = max(state, worst.get(name, AlertStanding.OK), key=order.index)
        return [{"state": str(worst.get(name, AlertStanding.OK))} for name in names]


class RuleList(RuleView, PolicyList):
    """All alert rules, and new ones."""


class RuleDetail(RuleView, PolicyDetail):
    """One alert rule."""


class ChannelView(PolicyView):
    """Channels; a secret that was made is told once, by who made it."""

    def write(self, found: Any) -> Any:
        """Return what is told of channels."""
        told = super().write(found)
        if not isinstance(found, Sequence) and found.made_secret:
            told["secret"] = found.made_secret
            self.headers["Cache-Control"] = "no-store"
        return told

    def to_store(self, data: Any) -> Any:
        """Keep a secret out of what is repeated."""
        has_one = isinstance(data, Mapping) and str(data.get("secret", "")).startswith("whsec_")
        return {**data, "secret": "***"} if has_one else data


class ChannelList(ChannelView, PolicyList):
    """All alert channels, and new ones."""


class ChannelDetail(ChannelView, PolicyDetail):
    """One alert channel."""


class ChannelTest(ApiView):
    """A word that tells of nothing."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.OPERATE}
    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Send a test to a channel",
            DELIVERY,
            status=202,
            text="Of any mode. What becomes of it stands in `deliveries/`.",
        )
    }

    def post(self, request: Request, ident: str) -> Response:
        """Write the word, and have it sent."""
        self.fields(request, exact=True)
        assert self.principal is not None  # noqa: S101 - it takes a scope
        row = find_row(_channels(), ident)
        sent = deliveries.send_test(row.name, self.principal.actor)
        tasks.nudge_couriers()
        return Response(_delivery(sent), status=202)


class ChannelDeliveries(ListView):
    """What was sent to a channel, newest first."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    counted = False
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("List what was sent to a channel", page(DELIVERY, counted=False))
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what they can be narrowed."""
        return filters_of(AlertDelivery, ("event", "state", "created_at"), ordered=False)

    def rows(self) -> QuerySet[Any]:
        """Return all of the channel's name."""
        row = find_row(_channels(), self.kwargs["ident"])
        return AlertDelivery.objects.using(publisher.database()).filter(channel=row.name)

    def write(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what is told of them."""
        return [_delivery(row) for row in rows]


class IncidentView(ApiView):
    """What the views of incidents have in common."""

    def write(self, found: Any) -> Any:
        """Return what is told of incidents: in a list without what changed before."""
        if isinstance(found, Sequence):
            return [incidents.as_dict(row, updates=list(row.updates.all())) for row in found]
        told = incidents.as_dict(found, updates=list(found.updates.all()))
        return {**told, "changes": [_change(entry) for entry in timeline.changes_before(found)]}


class IncidentList(IncidentView, ListView):
    """All incidents."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    counted = False
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "List incidents",
            page(
                Shape(
                    "IncidentInList",
                    record(
                        {
                            name: schema
                            for name, schema in INCIDENT.schema["properties"].items()
                            if name != "changes"
                        }
                    ),
                ),
                counted=False,
            ),
        )
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what incidents can be narrowed."""
        columns = ("state", "severity", "rule", "subject", "started_at", "resolved_at")
        return filters_of(Incident, columns, (), ("title",), ordered=False)

    def rows(self) -> QuerySet[Any]:
        """Return all incidents."""
        return _incidents()


class IncidentDetail(IncidentView, DetailView):
    """One incident, with what changed in the ten minutes before it."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    operations: ClassVar[Mapping[str, Operation]] = {"GET": Operation("Read an incident", INCIDENT)}

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Answer with the incident."""
        del request
        return Response(self.write(find_row(_incidents(), kwargs["ident"])))


class IncidentNotes(IncidentView):
    """Notes of people."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.OPERATE}
    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Write a note on an incident",
            INCIDENT,
            NOTE,
            status=201,
            text="With `public` it stands on the public status page, too.",
            body_example={"text": "The new release is taken back."},
        )
    }

    def post(self, request: Request, ident: str) -> Response:
        """Write the note."""
        body = self.fields(request, "text", "public")
        errors = {}
        text, public = body.get("text"), body.get("public", False)
        if not isinstance(text, str) or not text.strip():
            errors["text"] = [_("This is required.")]
        elif len(text) > incidents.MAX_NOTE:
            errors["text"] = [_("Write at most %d characters.") % incidents.MAX_NOTE]
        elif not is_storable(text):
            errors["text"] = [_("It has a character that cannot be stored.")]
        if not isinstance(public, bool):
            errors["public"] = [_("Write true or false.")]
        if errors:
            raise invalid(errors)
        assert self.principal is not None  # noqa: S101 - it takes a scope
        row = find_row(_incidents(), ident)
        now = engine.clock(publisher.database())
        # Read before the commit: what fails after it would be sent, and written, again.
        with transaction.atomic(using=publisher.database()):
            incidents.note(row, now, str(text).strip(), self.principal.actor, public=public)
            told = self.write(find_row(_incidents(), ident))
        return Response(told, status=201)


#: For ``urls.SPECIAL``.
VIEWS: Mapping[str, tuple[type[PolicyList], type[PolicyDetail]]] = {
    RULES: (RuleList, RuleDetail),
    CHANNELS: (ChannelList, ChannelDetail),
}


def _incidents() -> QuerySet[Any]:
    return Incident.objects.using(publisher.database()).prefetch_related("updates")


def _channels() -> QuerySet[Any]:
    return AlertChannel.objects.using(publisher.database())


def _delivery(row: AlertDelivery) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "event": row.event,
        "incident": None if row.incident_id is None else str(row.incident_id),
        "webhook_id": row.webhook_id,
        "attempt": row.attempt,
        "status_code": row.status_code,
        "error": row.error or None,
        "state": str(row.state),
        "created_at": time_to_text(row.created_at),
        "next_attempt_at": time_to_text(row.next_attempt_at),
        "finished_at": time_to_text(row.finished_at),
        "log": row.log,
    }


def _change(entry: timeline.Entry) -> dict[str, Any]:
    return {
        "at": time_to_text(entry.at),
        "kind": str(entry.kind),
        "text": entry.text,
        "by": entry.who,
    }
