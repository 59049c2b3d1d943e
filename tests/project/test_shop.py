import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from project.shop import export, orders, tasks
from project.shop.models import Order, Product

pytestmark = pytest.mark.django_db


def test_home_shows_products_without_inline_code(client: Client, mug: Product) -> None:
    page = client.get("/").content.decode()
    assert "Mug" in page
    assert "<script" not in page
    assert "<style" not in page
    assert " style=" not in page


def test_home_is_linked_to_files_that_exist(client: Client) -> None:
    for name in ("shop/shop.css", "shop/icon.svg"):
        assert f"/static/{name}" in client.get("/").content.decode()
        assert client.get(f"/static/{name}").status_code == 200


def test_login_page_lets_a_user_in(client: Client, customer: User) -> None:
    assert client.get("/accounts/login/").status_code == 200
    answer = client.post("/accounts/login/", {"username": "ada", "password": "correct horse"})
    assert answer.status_code == 302
    assert answer["Location"] == "/"
    assert "Log out ada" in client.get("/").content.decode()


def test_login_page_says_that_a_password_is_wrong(client: Client, customer: User) -> None:
    answer = client.post("/accounts/login/", {"username": "ada", "password": "wrong"})
    assert answer.status_code == 200
    assert 'role="alert"' in answer.content.decode()


def test_products_are_listed_and_added(client: Client, mug: Product) -> None:
    listed = client.get("/api/products/").json()
    assert [product["name"] for product in listed["results"]] == ["Mug"]
    new = {"sku": "jug", "name": "Jug", "price": "12.00"}
    added = client.post("/api/products/", new, content_type="application/json")
    assert added.status_code == 201
    assert Product.objects.get(sku="jug").name == "Jug"


def test_a_product_without_a_price_is_refused_at_its_field(client: Client) -> None:
    answer = client.post(
        "/api/products/", {"sku": "x", "name": "X"}, content_type="application/json"
    )
    assert answer.status_code == 400
    assert list(answer.json()) == ["price", "request_id"]


def test_a_product_is_read_replaced_and_removed(client: Client, mug: Product) -> None:
    url = f"/api/products/{mug.pk}/"
    assert client.get(url).json()["price"] == "9.50"
    body = {"sku": "mug", "name": "Big mug", "price": "11.00"}
    assert client.put(url, body, content_type="application/json").json()["name"] == "Big mug"
    assert client.patch(url, body, content_type="application/json").status_code == 405
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404


def test_a_product_number_beyond_the_database_is_not_found(client: Client) -> None:
    assert client.get(f"/api/products/{10**30}/").status_code == 404


def test_a_product_that_was_ordered_cannot_be_removed(
    client: Client, mug: Product, customer: User
) -> None:
    orders.place(customer, {mug: 1})
    answer = client.delete(f"/api/products/{mug.pk}/")
    assert answer.status_code == 409
    assert "ordered" in answer.json()["detail"]


def test_an_order_needs_somebody(client: Client, mug: Product) -> None:
    body = {"lines": [{"product": mug.pk}]}
    answer = client.post("/api/orders/", body, content_type="application/json")
    assert answer.status_code == 401


@pytest.mark.parametrize("by", ["session", "token"])
def test_an_order_takes_from_the_shelf(
    client: Client, mug: Product, customer: User, by: str
) -> None:
    headers = {}
    if by == "session":
        client.force_login(customer)
    else:
        headers["Authorization"] = f"Token {Token.objects.create(user=customer).key}"
    body = {"lines": [{"product": mug.pk, "quantity": 2}]}
    answer = client.post("/api/orders/", body, content_type="application/json", headers=headers)
    assert answer.status_code == 201
    assert answer.json()["total"] == "19.00"
    mug.refresh_from_db()
    assert mug.stock == 1


def test_an_order_for_more_than_there_is_takes_nothing(
    client: Client, mug: Product, kettle: Product, customer: User
) -> None:
    client.force_login(customer)
    lines = [{"product": mug.pk, "quantity": 1}, {"product": kettle.pk, "quantity": 2}]
    answer = client.post("/api/orders/", {"lines": lines}, content_type="application/json")
    assert answer.status_code == 409
    mug.refresh_from_db()
    assert mug.stock == 3
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    "lines",
    [[], [{"product": 999}], "many", [{"product": "mug", "quantity": 0}], [{}] * 21],
)
def test_an_order_that_makes_no_sense_is_refused(
    client: Client, customer: User, lines: Any
) -> None:
    client.force_login(customer)
    answer = client.post("/api/orders/", {"lines": lines}, content_type="application/json")
    assert answer.status_code == 400


def test_a_product_named_twice_is_refused(client: Client, mug: Product, customer: User) -> None:
    client.force_login(customer)
    body = {"lines": [{"product": mug.pk}, {"product": mug.pk}]}
    answer = client.post("/api/orders/", body, content_type="application/json")
    assert answer.status_code == 400


def test_unpaid_orders_are_cancelled_after_a_day_and_once(mug: Product, customer: User) -> None:
    old, new = orders.place(customer, {mug: 1}), orders.place(customer, {mug: 1})
    Order.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=25))
    assert tasks.cancel_abandoned_orders() == 1
    assert tasks.cancel_abandoned_orders() == 0
    mug.refresh_from_db()
    assert mug.stock == 2
    new.refresh_from_db()
    assert new.status == Order.Status.PLACED


