"""Which rules a request meets, and paths as operators write them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.endpoints import (
    MAX_REMEMBERED_PATH,
    MAX_REMEMBERED_PATHS,
    METHODS,
    EndpointIndex,
    Match,
    Matcher,
    PathSet,
    parse_path,
    prefixes,
)
from pulse.exceptions import InvalidPath

PRODUCT = Match("api/products/<int:pk>/", "shop:product", "shop.views.ProductDetail")


def find(
    matcher: Matcher, path: str = "/api/products/7/", method: str = "GET", match=PRODUCT
) -> bool:
    return bool(EndpointIndex([(matcher, "rule")]).find(match, path, method))


@pytest.mark.parametrize(
    ("prefix", "path", "lies_under"),
    [
        ("/", "/api/", True),
        ("/", "/", True),
        ("/api", "/api", True),
        ("/api", "/api/", True),
        ("/api", "/api/x", True),
        ("/api", "/apis", False),
        ("/api", "/apis/x", False),
        ("/api/", "/api/x", True),
        ("/api/", "/api", False),
        ("/api/", "/API/x", False),
        ("/api/products", "/api/products/7/", True),
        ("/api/products", "/api/products7/", False),
        ("/api", "//api", False),
        ("/ä", "/ä/ö", True),
    ],
)
def test_a_prefix_ends_at_a_segment(prefix: str, path: str, lies_under: bool) -> None:
    """A path matches whole or on a segment boundary, and as it is written."""
    assert find(Matcher(path=prefix), path) is lies_under
    assert (PathSet([prefix]).find(path) == prefix) is lies_under


@given(st.from_regex(r"(/[ab]{0,2}){1,6}", fullmatch=True), st.integers(0, 14))
def test_prefixes_are_those_a_definition_gives(path: str, longest: int) -> None:
    """Every cut before or after a slash, longest first, none longer than asked for."""
    cuts = {path} | {
        path[:n] for n, mark in enumerate(path) if n and (mark == "/" or path[n - 1] == "/")
    }
    wanted = sorted((cut for cut in cuts if len(cut) <= longest), key=len, reverse=True)
    assert list(prefixes(path, longest)) == wanted


def test_a_path_of_a_million_slashes_costs_nothing_much() -> None:
    """The work is bounded by the longest prefix of the policy, not by what a client sends."""
    exempt = PathSet(["/healthz", "/static/"])
    index = EndpointIndex([(Matcher(path="/api/"), "rule")])
    began = time.perf_counter()
    for _ in range(20):
        assert exempt.find("/" * 1_000_000) is None
        assert index.find(PRODUCT, "/" * 1_000_000, "GET") == ()
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("methods", "method", "accepted"),
    [
        (None, "GET", True),
        (None, "BREW", True),
        ({"GET"}, "GET", True),
        ({"GET"}, "HEAD", True),
        ({"HEAD"}, "GET", False),
        ({"POST"}, "HEAD", False),
        ({"POST", "PUT"}, "PUT", True),
        ({"POST"}, "post", False),
        ({"GET"}, "", False),
    ],
)
def test_get_includes_head_and_nothing_else(methods, method: str, accepted: bool) -> None:
    """A HEAD request is a GET to every rule."""
    held = None if methods is None else frozenset(methods)
    assert find(Matcher(route=PRODUCT.route, methods=held), method=method) is accepted
    assert find(Matcher(path="/api/", methods=held), method=method) is accepted


def test_all_that_match_are_found_from_route_to_longest_prefix() -> None:
    """Route, URL name, view, then prefixes from the longest."""
    index = EndpointIndex(
        [
            (Matcher(path="/api/"), "short"),
            (Matcher(path="/api/products/"), "long"),
            (Matcher(view=PRODUCT.view), "view"),
            (Matcher(url_name="shop:product"), "url_name"),
            (Matcher(route=PRODUCT.route), "route"),
            (Matcher(route="api/"), "other"),
        ]
    )
    assert index.find(PRODUCT, "/api/products/7/", "GET") == (
        "route", "url_name", "view", "long", "short",
    )  # fmt: skip


def test_a_route_without_a_name_matches_no_rule_by_name() -> None:
    """An empty name is no name."""
    assert not find(Matcher(url_name=""), match=Match("x/", "", "a.b"))


def test_methods_that_clients_invent_are_not_remembered() -> None:
    """Memory does not grow with what clients send."""
    index = EndpointIndex([(Matcher(route=PRODUCT.route), "rule")])
    for number in range(500):
        assert index.find(PRODUCT, "/", f"BREW{number}") == ("rule",)
    assert index._remembered == {}
    for method in METHODS:
        index.find(PRODUCT, "/", method)
    assert len(index._remembered) == len(METHODS)


def test_paths_that_clients_invent_do_not_fill_memory() -> None:
    """Long ones are not remembered, and of short ones no more than so many."""
    index = EndpointIndex([(Matcher(path="/a/"), "rule")])
    for number in range(100):
        assert index.find(PRODUCT, f"/a/{'b' * MAX_REMEMBERED_PATH}{number}", "GET") == ("rule",)
    assert index._remembered == {}
    for number in range(MAX_REMEMBERED_PATHS + 10):
        assert index.find(PRODUCT, f"/a/{number}", "GET") == ("rule",)
    assert 0 < len(index._remembered) <= MAX_REMEMBERED_PATHS


_matchers = st.builds(
    lambda field, value, methods: Matcher(**{field: value[field]}, methods=methods),
    st.sampled_from(["route", "url_name", "view", "path"]),
    st.fixed_dictionaries(
        {
            "route": st.sampled_from(["", "a/", "b/"]),
            "url_name": st.sampled_from(["a", "b"]),
            "view": st.sampled_from(["v.a", "v.b"]),
            "path": st.sampled_from(["/", "/a", "/a/", "/a/b", "/b/"]),
        }
    ),
    st.none() | st.frozensets(st.sampled_from(["GET", "HEAD", "POST"]), min_size=1),
)


def _matches(matcher: Matcher, match: Match, path: str, method: str) -> bool:
    methods = matcher.methods
    if (
        methods is not None
        and method not in methods
        and not (method == "HEAD" and "GET" in methods)
    ):
        return False
    if matcher.route is not None:
        return matcher.route == match.route
    if matcher.url_name is not None:
        return matcher.url_name == match.url_name
    if matcher.view is not None:
        return matcher.view == match.view
    prefix = matcher.path or "/"
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


@given(
    st.lists(_matchers, max_size=12),
    st.sampled_from(["", "a/", "b/"]),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["/", "/a", "/a/", "/a/b/c", "/ab", "/b"]),
    st.sampled_from(["GET", "HEAD", "POST", "BREW"]),
)
def test_the_index_finds_what_a_scan_finds(matchers, route, name, path, method) -> None:
    """The same rules as comparing each, also when asked twice."""
    match = Match(route, name, "v.a")
    index = EndpointIndex((matcher, place) for place, matcher in enumerate(matchers))
    wanted = {n for n, matcher in enumerate(matchers) if _matches(matcher, match, path, method)}
    for _ in range(2):
        found = index.find(match, path, method)
        assert set(found) == wanted
        assert len(found) == len(wanted)


@pytest.mark.parametrize("text", ["/", "/api", "/api/", " /api/ ", "/ä/ö", "/a-b_c~d/e.f"])
def test_paths_are_read(text: str) -> None:
    """Decoded, from the root."""
    assert parse_path(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a path"),
        ("api/", "is not a path"),
        ("https://a.test/", "is not a path"),
        ("//api", "empty or dotted"),
        ("/api//x", "empty or dotted"),
        ("/api/../x", "empty or dotted"),
        ("/api/..", "empty or dotted"),
        ("/./api", "empty or dotted"),
        ("/api?x=1", "characters"),
        ("/api/*", "characters"),
        ("/api#x", "characters"),
        ("/a b", "characters"),
        ("/a\nb", "characters"),
        ("/a\x00b", "characters"),
        ("/%61pi", "percent-encoded"),
    ],
)
def test_what_no_path_could_be_is_refused(text: str, reason: str) -> None:
    """A prefix that could never match is a slip, and told."""
    with pytest.raises(InvalidPath, match=reason):
        parse_path(text)
