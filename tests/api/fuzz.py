"""The API met by whatever its own schema lets anybody think of, and by what it does not."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import connections
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from pulse.access.models import ApiKey
from tests.api.conftest import API

#: What a policy cannot be is said by rules that no schema can: 400. Others: who named it, a
#: version that is behind, a key that came with something else, a target that was just asked.
ACCEPTED = ["2xx", "304", "400", "403", "404", "409", "412", "413", "415", "422", "429"]
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422"]


@dataclass
class Outcome:
    cases: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)


class KeepingItsKey:
    """An application whose caller's key is as it was before each request, whatever it did to it."""

    def __init__(self, key: ApiKey) -> None:
        self._application = get_wsgi_application()
        self._key = key

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self._key.save(force_insert=not ApiKey.objects.filter(pk=self._key.pk).exists())
        return self._application(environ, start_response)


def run(
    key: ApiKey,
    text: str,
    *,
    examples: int,
    seed: int,
    phases: list[str],
    only: str = "",
) -> Outcome:
    """Call every operation, with all checks.

    Args:
        key: That of the caller.
        text: The key itself.
        examples: At most so many cases of each operation and phase.
        seed: What is made up follows from it.
        phases: Of ``examples coverage fuzzing stateful``.
        only: Paths that match this; all, if it is empty.
    """
    known = ("examples", "coverage", "fuzzing", "stateful")
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": {"Authorization": f"Bearer {text}"},
            "continue-on-failure": True,
            "generation": {
                "max-examples": examples,
                "database": "none",
                "no-shrink": True,
                "deterministic": True,
            },
            "phases": {name: {"enabled": name in phases} for name in known},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ACCEPTED},
                "negative_data_rejection": {
                    "expected-statuses": REFUSED,
                },
                # A bad query beside nobody's key is told of either.
                "missing_required_header": {"expected-statuses": ["400", "401", "406"]},
            },
            "suppress-health-check": ["all"],
            "warnings": False,
        }
    )
    found, begun = Outcome(), time.monotonic()
    with serving(KeepingItsKey(key)) as address:
        schema = schemathesis.openapi.from_url(f"{address}{API}/schema/", config=config)
        chosen = schema.include(path_regex=only) if only else schema
        for event in from_schema(chosen).execute():
            if isinstance(event, events.NonFatalError | events.FatalError):
                told = getattr(event, "info", None) or event
                found.failures[f"{type(event).__name__} {told}"] = repr(vars(event))[:2000]
            if isinstance(event, events.ScenarioFinished):
                _count(event, found)
    found.seconds = time.monotonic() - begun
    return found


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing of each request."""


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """Serve an application from a thread of its own; yields its address."""
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        thread = threading.Thread(target=_serve, args=(server,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _serve(server: WSGIServer) -> None:
    try:
        server.serve_forever(poll_interval=0.05)
    finally:
        connections.close_all()


def _count(event: events.ScenarioFinished, found: Outcome) -> None:
    recorder = event.recorder
    for interaction in recorder.interactions.values():
        found.cases += 1
        if interaction.response is not None:
            found.statuses[interaction.response.status_code] += 1
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            failure = check.failure_info.failure
            name = f"{check.name}: {failure.operation}: {failure.title}"
            if name not in found.failures:
                interaction = recorder.interactions.get(case_id)
                answer = interaction.response if interaction else None
                request = interaction.request if interaction else None
                found.failures[name] = "\n".join(
                    [
                        str(failure.message),
                        f"{request.method} {request.uri}" if request else "",
                        repr(request.body)[:500] if request else "",
                        f"{answer.status_code} {answer.content[:500]!r}" if answer else "",
                    ]
                )
