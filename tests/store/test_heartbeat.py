import os
import subprocess
import sys
import threading
import time

import pytest

from pulse.store import heartbeat
from tests.store.conftest import LOCMEM


def wait_for(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def tasks(settings):
    settings.CACHES = LOCMEM
    both = heartbeat._heartbeat, heartbeat._beside
    before = [one._tasks for one in both]
    heartbeat.stop()
    yield
    heartbeat.stop()
    for one, its in zip(both, before, strict=True):
        one._tasks = its


def threads_of_ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pulse"]


def test_one_thread_however_often_it_is_asked_for(tasks) -> None:
    for _ in range(100):
        heartbeat.ensure()
    assert len(threads_of_ours()) == 1
    heartbeat.stop()
    assert not threads_of_ours()
    heartbeat.ensure()
    assert len(threads_of_ours()) == 1


def test_registered_function_is_called_again_and_again(tasks) -> None:
    calls = []
    heartbeat.ensure()
    heartbeat.register("test", 0.01, lambda: calls.append(threading.current_thread().name))
    assert wait_for(lambda: len(calls) >= 3)
    assert set(calls) == {"pulse"}


def test_failing_function_is_told_once_and_ends_nothing(tasks, caplog) -> None:
    calls = []

    def fail() -> None:
        calls.append("failed")
        if len(calls) != 3:
            raise RuntimeError("no good")

    heartbeat.register("test", 0.01, fail)
    heartbeat.ensure()
    assert wait_for(lambda: len(calls) >= 6)
    told = [record for record in caplog.records if "heartbeat's test fails" in record.message]
    assert len(told) == 2


def test_processes_are_counted_and_the_silent_forgotten(redis_cache, monkeypatch) -> None:
    monkeypatch.setitem(heartbeat._live, "processes", 1)
    with redis_cache.client() as client:
        now = client.time()[0]
        key = "test:1:{pulse}:processes"
        client.zadd(key, {"elsewhere:1": now, "elsewhere:2": now, "gone:3": now - 11})
        heartbeat.stop()
        heartbeat.register("processes", heartbeat.BEAT_S, heartbeat._beat)
        heartbeat.ensure()
        assert wait_for(lambda: heartbeat.live_processes() == 3)
        assert f":{os.getpid()}" in str(client.zrange(key, 0, -1))


def test_forked_child_beats_for_itself(tasks) -> None:
    heartbeat.ensure()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = len(threads_of_ours())
            heartbeat.ensure()
            os.write(writer, f"{before}{len(threads_of_ours())}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 2) == b"01"
    os.close(reader)
    os.close(writer)


def test_interpreter_is_not_held_up() -> None:
    program = """
import django
from django.conf import settings
settings.configure()
django.setup()
from pulse.store import heartbeat
heartbeat.register("x", 60, lambda: None)
heartbeat.ensure()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=20, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_waits_for_a_database_holds_nothing_else_up(tasks) -> None:
    thawed, calls = threading.Event(), []
    heartbeat.register("frozen", 0.01, lambda: thawed.wait(10), asks_database=True)
    heartbeat.register("test", 0.01, lambda: calls.append(None))
    heartbeat.ensure()
    try:
        assert wait_for(lambda: len(calls) >= 3)
    finally:
        thawed.set()