def test_search_finds_by_name_and_description(
    client: Client, mug: Product, kettle: Product
) -> None:
    assert client.get("/api/search/?q=MUG").json()["count"] == 1
    assert client.get("/api/search/?q=tea").json()["results"][0]["sku"] == "mug"
    assert client.get("/api/search/").json()["count"] == 2


@pytest.mark.parametrize("query", ["a" * 101, "nul%00"])
def test_search_refuses_what_it_cannot_look_for(client: Client, query: str) -> None:
    answer = client.get(f"/api/search/?q={query}")
    assert answer.status_code == 400
    assert list(answer.json()) == ["q", "request_id"]


def test_export_streams_a_line_a_product(
    client: Client, mug: Product, kettle: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "SECONDS_PER_ROW", 0)
    answer = client.get("/api/export/")
    assert answer.streaming
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    lines = answer.getvalue().decode().splitlines()
    assert lines[0] == "id,sku,name,price,stock"
    assert lines[1] == f"{kettle.pk},kettle,'=Kettle,60.00,1"
    assert len(lines) == 3


def test_upload_counts_a_raw_body(client: Client) -> None:
    answer = client.post("/api/upload/", b"x" * 200_000, content_type="application/octet-stream")
    assert answer.json() == {"bytes": 200_000}


def test_upload_counts_the_files_of_a_form(client: Client) -> None:
    files = [SimpleUploadedFile("a", b"12345"), SimpleUploadedFile("b", b"123")]
    assert client.post("/api/upload/", {"file": files}).json() == {"bytes": 8, "files": 2}


def test_upload_refuses_a_form_without_a_file_or_sense(client: Client) -> None:
    assert client.post("/api/upload/", {"name": "x"}).status_code == 400
    answer = client.post("/api/upload/", b"x", content_type="multipart/form-data")
    assert answer.status_code == 400
    assert client.get("/api/upload/").status_code == 405


def test_slow_waits_as_long_as_asked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert client.get("/api/slow/?seconds=2.5").json() == {"seconds": 2.5}
    assert waited == [2.5]


@pytest.mark.parametrize("seconds", ["abc", "-1", "31", "nan", "inf", "1e400"])
def test_slow_refuses_other_times(client: Client, seconds: str) -> None:
    answer = client.get("/api/slow/", {"seconds": seconds})
    assert answer.status_code == 400
    assert list(answer.json()) == ["seconds"]


def test_flaky_fails_when_asked(visitor: Client) -> None:
    assert visitor.get("/api/flaky/").json() == {"ok": True}
    assert visitor.get("/api/flaky/?fail=0").status_code == 200
    assert visitor.get("/api/flaky/?fail=perhaps").status_code == 400
    answer = visitor.get("/api/flaky/?fail=1")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "Something broke on our side."


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_echo_says_what_arrived_by_any_method(method: str) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.generic(method, "/api/echo/?q=1", headers={"X-Plan": "gold"})
    said = answer.json()
    assert said["method"] == method
    assert said["path"] == "/api/echo/"
    assert said["headers"]["X-Plan"] == "gold"
    assert said["client_address"] == "127.0.0.1"


def test_echo_answers_head_without_a_body(client: Client) -> None:
    answer = client.head("/api/echo/")
    assert answer.status_code == 200
    assert answer.content == b""


def test_what_is_not_there_is_said_in_the_callers_language(client: Client) -> None:
    assert client.get("/api/nothing/").json()["detail"] == "There is nothing here."
    page = client.get("/nothing/", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert "<h1>There is nothing here</h1>" in page.content.decode()


def test_a_form_without_its_token_is_not_taken_for_a_forbidden_page(db: None) -> None:
    """Logging in would not help; the number to tell is that of the log."""
    visitor = Client(enforce_csrf_checks=True)
    answer = visitor.post("/accounts/login/", headers={"Accept": "text/html"})
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "<h1>This form cannot be taken</h1>" in page
    assert answer["X-Request-ID"] in page


def test_an_accident_on_a_page_is_a_page(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise RuntimeError("accident")

    monkeypatch.setattr("project.shop.views.render", fail)
    answer = visitor.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 500
    assert "<h1>Something broke</h1>" in answer.content.decode()


async def _read(path: str) -> tuple[int, dict[str, str], bytes]:
    answer = await AsyncClient().get(path)
    body = b"".join([part async for part in answer]) if answer.streaming else answer.content
    return answer.status_code, dict(answer.items()), body


@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("error")
def test_streams_and_files_need_no_thread_of_their_own_under_asgi(
    mug: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No warning about synchronous iterators."""
    monkeypatch.setattr(export, "SECONDS_PER_ROW", 0)
    status, _, body = asyncio.run(_read("/api/export/"))
    assert (status, len(body.splitlines())) == (200, 2)
    status, headers, body = asyncio.run(_read("/static/shop/shop.css"))
    assert status == 200
    assert headers["Content-Type"].startswith("text/css")
    assert int(headers["Content-Length"]) == len(body)
    status, _, body = asyncio.run(_read("/api/slow/?seconds=0"))
    assert json.loads(body) == {"seconds": 0.0}
