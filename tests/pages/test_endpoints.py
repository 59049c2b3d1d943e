"""Coverage: routes by policies and probes."""

import csv
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.metrics import flush, record_request, window
from pulse.probes.state import DiscoveredEndpoint
from pulse.probes.summary.endpoints import name_of
from tests import factories
from tests.pages.conftest import SCHEDULES, TARGETS, text_of

ROUTES = {
    "api/products/": "products",
    "api/products/<int:pk>/": "product",
    "api/search/": "search",
    "api/orders/": "orders",
    "healthz": "healthz",
}


def found(method: str, route: str, name: str, **fields: object) -> DiscoveredEndpoint:
    month_ago = timezone.now() - timedelta(days=30)
    fields = {
        "first_seen_at": month_ago,
        "last_seen_at": timezone.now(),
        "sample": {"path_params": {"pk": 1} if "pk" in route else {}},
        **fields,
    }
    return DiscoveredEndpoint.objects.create(
        endpoint_id=f"{method} /{route}", method=method, route=route, url_name=name, **fields
    )


@pytest.fixture(autouse=True)
def routes(apply):
    apply(
        probe_targets=TARGETS,
        probe_schedules=SCHEDULES,
        endpoint_limits=[
            {"name": "search", "url_name": "search", "limits": [{"rate": "60/m"}]},
            {"name": "orders", "route": "api/orders/", "methods": ["POST"], "max_body_bytes": 1000},
            {
                "name": "quiet",
                "path": "/api/orders/",
                "mode": "shadow",
                "limits": [{"rate": "9/m"}],
            },
        ],
        cors_origins=[{"origin": "https://app.example.com", "path": "/api/products/"}],
        header_policies=[{"name": "search", "path": "/api/search/", "preset": "api"}],
        exemptions=[{"path": "/healthz"}],
    )
    for route, name in ROUTES.items():
        found("GET", route, name)
    found("POST", "api/orders/", "orders")


def policies(response, endpoint_id: str) -> list[tuple[str, str, str]]:
    row = next(
        row for row in response.context["coverage"].rows if row.covered.endpoint_id == endpoint_id
    )
    return [(by.kind, name_of(by), by.mode) for by in row.covered.policies]


def test_each_route_names_the_policies_that_requests_to_it_meet(viewer):
    response = viewer.get("/pulse/endpoints/")
    assert policies(response, "GET /api/search/") == [
        ("endpoint_limits", "search", "enforce"),
        ("header_policies", "search", "enforce"),
    ]
    assert policies(response, "POST /api/orders/") == [
        ("endpoint_limits", "orders", "enforce"),
        ("endpoint_limits", "quiet", "shadow"),
    ]
    assert policies(response, "GET /api/orders/") == [("endpoint_limits", "quiet", "shadow")]
    assert policies(response, "GET /api/products/<int:pk>/") == [
        ("cors_origins", "https://app.example.com /api/products/", "enforce")
    ]
    assert policies(response, "GET /healthz") == [("exemptions", "/healthz", "enforce")]


def test_the_banner_counts_what_is_probed_and_what_nothing_guards(viewer):
    text = text_of(viewer.get("/pulse/endpoints/"))
    assert "3 of 6 routes probed, 1 guarded by no policy." in text
    assert "The tier default limits the clients" in text


def test_each_route_names_its_probes_and_how_they_stand(viewer):
    factories.target_state("products", "down")
    response = viewer.get("/pulse/endpoints/?show=trouble")
    (row,) = response.context["coverage"].rows
    assert (row.covered.endpoint_id, row.status) == ("GET /api/products/", "down")
    assert '<a href="/pulse/probes/products/">' in response.content.decode()


def test_new_and_vanished_routes_are_told(viewer):
    now = timezone.now()
    found("GET", "api/new/", "new", first_seen_at=now - timedelta(hours=1))
    found("GET", "api/old/", "old", vanished_at=now - timedelta(days=1))
    response = viewer.get("/pulse/endpoints/")
    assert "New 1 Vanished 1" in text_of(response)
    assert "of 7 routes probed" in text_of(response)
    (row,) = viewer.get("/pulse/endpoints/?show=vanished").context["coverage"].rows
    assert row.covered.route == "api/old/"


def test_on_the_first_day_nothing_is_new(viewer):
    DiscoveredEndpoint.objects.update(first_seen_at=timezone.now() - timedelta(minutes=5))
    assert viewer.get("/pulse/endpoints/").context["coverage"].new == 0


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("show=unprobed", ["api/orders/", "api/orders/", "healthz"]),
        ("show=unguarded", ["healthz"]),
        ("q=product", ["api/products/", "api/products/<int:pk>/"]),
        ("q=get+order", ["api/orders/"]),
        ("show=nonsense&q=health&page=x", ["healthz"]),
    ],
)
def test_the_address_narrows(viewer, query, shown):
    rows = viewer.get(f"/pulse/endpoints/?{query}").context["coverage"].rows
    assert [row.covered.route for row in rows] == shown


