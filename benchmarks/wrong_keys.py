"""Whether the time of an answer tells which keys there are, and how many may be tried.

``python -m benchmarks.wrong_keys`` makes 1,000 requests with wrong keys of known prefixes and of
unknown ones each, by turns, through the whole of Django in this process (SQLite in memory, counters
in memory, no delay by chance), by the clock and by the processor's time, which other processes do
not lengthen. Then as many from one address, with the limit of failures as it is by default.
"""

import argparse
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.test")

MEASURES = ("clock", "processor")
WARM_UP = 50
PATH = "/pulse/api/v1/api-keys/"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="requests of each (1000)")
    count = parser.parse_args().count

    import django

    django.setup()
    from django.test.utils import (
        setup_databases,
        setup_test_environment,
        teardown_databases,
        teardown_test_environment,
    )

    setup_test_environment()
    old = setup_databases(verbosity=0, interactive=False)
    try:
        _measure(count)
    finally:
        teardown_databases(old, verbosity=0)
        teardown_test_environment()


def _measure(count: int) -> None:
    from django.test import Client, override_settings

    from pulse.access import keys
    from pulse.policies.publisher import Actor

    texts = [keys.make("bench", actor=Actor("system")).text for _ in range(100)]
    known = [f"{text[:-8]}AAAAAAAA" for text in texts]
    unknown = [
        f"pulse_{_prefix(number)}_{text[15:-8]}AAAAAAAA" for number, text in enumerate(texts)
    ]
    client = Client(raise_request_exception=True)

    def ask(text: str) -> tuple[int, float, float]:
        began = time.perf_counter(), time.thread_time()
        response = client.get(PATH, headers={"Authorization": f"Bearer {text}"})
        ended = time.perf_counter(), time.thread_time()
        clock_s, processor_s = (end - begin for begin, end in zip(began, ended, strict=True))
        return response.status_code, clock_s * 1e6, processor_s * 1e6

    times: dict[tuple[str, str], list[float]] = {
        (name, prefix): [] for name in MEASURES for prefix in ("known", "unknown")
    }
    with override_settings(PULSE={"AUTH_FAILURES": "1000000/s", "AUTH_DELAY_MS": 0}):
        for number in range(count + WARM_UP):
            pairs = [("known", known), ("unknown", unknown)]
            random.shuffle(pairs)
            for prefix, choice in pairs:
                status, *took_us = ask(choice[number % len(choice)])
                assert status == 401, status
                if number >= WARM_UP:
                    for name, us in zip(MEASURES, took_us, strict=True):
                        times[name, prefix].append(us)
    for (name, prefix), found in times.items():
        print(f"{name:9}  {prefix:7} prefix  {_told(found)}")
    middles = [statistics.median(times["processor", prefix]) for prefix in ("known", "unknown")]
    print(f"medians of the processor's time differ by {abs(middles[0] / middles[1] - 1):.1%}")
    began = time.perf_counter()
    statuses = Counter(ask(unknown[number % len(unknown)])[0] for number in range(count))
    took_s = time.perf_counter() - began
    told = ", ".join(f"{amount} times {status}" for status, amount in sorted(statuses.items()))
    print(f"{count} wrong keys of one address in {took_s:.1f} s: {told}")


def _told(found: Sequence[float]) -> str:
    points = statistics.quantiles(found, n=100)
    return "  ".join(f"p{point} {points[point - 1]:7.0f} µs" for point in (10, 50, 90, 99))


def _prefix(number: int) -> str:
    return f"none{number:04}"


if __name__ == "__main__":
    main()
