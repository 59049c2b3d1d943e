"""Which operations a URLconf has."""

from collections import defaultdict

import pytest
from django.test import override_settings

from pulse.probes.operations import find_operations


@pytest.fixture(scope="module")
def methods() -> dict[str, list[str]]:
    """The methods of each route of the site of many views."""
    found = defaultdict(list)
    with override_settings(ROOT_URLCONF="tests.probes.site"):
        for operation in find_operations():
            found[operation.endpoint.route].append(operation.endpoint.method)
    return dict(found)


@pytest.mark.parametrize(
    ("route", "known"),
    [
        ("plain/", ["GET"]),
        ("limited/", ["GET", "PUT"]),
        ("later/", ["POST"]),
        ("classic/<uuid:key>/", ["GET", "DELETE"]),
        ("wrapped/", ["GET"]),
        ("told/", ["OPTIONS"]),
        ("bare/", ["GET", "POST"]),
        ("function/", ["GET", "PATCH"]),
        ("api/items/$", ["GET", "POST"]),
        ("api/items/(?P<pk>[^/.]+)/$", ["GET", "PATCH"]),
        ("api/items/(?P<pk>[^/.]+)/touch/$", ["POST"]),
        ("shops/<str:shop>/<slug:slug>/", ["GET"]),
    ],
)
def test_a_view_has_only_the_methods_that_it_answers(
    methods: dict[str, list[str]], route: str, known: list[str]
) -> None:
    """By its class, its actions or its decorators; GET alone where nothing says."""
    assert methods[route] == known


@pytest.mark.parametrize("part", ["pulse/", "static/", "format>", "space here/"])
def test_what_is_no_operation_of_the_site_is_left_out(
    methods: dict[str, list[str]], part: str
) -> None:
    """Pulse's own, files, formats, and what no endpoint id can name."""
    assert not [route for route in methods if part in route]


def test_the_admin_is_found_by_its_login_alone() -> None:
    """Its hundreds of pages ask for a login, and are no operations of the site."""
    found = [str(operation.endpoint) for operation in find_operations("project.urls")]
    assert [name for name in found if "/admin/" in name] == ["GET /admin/login/"]


def test_a_name_has_its_namespaces() -> None:
    """As ``reverse`` takes it."""
    with override_settings(ROOT_URLCONF="tests.probes.site"):
        names = {operation.match.url_name for operation in find_operations()}
    assert {"shops:deep", "item-detail"} <= names


@pytest.mark.parametrize("route", ["limited/", "classic/<uuid:key>/", "bare/", "function/"])
def test_every_method_found_is_answered(client, methods: dict[str, list[str]], route: str) -> None:
    """None of them is a 405, and what is not found is one."""
    path = route.replace("<uuid:key>", "00000000-0000-4000-8000-000000000000")
    with override_settings(ROOT_URLCONF="tests.probes.site"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = client.generic(method, f"/{path}", content_type="application/json")
            assert (answer.status_code == 405) == (method not in methods[route]), method
