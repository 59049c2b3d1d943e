"""Which operations are under which policies, and which are probed."""

from datetime import timedelta

import pytest
from django.utils import timezone

from pulse.probes import coverage, discovery
from pulse.probes.coverage import Covered
from pulse.probes.state import DiscoveredEndpoint, ProbeTargetState
from tests.probes.conftest import Apply

PRODUCT = "GET /api/products/<int:pk>/"


def covered() -> dict[str, Covered]:
    return {one.endpoint_id: one for one in coverage.coverage(timezone.now())}


def test_policies_cover_what_they_match(apply: Apply) -> None:
    """By route, name, view or path, and method; none that is off or over, headers by one."""
    apply(
        endpoint_limits=[
            {"name": "one", "route": "api/products/<int:pk>/", "limits": [{"rate": "5/s"}]},
            {"name": "post", "path": "/api/", "methods": ["POST"], "limits": [{"rate": "5/s"}]},
            {"name": "off", "path": "/api/", "mode": "off", "limits": [{"rate": "5/s"}]},
            {
                "name": "over",
                "path": "/api/",
                "ends_at": "2020-01-01T00:00:00Z",
                "limits": [{"rate": "5/s"}],
            },
        ],
        exemptions=[{"path": "/healthz"}],
        cors_origins=[{"origin": "https://app.example.com", "path": "/api/", "mode": "shadow"}],
        header_policies=[
            {"name": "api", "path": "/api/", "preset": "api"},
            {"name": "all", "path": "/", "preset": "html"},
        ],
    )
    discovery.discover()
    found = covered()

    def kinds(name: str) -> set[tuple[str, str]]:
        return {(by.kind, str(next(iter(by.key.values())))) for by in found[name].policies}

    shared = {("cors_origins", "https://app.example.com"), ("header_policies", "api")}
    assert kinds(PRODUCT) == {("endpoint_limits", "one"), *shared}
    assert kinds("POST /api/products/") == {("endpoint_limits", "post"), *shared}
    assert kinds("GET /healthz") == {("exemptions", "/healthz"), ("header_policies", "all")}
    assert {by.mode for by in found[PRODUCT].policies} == {"enforce", "shadow"}


def test_probes_cover_their_endpoints(apply: Apply) -> None:
    """Targets by what they resolve to, endpoint ids where a schedule names them."""
    apply(
        probe_targets=[
            {"name": "one", "url_name": "product", "path_params": {"pk": 7}},
            {"name": "search", "path": "/api/search/", "method": "HEAD"},
            {"name": "elsewhere", "url": "https://shop.example/"},
        ],
        probe_schedules=[
            {"name": "core", "every": "60s", "targets": ["one", "GET /api/products/"]}
        ],
    )
    now = timezone.now()
    ProbeTargetState.objects.create(
        name="one", status="up", since=now, last_at=now, grace_s=130.0, last_state="ok"
    )
    discovery.discover()
    found = covered()
    (probe,) = found[PRODUCT].probes
    assert (probe.target, probe.schedules, probe.status) == ("one", ("core",), "up")
    assert found["GET /api/products/"].probes[0].schedules == ("core",)
    assert found["GET /api/search/"].probes[0].status == "not_watched"
    gaps = {name for name, one in found.items() if one.is_gap}
    assert {"GET /api/search/", "GET /"} <= gaps
    assert gaps.isdisjoint({PRODUCT, "GET /api/products/", "POST /api/products/"})


def test_new_and_vanished_ones_are_told(apply: Apply) -> None:
    """Of the first look none is new."""
    discovery.discover()
    assert {one.state for one in covered().values()} == {"present"}
    DiscoveredEndpoint.objects.update(first_seen_at=timezone.now() - timedelta(days=3))
    DiscoveredEndpoint.objects.filter(endpoint_id=PRODUCT).update(first_seen_at=timezone.now())
    DiscoveredEndpoint.objects.filter(endpoint_id="GET /").update(vanished_at=timezone.now())
    found = covered()
    assert (found[PRODUCT].state, found["GET /"].state) == ("new", "vanished")
    assert not found["GET /"].is_gap


@pytest.mark.parametrize("number", [1, 200])
def test_two_queries_whatever_there_is(apply: Apply, django_assert_num_queries, number) -> None:
    apply(probe_targets=[{"name": f"t{n}", "path": "/api/search/"} for n in range(number)])
    discovery.discover()
    covered()
    with django_assert_num_queries(2):
        assert len(covered()["GET /api/search/"].probes) == number
