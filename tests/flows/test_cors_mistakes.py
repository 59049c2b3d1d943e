"""The known mistakes of CORS, tried on the site by raw requests: none of them passes."""

import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from tests.cors_oracle import Rule, allow_origin, has_rules, is_permitted, must_vary, rule_for
from tests.cors_scan import AT_ONCE, UNREAD, Flaw, Reply, Trial, ask, scan, trial, trials
from tests.sites import Site, running, wait_until

SEED: Final = 20250701
ALLOW_ORIGIN: Final = "access-control-allow-origin"
ALLOW_CREDENTIALS: Final = "access-control-allow-credentials"
ALLOW_METHODS: Final = "access-control-allow-methods"
ALLOW_HEADERS: Final = "access-control-allow-headers"
MAX_AGE: Final = "access-control-max-age"
EXPOSED: Final = "access-control-expose-headers"
PERMITS: Final = (ALLOW_METHODS, ALLOW_HEADERS, MAX_AGE)
EXACT: Final = "https://app.example.com"
PARTNER: Final = "https://partner.example.com"
LOCAL: Final = "http://dev.localhost:3000"
WILDCARD: Final = "https://*.example.org"
WITH_PORT: Final = "https://*.example.net:8443"
RULES: Final = (
    Rule(EXACT, credentials=True, max_age=600),
    Rule(WILDCARD, methods=("GET", "PUT"), max_age=60),
    Rule(WITH_PORT, credentials=True),
    Rule(LOCAL, "/api/echo/", methods=("GET", "PUT"), allowed_headers=("X-Track-ID",)),
    Rule(PARTNER, "/api/search/", credentials=True, strict=True, exposed_headers=("X-Request-ID",)),
    Rule("*", "/api/products/", methods=("GET",)),
    Rule("https://shadow.example.com", mode="shadow"),
    Rule("https://off.example.com", mode="off"),
)
#: No rule stands at the root: most paths have none.
SCOPED: Final = (
    Rule(EXACT, "/api/echo/", credentials=True),
    Rule("*", "/api/products/", methods=("GET",)),
    Rule("https://shadow.example.com", "/api/orders/", mode="shadow"),
)
DEFAULT: Final = {"name": "default", "default": True, "limits": ["100000/s"]}
SPENT: Final = {"name": "search", "url_name": "search", "key": "global", "limits": ["1/d"]}
DENIED: Final = {"network": "203.0.113.66", "path": "/api/export/", "action": "deny"}
#: By path: what the site answers there to GET.
ANSWERS: Final = {
    "/api/echo/": 200,
    "/api/nothing/here/": 404,
    "/api/orders/": 401,
    "/api/search/?q=a": 429,
    "/api/flaky/?fail=1": 500,
    "/admin/": 302,
}
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "preflight")
#: Puts credentials beside ``*`` where no validator looks, and lets the rows be published.
BY_SQL: Final = """
from django.db import connection
from pulse.models import CorsOrigin
with connection.cursor() as cursor:
    if connection.vendor == "sqlite":
        cursor.execute("PRAGMA ignore_check_constraints = ON")
    else:
        name = "pulse_no_credentials_for_any_origin"
        cursor.execute(f"ALTER TABLE pulse_corsorigin DROP CONSTRAINT {name}")
    cursor.execute("UPDATE pulse_corsorigin SET credentials = %s WHERE origin = '*'", [True])
    assert cursor.rowcount == 1
CorsOrigin.objects.update(description="touched")
print(CorsOrigin.objects.get(origin="*").credentials)
"""


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with redis_server.client() as client:
        client.flushdb()
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


def enforce(site: Site, *rules: Rule) -> str:
    """Make these the policy's only CORS rules; return the site's address."""
    site.apply(
        {
            "rate_tiers": [DEFAULT],
            "endpoint_limits": [SPENT],
            "access_rules": [DENIED],
            "cors_origins": [rule.item() for rule in rules],
        },
        prune=True,
    )
    # A decision compares the policy with what is announced; preflights look once a second.
    assert site.get("/api/echo/").status == 200
    address = f"http://127.0.0.1:{site.port}"
    # Spent by requests, and by the preflights that no rule answers, which are counted apart.
    for method in ("GET", "preflight"):
        ask(f"{address}/api/search/?q=a", method, [b"https://nobody.example"])
    return address