def test_only_what_is_safe_and_complete_can_be_probed_at_once(operator):
    found("GET", "api/deep/<str:key>/", "deep", requires_input=True, sample=None)
    content = operator.get("/pulse/endpoints/").content.decode()
    assert 'name="targets" value="GET /healthz"' in content
    assert 'value="POST /api/orders/"' not in content
    assert "api/deep" in content
    assert 'value="GET /api/deep/' not in content


def test_machines_get_the_same_as_the_contract_names_it(viewer):
    """API.md 5."""
    factories.target_state("search", "up")
    odd = viewer.get("/pulse/endpoints/?shown=new", headers={"accept": "application/json"})
    assert odd.status_code == 400
    known = "Known are: format, page, q, show, sort."
    assert odd.json()["errors"] == {"shown": [f"Unknown parameter. {known}"]}
    body = viewer.get("/pulse/endpoints/?q=search", headers={"accept": "application/json"}).json()
    assert body["count"] == 1
    (row,) = body["results"]
    last = row["probe"].pop("last_result_at")
    assert last.endswith("Z")
    assert row == {
        "endpoint_id": "GET /api/search/",
        "route": "api/search/",
        "url_name": "search",
        "view": None,
        "safe": True,
        "requires_input": False,
        "sample": {"path_params": {}},
        "state": "present",
        "policies": [
            {"kind": "endpoint_limits", "key": {"name": "search"}},
            {"kind": "header_policies", "key": {"name": "search"}},
        ],
        "metrics": None,
        "probe": {"target": "search", "status": "up"},
    }


def test_many_routes_take_as_many_queries_as_few(viewer):
    viewer.get("/pulse/endpoints/")
    with CaptureQueriesContext(connection) as few:
        viewer.get("/pulse/endpoints/")
    for number in range(150):
        found("GET", f"api/r{number}/", f"r{number}")
    with CaptureQueriesContext(connection) as many:
        response = viewer.get("/pulse/endpoints/")
    assert len(response.context["coverage"].rows) == 100
    assert len(few) == len(many) <= 8


def test_before_anybody_looked_the_page_looks(viewer):
    """A site without a worker has routes, too."""
    DiscoveredEndpoint.objects.all().delete()
    assert "GET /api/products/" in text_of(viewer.get("/pulse/endpoints/"))


def test_each_route_tells_how_it_does(viewer, redis_cache, fresh_process):
    window.forget()
    for status in (200, 500, 500):
        record_request("/api/search/", "GET", status, 50.0)
    record_request("/api/products/", "GET", 200, 900.0)
    flush.flush()
    worst = text_of(viewer.get("/pulse/endpoints/", {"sort": "worst"}))
    names = ("GET /api/search/", "GET /api/products/ ", "GET /api/orders/")
    places = [worst.index(name) for name in names]
    assert places == sorted(places)
    slowest = text_of(viewer.get("/pulse/endpoints/", {"sort": "slowest"}))
    assert slowest.index("GET /api/products/ ") < slowest.index("GET /api/search/")
    rows = viewer.get("/pulse/endpoints/", {"format": "json"}).json()["results"]
    told = {row["endpoint_id"]: row["metrics"] for row in rows}
    assert (told["GET /api/search/"]["requests"], told["GET /api/search/"]["errors"]) == (3, 2)
    assert told["GET /api/orders/"] is None


def test_routes_are_there_as_csv(viewer, redis_cache, fresh_process):
    window.forget()
    record_request("/api/search/", "GET", 200, 50.0)
    flush.flush()
    response = viewer.get("/pulse/endpoints/", {"format": "csv"})
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    rows = {
        row["endpoint_id"]: row for row in csv.DictReader(response.content.decode().split("\r\n"))
    }
    assert rows["GET /api/search/"]["requests"] == "1"
    assert rows["GET /api/search/"]["policies"].startswith("endpoint_limits:search")
    assert rows["GET /api/orders/"]["requests"] == ""


def test_the_api_tells_the_same(viewer):
    get = partial(viewer.get, "/pulse/api/v1/endpoints/", headers={"accept": "application/json"})
    told = get({"search": "search", "ordering": "worst"}).json()
    assert [row["endpoint_id"] for row in told["results"]] == ["GET /api/search/"]
    assert told["results"][0]["policies"][0] == {
        "kind": "endpoint_limits",
        "key": {"name": "search"},
    }
    assert get({"safe": "0"}).json()["count"] == 1
    assert get({"page_size": "2", "page": "2"}).json()["previous"]
    for wrong in ({"state": "gone"}, {"safe": "x"}, {"ordering": "-route"}, {"other": "1"}):
        assert get(wrong).status_code == 400
    first = get()
    again = viewer.get(
        "/pulse/api/v1/endpoints/",
        headers={"accept": "application/json", "if-none-match": first["ETag"]},
    )
    assert again.status_code == 304
