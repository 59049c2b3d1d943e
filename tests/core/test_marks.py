"""Marks of probes: read again, and not to be forged."""

import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.clients import client_secret
from pulse.core.marks import MAX_MARK, probe_secret, sign, verify

SECRET = probe_secret("a secret of the tests")
JOB = str(UUID(int=7))


def test_a_mark_names_its_job() -> None:
    mark = sign(JOB, SECRET)
    assert mark == f"{JOB}.{mark[-32:]}"
    assert verify(mark, SECRET) == JOB
    assert verify(sign("42", SECRET), SECRET) == "42"


def test_a_mark_is_of_one_site_and_one_purpose() -> None:
    """Not of another secret, and not of the key that hashes clients."""
    mark = sign(JOB, SECRET)
    assert verify(mark, probe_secret("another secret")) is None
    assert probe_secret("x") == probe_secret(b"x")
    assert probe_secret("x") != client_secret("x")
    assert verify(mark, client_secret("a secret of the tests")) is None


@pytest.mark.parametrize("at", range(len(sign(JOB, SECRET))))
def test_no_character_may_differ(at: int) -> None:
    mark = sign(JOB, SECRET)
    other = "1" if mark[at] == "0" else "0"
    assert verify(f"{mark[:at]}{other}{mark[at + 1 :]}", SECRET) is None
    assert verify(mark[:at] + mark[at + 1 :], SECRET) is None


@pytest.mark.parametrize(
    "mark",
    [
        *("", ".", JOB, f"{JOB}.", f".{'0' * 32}", f"{JOB}.{'0' * 31}", f"{JOB}.{'0' * 33}"),
        *(sign(JOB, SECRET) + "\n", " " + sign(JOB, SECRET), sign("a", SECRET).upper(), "a.b.c"),
        *("\u00fc." + "0" * 32, "a." + "\u0660" * 32),
    ],
)
def test_anything_else_is_no_mark(mark: str) -> None:
    assert verify(mark, SECRET) is None


@given(st.text())
def test_whatever_a_client_sends_is_no_error(mark: str) -> None:
    assert verify(mark, SECRET) is None


def test_a_long_value_costs_nothing() -> None:
    """It is refused by its length, before it is looked at."""
    mark = sign("j" * 64, SECRET)
    assert (len(mark), verify(mark, SECRET)) == (MAX_MARK, "j" * 64)
    long = "a" * 10_000_000
    started = time.process_time()
    for _ in range(10_000):
        assert verify(long, SECRET) is None
    assert time.process_time() - started < 5


@pytest.mark.parametrize("job", ["", "a b", "a.b", "ü", "a" * 65, "a\n"])
def test_a_job_that_could_not_be_read_again_is_not_signed(job: str) -> None:
    with pytest.raises(ValueError, match="job"):
        sign(job, SECRET)