# The scanner, and what it has to find.


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # The scanner brings eight at once.
    request_queue_size = 64


class Exact(WSGIRequestHandler):
    """Hands on an origin as it came, where wsgiref would take away what it holds for blank."""

    def get_environ(self) -> Any:
        origins = self.headers.get_all("Origin", ())
        return {**super().get_environ(), "HTTP_ORIGIN": ",".join(o.strip(" \t") for o in origins)}

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(application: Any) -> Iterator[str]:
    with make_server("127.0.0.1", 0, application, Server, Exact) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


Plant = Callable[[str, dict[str, Any]], bool]


def planted(
    trusts: Plant,
    *,
    says: str | None = None,
    credentials: bool = True,
    vary: Callable[[str, bool], bool] = lambda origin, allowed: True,
    times: int = 1,
) -> Any:
    """An application with a mistake of its own.

    Args:
        trusts: Whether an origin may read.
        says: Instead of the origin that asks.
        credentials: Allowed to those who may read.
        vary: Whether it says so, by origin and whether that may read.
        times: How often it says who may read.
    """

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        origin = environ.get("HTTP_ORIGIN", "")
        allowed = trusts(origin, environ)
        headers = [("Content-Type", "text/plain"), ("Content-Length", "2")]
        if vary(origin, allowed):
            headers.append(("Vary", "Accept, Origin"))
        if allowed:
            headers += [("Access-Control-Allow-Origin", says or origin)] * times
            if credentials:
                headers.append(("Access-Control-Allow-Credentials", "true"))
        start_response("200 OK", headers)
        return [b"ok"]

    return application


def is_exact(origin: str, environ: dict[str, Any]) -> bool:
    return origin == EXACT


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


