"""What a probe sent and was answered, as texts to copy; secrets were taken out before."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulse.core.redaction import REDACTED, Redactor
from pulse.probes.plan import Target

redactor = Redactor()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        request: As it goes over the wire, nearly.
        response: Likewise; empty where nothing came.
        curl: A command that sends the same.
    """

    request: str
    response: str
    curl: str


def exchange_of(evidence: object) -> Exchange | None:
    """Read what the recorder kept of a result that was not ``ok``; None where it kept nothing.

    Taken out of once more: rows may be older than what is known to be secret.
    """
    if not isinstance(evidence, Mapping):
        return None
    sent, got = _part(evidence, "request"), _part(evidence, "response")
    if not sent.get("url"):
        return None
    return Exchange(
        request=_text(f"{sent.get('method', 'GET')} {sent['url']}", sent),
        response=_text(f"HTTP {got['status_code']}", got) if got.get("status_code") else "",
        curl=_curl(
            str(sent.get("method", "GET")),
            str(sent["url"]),
            _headers(sent),
            str(sent.get("body") or ""),
        ),
    )


def curl_of(target: Target) -> str:
    """Write the command that sends what a target sends, but for its secrets."""
    call = target.call
    headers = dict(call.headers) | dict.fromkeys(target.secrets, REDACTED)
    return _curl(call.method, call.url, headers, call.body.decode(errors="replace"))


def _part(evidence: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = evidence.get(name)
    return found if isinstance(found, Mapping) else {}


def _headers(part: Mapping[str, Any]) -> Mapping[str, object]:
    found = part.get("headers")
    return found if isinstance(found, Mapping) else {}


def _text(first: str, part: Mapping[str, Any]) -> str:
    headers = redactor.mapping(_headers(part))
    lines = [redactor.text(first), *(f"{name}: {value}" for name, value in headers.items())]
    body = str(part.get("body") or "")
    return "\n".join([*lines, "", redactor.text(body)] if body else lines)


def _curl(method: str, url: str, headers: Mapping[str, object], body: str) -> str:
    words = ["curl", "--include"]
    if method == "HEAD":
        words += ["--head"]
    elif method != "GET":
        words += ["--request", method]
    for name, value in redactor.mapping(headers).items():
        words += ["--header", f"{name}: {value}"]
    if body:
        words += ["--data-raw", redactor.text(body)]
    return shlex.join([*words, redactor.text(url)])
