"""Two serving processes under load: a bad limit goes by itself, and what is scheduled comes so."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers import RedisServer
from tests.sites import PROXY, Site, running, statuses, wait_until

PATH = "/api/echo/"
WIDE = {"name": "default", "default": True, "limits": [{"rate": "100000/s"}]}
#: As one mistypes "10000/h".
BAD = {"name": "default", "default": True, "limits": [{"rate": "1/h"}]}
BUDGET = 20
#: How long it may take until it is gone: a second until it is written, one until it is seen, and
#: the time until every process has what was rolled back, which without Redis is two more.
WITHIN_S = 15.0

TELL = """
import json, re
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from pulse.audit.models import AuditEntry
from pulse.policies.models import PolicyRevision
from pulse.policies.state import PolicyGuard
guard = PolicyGuard.objects.select_related("revision", "undone_by").first()
user = get_user_model().objects.filter(username="kim").first()
client = Client()
client.force_login(user or get_user_model().objects.create_superuser("kim", "", "x"))
page = client.get(reverse("admin:pulse_policyrevision_change", args=[guard.revision.pk]))
listed = client.get(reverse("admin:pulse_ratetier_changelist"))
entries = AuditEntry.objects.filter(action="guard.rolled_back", revision=guard.undone_by.number)
print(json.dumps({
    "guard": [guard.state, guard.seen, guard.by_rule, guard.revision.number],
    "back": [guard.undone_by.number, guard.undone_by.source, guard.undone_by.reason],
    "rolled_back": PolicyRevision.objects.filter(
        source="guard", number__gt=guard.revision.number
    ).count(),
    "audit": [[entry.actor_type, str(entry.fields)] for entry in entries],
    "page": re.sub("<[^>]+>", "", page.content.decode()),
    "list": re.sub("<[^>]+>", "", listed.content.decode()),
}))
"""
#: Denies a network from so many seconds after it is applied, and for as many; prints when, and
#: the revision.
SCHEDULE = """
import json
from datetime import timedelta
from django.utils import timezone
from pulse.policies import document, publisher
times = [timezone.now() + timedelta(seconds=seconds) for seconds in ({0}, 2 * {0})]
rule = dict(network="198.51.100.0/24", action="deny")
rule.update(zip(("starts_at", "ends_at"), (time.isoformat() for time in times)))
made = document.apply(dict(version=1, access_rules=[rule]), publisher.SYSTEM)
print(json.dumps([time.timestamp() for time in times] + [made.revision]))
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def site(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    yield from running(Site(directory, redis.url, processes=2))


class Load:
    """What two clients in a hurry are answered, as it comes."""

    def __init__(self, site: Site) -> None:
        self.site, self.over = site, threading.Event()
        self.answers: list[tuple[float, int]] = []

    def run(self, number: int) -> None:
        while not self.over.is_set():
            answer = self.site.get(PATH, f"192.0.2.{number}")
            self.answers.append((time.monotonic(), answer.status))
            time.sleep(0.005)

    def last(self, count: int) -> Counter[int]:
        return Counter(status for _at, status in self.answers[-count:])


@contextmanager
def load(site: Site) -> Iterator[Load]:
    found = Load(site)
    threads = [threading.Thread(target=found.run, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("store", ["with Redis", "without Redis"])
def test_a_bad_limit_with_a_guard_is_gone_by_itself(
    site: Site, redis: RedisServer, store: str
) -> None:
    """Long before its minutes are over; revision, audit, log and admin tell why."""
    site.apply({"rate_tiers": [WIDE]})
    if store == "without Redis":
        redis.kill()
    document = {"trusted_proxies": [PROXY], "rate_tiers": [BAD]}
    with load(site) as traffic:
        wait_until(lambda: traffic.last(20) == {200: 20})
        guard = ("--guard-refusals", str(BUDGET), "--guard-minutes", "1")
        site.manage("pulse_apply", "-", *guard, stdin=json.dumps(document))
        wait_until(lambda: 429 in traffic.last(len(traffic.answers)))
        began = time.monotonic()
        wait_until(lambda: traffic.last(50) == {200: 50}, WITHIN_S)
        assert time.monotonic() - began < WITHIN_S
    refused = Counter(status for _at, status in traffic.answers)[429]

    found = json.loads(site.python(TELL))
    state, seen, by_rule, bad = found["guard"]
    number, source, reason = found["back"]
    assert (state, by_rule, found["rolled_back"]) == (
        "rolled_back",
        {"rate_tiers:default": seen},
        1,
    )
    assert BUDGET < seen <= refused
    assert (number, source) == (bad + 1, "guard")
    assert reason == (
        f"The guard of revision {bad} saw {seen} refusals (rate_tiers:default {seen}); "
        f"{BUDGET} within 1 minute were its budget."
    )
    ((actor, told),) = found["audit"]
    assert actor == "system"
    assert reason in told
    assert f"Revision {bad} is rolled back, by revision {number}: {reason}" in site.logged()
    assert "Rolled back." in found["page"]
    assert f"Revision {number} took it back" in " ".join(found["page"].split())
    assert f"Revision {number} took back by itself what had been published" in found["list"]
    if store == "without Redis":
        redis.start()


def test_what_is_scheduled_starts_and_ends_on_time_in_every_process(site: Site) -> None:
    """Without an edit, and so without a revision."""
    site.apply({"rate_tiers": [WIDE]})

    def ask() -> dict[int, int]:
        return statuses(site.together(16, PATH, "198.51.100.7"))

    def at(moment: float) -> dict[int, int]:
        time.sleep(max(0.0, moment - time.time()))
        return ask()

    for seconds in (1.5, 4.0, 10.0):  # A machine that has more to do gets more time.
        starts, ends, revision = json.loads(site.python(SCHEDULE.format(seconds)))
        before = ask()
        if time.time() < starts:
            break
    assert before == {200: 16}
    assert at(starts + 0.05) == {403: 16}
    assert time.time() < ends, "it was too slow to see the time between"
    assert at(ends + 0.05) == {200: 16}
    assert f"Policy revision {revision} is in force" in site.logged()
    assert f"Policy revision {revision + 1}" not in site.logged()