EVERY_VARY: Final = {Flaw.VARY_ALLOWED, Flaw.VARY_REFUSED, Flaw.VARY_SILENT}
#: What a match of the beginning alone lets in beside the suffix.
BEGINS: Final = {
    *(Flaw.SUFFIX, Flaw.PORT, Flaw.USERINFO, Flaw.FORM, Flaw.CHARACTERS, Flaw.LIST, Flaw.LENGTH),
    *(Flaw.DOUBLED, Flaw.FOREIGN),
}
#: What a match of the end alone lets in beside the prefix.
ENDS: Final = {
    *(Flaw.PREFIX, Flaw.SUBDOMAIN, Flaw.SCHEME, Flaw.USERINFO, Flaw.UNANCHORED, Flaw.CASE),
    *(Flaw.FORM, Flaw.LIST, Flaw.DOUBLED, Flaw.FOREIGN),
}
#: By name: an application with one mistake, and what the scanner says of it.
PLANTS: Final[dict[str, tuple[Any, set[Flaw]]]] = {
    "reflects any": (planted(lambda origin, _: bool(origin)), {Flaw.ANY}),
    "trusts null": (planted(lambda origin, _: origin in {EXACT, "null"}), {Flaw.NULL}),
    "startswith": (planted(lambda origin, _: origin.startswith(EXACT)), BEGINS),
    "regex without an end": (
        planted(lambda origin, _: bool(re.match(r"https://app\.example\.com", origin))),
        BEGINS,
    ),
    "endswith": (planted(lambda origin, _: origin.endswith("app.example.com")), ENDS),
    "in": (planted(lambda origin, _: "app.example.com" in origin), BEGINS | ENDS),
    "regex with bare dots": (
        planted(lambda origin, _: bool(re.fullmatch("https://app.example.com", origin))),
        {Flaw.DOT},
    ),
    "folds case": (planted(lambda origin, _: origin.lower() == EXACT), {Flaw.CASE}),
    "ignores the port": (
        planted(lambda origin, _: re.sub(r":\d+$", "", origin) == EXACT),
        {Flaw.PORT},
    ),
    "ignores the scheme": (
        planted(lambda origin, _: re.sub(r"^[a-z-]+:", "", origin) == "//app.example.com"),
        {Flaw.SCHEME},
    ),
    "ignores the user": (
        planted(lambda origin, _: re.sub(r"//[^/]*@", "//", origin) == EXACT),
        {Flaw.USERINFO},
    ),
    "parses, compares hosts": (
        planted(lambda origin, _: _host(origin) == "app.example.com"),
        {Flaw.CASE, Flaw.FORM, Flaw.LENGTH, Flaw.PORT, Flaw.SCHEME, Flaw.USERINFO},
    ),
    "every subdomain": (
        planted(lambda origin, _: origin == EXACT or origin.endswith(".app.example.com")),
        {Flaw.SUBDOMAIN},
    ),
    "every sibling": (
        planted(lambda origin, _: bool(re.fullmatch(r"https://([a-z]+\.)?example\.com", origin))),
        {Flaw.SIBLING, Flaw.PREFIX},
    ),
    "trims": (
        planted(lambda origin, _: origin.strip() == EXACT),
        {Flaw.FORM},
    ),
    "splits a list": (
        planted(lambda origin, _: EXACT in origin.replace(" ", "").split(","), says=EXACT),
        {Flaw.LIST},
    ),
    "trusts its Host": (
        planted(
            lambda origin, environ: origin in {EXACT, f"http://{environ['HTTP_HOST']}"},
        ),
        {Flaw.HOST},
    ),
    "gives up on what is long": (
        planted(lambda origin, _: origin == EXACT or len(origin) > 300),
        {Flaw.LENGTH},
    ),
    "* with credentials": (planted(lambda *_: True, says="*"), {Flaw.CREDENTIALS, Flaw.PUBLIC}),
    "*": (planted(lambda *_: True, says="*", credentials=False), {Flaw.PUBLIC}),
    "says it twice": (planted(is_exact, times=2), {Flaw.DOUBLED}),
    "no Vary on refusal": (
        planted(is_exact, vary=lambda origin, allowed: allowed or not origin),
        {Flaw.VARY_REFUSED},
    ),
    "no Vary on permission": (
        planted(is_exact, vary=lambda _, allowed: not allowed),
        {Flaw.VARY_ALLOWED},
    ),
    "no Vary without an origin": (
        planted(is_exact, vary=lambda origin, _: bool(origin)),
        {Flaw.VARY_SILENT},
    ),
    "no Vary": (planted(is_exact, vary=lambda *_: False), EVERY_VARY),
    "reflects in preflights alone": (
        planted(
            lambda origin, environ: (
                (origin == EXACT or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ)
                and bool(origin)
            )
        ),
        {Flaw.ANY},
    ),
}
#: The same at the edges of a wildcard.
WILDCARD_PLANTS: Final[dict[str, tuple[Any, Flaw]]] = {
    "the parent too": (
        planted(lambda origin, _: is_in_wildcard(origin) or origin == "https://example.org"),
        Flaw.APEX,
    ),
    "no empty label refused": (
        planted(lambda origin, _: bool(re.fullmatch(r"https://[a-z.]*\.example\.org", origin))),
        Flaw.APEX,
    ),
    "half a label": (
        planted(lambda origin, _: bool(re.fullmatch(r"https://[a-z.]*example\.org", origin))),
        Flaw.LABEL,
    ),
    "a dot for any character": (
        planted(lambda origin, _: bool(re.fullmatch(r"https://[a-z]+.example\.org", origin))),
        Flaw.DOT,
    ),
    "anything before": (
        planted(lambda origin, _: origin.endswith(".example.org")),
        Flaw.UNANCHORED,
    ),
    "anything after": (
        planted(lambda origin, _: bool(re.match(r"https://[a-z]+\.example\.org", origin))),
        Flaw.SUFFIX,
    ),
    "any character": (
        planted(lambda origin, _: bool(re.fullmatch(r"https://[^./]+\.example\.org", origin))),
        Flaw.CHARACTERS,
    ),
}


def is_in_wildcard(origin: str) -> bool:
    return bool(re.fullmatch(r"https://([a-z]+\.)+example\.org", origin))


@pytest.mark.parametrize("name", PLANTS)
def test_scanner_names_what_was_planted_and_nothing_else(name: str) -> None:
    application, planted_flaws = PLANTS[name]
    with served(application) as url:
        found = scan(url, EXACT, methods=("GET", "preflight"))
    assert set(found) == planted_flaws, found


@pytest.mark.parametrize("name", WILDCARD_PLANTS)
def test_scanner_names_what_was_planted_at_a_wildcard(name: str) -> None:
    application, flaw = WILDCARD_PLANTS[name]
    with served(application) as url:
        found = scan(url, "https://a.example.org", wildcard=WILDCARD, methods=("GET",))
    assert flaw in found, found


