"""Processes die while they take a guarded revision back: it is taken back once, all the same."""

import json
from pathlib import Path
from typing import Any

from tests.sites import Site

#: A process that has refused too much lets others end the guard, one after the other, each of
#: which is killed at another point; what is then the case is printed.
STORY = """
import json, os, signal
from django.db import connection, connections, transaction
from pulse.audit.models import AuditEntry
from pulse.policies import current, document, publisher, watching
from pulse.policies.guarded import Guard
from pulse.policies.models import PolicyRevision
from pulse.policies.signals import revision_made
from pulse.policies.state import PolicyGuard
from pulse.store import announcement, heartbeat, refusals

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def die_at(text):
    def wrapper(execute, sql, *rest):
        return die() if text in sql else execute(sql, *rest)
    return connection.execute_wrapper(wrapper)

def rates():
    tiers = publisher.newest_document()["rate_tiers"]
    return [limit["rate"] for tier in tiers for limit in tier["limits"]]

def case():
    guard = PolicyGuard.objects.get()
    return [
        guard.state,
        rates(),
        PolicyRevision.objects.filter(source="guard").count(),
        AuditEntry.objects.filter(action="guard.rolled_back").count(),
    ]

def in_a_child(act):
    connections.close_all()
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

def killed_at(text):
    with die_at(text):
        watching.look()

def killed_after_commit():
    revision_made.connect(lambda **_: transaction.on_commit(die), weak=False)
    watching.look()

tier = {"name": "default", "default": True, "limits": [{"rate": "1000/s"}]}
document.apply({"version": 1, "rate_tiers": [tier]}, publisher.SYSTEM)
bad = {**tier, "limits": [{"rate": "1/h"}]}
document.apply({"version": 1, "rate_tiers": [bad]}, publisher.SYSTEM, guard=Guard(5))
with heartbeat.suspended():
    stamp = current.current_snapshot().stamp
    for _ in range(5):
        refusals.add(stamp, "rate_tiers:default")
    watching.look()
    found = {"counted": [0, case()]}
    def refuse_one_more():
        refusals.add(stamp, "rate_tiers:default")
        killed_at('UPDATE "pulse_policyguard"')
    for name, act in {
        "taking the guard": refuse_one_more,
        "inserting the revision": lambda: killed_at('INSERT INTO "pulse_policyrevision"'),
        "writing the audit": lambda: killed_at('INSERT INTO "pulse_auditentry"'),
        "after the commit": killed_after_commit,
    }.items():
        found[name] = [in_a_child(act), case()]
    watching.look()
    current.look_at_database()
    current.look()
    found["in the end"] = [0, case()]
    held = current.current_snapshot().announcement
    found["announced"] = str(announcement.read()) == str(held)
    found["in force"] = current.document_in_force()["rate_tiers"][0]["limits"][0]["rate"]
print(json.dumps(found))
"""
KILLED = 9

#: A process that refuses on while its database cannot be written to or its connection is lost.
OUTAGE = """
import json, os, sqlite3
from contextlib import contextmanager
from django.db import Error, connection
from pulse.policies import current, document, publisher, watching
from pulse.policies.guarded import Guard
from pulse.policies.state import PolicyGuard
from pulse.store import heartbeat, refusals

@contextmanager
def outage():
    if connection.vendor == "sqlite":
        connection.cursor().execute("PRAGMA busy_timeout = 20")
        other = sqlite3.connect(connection.settings_dict["NAME"])
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.close()
    else:
        import psycopg
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other:
            own = connection.cursor().execute("SELECT pg_backend_pid()").fetchone()[0]
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [own])
        yield
        connection.close()

tier = {"name": "default", "default": True, "limits": [{"rate": "1/h"}]}
document.apply({"version": 1, "rate_tiers": [tier]}, publisher.SYSTEM, guard=Guard(1000))
with heartbeat.suspended():
    stamp = current.current_snapshot().stamp
    watching.look()
    failed = 0
    for _ in range(3):
        refusals.add(stamp, "rate_tiers:default")
        refusals.add(stamp, "rate_tiers:default")
        with outage():
            try:
                watching.look()
            except Error:
                failed += 1
        watching.look()
        watching.look()
    guard = PolicyGuard.objects.get()
print(json.dumps([failed, guard.seen, watching.counts_of(guard)]))
"""


def test_who_is_killed_leaves_it_to_the_next(tmp_path: Path, redis_server: Any) -> None:
    """Until the commit nothing has happened; from then on all has, and others find it."""
    redis_server.empty()
    found = json.loads(Site(tmp_path, redis_server.url).python(STORY))
    watching: list[Any] = ["watching", ["1/h"], 0, 0]
    rolled_back: list[Any] = ["rolled_back", ["1000/s"], 1, 1]
    assert found == {
        "counted": [0, watching],
        "taking the guard": [KILLED, watching],
        "inserting the revision": [KILLED, watching],
        "writing the audit": [KILLED, watching],
        "after the commit": [KILLED, rolled_back],
        "in the end": [0, rolled_back],
        "announced": True,
        "in force": "1000/s",
    }


def test_what_was_refused_while_the_database_was_away_counts_once(
    tmp_path: Path, redis_server: Any
) -> None:
    redis_server.empty()
    found = json.loads(Site(tmp_path, redis_server.url).python(OUTAGE))
    assert found == [3, 6, {"rate_tiers:default": 6}]
