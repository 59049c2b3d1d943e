"""Bounds that hold as often as they say."""

import random

import pytest

from pulse.core.estimates import CONFIDENCE, Client, Estimate, estimate


def test_all_recorded_is_exact() -> None:
    clients = [Client(10, 3), Client(5, 0)]
    assert estimate(clients, 1.0, 15) == Estimate(3, 3, 3)


def test_sample_that_holds_all_there_was_is_exact() -> None:
    assert estimate([Client(10, 3)], 0.5, 10) == Estimate(3, 3, 3)


def test_nothing_in_the_sample_tells_nothing() -> None:
    assert estimate([], 0.25, 100) == Estimate(0, 0, 100)


def test_never_seen_is_bounded_from_above() -> None:
    """The rule of three, by clients, who may be twice as heavy as those that are seen."""
    found = estimate([Client(1, 0)] * 1000, 0.01, 100_000)
    assert (found.total, found.low) == (0, 0)
    assert found.high == pytest.approx(2 * 369, abs=16)


def test_what_is_seen_is_certain_and_what_was_not_there_impossible() -> None:
    found = estimate([Client(10, 10)], 0.5, 12)
    assert found.low >= 10
    assert found.high <= 12


POPULATIONS = {
    "all alike": lambda rng: [Client(20, 5 * (number < 20)) for number in range(400)],
    "log-normal": lambda rng: [
        Client(size, max(0, size - 60))
        for size in (max(1, int(rng.lognormvariate(2, 1.2))) for _ in range(800))
    ],
    "power law": lambda rng: [
        Client(size, max(0, size - 30))
        for size in (min(5000, int(3 * rng.paretovariate(1.5))) for _ in range(800))
    ],
    "few": lambda rng: [
        Client(size, max(0, size - 20))
        for size in (max(1, int(rng.lognormvariate(3, 1))) for _ in range(40))
    ],
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_bounds_hold_what_they_are_for(name) -> None:
    """Over many populations and samples, at least about as often as they say."""
    held = tried = 0
    for seed in range(40):
        rng = random.Random(seed)
        clients = POPULATIONS[name](rng)
        true = sum(client.counted for client in clients)
        requests = sum(client.requests for client in clients)
        for _ in range(10):
            share = rng.choice((0.5, 0.25))
            kept = [client for client in clients if rng.random() < share]
            found = estimate(kept, share, requests)
            held += found.low <= true <= found.high
            tried += 1
    assert held / tried >= CONFIDENCE - 0.02
