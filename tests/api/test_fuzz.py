"""All checks of schemathesis on a fixed seed.

``PULSE_FUZZ_CASES=10000 pytest tests/api/test_fuzz.py`` goes on until so many requests were made.
"""

import os

import pytest

from pulse.access import keys
from tests.api.fuzz import run
from tests.factories import KIM

CASES = int(os.environ.get("PULSE_FUZZ_CASES") or 0)
EXAMPLES = 50 if CASES else 1
SEED = 20260
PHASES = ["examples", "coverage", "fuzzing", "stateful"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(7200 if CASES else 300)
def test_no_check_fails_and_nothing_breaks(settings) -> None:
    # What it writes must not refuse it: these are the API's answers, not the limiter's.
    settings.PULSE = {
        **settings.PULSE,
        "ENABLED": False,
        "AUTH_DELAY_MS": 0,
        "AUTH_FAILURES": "1000000/s",
    }
    new = keys.make("fuzz", actor=KIM, scopes=["administer"], expires_at=None)
    made, seed = 0, SEED
    statuses: dict[int, int] = {}
    while not made or made < CASES:
        phases = PHASES if CASES else ["fuzzing"]
        found = run(new.row, new.text, examples=EXAMPLES, seed=seed, phases=phases)
        made, seed = made + found.cases, seed + 1
        for status, count in found.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
        told = "\n\n".join(f"{name}\n{text}" for name, text in found.failures.items())
        assert not found.failures, told
        assert not [status for status in statuses if status >= 500]
        print(f"{made} requests, {found.seconds:.0f} s, {dict(sorted(statuses.items()))}")
    assert statuses[200] > 10
