"""What anybody wrote is read at a bounded cost."""

import time

import pytest

from pulse.exceptions import InvalidDocument
from pulse.policies.reading import load


def doubling(levels: int) -> str:
    """Each mapping merges the one before it twice, and has a key of its own."""
    lines = ["a0: &a0 {k0: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: 1}}" for n in range(1, levels + 1)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    ["a: &a {b: 1}\nc:\n  <<: *a\n  d: 2", "a: &a {b: 1}\nc: {!!merge x: *a}"],
)
def test_merge_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidDocument, match="is no name of a field"):
        load(text)


def test_a_few_lines_do_not_cost_seconds() -> None:
    """As merge keys would: each level of these has twice the pairs of the one before."""
    before = time.perf_counter()
    with pytest.raises(InvalidDocument):
        load(doubling(18))
    assert time.perf_counter() - before < 0.2
