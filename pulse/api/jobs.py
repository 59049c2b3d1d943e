"""Jobs of probes: started, watched, cancelled and run again; their probes, and all results."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils import json

from pulse import tasks
from pulse.access.scopes import Scope
from pulse.api import conditional
from pulse.api.filters import Filters, filters_of
from pulse.api.operations import (
    ACTOR,
    ANYTHING,
    FLAG,
    NUMBER,
    TEXT,
    TIME,
    WHOLE,
    Operation,
    Shape,
    nullable,
    page,
    record,
    several,
)
from pulse.api.views import ApiView, DetailView, ListView, find_row
from pulse.core.attempts import Failure
from pulse.exceptions import InvalidEndpointId, ProbeError
from pulse.policies.publisher import Actor
from pulse.probes import engine, jobs, orders
from pulse.probes.jobs import Starter
from pulse.probes.state import (
    OPEN_ITEMS,
    ItemState,
    JobStatus,
    ProbeItem,
    ProbeJob,
    Trigger,
)
from pulse.probes.summary import jobs as summary
from pulse.probes.summary.wire import PHASES, item_as_dict, result_as_dict

#: How a probe that was sent may have ended.
ENDED: Final = tuple(str(state) for state in ItemState if state not in OPEN_ITEMS)

RESULT: Final = Shape(
    "ProbeResult",
    record(
        {
            "id": TEXT,
            "job": TEXT,
            "schedule": nullable(TEXT),
            "target": TEXT,
            "endpoint_id": nullable(TEXT),
            "state": {"type": "string", "enum": list(ENDED)},
            "error": nullable({"type": "string", "enum": [str(each) for each in Failure]}),
            "detail": nullable(TEXT),
            "attempts": WHOLE,
            "started_at": nullable(TIME),
            "latency_ms": nullable(NUMBER),
            "phases_ms": record(dict.fromkeys(PHASES, nullable(NUMBER))),
            "status_code": nullable(WHOLE),
            "bytes": nullable(WHOLE),
            "address": nullable(TEXT),
            "certificate_days": nullable(NUMBER),
            "expectations": several(
                record({"name": TEXT, "expected": ANYTHING, "actual": ANYTHING, "ok": FLAG})
            ),
            "revision": WHOLE,
        }
    ),
)
ITEM: Final = Shape(
    "ProbeItem",
    record(
        {
            "target": TEXT,
            "state": {"type": "string", "enum": [str(state) for state in ItemState]},
            "result": {"anyOf": [RESULT, {"type": "null"}]},
        }
    ),
)
JOB: Final = Shape(
    "ProbeJob",
    record(
        {
            "id": TEXT,
            "status": {"type": "string", "enum": [str(status) for status in JobStatus]},
            "trigger": {"type": "string", "enum": [str(trigger) for trigger in Trigger]},
            "schedule": nullable(TEXT),
            "actor": ACTOR,
            "created_at": TIME,
            "started_at": nullable(TIME),
            "finished_at": nullable(TIME),
            "deadline_at": TIME,
            "eta_s": nullable(WHOLE),
            "error": nullable(TEXT),
            "counts": record(dict.fromkeys(("total", *map(str, ItemState)), WHOLE)),
        }
    ),
)
SECONDS: Final = nullable({"type": "number", "exclusiveMinimum": 0, "maximum": orders.MAX_S})
ORDER: Final = Shape(
    "ProbeOrder",
    record(
        {
            "schedule": nullable({"type": "string", "maxLength": 64}),
            "targets": nullable(
                {
                    "type": "array",
                    "items": TEXT,
                    "minItems": 1,
                    "maxItems": orders.MAX_TARGETS,
                }
            ),
            "timeout_s": SECONDS,
            "deadline_s": SECONDS,
        },
        *orders.FIELDS,
        additionalProperties=False,
    ),
)
START: Final = "A schedule, some targets, or, with an empty object, every safe target in force."
REFUSED: Final = (409, 429)


class JobView(ApiView):
    """What the views of jobs have in common."""

    def find(self, **kwargs: Any) -> Any:
        """Return the job that the address names."""
        return find_row(_jobs(), kwargs["ident"])

    def write(self, found: Any) -> Any:
        """Return what is told of jobs; one query."""
        if isinstance(found, Sequence):
            return [view.as_dict() for view in summary.views_of(found)]
        return summary.view_of(found).as_dict()

    @property
    def actor(self) -> Actor:
        """Who asks."""
        assert self.principal is not None  # noqa: S101 - no view of jobs is open to all
        return self.principal.actor

    @property
    def starter(self) -> Starter:
        """Who starts."""
        return Starter(self.actor, Trigger.API, self.request_id)

    def begun(self, request: Request, act: Callable[[], ProbeJob]) -> Response:
        """Start a job and tell a worker of it."""
        try:
            job = act()
        except (InvalidEndpointId, ProbeError) as error:
            if (found := orders.by_field(error)) is not None:
                raise found from error
            raise
        tasks.nudge()
        address = reverse("pulse:api-jobs-detail", args=[job.pk])
        headers = {"Location": request.build_absolute_uri(address)}
        return Response(self.write(job), status=202, headers=headers)


class JobList(JobView, ListView):
    """All jobs, and new ones."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW, "POST": Scope.OPERATE}
    counted = False
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("List probe jobs", page(JOB, counted=False)),
        "POST": Operation(
            "Start a probe job",
            JOB,
            ORDER,
            status=202,
            text=START,
            errors=REFUSED,
            body_example={"targets": ["products", "GET /api/search/"]},
            location=True,
        ),
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what jobs can be narrowed."""
        columns = ("status", "trigger", "schedule", "actor_type", "actor_name", "revision")
        return filters_of(ProbeJob, (*columns, *JOB_TIMES), ordered=False)

    def rows(self) -> QuerySet[Any]:
        """Return all jobs."""
        return _jobs()

    def post(self, request: Request) -> Response:
        """Start a job."""
        order = orders.order_of(self.fields(request))
        return self.begun(request, lambda: jobs.start(order, self.starter))


class JobDetail(JobView, DetailView):
    """One job, as far as it is."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("Read a probe job", JOB, etag=True),
    }

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Answer with the job; 304 to who has it as it is now."""
        told = self.write(self.find(**kwargs))
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
        return conditional.answer(request, told, conditional.tag(digest))


class JobCancellation(JobView):
    """The end of a job, by hand."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.OPERATE}
    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Cancel a probe job",
            JOB,
            text="What runs is broken off within 2 seconds. Again changes nothing.",
            errors=(409,),
        ),
    }

    def post(self, request: Request, ident: str) -> Response:
        """Cancel a job."""
        self.fields(request, exact=True)
        job = jobs.cancel(self.find(ident=ident).pk, self.actor, self.request_id)
        tasks.nudge()
        return Response(self.write(job))


