"""What is measured, as data. Each case runs in a process of its own."""

from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from typing import Any, Final

PULSE: Final = "pulse.middleware.PulseMiddleware"
SMART: Final = "django_smart_ratelimit.middleware.RateLimitMiddleware"
CORS: Final = "corsheaders.middleware.CorsMiddleware"
WHOLE: Final = "whole stack: limits, CORS, headers, access, body"
MANY: Final = "whole stack, 10,000 origins, 10,000 networks"
#: Over how many endpoints the cost of measures is looked at.
ENDPOINTS: Final = (10, 1000)
ASSEMBLED: Final = (
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django_guid.middleware.guid_middleware",
    "csp.middleware.CSPMiddleware",
    CORS,
    "django_prometheus.middleware.PrometheusAfterMiddleware",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure.

    Attributes:
        name: Unique; also the prefix of every key that the case writes.
        group: What is measured side by side with it: ``sync``, ``asgi`` or ``store``.
        title: The row's name in the table.
        subject: The view (``views``) or the call (``calls``) that is timed.
        store: ``redis``, ``local`` or empty.
        policy: The document (``policies``) that pulse has in force.
        middleware: The site's ``MIDDLEWARE``.
        floor: The case whose figures are taken off to give what was added.
        status: What every answer must be.
        quick: Whether a quick run measures it.
        needs: Modules without which it is left out.
        sync_view: A view that only runs in a thread, also under ASGI.
        endpoints: Over how many its requests go in turn; 0 for the one of all cases.
        switches: Its requests are timed in pairs within one process: measured by pulse, and not.
    """

    name: str
    group: str
    title: str
    subject: str = "bare"
    store: str = ""
    policy: str = ""
    middleware: tuple[str, ...] = ()
    floor: str = ""
    status: int = 200
    quick: bool = False
    needs: tuple[str, ...] = ()
    sync_view: bool = False
    endpoints: int = 0
    switches: bool = False

    @property
    def is_pulse(self) -> bool:
        """Whether pulse is in force in it."""
        return bool(self.policy)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Case":
        known = {field.name for field in fields(cls)}
        made: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items()
        }
        return cls(**{name: value for name, value in made.items() if name in known})


def pulse(group: str, store: str, policy: str, title: str, **more: Any) -> Case:
    """A bare view behind pulse."""
    return Case(
        f"{group}-pulse-{policy}-{store}", group, f"pulse: {title}", store=store, policy=policy,
        middleware=(PULSE,), floor=f"{group}-bare", **more,
    )  # fmt: skip


def peer(group: str, subject: str, store: str, title: str, **more: Any) -> Case:
    """A view that another limiter guards."""
    more.setdefault("floor", f"{group}-bare")
    return Case(f"{group}-{subject}-{store}", group, title, subject, store, **more)


def _requests(group: str) -> list[Case]:
    """The cases of one interface, each a request through Django's own handler."""
    threaded: dict[str, Any] = {"sync_view": True} if group == "asgi" else {}
    drf_bare = f"{group}-drf-bare"
    drf: dict[str, Any] = {"needs": ("rest_framework",), **threaded}
    cases = [
        Case(f"{group}-bare", group, "bare view", quick=True),
        peer(group, "evalsha", "redis", "floor: view with one EVALSHA of a GCRA", quick=True),
        pulse(group, "redis", "tier", "default tier", quick=True),
        pulse(group, "redis", "eight", "eight limits in the tier"),
        pulse(group, "redis", "endpoint", "tier and one endpoint limit", quick=True),
        pulse(group, "redis", "rules10", "10 endpoint limits, one matches", quick=True),
        pulse(group, "redis", "rules1000", "1,000 endpoint limits, one matches", quick=True),
        pulse(group, "redis", "rules10000", "10,000 endpoint limits, one matches"),
        pulse(group, "redis", "edge1", WHOLE, quick=True),
        pulse(group, "redis", "edge10000", MANY, quick=True),
        pulse(group, "redis", "spent", "refused", status=429),
        pulse(group, "local", "tier", "default tier", quick=True),
        pulse(group, "local", "eight", "eight limits in the tier"),
        pulse(group, "local", "endpoint", "tier and one endpoint limit"),
        pulse(group, "local", "rules10", "10 endpoint limits, one matches"),
        pulse(group, "local", "rules10000", "10,000 endpoint limits, one matches"),
        pulse(group, "local", "edge1", WHOLE, quick=True),
        pulse(group, "local", "edge10000", MANY),
        pulse(group, "local", "spent", "refused", status=429),
        Case(drf_bare, group, "DRF view without throttle", "drf_bare", **drf),
        Case(
            f"{group}-cors", group, "django-cors-headers alone", middleware=(CORS,),
            floor=f"{group}-bare",
        ),
    ]  # fmt: skip
    cases += [_measured(group, endpoints) for endpoints in ENDPOINTS]
    if group == "asgi":
        cases.append(
            Case(
                "asgi-bare-thread", group, "bare view in a thread", floor="asgi-bare",
                sync_view=True,
            )
        )  # fmt: skip
    for store in ("redis", "local"):
        cases += [
            peer(
                group, "ratelimit", store, "django-ratelimit", quick=True,
                needs=("django_ratelimit",), **threaded,
            ),
            peer(group, "drf", store, "DRF throttle, history empty", floor=drf_bare, **drf),
            peer(group, "limits_fixed", store, "limits, fixed window", needs=("limits",)),
            peer(
                group, "bare", store, "django-smart-ratelimit, fixed window",
                middleware=(SMART,), needs=("django_smart_ratelimit",),
            ),
            Case(
                f"{group}-assembled-{store}", group,
                "assembled: cors, ratelimit, csp, guid, prometheus", "ratelimit", store,
                middleware=ASSEMBLED, floor=f"{group}-bare", quick=True, **threaded,
                needs=(
                    "corsheaders", "django_ratelimit", "csp", "django_guid", "django_prometheus"
                ),
            ),
        ]  # fmt: skip
    cases.append(
        peer(group, "limits_sliding", "redis", "limits, sliding window counter", needs=("limits",))
    )
    return cases


def _measured(group: str, endpoints: int) -> Case:
    """Requests with measures and without, over so many endpoints."""
    return Case(
        f"{group}-pulse-over{endpoints}", group, f"pulse: {endpoints:,} endpoints", store="redis",
        policy="tier", middleware=(PULSE,), endpoints=endpoints, switches=True, quick=True,
    )  # fmt: skip


def _calls() -> list[Case]:
    """The cases without a request: a call of the counters."""

    def call(subject: str, title: str, store: str = "redis", *, quick: bool = True) -> Case:
        return Case(f"store-{subject}", "store", title, subject, store, quick=quick)

    return [
        call("raw_evalsha", "EVALSHA of a GCRA, a bare socket", quick=False),
        call("evalsha", "EVALSHA of a GCRA, redis-py"),
        call("transport", "EVALSHA of a GCRA, pulse's connection"),
        call("script_1", "pulse's script, 1 limit"),
        call("script_2", "pulse's script, 2 limits", quick=False),
        call("script_4", "pulse's script, 4 limits", quick=False),
        call("script_8", "pulse's script, 8 limits"),
        call("decide_1", "decide(), 1 limit"),
        call("decide_8", "decide(), 8 limits"),
        call("limits_fixed", "limits, fixed window"),
        call("decide_1_local", "decide() in process, 1 limit", "local"),
        call("decide_8_local", "decide() in process, 8 limits", "local"),
        call("limits_fixed_local", "limits in process, fixed window", "local"),
        call("dict_gcra", "a GCRA on a dictionary", "local"),
    ]


CASES: Final = [*_requests("sync"), *_requests("asgi"), *_calls()]


def _exact(subject: str, title: str, needs: tuple[str, ...], **more: Any) -> list[Case]:
    """A limiter at 100 an hour, on each of its stores."""
    return [
        Case(f"exact-{title}-{store}", "exact", title, subject, store, needs=needs, **more)
        for store in ("redis", "local")
    ]


#: The limiters whose exactness is tried.
EXACT: Final = [
    *_exact("bare", "pulse", (), policy="hundred", middleware=(PULSE,)),
    *_exact("ratelimit", "django-ratelimit", ("django_ratelimit",)),
    *_exact("drf", "DRF throttle", ("rest_framework",)),
    *_exact("limits_fixed", "limits, fixed window", ("limits",)),
    *_exact(
        "bare", "django-smart-ratelimit, fixed window", ("django_smart_ratelimit",),
        middleware=(SMART,),
    ),
]  # fmt: skip


def is_possible(case: Case) -> bool:
    """Whether everything that a case needs is installed."""
    return all(find_spec(name) for name in case.needs)