def test_scanner_finds_nothing_where_nothing_was_planted() -> None:
    with served(planted(is_exact)) as url:
        assert scan(url, EXACT) == {}
    with served(planted(lambda origin, _: is_in_wildcard(origin))) as url:
        assert scan(url, "https://a.example.org", wildcard=WILDCARD) == {}
    public = planted(lambda *_: True, says="*", credentials=False, vary=lambda *_: False)
    with served(public) as url:
        assert scan(url, EXACT, public=True) == {}


# The site.


def test_scanner_finds_nothing_on_the_site(site: Site) -> None:
    """S0-01, S0-02, S2-30: no known mistake, whatever the answer is and whoever asks how."""
    address = enforce(site, *RULES)
    found = scan(f"{address}/api/echo/", EXACT)
    for path in ANSWERS:
        found |= scan(f"{address}{path}", EXACT, methods=["GET"])
        found |= scan(
            f"{address}{path}", "https://a.example.org", wildcard=WILDCARD, methods=["GET"]
        )
    found |= scan(f"{address}/api/echo/", LOCAL, methods=["preflight"])
    found |= scan(f"{address}/api/search/?q=a", PARTNER, methods=["GET"])
    found |= scan(
        f"{address}/api/echo/",
        "https://a.example.net:8443",
        wildcard=WITH_PORT,
        methods=["preflight"],
    )
    found |= scan(f"{address}/api/products/", EXACT, public=True)
    assert found == {}


def hostile_origins() -> list[tuple[bytes, ...]]:
    """Every trial of the scanner at every rule, and the rules' own origins where they are none."""
    also: list[Trial] = []
    for rule in RULES:
        if rule.origin == "*":
            continue
        own = rule.origin.replace("*", "a")
        wildcard = rule.origin if "*" in rule.origin else None
        also += [*trials(own, wildcard=wildcard), trial(Flaw.FOREIGN, own)]
        also += [trial(Flaw.FOREIGN, own.replace("://a.", "://a_b.c-d."))]
        also += [trial(Flaw.LENGTH, own.replace("://a.", f"://{'a' * 400}."))]
    return sorted({each.origins for each in also} | {(), (b"",)})


@pytest.mark.parametrize("rules", [RULES, SCOPED], ids=["everywhere", "by path"])
def test_every_origin_gets_what_the_policy_says_of_it_and_nothing_else(
    site: Site, rules: tuple[Rule, ...]
) -> None:
    """S0-01, S2-25 to S2-30: by each method, on each kind of answer, hostile or not."""
    address = enforce(site, *rules)
    answers = {**ANSWERS, "/api/products/": 200}
    origins = hostile_origins()
    assert len(origins) >= 500
    silent = {
        (path, method): ask(address + path, method).status
        for path, method in product(answers, METHODS)
    }
    assert {path: silent[path, "GET"] for path in answers} == answers
    chance = random.Random(SEED)
    asked = [
        (path, method, origin)
        for origin in origins
        for path, method in chance.sample(list(product(answers, METHODS)), 2)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(lambda each: ask(address + each[0], each[1], each[2]), asked))
    wrong = [
        (each, fault)
        for each, reply in zip(asked, replies, strict=True)
        for fault in faults(rules, each, reply, silent)
    ]
    assert wrong == [], "\n".join(map(str, wrong))
    assert sum(map(is_read, replies)) >= 0.8 * len(replies)
    assert sum(bool(reply.allows) for reply in replies) >= 20


def is_read(reply: Reply) -> bool:
    """Whether the site answered, and not its server, which refuses control characters itself."""
    if reply.values("x-request-id"):
        return True
    assert reply.status in UNREAD
    return False


