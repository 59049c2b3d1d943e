"""What the tests of probes share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from pulse.policies import current, document
from pulse.policies.publisher import Actor

Apply = Callable[..., None]


@pytest.fixture(autouse=True)
def _fresh(db: None) -> Iterator[None]:
    current.forget()
    yield
    current.forget()


@pytest.fixture
def apply(settings: LazySettings) -> Apply:
    """Put a document's probes in force, on a site at an address of its own."""
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}

    def put_in_force(**kinds: Any) -> None:
        document.apply({"version": 1, **kinds}, Actor("command", "test"))
        current.forget()

    return put_in_force
