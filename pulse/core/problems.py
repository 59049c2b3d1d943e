"""Errors as machines read them (RFC 9457)."""

import http.client
from typing import Any, Final

PROBLEM: Final = "application/problem+json"


def problem(
    status: int, code: str, body: dict[str, Any], title: str | None = None
) -> dict[str, Any]:
    """Make the members of a problem of those of an answer.

    Args:
        status: The answer's.
        code: The problem's name.
        body: The members of the answer in plain JSON.
        title: What all problems of the name are; by default the status in words.
    """
    own = {
        "type": f"urn:pulse:{code}",
        "title": title or http.client.responses.get(status, "Error"),
        "status": int(status),
        "code": code,
    }
    return own | body
