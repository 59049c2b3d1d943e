"""Scripts in a real browser, on allowed and refused origins: each gets what the policy says."""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any, Final

import pytest

from tests.browser.origins import Got, Pages, served_pages
from tests.conftest import CHROMIUM
from tests.cors_oracle import EXPOSED_HEADERS, Reading, Rule, Script, read, rule_for
from tests.sites import Answer, Site, running

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

#: Another number gives other policies and other scripts: CORS_SEED=7 pytest tests/browser.
SEED: Final = int(os.environ.get("CORS_SEED", "20250701"))
POLICIES: Final = 6
SCRIPTS: Final = 50
HOST: Final = "api.app.localhost"
COOKIE: Final = "lax=yes"
DEFAULT: Final = {"name": "default", "default": True, "limits": ["100000/s"]}
SPENT: Final = {"name": "search", "url_name": "search", "key": "global", "limits": ["1/d"]}
SMALL: Final = {"name": "upload", "url_name": "upload", "max_body_bytes": 1000}
DENIED: Final = {"network": "127.0.0.0/8", "path": "/api/slow/", "action": "deny"}
READ_ONLY: Final = ("GET", "HEAD")


@dataclass(frozen=True)
class Kind:
    """A way for the site to answer.

    Attributes:
        then: Where a redirect leads.
        opened: The host's own code, here WhiteNoise, lets every origin read it.
        methods: Those that come to this answer; empty for all.
    """

    path: str
    status: int
    query: str = ""
    then: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    opened: bool = False


