"""Operations of the site, kept in rows."""

import logging
import threading
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.urls import path

from pulse import tasks
from pulse.probes import discovery, engine
from pulse.probes.state import DiscoveredEndpoint
from tests.probes import site

FEW = [path("plain/", site.plain, name="plain"), path("classic/", site.Classic.as_view())]


class Addresses:
    """A URLconf of the test's own."""

    def __init__(self, *patterns: Any) -> None:
        self.urlpatterns = list(patterns)


def names(**filters: Any) -> list[str]:
    rows = DiscoveredEndpoint.objects.filter(**filters).order_by("endpoint_id")
    return list(rows.values_list("endpoint_id", flat=True))


def discover(*patterns: Any) -> discovery.Discovery:
    with override_settings(ROOT_URLCONF=Addresses(*patterns)):
        return discovery.discover()


def test_what_is_new_vanished_and_back_is_noticed(
    caplog, django_capture_on_commit_callbacks
) -> None:
    """A vanished one keeps its row, and the day when it was first seen."""
    with caplog.at_level(logging.INFO), django_capture_on_commit_callbacks(execute=True):
        first = discover(*FEW)
    assert first.total == 3
    assert first.new == ("GET /plain/", "GET /classic/", "DELETE /classic/")
    assert "Discovered 3 endpoints, new: 3, vanished: 0" in caplog.messages
    seen = DiscoveredEndpoint.objects.get(endpoint_id="GET /classic/").first_seen_at

    second = discover(FEW[0])
    assert (second.total, sorted(second.vanished)) == (1, ["DELETE /classic/", "GET /classic/"])
    assert names(vanished_at=None) == ["GET /plain/"]

    third = discover(*FEW)
    assert (third.new, third.back) == ((), ("DELETE /classic/", "GET /classic/"))
    row = DiscoveredEndpoint.objects.get(endpoint_id="GET /classic/")
    assert (row.vanished_at, row.first_seen_at) == (None, seen)


def test_a_second_look_changes_nothing_by_a_fixed_number_of_queries(
    django_assert_max_num_queries,
) -> None:
    """Nothing but the time: neither for three operations nor for a hundred more."""
    many = [path(f"many/{number}/", site.plain) for number in range(600)]
    discover(*FEW, *many)
    with django_assert_max_num_queries(8):
        again = discover(*FEW, *many)
    assert again == discovery.Discovery(total=603)
    with django_assert_max_num_queries(8):
        assert len(discover(*FEW, *many[:500]).vanished) == 100


def test_another_view_at_the_same_route_is_told() -> None:
    """The row follows the URLconf."""
    discover(*FEW)
    changed = discover(path("plain/", site.limited, name="other"), FEW[1])
    assert (changed.changed, changed.new) == (("GET /plain/",), ("PUT /plain/",))
    row = DiscoveredEndpoint.objects.get(endpoint_id="GET /plain/")
    assert (row.url_name, row.view) == ("other", "tests.probes.site.limited")


def test_pages_look_once_where_nobody_has() -> None:
    """And not where somebody has, even if it found nothing new."""
    assert discovery.discover_if_empty()
    assert not discovery.discover_if_empty()
    assert "GET /api/products/<int:pk>/" in names(requires_input=False)


def test_the_task_looks() -> None:
    """By its name, which beat sends."""
    assert tasks.discover.name == "pulse.discover"
    tasks.discover()
    assert names()


def test_a_worker_that_begins_has_a_look_sent(settings) -> None:
    """Through the broker, as any task."""
    from project.celery import app

    sent = []
    app.control.purge()
    with app.connection_for_write() as broker:
        tasks.discover_at_start()
        queue = broker.SimpleQueue(app.conf.task_default_queue)
        sent.append(queue.get(timeout=5))
        sent[0].ack()
    assert sent[0].headers["task"] == "pulse.discover"


@pytest.mark.django_db(transaction=True)
def test_two_processes_at_once_find_each_once() -> None:
    """One after the other under the engine's lock: no row twice, no error."""
    failures: list[BaseException] = []
    results: list[discovery.Discovery] = []
    together = threading.Barrier(4)

    def look() -> None:
        try:
            together.wait(10)
            results.append(discovery.discover())
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    with engine.locked():
        pass
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sorted(len(found.new) for found in results) == [0, 0, 0, results[0].total]