def faults(
    rules: tuple[Rule, ...],
    asked: tuple[str, str, tuple[bytes, ...]],
    reply: Reply,
    silent: dict[tuple[str, str], int],
) -> Iterator[str]:
    """Yield what of an answer is not what the policy says."""
    target, method, origins = asked
    path = target.partition("?")[0]
    given = {
        name.lower(): value
        for name, value in reply.headers
        if name.lower().startswith("access-control-")
    }
    if not is_read(reply):
        yield from (f"{name} on what it did not read" for name in given)
        return
    names = [name.lower() for name, _ in reply.headers]
    yield from (f"{name} twice" for name in given if names.count(name) > 1)
    # As both gateways hand on several headers of one name; spaces at the ends are no part of them.
    origin = b",".join(each.strip(b" \t") for each in origins).decode("latin-1")
    is_preflight = method == "preflight" and bool(origins)
    rule = rule_for(rules, origin, path)
    if not origins and must_vary(rules, path):
        rule = None
    permitted = rule is not None and (not rule.strict or is_permitted(rule, "PUT", ()))
    if rule is None:
        yield from (f"{name} to whom no rule names" for name in given)
    elif not is_preflight:
        yield from _differences(given, _expected(rule, origin))
    elif permitted:
        yield from _differences(given, _expected(rule, origin) | _expected_of_preflight(rule))
    else:
        yield from (f"{name} where nothing is permitted" for name in given if name in PERMITS)
    yield from _wrong_vary(rules, path, is_preflight, reply)
    if is_preflight and has_rules(rules, path):
        if reply.status != (200 if rule is None or permitted else 403):
            yield f"a preflight answered with {reply.status}"
        if permitted and reply.values("content-length") != ["0"]:
            yield "a preflight's answer has a body"
    elif reply.status != silent[target, method]:
        yield f"status {reply.status}, and {silent[target, method]} without an origin"


def _expected(rule: Rule, origin: str) -> dict[str, set[str]]:
    expected = {ALLOW_ORIGIN: {allow_origin(rule, origin) or ""}}
    if rule.credentials:
        expected[ALLOW_CREDENTIALS] = {"true"}
    if rule.exposed_headers:
        expected[EXPOSED] = set(rule.exposed_headers)
    return expected


def _expected_of_preflight(rule: Rule) -> dict[str, set[str]]:
    expected = {MAX_AGE: {str(rule.max_age)}, ALLOW_METHODS: set(rule.methods)}
    if rule.allowed_headers:
        expected[ALLOW_HEADERS] = set(rule.allowed_headers)
    return expected


def _differences(given: dict[str, str], expected: dict[str, set[str]]) -> Iterator[str]:
    """Yield the names whose values are not what they should be."""
    for name in sorted(given.keys() | expected.keys()):
        if words(given.get(name)) != expected.get(name, set()):
            yield f"{name}: {given.get(name)}, and not {expected.get(name)}"


def _wrong_vary(
    rules: tuple[Rule, ...], path: str, is_preflight: bool, reply: Reply
) -> Iterator[str]:
    needed = must_vary(rules, path)
    if needed is not None and needed is not bool(reply.varies & {"origin", "*"}):
        yield f"Vary {sorted(reply.varies)}"
    asked_for = {"access-control-request-method", "access-control-request-headers"}
    if is_preflight and reply.allows and not asked_for <= reply.varies:
        yield f"Vary {sorted(reply.varies)} on a preflight"


def words(value: str | None) -> set[str]:
    return {word.strip() for word in (value or "").split(",") if word.strip()}


def test_strict_rule_refuses_what_it_does_not_allow(site: Site) -> None:
    """A preflight for another method or header is 403; one for what is allowed is 200."""
    address = enforce(
        site,
        Rule(EXACT, methods=("GET", "PUT"), allowed_headers=("X-Track-ID",), strict=True),
        Rule(PARTNER, methods=("GET", "PUT"), allowed_headers=("X-Track-ID",)),
    )

    def preflight(origin: str, method: str, headers: str | None = None) -> Reply:
        asked = [("Access-Control-Request-Method", method)]
        if headers is not None:
            asked.append(("Access-Control-Request-Headers", headers))
        return ask(f"{address}/api/echo/", "OPTIONS", [origin.encode()], headers=asked)

    for method, headers in (("PUT", None), ("GET", "x-track-id"), ("PUT", "X-TRACK-ID")):
        for origin in (EXACT, PARTNER):
            reply = preflight(origin, method, headers)
            assert (reply.status, reply.allows) == (200, [origin])
    for method, headers in (
        ("DELETE", None),
        ("put", None),
        ("PUT", "x-other"),
        ("PUT", "x-track-id,x-other"),
        ("PUT", "*"),
        ("PUT", "x-track-id" + ",x-other" * 900),
        ("PUT", "," * 8000),
    ):
        refused, lenient = preflight(EXACT, method, headers), preflight(PARTNER, method, headers)
        assert refused.status == 403, (method, headers)
        assert lenient.status == 200
        for reply in (refused, lenient):
            # What was asked for is never given back as what is allowed.
            assert words(",".join(reply.values(ALLOW_HEADERS))) <= {"X-Track-ID"}
            assert words(",".join(reply.values(ALLOW_METHODS))) <= {"GET", "PUT"}


