"""What a probe is aimed at, as values."""

from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.targets import (
    MAX_ENDPOINT_ID,
    EndpointId,
    fill_route,
    host_key,
    is_regex,
    parameters_of,
    parse_endpoint_id,
    parse_target,
)
from pulse.exceptions import InvalidEndpointId, InvalidPathParams


@pytest.mark.parametrize(
    ("text", "method", "route"),
    [
        ("GET /", "GET", ""),
        ("GET /api/products/", "GET", "api/products/"),
        ("POST /api/products/{id}", "POST", "api/products/{id}"),
        ("PUT /api/products/<int:pk>/", "PUT", "api/products/<int:pk>/"),
        ("GET /files/<path:name>.json", "GET", "files/<path:name>.json"),
        ("GET /^api/(?P<year>[0-9]{4})/?$", "GET", "^api/(?P<year>[0-9]{4})/?$"),
        ("GET /^v1\\.0/(\\d+)/$", "GET", "^v1\\.0/(\\d+)/$"),
        ("GET /größe/", "GET", "größe/"),
    ],
)
def test_an_endpoint_id_is_a_method_and_a_route(text: str, method: str, route: str) -> None:
    """As ``path`` and ``re_path`` write routes, and OpenAPI; read as it was written."""
    found = parse_target(text)
    assert found == EndpointId(method, route)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "../../../etc/passwd",
        "",
        "GET",
        "GET ",
        "GET api/",
        "get /api/",
        "FETCH /api/",
        "GET  /api/",
        " GET /api/",
        "GET /api/ ",
        "GET /a b/",
        "GET\t/api/",
        "GET /../../etc/passwd",
        "GET /api/..",
        "GET /api/./x",
        "GET /%2e%2e/etc/passwd",
        "GET /..\\..\\windows",
        "GET /^..\\..\\windows$",
        "GET /^a/../b$",
        "GET /api/\x00",
        "GET /api/\r\nX: y",
        "GET /api/\u202e/",
        "GET /api/?page=1",
        "GET /api/#top",
        "GET http://example.com/",
        "http://example.com/",
        "Products",
        "products\n",
    ],
)
def test_anything_else_is_refused_with_what_was_sent(text: str) -> None:
    """The text that the ledger asks for, to the letter (S0-07)."""
    with pytest.raises(InvalidEndpointId) as caught:
        parse_target(text)
    assert str(caught.value) == f"Invalid endpoint_id format: {text}"


def test_a_long_endpoint_id_is_refused_and_cut() -> None:
    """An error is no way to have megabytes sent back."""
    longest = f"GET /{'a' * (MAX_ENDPOINT_ID - 5)}"
    assert parse_endpoint_id(longest).method == "GET"
    with pytest.raises(InvalidEndpointId) as caught:
        parse_endpoint_id(f"{longest}a")
    assert str(caught.value) == f"Invalid endpoint_id format: {longest}…"


@pytest.mark.parametrize("name", ["products", "a", "_", "-", "api-v2_products"])
def test_a_name_is_no_endpoint_id(name: str) -> None:
    assert parse_target(name) == name
    with pytest.raises(InvalidEndpointId):
        parse_endpoint_id(name)


@given(st.text())
def test_whatever_is_sent_is_read_or_refused(text: str) -> None:
    """No other error, and nothing read that would be written otherwise."""
    try:
        found = parse_target(text)
    except InvalidEndpointId:
        return
    assert str(found) == text


def test_safe_methods_ask_for_nothing_but_an_answer() -> None:
    safe = [m for m in ("GET", "HEAD", "OPTIONS", "POST", "DELETE") if EndpointId(m, "").is_safe]
    assert safe == ["GET", "HEAD", "OPTIONS"]


