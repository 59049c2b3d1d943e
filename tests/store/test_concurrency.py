"""Exactness when many ask at once."""

import subprocess
import sys

import pytest

CHILD = """
import sys, threading
from django.conf import settings
cache = {"BACKEND": sys.argv[2], "LOCATION": sys.argv[1]}
settings.configure(CACHES={"default": cache}, PULSE={"STORE_TIMEOUT_MS": 5000})
import django; django.setup()
from pulse.core.claims import Allowance, Claim, Store
from pulse.core.quotas import make_quota
from pulse.store import limits
claim = Claim("rush", Allowance((make_quota("10/h", algorithm=sys.argv[3]),)))
passed, stores = [], set()
def ask():
    for _ in range(10):
        decision = limits.decide([claim])
        passed.append(decision.allowed)
        stores.add(decision.store)
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=ask) for _ in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert stores == {Store.REDIS}, stores
print(sum(passed))
"""


@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window"])
def test_two_hundred_at_once_from_four_processes(redis_cache, algorithm: str) -> None:
    """Ten an hour are ten, whoever asks and however fast."""
    command = [
        sys.executable,
        "-c",
        CHILD,
        redis_cache.url,
        "django_redis.cache.RedisCache",
        algorithm,
    ]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    assert sum(int(child.communicate(timeout=60)[0]) for child in children) == 10
    assert [child.returncode for child in children] == [0] * 4
