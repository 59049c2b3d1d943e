"""Says what the API answers to a walk through it: run in a process of its own, for its settings.

Prints a list of status, content type, some headers and body for each request, as JSON.
"""

import json
import re
import sys

import django
from django.core.management import call_command
from django.test import Client

GOLD = {"name": "gold", "limits": ["100/s"]}
HEADERS = ("Allow", "ETag", "Location", "X-Pulse-Revision", "WWW-Authenticate", "Retry-After")
WALK = [
    ("GET", "rate-tiers/", None, {}),
    ("GET", "rate-tiers/?page_size=1&ordering=-name&search=def&mode=shadow", None, {}),
    ("POST", "rate-tiers/", GOLD, {"Idempotency-Key": "k1"}),
    ("POST", "rate-tiers/", GOLD, {"Idempotency-Key": "k1"}),
    ("POST", "rate-tiers/", GOLD, {"Idempotency-Key": "k2"}),
    ("POST", "rate-tiers/", {"limits": [{"rate": "many"}], "x": 1}, {}),
    ("POST", "rate-tiers/", "{", {}),
    ("GET", "rate-tiers/2/", None, {}),
    ("PATCH", "rate-tiers/2/", {"percent": 50}, {"If-Match": '"1"'}),
    ("PATCH", "rate-tiers/2/", {"percent": 60}, {"If-Match": '"1"'}),
    ("PUT", "rate-tiers/2/?dry_run=1", GOLD, {}),
    ("GET", "rate-tiers/2/", None, {"If-None-Match": '"2"'}),
    ("OPTIONS", "rate-tiers/2/", None, {}),
    ("DELETE", "rate-tiers/2/", None, {}),
    ("GET", "rate-tiers/2/", None, {}),
    ("GET", "rate-tiers/", None, {"Accept": "text/shouting"}),
    ("GET", "rate-tiers/?sort=name", None, {}),
    ("GET", "rate-tiers/", None, {"Authorization": ""}),
    ("GET", "rate-tiers/", None, {"Authorization": "Bearer pulse_nobody00_x"}),
    ("GET", "policy/", None, {}),
    ("GET", "policy/?format=yaml", None, {}),
    ("PUT", "policy/?prune=1&dry_run=1", {}, {}),
    ("GET", "api-keys/", None, {}),
    ("GET", "schema/", None, {"Authorization": ""}),
    ("GET", "docs/", None, {"Accept": "text/html", "Authorization": ""}),
    ("GET", "revisions/?page_size=2", None, {}),
]


def main() -> None:
    from pulse.access import keys
    from pulse.policies.publisher import Actor

    call_command("migrate", verbosity=0)
    new = keys.make("ci", actor=Actor("user", "kim"), scopes=["administer"])
    client = Client()
    told = []
    for method, path, body, headers in WALK:
        given = {"Authorization": f"Bearer {new.text}", **headers}
        data = {}
        if body is not None:
            data = {"data": body, "content_type": "application/json"}
        answer = getattr(client, method.lower())(f"/pulse/api/v1/{path}", headers=given, **data)
        told.append(
            [
                f"{method} {path}",
                answer.status_code,
                answer.headers.get("Content-Type"),
                {name: answer.headers[name] for name in HEADERS if name in answer.headers},
                _plain(answer.content.decode(), new.row.prefix),
            ]
        )
    json.dump(told, sys.stdout)


def _plain(text: str, prefix: str) -> str:
    """Leave out what is another each time."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text.replace(prefix, "PREFIX"))
    text = re.sub(r"[0-9a-f]{64}", "HASH", text)
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "REQUEST", text)


if __name__ == "__main__":
    django.setup()

    from pulse.store import heartbeat

    with heartbeat.suspended():
        main()
