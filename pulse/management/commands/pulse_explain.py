"""``manage.py pulse_explain``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from pulse.core.bounds import format_size
from pulse.core.networks import parse_address
from pulse.exceptions import InvalidQuestion
from pulse.management.output import PolicyCommand
from pulse.policies.explain.explanations import Explanation, explain
from pulse.policies.explain.questions import MAX_COUNT, Question, parse
from pulse.policies.explain.refusals import explain_refusal

MARKS = {
    "passed": "✓",
    "refused": "✗",
    "would_refuse": "!",
    "not_matched": "·",
    "exempt": "·",
    "off": "·",
}


class Command(PolicyCommand):
    """Explains what would become of a request, or what became of a refused one."""

    help = (
        "Tell what would become of a request now, by which rules and why; nothing is charged. "
        "Or paste the decision id of a refusal."
    )
    example = """examples:
  manage.py pulse_explain "GET /api/search/ as anonymous from 203.0.113.9"
  manage.py pulse_explain "POST /accounts/login/ from 203.0.113.9" --count 6 --counters fresh
  manage.py pulse_explain "/api/echo/ from 10.0.0.7" --header "X-Forwarded-For: 203.0.113.9"
  manage.py pulse_explain "/api/echo/" --header "Origin: https://app.example.com" --https
  manage.py pulse_explain --decision WzIsInJhdGVfdGllcnMi..."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say what to explain."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "request", nargs="?", metavar="REQUEST", help="METHOD PATH as USER from ADDRESS"
        )
        what.add_argument("--decision", metavar="ID", help="the decision id of a refusal")
        parser.add_argument(
            "--header",
            action="append",
            default=[],
            metavar="NAME:VALUE",
            help="a header of the request; repeatable",
        )
        parser.add_argument(
            "--api-key", metavar="PREFIX", help="the key of pulse's that comes with it"
        )
        parser.add_argument("--https", action="store_true", help="it comes over HTTPS")
        parser.add_argument("--count", type=int, default=1, help="so many requests at one instant")
        parser.add_argument(
            "--counters", choices=("live", "fresh"), default="live", help="as they are, or all full"
        )
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Explain."""
        try:
            lines, answer = _explain(options)
        except InvalidQuestion as error:
            texts = [text for texts in error.errors.values() for text in texts]
            raise CommandError(" ".join(texts)) from error
        if options["format"] == "json":
            self.print_json(answer)
        else:
            self.stdout.write("\n".join(lines))


def _explain(options: Mapping[str, Any]) -> tuple[Iterator[str], Mapping[str, Any]]:
    """Return what is told, by lines and as the API tells it."""
    if options["decision"]:
        answer = explain_refusal(options["decision"])
        return _refusal_lines(answer), answer
    question = _question(options)
    explanation = explain(question)
    return _lines(question, explanation), explanation.answer


def _question(options: Mapping[str, Any]) -> Question:
    question = parse(options["request"])
    if question is None:
        raise CommandError(
            f'Cannot read "{options["request"]}". '
            'Write it like "GET /api/search/ as anonymous from 203.0.113.9".'
        )
    if parse_address(question.address) is None:
        raise CommandError(f"{question.address} is no address.")
    if not 1 <= options["count"] <= MAX_COUNT:
        raise CommandError(f"--count is from 1 to {MAX_COUNT}.")
    headers = {}
    for header in options["header"]:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise CommandError(f'Cannot read the header "{header}". Write it like "X-Plan: gold".')
        headers[name.strip()] = value.strip()
    return replace(
        question,
        headers=headers,
        count=options["count"],
        counters=options["counters"],
        secure=options["https"],
        api_key=options["api_key"],
    )


def _refusal_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    decision, then, now = answer["decision"], answer["then"], answer["now"]
    what = f"{decision['method']} {decision['route'] or '(no route)'}"
    name = " ".join(decision["key"].values())
    at = datetime.fromisoformat(decision["at"])
    yield f"{what} was refused at {at:%Y-%m-%d %H:%M:%S} UTC"
    yield f"by {decision['kind']} {name} ({decision['rate']}), revision {answer['revision']}."
    yield f"Counted for the client {decision['client']}{_say_address(answer['client'])}."
    yield ""
    if then is None:
        yield f"Then      revision {answer['revision']} is not kept any more"
    else:
        yield f"Then      {then['words']}"
    if not now["exists"]:
        yield f"Now       the rule is gone (revision {now['revision']})"
        return
    force = "" if now["in_force"] else "; it is not in force"
    yield f"Now       {now['words']} (revision {now['revision']}{force})"
    for field, values in now["changed"].items():
        before, after = (json.dumps(values[side]) for side in ("before", "after"))
        yield f"          {field}: {before} -> {after}"
    for limit in now["limits"]:
        yield _limit_line(limit)


def _say_address(client: Mapping[str, Any]) -> str:
    return "" if client["address"] is None else f", last seen at {client['address']}"


def _lines(question: Question, explanation: Explanation) -> Iterator[str]:
    answer = explanation.answer
    times = "" if question.count == 1 else f" ({answer['allowed']} of {question.count} pass)"
    yield f"{answer['status']} {answer['verdict']}{times} under revision {answer['revision']}"
    yield ""
    yield f"Address   {explanation.address}"
    for step in explanation.address.steps:
        yield f"          {step}"
    client = answer["client"]
    yield f"Client    counted by {client['kind'] or 'nothing'}, tier {client['tier'] or 'none'}"
    route = answer["route"]
    yield f"Route     {'none: the path resolves to nothing' if route is None else route}"
    if answer["exempt_by"]:
        yield f"Exempt    by {answer['exempt_by']}"
    if answer["cors"]:
        yield f"CORS      {_say_cors(answer['cors'])}"
    yield f"Bounds    {_say_bounds(answer['bounds'])}"
    if answer["header_policy"]:
        yield f"Headers   by the policy {answer['header_policy']}"
    if answer["headers_by_setting"]:
        yield f"Django's  {_say_settings(answer['headers_by_setting'])}"
    yield ""
    for row in answer["rules"]:
        yield from _rule_lines(row)
    yield ""
    for name, value in answer["headers"].items():
        yield f"{name}: {value}"
    if answer["body"]:
        yield json.dumps(answer["body"], ensure_ascii=False)


def _say_cors(cors: Mapping[str, Any]) -> str:
    verdict = {True: "may read it", False: "may not read it", None: "is not judged here"}
    what = "preflight: " if cors["preflight"] else ""
    shadow = cors["would_allow"]
    told = f"; the rule for {shadow['origin']}, in shadow, would allow it" if shadow else ""
    return f"{what}{cors['origin']} {verdict[cors['allowed']]}: {cors['why']}{told}"


def _say_bounds(bounds: Mapping[str, Any]) -> str:
    size, seconds = bounds["max_body_bytes"], bounds["timeout_s"]
    body = "no limit" if size is None else f"{format_size(size)} (by {bounds['max_body_by']})"
    time = "no limit" if seconds is None else f"{seconds:g} s (by {bounds['timeout_by']})"
    slow = f"slow after {bounds['slow_ms']} ms" if bounds["slow_ms"] else "never slow"
    by = f" (by {bounds['slow_by']})" if bounds["slow_by"] else ""
    return f"body {body}, time {time}, {slow}{by}"


def _say_settings(headers: Mapping[str, str]) -> str:
    told = ", ".join(f"{name} ({setting})" for name, setting in headers.items())
    return f"own settings give {told}, and what they give stays unless a policy forces its own"


def _rule_lines(row: Mapping[str, Any]) -> Iterator[str]:
    mark, name = MARKS[row["outcome"]], " ".join(row["key"].values())
    counted = f", counted by {row['counted_by']}" if row["counted_by"] else ""
    what = f"{row['outcome']:<12} {row['kind']} {name} ({row['mode']})"
    yield f"{mark} {what}: {row['why']}{counted}"
    yield from map(_limit_line, row["limits"])


def _limit_line(limit: Mapping[str, Any]) -> str:
    wait = f", again in {limit['retry_after']} s" if limit["retry_after"] else ""
    left = f"{limit['remaining']} of {limit['limit']} left"
    return f"      {limit['rate']} {limit['algorithm']}: {left}{wait}"
