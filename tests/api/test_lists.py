"""Pages, filters, searches and orders; and what they refuse."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pulse.policies.models import EndpointLimit, OwnLimit, RateTier
from tests.api.conftest import problem

pytestmark = pytest.mark.django_db


def rules(count: int, **fields) -> None:
    names = [f"r{number:05}" for number in range(count)]
    made = EndpointLimit.objects.bulk_create(
        EndpointLimit(name=name, path=f"/{name}/", **fields) for name in names
    )
    OwnLimit.objects.bulk_create(OwnLimit(endpoint_limit=row, rate="5/m") for row in made)


def names(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


def test_pages_lead_to_each_other(administrator) -> None:
    rules(5)
    first = administrator.get("endpoint-limits/?page_size=2&ordering=-name").json()
    assert (first["count"], first["previous"]) == (5, None)
    assert [row["name"] for row in first["results"]] == ["r00004", "r00003"]
    second = administrator.get(first["next"].removeprefix("http://testserver"))
    assert names(second) == ["r00002", "r00001"]
    third = administrator.get(second.json()["next"].removeprefix("http://testserver")).json()
    assert [row["name"] for row in third["results"]] == ["r00000"]
    assert third["next"] is None
    back = administrator.get(third["previous"].removeprefix("http://testserver"))
    assert names(back) == names(second)


def test_past_the_last_page_there_is_an_empty_one(administrator) -> None:
    rules(3)
    told = administrator.get("endpoint-limits/?page=9&page_size=2").json()
    assert (told["results"], told["next"]) == ([], None)
    assert told["previous"].endswith("page=2&page_size=2")


def test_thousands_of_rows_cost_as_many_queries_as_two(administrator) -> None:
    rules(2)
    administrator.get("endpoint-limits/")
    with CaptureQueriesContext(connection) as few:
        administrator.get("endpoint-limits/")
    EndpointLimit.objects.all().delete()
    rules(10_000)
    with CaptureQueriesContext(connection) as many:
        told = administrator.get("endpoint-limits/?page=20&page_size=500").json()
    assert (told["count"], len(told["results"])) == (10_000, 500)
    assert len(many) == len(few)


def test_rows_are_narrowed_by_any_scalar(administrator) -> None:
    rules(3, cost=2)
    tier = RateTier.objects.get(name="default")
    EndpointLimit.objects.create(name="tiered", path="/tiered/", tier=tier, mode="shadow")
    assert names(administrator.get("endpoint-limits/?tier=default")) == ["tiered"]
    assert names(administrator.get("endpoint-limits/?mode=shadow&cost=1")) == ["tiered"]
    assert len(names(administrator.get("endpoint-limits/?cost=2"))) == 3
    assert names(administrator.get("endpoint-limits/?path=/r00001/")) == ["r00001"]
    assert names(administrator.get("endpoint-limits/?replaces_tier=true")) == []
    assert names(administrator.get("endpoint-limits/?search=TIER")) == ["tiered"]
    assert names(administrator.get("endpoint-limits/?created_at_before=2001-01-01T00:00:00Z")) == []
    after = "created_at_after=2001-01-01T00:00:00%2B02:00&created_at_before=2999-01-01T00:00:00Z"
    assert len(names(administrator.get(f"endpoint-limits/?{after}"))) == 4
    assert names(administrator.get("endpoint-limits/?ordering=-tier,-name"))[-1] == "r00000"


@pytest.mark.parametrize(
    "query",
    [
        "unheard=1",
        "mode=sometimes",
        "cost=many",
        "cost=1.5",
        "cost=1e400",
        "cost=-1",
        "cost=99999999999999999999",
        "timeout_s=nan",
        "timeout_s=1_0",
        "replaces_tier=perhaps",
        "name=",
        "name=a&name=b",
        "name=%00",
        "name=" + "x" * 501,
        "search=",
        "created_at=yesterday",
        "created_at_after=2026-01-01",
        "created_at_after=2026-01-01T00:00:00",
        "created_at_after=0001-01-01T00:00:00%2B14:00",
        "ordering=secret",
        "ordering=name,",
        "ordering=limits",
        "ordering=" + ",".join(["name"] * 9),
        "page=0",
        "page=one",
        "page_size=501",
        "page_size=0",
        "cursor=o1",
        "limits=5/m",
        "format=xml",
    ],
)
def test_a_query_that_cannot_be_is_refused_by_name(administrator, query) -> None:
    told = problem(administrator.get(f"endpoint-limits/?{query}"), 400, "invalid")
    assert list(told["errors"]) == [query.partition("=")[0]]
    assert told["detail"] == "1 field is wrong."
