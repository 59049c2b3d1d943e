"""What is to be probed, compiled from the policy in force: values that the engine runs by.

The engine never reads policy rows. A plan is made once for a document and the time that it holds;
what it cannot know, samples of discovered routes and secrets, is looked up where a job is made.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlencode

from django.urls import NoReverseMatch, reverse

from pulse.conf import conf
from pulse.core.announcement import Announcement
from pulse.core.attempts import Call
from pulse.core.document import Document, Item, canonical
from pulse.core.expectations import Expectations, merge, parse_expectations
from pulse.core.schedules import Schedule
from pulse.core.snapshot import Mode
from pulse.core.targets import (
    MAX_ENDPOINT_ID,
    SAFE_METHODS,
    EndpointId,
    fill_route,
    host_key,
    parse_target,
)
from pulse.core.windows import Window
from pulse.exceptions import InvalidEndpointId, PulseError, TargetResting, UnknownTarget
from pulse.policies import current, routes
from pulse.probes.kinds import (
    BUDGETS,
    PAYLOADS,
    SCHEDULES,
    TARGETS,
    WINDOWS,
    schedule_of,
    seconds_of,
    window_of,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: What a budget is where nobody has written one.
BUDGET: Final[Mapping[str, Any]] = {
    "max_jobs": 3,
    "max_concurrency": 200,
    "max_per_host": 2,
    "job_timeout_s": 600.0,
}
INFINITY: Final = float("inf")
IN_PROCESS: Final = "in_process"
#: The host of what is probed without a network.
IN_PROCESS_HOST: Final = "in-process"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is probed at once, over all workers."""

    max_jobs: int
    max_concurrency: int
    max_per_host: int
    job_timeout_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """What is sent to one place, and what is expected of it.

    Attributes:
        name: Of the target, or the endpoint id that stands in its place.
        endpoint_id: ``METHOD /route`` of this site; empty for other sites.
        call: What is sent, without secrets; the URL is a path alone where no base is known.
        secrets: ``secret_headers`` as the document has them.
        host: Whose cap it counts against, ``host:port``.
        reruns: It is sent again where its worker vanished; else it is lost.
        problem: Why it cannot be sent, in words; empty where it can.
    """

    name: str
    endpoint_id: str
    call: Call
    secrets: Mapping[str, str]
    host: str
    transport: str
    expect: Mapping[str, Any]
    reruns: bool
    mode: Mode
    public_name: str = ""
    public_group: str = ""
    description: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule: when its targets are probed, and what is made of it."""

    name: str
    schedule: Schedule
    targets: tuple[str, ...]
    expect: Mapping[str, Any]
    timeout_s: float | None
    deadline_s: float
    retries: int
    retry_backoff_s: float
    cooldown_s: float
    max_concurrency: int | None
    failure_threshold: int
    success_threshold: int
    mode: Mode
    description: str = ""

    @property
    def definition(self) -> str:
        """A hash of when it runs: another one has another next slot."""
        text = f"{self.schedule!r}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything that is probed by one document at one time.

    Attributes:
        announcement: Names the revision; None where no database has told one.
        valid_from: When a policy of it last started or ended, in epoch seconds.
        valid_until: When the next one does; None for never.
        limited: How many probes at once the schedules have that name a number.
        stamp: Tells two sets of schedules apart.
        resting: Names of targets that are off, or not in their time.
    """

    announcement: Announcement | None
    valid_from: float
    valid_until: float | None
    budget: Budget
    schedules: Mapping[str, Planned]
    limited: Mapping[str, int]
    windows: Mapping[str, Window]
    stamp: str
    resting: frozenset[str]
    _items: Mapping[str, Item] = field(repr=False)
    _payloads: Mapping[str, Item] = field(repr=False)
    _compiled: dict[str, Target] = field(default_factory=dict, repr=False)
    _expected: dict[tuple[str, str], Expectations] = field(default_factory=dict, repr=False)

    @property
    def revision(self) -> int:
        """The number of the revision; 0 for the empty policy."""
        return 0 if self.announcement is None else self.announcement.revision

    def holds(self, now: float) -> bool:
        """Whether it is the plan of a time, in epoch seconds."""
        return self.valid_from <= now and (self.valid_until is None or now < self.valid_until)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Name the targets in force, in order."""
        return tuple(self._items)

    @property
    def safe_targets(self) -> tuple[str, ...]:
        """Name the targets in force that may be probed without a thought."""
        return tuple(name for name, item in self._items.items() if item["method"] in SAFE_METHODS)

    @property
    def expects(self) -> Iterator[Mapping[str, Any]]:
        """Yield what is written of expectations, of targets and of schedules."""
        yield from (item["expect"] for item in self._items.values())
        yield from (planned.expect for planned in self.schedules.values())

    def target(self, name: str, sample: Mapping[str, Any] | None = None) -> Target:
        """Return a target by its name, or by an endpoint id.

        Args:
            name: Either.
            sample: Of a discovered endpoint (``probes.inputs``); a stored payload goes before it.

        Raises:
            InvalidEndpointId: It is neither a name nor an endpoint id (S0-07).
            UnknownTarget: There is no such target, or the endpoint's method is not safe.
            TargetResting: It is not in force.
        """
        if sample is None and (found := self._compiled.get(name)) is not None:
            return found
        parsed, payload = parse_target(name), self._payloads.get(name, {})
        if isinstance(parsed, EndpointId):
            if not parsed.is_safe:
                raise UnknownTarget(name)
            return _usable(name, lambda: _of_endpoint(parsed, payload, sample or {}))
        item = self._items.get(name)
        if item is None:
            raise TargetResting(name) if name in self.resting else UnknownTarget(name)
        target = self._compiled[name] = _usable(name, lambda: _of_item(item, payload))
        return target

    def find(self, name: str, sample: Mapping[str, Any] | None = None) -> Target | None:
        """Return a target as ``target`` does; None where there is none."""
        try:
            return self.target(name, sample)
        except (InvalidEndpointId, UnknownTarget):
            return None

    def expectations(self, target: Target, schedule: str) -> Expectations:
        """Return what is expected of a target within a schedule; of none for an empty name."""
        key = target.name, schedule
        found = self._expected.get(key)
        if found is None:
            planned = self.schedules.get(schedule)
            found = parse_expectations(merge(planned.expect if planned else {}, target.expect))
            self._expected[key] = found
        return found


@dataclass(slots=True)
class _Held:
    document: Document | None = None
    plan: Plan | None = None


_held = _Held()


def current_plan(now: float) -> Plan:
    """Return the plan of the policy in force; compiled anew where that is another.

    Args:
        now: Epoch seconds.
    """
    snapshot = current.current_snapshot()
    document = current.document_in_force()
    plan = _held.plan
    if (
        plan is None
        or document is not _held.document
        # Before it, too: the clock of the process that compiled it may be ahead of the database's.
        or not plan.holds(now)
        or plan.announcement != snapshot.announcement
    ):
        plan = compile_plan(document, snapshot.announcement, now)
        _held.document, _held.plan = document, plan
    return plan


def compile_plan(document: Document, announcement: Announcement | None, now: float) -> Plan:
    """Compile the probes of a document as they are at a time, in epoch seconds."""
    boundaries: list[float] = []
    items = {item["name"]: item for item in _in_force(document, TARGETS, now, boundaries)}
    payloads = {item["target"]: item for item in _in_force(document, PAYLOADS, now, boundaries)}
    budgets = list(_in_force(document, BUDGETS, now, boundaries))
    written = budgets[0] if budgets else BUDGET
    schedules = _readable(
        SCHEDULES,
        _in_force(document, SCHEDULES, now, boundaries),
        lambda item: _planned(item, items),
    )
    windows = _readable(WINDOWS, _windows(document, now, boundaries), window_of)
    return Plan(
        announcement=announcement,
        valid_from=max((at for at in boundaries if at <= now), default=0.0),
        valid_until=min((at for at in boundaries if now < at < INFINITY), default=None),
        budget=Budget(**{name: written[name] for name in BUDGET}),
        schedules=schedules,
        limited={
            name: planned.max_concurrency
            for name, planned in schedules.items()
            if planned.max_concurrency is not None
        },
        windows=windows,
        stamp=_stamp(schedules),
        resting=frozenset(
            item["name"] for item in document.get(TARGETS, ()) if item["name"] not in items
        ),
        _items=items,
        _payloads=payloads,
    )


def _windows(document: Document, now: float, boundaries: list[float]) -> Iterator[Item]:
    """Yield the windows that count.

    One that opens once is told by the times that end other policies: it is not ended by them.
    """
    in_force = {item["name"] for item in _in_force(document, WINDOWS, now, boundaries)}
    for item in document.get(WINDOWS, ()):
        if item["mode"] == Mode.ENFORCE and (not item.get("cron") or item["name"] in in_force):
            yield item


def _readable(kind: str, items: Iterable[Item], read: Callable[[Item], T]) -> dict[str, T]:
    """Read items, by name; one that cannot be keeps none of the others from being run.

    What makes no policy is refused when it is published. This is for a machine that lacks a time
    zone, and for what was published by another release.
    """
    found = {}
    for item in items:
        try:
            found[item["name"]] = read(item)
        except PulseError as error:
            logger.error("%s of %s is left out: %s", item["name"], kind, error)
    return found


def _planned(item: Item, items: Mapping[str, Item]) -> Planned:
    return Planned(
        name=item["name"],
        schedule=schedule_of(item),
        # One that is off, or not in its time, is left out; an endpoint id stands for itself.
        targets=tuple(name for name in item["targets"] if name in items or " " in name),
        expect=item["expect"],
        timeout_s=item.get("timeout_s"),
        max_concurrency=item.get("max_concurrency"),
        mode=Mode(item["mode"]),
        description=item["description"],
        **{
            name: item[name]
            for name in (
                "deadline_s",
                "retries",
                "retry_backoff_s",
                "cooldown_s",
                "failure_threshold",
                "success_threshold",
            )
        },
    )


def _usable(name: str, make: Callable[[], Target]) -> Target:
    """Make a target; one that was written past every validator has a problem, and stops nobody."""
    try:
        return make()
    except Exception as error:
        logger.exception("The probe target %s cannot be read", name)
        return Target(
            name=name,
            endpoint_id="",
            call=Call(method="GET", url=""),
            secrets={},
            host="",
            transport="http",
            expect={},
            reruns=False,
            mode=Mode.ENFORCE,
            problem=f"What is written of it cannot be read: {type(error).__name__}.",
        )


def _of_item(item: Item, payload: Item) -> Target:
    method, name = item["method"], item["name"]
    in_process = item["transport"] == IN_PROCESS
    path, endpoint_id, problem = "", "", ""
    if item.get("url_name"):
        params = payload.get("path_params") or item["path_params"]
        try:
            path = reverse(item["url_name"], kwargs=params or None)
        except NoReverseMatch:
            problem = f"There is no route {item['url_name']} that takes these parameters."
    elif item.get("path"):
        path = item["path"]
    url, host, reason = _place(path, item.get("url") or "", in_process=in_process)
    if path:
        endpoint_id = _endpoint_of(method, path)
    call = Call(
        method=method,
        url=_with_query(url, {**item["query"], **payload.get("query", {})}),
        headers={**_typed(payload), **item["headers"], **payload.get("headers", {})},
        body=_body(payload),
        timeout_s=item["timeout_s"],
        follow_redirects=item["follow_redirects"],
        verify_tls=item["verify_tls"],
        allow_networks=tuple(item["allow_networks"]),
        trusts_origin=not item.get("url"),
    )
    on_crash = item.get("on_crash") or ("rerun" if method in SAFE_METHODS else "mark_lost")
    return Target(
        name=name,
        endpoint_id=endpoint_id,
        call=call,
        secrets=item["secret_headers"],
        host=host,
        transport=item["transport"],
        expect=item["expect"],
        reruns=on_crash == "rerun",
        mode=Mode(item["mode"]),
        public_name=item.get("public_name", ""),
        public_group=item.get("public_group", ""),
        description=item["description"],
        problem=problem or reason,
    )


def _of_endpoint(endpoint: EndpointId, payload: Item, sample: Mapping[str, Any]) -> Target:
    transport = conf.PROBE_TRANSPORT
    path, problem = "", ""
    try:
        own = payload.get("path_params")
        if own or "path" not in sample:
            path = fill_route(endpoint.route, own or sample.get("path_params") or {})
        else:  # Of a regular expression, from which no path follows.
            path = sample["path"]
    except PulseError as error:
        problem = str(error)
    url, host, reason = _place(path, "", in_process=transport == IN_PROCESS)
    query = payload.get("query") or sample.get("query") or {}
    return Target(
        name=str(endpoint),
        endpoint_id=str(endpoint),
        call=Call(
            method=endpoint.method,
            url=_with_query(url, query),
            headers={**sample.get("headers", {}), **payload.get("headers", {})},
            body=b"",
            trusts_origin=True,
        ),
        secrets={},
        host=host,
        transport=transport,
        expect={},
        reruns=True,
        mode=Mode.ENFORCE,
        problem=problem or reason,
    )


def _place(path: str, url: str, *, in_process: bool) -> tuple[str, str, str]:
    """Return the URL to call, the host whose cap counts, and why there is none."""
    if in_process:
        return path, IN_PROCESS_HOST, ""
    if not url:
        if not conf.PROBE_BASE_URL:
            return path, "", 'This site\'s own address is not known: set PULSE["PROBE_BASE_URL"].'
        url = f"{conf.PROBE_BASE_URL}{path}"
    try:
        return url, host_key(url), ""
    except ValueError as error:
        return url, "", str(error)


def _endpoint_of(method: str, path: str) -> str:
    match = routes.match_path(unquote(path))
    endpoint_id = "" if match is None else f"{method} /{match.route}"
    # A route of a longer text has no name, as in discovery.
    return endpoint_id if len(endpoint_id) <= MAX_ENDPOINT_ID else ""


def _with_query(url: str, query: Mapping[str, object]) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _body(payload: Item) -> bytes:
    body = payload.get("body")
    if body is None:
        return b""
    text = body if isinstance(body, str) else canonical(body)
    return text.encode()


def _typed(payload: Item) -> dict[str, str]:
    body = payload.get("body")
    return {} if body is None or isinstance(body, str) else {"Content-Type": "application/json"}


def _in_force(document: Document, kind: str, now: float, boundaries: list[float]) -> Iterator[Item]:
    """Yield the items of a kind that are on now; note when any starts or ends."""
    for item in document.get(kind, ()):
        if item["mode"] == Mode.OFF:
            continue
        starts = seconds_of(item.get("starts_at"), 0.0)
        ends = seconds_of(item.get("ends_at"), INFINITY)
        boundaries += [starts, ends]
        if starts <= now < ends:
            yield item


def _stamp(schedules: Mapping[str, Planned]) -> str:
    told = sorted((name, planned.definition) for name, planned in schedules.items())
    return hashlib.sha256(repr(told).encode()).hexdigest()
