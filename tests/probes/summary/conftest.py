"""Summaries read the database."""

import pytest


@pytest.fixture(autouse=True)
def _database(db: None) -> None:
    """Each test begins with an empty one."""
