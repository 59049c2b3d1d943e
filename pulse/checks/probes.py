"""Whether what is to be probed can be, and somebody is there to do it."""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings
from django.core.checks import CheckMessage
from django.db import DatabaseError, connections
from django.utils import timezone
from django.utils.module_loading import import_string

from pulse.checks.findings import found, one_of
from pulse.conf import conf
from pulse.core.document import Document
from pulse.core.targets import EndpointId, parse_target
from pulse.core.urls import parse_url
from pulse.exceptions import ForbiddenUrl, PolicyError, ProbeError, SecretUnreadable
from pulse.policies import routes
from pulse.probes import secrets
from pulse.probes.models import KEPT, ProbeSecret, ProbeTarget
from pulse.probes.plan import Plan, compile_plan

#: What beat sends once a second.
TICK: Final = "pulse.tick"
#: So many names are told of a long list.
TOLD: Final = 5


def check_addresses() -> Iterator[CheckMessage]:
    """Look at where probes reach this site, and at who describes it."""
    if conf.PROBE_BASE_URL and (problem := _problem_of(conf.PROBE_BASE_URL)):
        yield found("E120", problem=problem)
    if conf.SITE_URL and (problem := _problem_of(conf.SITE_URL)):
        yield found("E112", problem=problem)
    if conf.PROBE_OPENAPI:
        try:
            import_string(conf.PROBE_OPENAPI)
        except ImportError as error:
            yield found("E121", path=conf.PROBE_OPENAPI, error=error)


def check_probes(document: Document) -> Iterator[CheckMessage]:
    """Look at the targets and schedules in force."""
    plan = compile_plan(document, None, timezone.now().timestamp())
    homeless = []
    for name in _probed(plan):
        problem = _problem_of_target(plan, name)
        if problem is None:
            homeless.append(name)
        elif problem:
            yield found("W121", name=name, problem=problem)
    if homeless:
        yield found("W120", names=_some(homeless))
    if plan.schedules and not _beats():
        yield found("W122", names=_some(list(plan.schedules)))


def check_secrets(alias: str) -> Iterator[CheckMessage]:
    """Try every stored secret with the keys that there are, and miss those that are stored nowhere.

    Three queries.
    """
    try:
        if ProbeSecret._meta.db_table not in connections[alias].introspection.table_names():
            return
        rows = ProbeSecret.objects.using(alias).order_by("target__name", "header")
        stored = list(rows.values_list("target__name", "header", "value"))
        headers = dict(
            ProbeTarget.objects.using(alias)
            .exclude(secret_headers={})
            .values_list("name", "secret_headers")
        )
    except DatabaseError:
        return
    for target, header, value in stored:
        try:
            secrets.decrypt(value)
        except SecretUnreadable:
            yield found("W123", target=target, header=header)
    there = {(target, header) for target, header, _value in stored}
    for target, values in headers.items():
        for header, value in values.items():
            if value == KEPT and (target, header.lower()) not in there:
                yield found("W124", target=target, header=header)


def _problem_of(base: str) -> str:
    """Say why probes cannot be sent to an address of this site; empty where they can."""
    try:
        parse_url(base)
    except ForbiddenUrl as error:
        return error.reason
    parts = urlsplit(base)
    return "a query or a fragment" if parts.query or parts.fragment else ""


def _probed(plan: Plan) -> list[str]:
    """Name each target, and each endpoint that a schedule names, once."""
    named = [name for schedule in plan.schedules.values() for name in schedule.targets]
    return list(dict.fromkeys([*plan.target_names, *named]))


def _problem_of_target(plan: Plan, name: str) -> str | None:
    """Say why a target cannot be sent; None where only the site's address is missing."""
    try:
        parsed = parse_target(name)
        if isinstance(parsed, EndpointId):
            known = routes.known_values(settings.ROOT_URLCONF)["route"]
            if parsed.route not in known:
                return "There is no such route."
            # What its route needs, a sample that only the database knows may give.
            return "" if conf.PROBE_BASE_URL or conf.PROBE_TRANSPORT == "in_process" else None
        target = plan.target(name)
    except (PolicyError, ProbeError) as error:
        return str(error)
    if not conf.PROBE_BASE_URL and target.call.trusts_origin and not target.host:
        return None
    return target.problem


def _beats() -> bool:
    """Whether beat's schedule, as the host's Celery application has it, has the tick."""
    entries = current_app.conf.beat_schedule or {}
    return any(
        isinstance(entry, Mapping) and entry.get("task") == TICK for entry in entries.values()
    )


def _some(names: list[str]) -> str:
    more = len(names) - TOLD
    return one_of([*names[:TOLD], *([f"{more} more"] if more > 0 else [])])
