"""What the terminal says when the demonstration is up."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from project.demonstration import redis_server
from project.demonstration.options import Options
from project.demonstration.state import State

BOLD, DIM, GREEN, RESET = "\033[1m", "\033[2m", "\033[32m", "\033[0m"
PLAYED = "203.0.113.9"


def lines(options: Options, state: State, *, was_empty: bool, colour: bool) -> Iterator[str]:
    def bold(text: str) -> str:
        return f"{BOLD}{text}{RESET}" if colour else text

    def dim(text: str) -> str:
        return f"{DIM}{text}{RESET}" if colour else text

    def green(text: str) -> str:
        return f"{GREEN}{text}{RESET}" if colour else text

    url = state.url
    server = "gunicorn (WSGI)" if options.server == "wsgi" else "uvicorn (ASGI)"
    processes = "1 process" if options.web_processes == 1 else f"{options.web_processes} processes"
    database = urlsplit(state.database_url).scheme
    yield ""
    parts = f"{server}, {processes}; {database}; {redis_server.version(state.redis_url)}"
    yield f"  {bold('pulse demonstration')}  {dim(parts)}"
    yield ""
    yield f"  shop    {green(url)}"
    login = f"log in as {bold(state.username)} with {bold(state.password)}"
    yield f"  admin   {green(url + 'admin/')}   {login}"
    yield f"  limits  {green(url + 'admin/pulse/')}"
    yield f"  probes  {green(url + 'pulse/')}   what they find; schedules are in the admin"
    policy = "project/demonstration/policy.yaml was applied" if was_empty else "kept from last time"
    yield f"  policy  {policy}"
    yield f"  logs    .demo/logs/   {dim('state in .demo/state.json')}"
    yield ""
    yield f"  {bold('try')}"
    yield dim("    # 25 at once against 10/s with a burst of 20: the last ones are refused")
    yield (
        f"    seq 25 | xargs -P25 -I{{}} curl -s -o /dev/null -w '%{{http_code}}\\n' "
        f"-H 'X-Forwarded-For: {PLAYED}' {url}api/echo/ | sort | uniq -c"
    )
    yield dim("    # who pulse takes you for, and what is left")
    yield f"    curl -si -H 'X-Forwarded-For: {PLAYED}' {url}api/echo/"
    yield dim("    # which rules apply, and why")
    yield (
        "    .venv/bin/python manage.py pulse_explain "
        f'"GET /api/search/ as anonymous from {PLAYED}"'
    )
    yield dim("    # an order, as a customer who pays for a higher tier")
    yield (
        f"    curl -s -H 'Authorization: Token {state.token}' -H 'Content-Type: application/json' "
        f'-d \'{{"lines": [{{"product": 1}}]}}\' {url}api/orders/'
    )
    yield dim("    # the policy as one document, by pulse's own API (key in .demo/state.json)")
    yield f"    curl -s -H 'Authorization: Bearer {state.api_key}' {url}pulse/api/v1/policy/"
    yield ""
    yield f"  {dim('Change a rate in the admin and try again. Ctrl-C ends all of it.')}"
    yield ""