def test_refusals_say_who_may_read_them(site: Site) -> None:
    """A denied network's 403 too, and only to those whom the policy names."""
    address = enforce(site, *RULES)

    def denied(*origins: bytes) -> Reply:
        return ask(
            f"{address}/api/export/", "GET", origins, headers=[("X-Forwarded-For", "203.0.113.66")]
        )

    assert denied(EXACT.encode()).status == 403
    assert denied(EXACT.encode()).allows == [EXACT]
    assert denied(b"null").allows == denied(b"https://stranger.invalid").allows == []
    assert all("origin" in denied(*origins).varies for origins in ((), (b"null",)))


def test_edit_elsewhere_reaches_preflights_that_no_decision_goes_with(site: Site) -> None:
    """S1-11: within a second or so, by the heartbeat alone."""
    address = enforce(site, Rule(EXACT))
    for rules, allows in (((), []), ((Rule(EXACT),), [EXACT])):
        site.apply({"cors_origins": [rule.item() for rule in rules]}, prune=True)

        def answered(allows: list[str] = allows) -> bool:
            return ask(f"{address}/api/echo/", "preflight", [EXACT.encode()]).allows == allows

        wait_until(answered, 10)


def test_any_origin_with_credentials_is_not_sent_even_if_a_row_says_so(site: Site) -> None:
    """S0-01: refused in a document; and a row written by SQL leaves the policy as it was."""
    address = enforce(site, Rule("*"))
    wrong = {"cors_origins": [{**Rule("*").item(), "credentials": True}]}
    refused = site.manage("pulse_apply", "-", stdin=json.dumps(wrong), check=False)
    assert refused.returncode not in {0, 2}, refused.stdout
    assert site.python(BY_SQL).split() == ["True"]
    site.stop()
    site.start()  # A process that has no policy yet finds no other.
    for method in METHODS:
        reply = ask(f"{address}/api/echo/", method, [EXACT.encode()])
        assert (reply.allows, reply.allows_credentials) == (["*"], False)
    enforce(site, Rule("*"))


@pytest.fixture(params=["wsgi", "asgi"])
def host(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Start the site as a host with CORS settings of its own; return its address."""
    with redis_server.client() as client:
        client.flushdb()
    with ExitStack() as stack:

        def start(**environment: str) -> str:
            environment["DJANGO_SETTINGS_MODULE"] = "tests.flows.cors_host"
            site = Site(
                tmp_path, redis_server.url, server=request.param, processes=1, **environment
            )
            stack.callback(site.stop)
            site.start()
            return f"http://127.0.0.1:{site.port}"

        yield start


def test_scanner_finds_nothing_in_what_the_hosts_own_settings_allow(
    host: Callable[..., str],
) -> None:
    """The base layer, without a rule: the origins that ``CORS_ALLOWED_ORIGINS`` names."""
    address = host()
    assert ask(f"{address}/api/echo/", "GET", [EXACT.encode()]).allows == [EXACT]
    assert ask(f"{address}/api/echo/", "GET", [EXACT.encode()]).allows_credentials
    assert scan(f"{address}/api/echo/", EXACT, methods=["GET", "preflight"]) == {}
    assert scan(f"{address}/api/nothing/", LOCAL, methods=["GET"]) == {}


def test_hosts_own_any_origin_goes_out_without_credentials(host: Callable[..., str]) -> None:
    """S0-01: ``CORS_ALLOW_ALL_ORIGINS`` with ``CORS_ALLOW_CREDENTIALS`` gives nobody's cookies."""
    address = host(CORS_ALLOW_ALL="1")
    assert set(scan(f"{address}/api/echo/", EXACT)) == {Flaw.PUBLIC}