class JobRepetition(JobView):
    """What did not end well, again."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.OPERATE}
    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Run again what was not ok",
            JOB,
            status=202,
            text="A new job of the probes of this one that are not ok.",
            errors=REFUSED,
            location=True,
        ),
    }

    def post(self, request: Request, ident: str) -> Response:
        """Start a new job."""
        self.fields(request, exact=True)
        job = self.find(ident=ident)
        return self.begun(request, lambda: jobs.rerun(job.pk, self.starter))


class ItemList(JobView, ListView):
    """The probes of a job, in the order in which they were asked for."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("List the probes of a job", page(ITEM)),
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what probes can be narrowed."""
        return filters_of(ProbeItem, ("target", "state"), ordered=False)

    def rows(self) -> QuerySet[Any]:
        """Return the probes of the job that the address names."""
        job = self.find(**self.kwargs)
        return _items().filter(job=job).order_by("pk")

    def write(self, found: Any) -> Any:
        """Return what is told of probes."""
        return [item_as_dict(item) for item in found]


class ResultList(ListView):
    """Results of all jobs, the newest first."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    counted = False
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("List results of probes", page(RESULT, counted=False)),
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what results can be narrowed."""
        return filters_of(ProbeItem, RESULT_COLUMNS, RESULT_NAMES, ordered=False)

    def rows(self) -> QuerySet[Any]:
        """Return what has ended; what was cancelled before it was sent has no result."""
        ended = _items().exclude(state__in=OPEN_ITEMS)
        return ended.exclude(state=ItemState.CANCELLED, started_at=None)

    def write(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what is told of results."""
        return [result_as_dict(item) for item in rows]


class ResultDetail(DetailView):
    """One result, which changes no more."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("Read the result of a probe", RESULT, etag=True),
    }

    def find(self, **kwargs: Any) -> Any:
        """Return the result that the address names."""
        return find_row(ResultList().rows(), kwargs["ident"])

    def write(self, row: Any) -> dict[str, Any]:
        """Return what is told of it."""
        return result_as_dict(row)

    def etag(self, row: Any, told: Mapping[str, Any]) -> str:  # noqa: ARG002 - it tells of no more
        """Return its ``ETag``."""
        return conditional.tag(f"{row.pk}.{row.fence}")


JOB_TIMES: Final = ("created_at", "started_at", "finished_at", "deadline_at")
RESULT_COLUMNS: Final = (
    *("job", "schedule", "target", "endpoint_id", "state", "error", "attempts"),
    *("started_at", "finished_at", "latency_ms", "status_code", "address"),
)
RESULT_NAMES: Final = (("job", "job__id"), ("schedule", "job__schedule"))


def _jobs() -> QuerySet[Any]:
    return ProbeJob.objects.using(engine.database()).all()


def _items() -> QuerySet[Any]:
    return ProbeItem.objects.using(engine.database()).select_related("job").defer("evidence")
