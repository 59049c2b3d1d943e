"""The engine's lock."""

import threading
import time

import pytest
from django.db import connection, connections
from psycopg import IsolationLevel

from pulse.probes import engine

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("as_worker", [False, True])
def test_who_waits_for_the_lock_gets_it(monkeypatch: pytest.MonkeyPatch, as_worker: bool) -> None:
    """Also where the host's transactions are stricter; and nobody has it with another."""
    if connection.vendor == "postgresql":
        connection.close()
        options = connection.settings_dict["OPTIONS"]
        monkeypatch.setitem(options, "isolation_level", IsolationLevel.REPEATABLE_READ)
    having: list[int] = []
    together: list[int] = []
    got: list[int] = []

    def work() -> None:
        try:
            for number in range(20):
                with engine.locked(as_worker=as_worker):
                    having.append(number)
                    time.sleep(0.001)
                    together.append(len(having))
                    having.pop()
                got.append(number)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    connection.close()
    assert len(got) == 60
    assert set(together) == {1}