@pytest.mark.parametrize(
    ("route", "values", "path"),
    [
        ("", {}, "/"),
        ("api/products/", {}, "/api/products/"),
        ("api/products/<int:pk>/", {"pk": 7}, "/api/products/7/"),
        ("api/<slug:shop>/{id}", {"shop": "a", "id": "b"}, "/api/a/b"),
        ("x/<name>/", {"name": "a/b"}, "/x/a%2Fb/"),
        ("x/<str:name>/", {"name": "a b?c#d%e"}, "/x/a%20b%3Fc%23d%25e/"),
        ("x/<path:name>/", {"name": "a/b c"}, "/x/a/b%20c/"),
        ("x/<name>", {"name": "ü"}, "/x/%C3%BC"),
        ("größe/c++/", {}, "/gr%C3%B6%C3%9Fe/c++/"),
        ("x/<name>.json", {"name": ".."}, "/x/...json"),
    ],
)
def test_a_route_is_filled(route: str, values: dict[str, object], path: str) -> None:
    assert fill_route(route, values) == path


@pytest.mark.parametrize(
    ("route", "values", "reason"),
    [
        ("x/<a>/<int:b>/", {}, 'x/<a>/<int:b>/" needs a value for a, b.'),
        ("x/<a>/", {"a": "1", "b": "2"}, '"b" is no parameter of /x/<a>/.'),
        ("x/<a>/", {"a": ""}, '"a" needs a text or a number.'),
        ("x/<a>/", {"a": None}, "needs a text"),
        ("x/<a>/", {"a": True}, "needs a text"),
        ("x/<a>/", {"a": ["1"]}, "needs a text"),
        ("x/<a>/", {"a": ".."}, "leads elsewhere"),
        ("x/<a>/", {"a": "."}, "leads elsewhere"),
        ("x/<path:a>/", {"a": "y/../../z"}, "leads elsewhere"),
        ("<path:a>", {"a": "/evil.example/"}, "leads elsewhere"),
        ("^x/(?P<a>[0-9]+)/$", {"a": "1"}, "Give a sample path"),
        ("api/^x/$", {}, "Give a sample path"),
    ],
)
def test_what_makes_no_path_is_told(route: str, values: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidPathParams) as caught:
        fill_route(route, values)
    assert reason in str(caught.value)


@given(st.text(min_size=1), st.sampled_from(["<x>", "<str:x>", "<slug:x>", "<int:x>", "{x}"]))
def test_a_value_stays_within_its_segment(value: str, parameter: str) -> None:
    """Whatever it is: no further segment, query or fragment comes of it, and no other host."""
    try:
        path = fill_route(f"{parameter}/end/", {"x": value})
    except InvalidPathParams:
        assert value in {".", ".."}
        return
    assert path.isascii()
    parts = urlsplit(urljoin("http://site.test:8000/", path))
    assert (parts.netloc, parts.path, parts.query, parts.fragment) == (
        "site.test:8000",
        path,
        "",
        "",
    )
    assert path.count("/") == 3
    assert unquote(path) == f"/{value.encode('utf-8', 'replace').decode()}/end/"


def test_parameters_are_named_in_order() -> None:
    assert parameters_of("a/<int:pk>/<slug>/{id}/") == ("pk", "slug", "id")
    assert not is_regex("a/<int:pk>/{id}/c++/x.json")
    assert is_regex("a/<int:pk>/^b$")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://Example.com/a", "example.com:80"),
        ("https://example.com./", "example.com:443"),
        ("https://example.com:8443/", "example.com:8443"),
        ("http://[2001:DB8::1]/", "[2001:db8::1]:80"),
        ("http://[2001:db8::1]:81/", "[2001:db8::1]:81"),
        ("http://user:pass@127.0.0.1:8000/", "127.0.0.1:8000"),
        ("http://bücher.example/", "xn--bcher-kva.example:80"),
    ],
)
def test_the_caps_count_by_host_and_port(url: str, key: str) -> None:
    """One server is one key, however its URL is written."""
    assert host_key(url) == key


@pytest.mark.parametrize("url", ["", "/path", "http:///x", "http://a:99999/", "http://["])
def test_a_url_without_a_host_has_no_key(url: str) -> None:
    with pytest.raises(ValueError, match=r"host|[Pp]ort|URL"):
        host_key(url)