KINDS: Final = (
    Kind("/api/echo/", 200),
    Kind("/api/echo/", 200),
    Kind("/api/echo/", 200),
    Kind("/api/nothing/here/", 404),
    Kind("/api/orders/", 401),
    Kind("/api/search/", 429, "q=a"),
    Kind("/api/flaky/", 500, "fail=1", methods=READ_ONLY),
    Kind("/api/export/", 200, methods=READ_ONLY),
    Kind("/api/products", 200, then=("/api/products/",), methods=READ_ONLY),
    Kind("/static/shop/shop.css", 200, methods=READ_ONLY, opened=True),
)
RULE_PATHS: Final = (
    "/",
    "/",
    "/",
    "/api/",
    "/api",
    "/api/echo/",
    "/api/echo",
    "/api/nothing/",
    "/api/search/",
    "/api/ech",
    "/api/products/",
    "/api/orders/",
    "/static/",
    "/elsewhere/",
)
METHOD_SETS: Final = (
    ("GET", "HEAD", "POST", "OPTIONS"),
    ("GET", "POST", "PUT", "DELETE"),
    ("PATCH", "PUT"),
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
)
HEADER_SETS: Final = (
    ("Authorization", "Content-Type", "X-Track-ID", "Idempotency-Key"),
    ("authorization", "X-TRACK-ID"),
    ("X-Track-ID", "Content-Type", "X-CUSTOM", "Accept", "Range"),
)
EXPOSED_SETS: Final = (
    EXPOSED_HEADERS,
    EXPOSED_HEADERS,
    (),
    ("X-Request-ID", "Date", "X-Content-Type-Options"),
)
SENT_HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {},
    {},
    {"X-Track-ID": "7"},
    {"Authorization": "Bearer none"},
    {"Content-Type": "application/json"},
    {"Content-Type": "text/plain;charset=UTF-8"},
    {"x-custom": "1"},
    {"X-Custom": "1", "X-Track-ID": "7"},
    {"Accept": "text/csv, application/json"},
    {"Accept": "application/json;profile=<x>"},
    {"Accept-Language": "de; q=0.5, en"},
    {"Range": "bytes=0-"},
    {"Content-Language": "x" * 129},
)
# As a script may write them: PATCH alone is sent as it is written.
SENT_METHODS: Final = (
    *("GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "PUT", "put", "DELETE"),
    *("PATCH", "patch", "OPTIONS", "FOO"),
)
CREDENTIALS: Final = ("omit", "same-origin", "include")


@pytest.fixture(scope="module", autouse=True)
def say_seed() -> None:
    print(f"CORS_SEED={SEED}")


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    with ExitStack() as stack:
        yield stack.enter_context(served_pages()), stack.enter_context(served_pages())


@pytest.fixture(scope="module")
def pages(ports: tuple[int, int]) -> Iterator[Pages]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context()
        name, value = COOKIE.split("=")
        context.add_cookies(
            [{"name": name, "value": value, "domain": HOST, "path": "/", "sameSite": "Lax"}]
        )
        yield Pages(context, f"http://app.localhost:{ports[0]}")
        browser.close()


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with redis_server.client() as client:
        client.flushdb()
    # One process: that others follow within a second is told elsewhere.
    directory = tmp_path_factory.mktemp("site")
    yield from running(
        Site(
            directory,
            redis_server.url,
            server=request.param,
            processes=1,
            DJANGO_SETTINGS_MODULE="tests.cors_settings",
        )
    )


def address(site: Site) -> str:
    return f"http://{HOST}:{site.port}"


def enforce(site: Site, *rules: Rule, **document: Any) -> None:
    """Make these the policy's only CORS rules, in force in the serving process."""
    site.apply(
        {
            "rate_tiers": [DEFAULT],
            "endpoint_limits": [SPENT, SMALL],
            "access_rules": [DENIED],
            "cors_origins": [rule.item() for rule in rules],
            **document,
        },
        prune=True,
    )
    # A decision compares the policy with what is announced; preflights look once a second.
    assert site.get("/api/echo/").status == 200
    site.get("/api/search/?q=a")  # One a day.


def any_page(ports: tuple[int, int]) -> list[str]:
    first, second = ports
    return [
        f"http://app.localhost:{first}",
        f"http://app.localhost:{second}",
        f"http://x.app.localhost:{first}",
        f"http://a.b.app.localhost:{first}",
        f"http://a_b.app.localhost:{first}",
        f"http://app.localhost.:{first}",
        f"http://evilapp.localhost:{first}",
        f"http://app.localhost.evil.localhost:{first}",
        f"http://xn--pp-uia.localhost:{first}",
        f"http://localhost:{second}",
        f"http://127.0.0.1:{first}",
        "null",
    ]


def any_rule_origin(ports: tuple[int, int]) -> list[str]:
    first, second = ports
    return [
        f"http://app.localhost:{first}",
        f"http://app.localhost:{first}",
        f"http://app.localhost:{second}",
        f"http://x.app.localhost:{first}",
        f"http://*.app.localhost:{first}",
        f"http://*.app.localhost:{first}",
        f"http://*.b.app.localhost:{first}",
        f"http://*.localhost:{second}",
        f"http://localhost:{second}",
        f"http://127.0.0.1:{first}",
        f"https://app.localhost:{first}",
        "http://app.localhost",
        "*",
    ]


def some_rules(chance: random.Random, ports: tuple[int, int]) -> list[Rule]:
    rules: dict[tuple[str, str], Rule] = {}
    for _ in range(chance.randint(6, 14)):
        origin, path = chance.choice(any_rule_origin(ports)), chance.choice(RULE_PATHS)
        rules[origin, path] = Rule(
            origin=origin,
            path=path,
            methods=chance.choice(METHOD_SETS),
            allowed_headers=chance.choice(HEADER_SETS),
            exposed_headers=chance.choice(EXPOSED_SETS),
            credentials=origin != "*" and chance.random() < 0.75,
            max_age=chance.choice((0, 600)),
            strict=chance.random() < 0.2,
            mode=chance.choices(("enforce", "shadow", "off"), (8, 1, 1))[0],
        )
    return list(rules.values())


def some_script(
    chance: random.Random, number: int, rules: Sequence[Rule], ports: tuple[int, int]
) -> tuple[Kind, Script]:
    kind = chance.choice(KINDS)
    origins = any_page(ports)
    # Most pages are of those whom some rule names: the others are refused, and that is soon told.
    if chance.random() < 0.6:
        origins = [origin for origin in origins if rule_for(rules, origin, kind.path)] or origins
    asked: dict[str, Any] = {"origin": chance.choice(origins)}
    # A request of a page's own: no preflight's answer and no stored answer serves two.
    asked["query"] = f"{kind.query}&n={number}"
    asked["method"] = chance.choice(kind.methods or SENT_METHODS)
    asked["credentials"] = chance.choice(CREDENTIALS)
    asked["headers"] = chance.choice(SENT_HEADERS)
    script = Script(path=kind.path, **asked)
    if (kind.then and script.is_preflighted) or ("Range" in script.headers and kind.opened):
        script = replace(script, headers={})
    if script.sent_method in {"POST", "PUT"}:
        script = replace(script, body="a=b")
    return kind, script


@cache
def sent_names(site: Site, kind: Kind, method: str) -> frozenset[str]:
    """The headers that the site sends with such an answer, whoever may read them."""
    path = kind.then[-1] if kind.then else kind.path
    answer: Answer = site.request(method, f"{path}?{kind.query}", body=b"a=b")
    assert answer.status == kind.status
    return frozenset(name.lower() for name in answer.headers)


def faults(site: Site, kind: Kind, script: Script, expected: Reading, got: Got) -> list[str]:
    """What of an answer is not what the policy says."""
    if got.readable != expected.readable:
        return [f"readable: {got.readable}, by the policy {expected.readable}: {expected.why}"]
    if not got.readable:
        return []
    found = []
    if got.status != kind.status:
        found.append(f"status {got.status}")
    names = sent_names(site, kind, script.sent_method) & expected.names
    if got.names != names:
        found.append(f"visible {sorted(got.names ^ names)}: {expected.why}")
    if kind.path == "/api/echo/" and script.sent_method != "HEAD":
        arrived = json.loads(got.body)
        if arrived["method"] != script.sent_method:
            found.append(f"arrived as {arrived['method']}")
        cookie = arrived["headers"].get("Cookie")
        if cookie != (COOKIE if carries_cookie(script) else None):
            found.append(f"cookie {cookie}")
    return found


def carries_cookie(script: Script) -> bool:
    """Whether a browser sends the site's SameSite=Lax cookie: from pages of the same site."""
    host = script.origin.removeprefix("http://").split(":")[0]
    return script.credentials == "include" and f".{host}".endswith(".app.localhost")


def test_every_generated_script_gets_exactly_what_the_policy_says(
    site: Site, pages: Pages, ports: tuple[int, int]
) -> None:
    """S0-01, S0-02, S2-25 to S2-30, S4-01: policies, pages and scripts as chance has them."""
    chance = random.Random(SEED)
    numbers = count()
    endings: Counter[tuple[str, str]] = Counter()
    wrong = []
    for _ in range(POLICIES):
        rules = some_rules(chance, ports)
        enforce(site, *rules)
        asked: dict[str, list[tuple[Kind, Script]]] = {}
        for _ in range(SCRIPTS):
            kind, script = some_script(chance, next(numbers), rules, ports)
            asked.setdefault(script.origin, []).append((kind, script))
        for pairs in asked.values():
            answers = pages.ask(address(site), [script for _, script in pairs])
            for (kind, script), got in zip(pairs, answers, strict=True):
                expected = read(rules, script, *kind.then, opened=kind.opened)
                endings[ending(script, expected)] += 1
                wrong += [f"{script}: {it}" for it in faults(site, kind, script, expected, got)]
    assert wrong == [], "\n".join([f"CORS_SEED={SEED}", *wrong])
    assert endings.total() == POLICIES * SCRIPTS >= 200
    # Chance has brought about every way for it to end, and each often enough.
    assert min(endings.values()) >= 15 and len(endings) == 4, endings


def ending(script: Script, expected: Reading) -> tuple[str, str]:
    return (
        "preflighted" if script.is_preflighted else "simple",
        "readable" if expected.readable else "refused",
    )


def test_refusals_and_faults_are_readable_where_the_policy_allows_and_nowhere_else(
    site: Site, pages: Pages, ports: tuple[int, int]
) -> None:
    """S2-28, S2-30: a script can tell 403, 404, 413, 429 and 500, and what they carry."""
    friend, stranger = (f"http://{name}.localhost:{ports[0]}" for name in ("app", "evilapp"))
    enforce(site, Rule(friend))
    large = {"method": "POST", "body": "x" * 2000, "headers": {"Content-Type": "text/plain"}}
    asks: dict[int, dict[str, Any]] = {
        403: {"path": "/api/slow/", "query": "seconds=0"},
        404: {"path": "/api/nothing/"},
        413: {"path": "/api/upload/", **large},
        429: {"path": "/api/search/", "query": "q=a"},
        500: {"path": "/api/flaky/", "query": "fail=1"},
    }
    read_by_friend = pages.ask(address(site), [Script(friend, **ask) for ask in asks.values()])
    read_by_stranger = pages.ask(address(site), [Script(stranger, **ask) for ask in asks.values()])
    assert not any(got.readable for got in read_by_stranger)
    assert [got.status for got in read_by_friend] == list(asks)
    bodies = {got.status: json.loads(got.body) for got in read_by_friend}
    headers = {got.status: got.headers or {} for got in read_by_friend}
    assert all(body["detail"] for body in bodies.values())
    assert all(found["x-request-id"] for found in headers.values())
    for status in (403, 413, 429):
        assert bodies[status]["request_id"] == headers[status]["x-request-id"]
    refused = headers[429]
    assert bodies[429]["retry_after"] == int(refused["retry-after"]) > 0
    assert refused["x-ratelimit-limit"] == "1"
    assert refused["x-ratelimit-remaining"] == "0"
    assert int(refused["x-ratelimit-reset"]) > time.time()
    assert refused["ratelimit"] and refused["ratelimit-policy"]


def test_preflights_spend_no_tokens(site: Site, pages: Pages, ports: tuple[int, int]) -> None:
    """S2-30, trap 3: five requests of five a day pass, each asked for by a preflight."""
    origin = f"http://app.localhost:{ports[0]}"
    limit = {"name": f"put-{site.server}", "url_name": "echo", "methods": ["PUT"], "key": "global"}
    every = {**limit, "name": f"all-{site.server}", "methods": ["OPTIONS"], "limits": ["1/d"]}
    enforce(
        site,
        Rule(origin, methods=("PUT",)),
        endpoint_limits=[{**limit, "limits": ["5/d"]}, every],
    )
    puts = [Script(origin, "/api/echo/", f"put={n}", method="PUT") for n in range(6)]
    assert [got.status for put in puts for got in pages.ask(address(site), [put])] == [
        *[200] * 5,
        429,
    ]


def test_what_a_preflight_refuses_never_arrives(
    site: Site, pages: Pages, ports: tuple[int, int]
) -> None:
    """A method, a header or an origin that is not allowed changes nothing on the site."""
    friend, stranger = (f"http://{name}.localhost:{ports[0]}" for name in ("app", "evil"))
    enforce(site, Rule(friend, methods=("GET", "POST"), allowed_headers=("Content-Type",)))
    product = {"sku": f"cors-{site.server}", "name": "Cup", "price": "1.00", "stock": 1}
    post = Script(
        friend,
        "/api/products/",
        method="POST",
        headers={"Content-Type": "application/json"},
        body=json.dumps(product),
    )

    def products() -> int:
        found: int = site.get("/api/products/").json()["count"]
        return found

    before = products()
    for refused in (
        replace(post, origin=stranger),
        replace(post, origin="null"),
        replace(post, headers={**post.headers, "X-Track-ID": "7"}),
        replace(post, credentials="include"),
        Script(friend, "/api/products/1/", method="DELETE"),
    ):
        assert not pages.ask(address(site), [refused])[0].readable
    assert products() == before
    (created,) = pages.ask(address(site), [post])
    assert created.status == 201
    assert products() == before + 1


def test_edit_elsewhere_is_what_the_next_request_gets(
    site: Site, pages: Pages, ports: tuple[int, int]
) -> None:
    """S1-11: a document applied by another process, and then a page asks."""
    origin = f"http://app.localhost:{ports[0]}"

    def reads(number: int) -> bool:
        (got,) = pages.ask(address(site), [Script(origin, "/api/echo/", f"edit={number}")])
        return got.readable

    wildcard = Rule(f"http://*.localhost:{ports[0]}")
    for number, (rules, expected) in enumerate(
        (
            ((), False),
            ((Rule(origin),), True),
            ((Rule(origin, mode="shadow"),), False),
            ((wildcard,), True),
            ((Rule(origin, mode="off"), wildcard), True),
            ((Rule(origin, "/api/search/"),), False),
            ((Rule("*"),), True),
        )
    ):
        site.apply(
            {"rate_tiers": [DEFAULT], "cors_origins": [rule.item() for rule in rules]}, prune=True
        )
        assert reads(number) is expected, rules


def test_browser_keeps_a_preflights_answer_for_as_long_as_the_rule_says(
    site: Site, pages: Pages, ports: tuple[int, int]
) -> None:
    """With 0 it asks each time, and does not fall back on the five seconds of its own."""
    origin = f"http://app.localhost:{ports[0]}"

    def puts(name: str) -> bool:
        put = Script(origin, "/api/echo/", f"kept={name}-{site.server}", method="PUT")
        return pages.ask(address(site), [put])[0].readable

    for max_age, kept in ((0, False), (600, True)):
        enforce(site, Rule(origin, methods=("GET", "PUT"), max_age=max_age))
        assert puts(str(max_age))
        enforce(site, Rule(origin, methods=("GET",), max_age=max_age))
        assert puts(str(max_age)) is kept
        assert not puts(f"{max_age}-another")
