"""The pytest plugin: a fixture that puts a policy in force for the rest of a test.

pytest loads it before Django is set up, so nothing of Django is imported here.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

import pytest


class PulsePolicies(Protocol):
    """What the fixture ``pulse_policies`` is."""

    def __call__(self, document: Mapping[str, Any], *, real_time: bool = False) -> None:
        """Put a document in force for the rest of the test, with fresh counters."""


@pytest.fixture
def pulse_policies() -> Iterator[PulsePolicies]:
    """Call it with a policy document, which is then in force for the rest of the test."""
    from pulse.testing import override_policies

    with ExitStack() as stack:

        def put_in_force(document: Mapping[str, Any], *, real_time: bool = False) -> None:
            stack.enter_context(override_policies(document, real_time=real_time))

        yield put_in_force
