import pytest

from pulse.core.announcement import Announcement
from pulse.exceptions import StoreUnavailable
from pulse.store import announcement
from tests.store.conftest import LOCMEM


def test_nothing_is_announced_at_first(redis_cache) -> None:
    assert announcement.read() is None


def test_announced_is_read_and_never_expires(redis_cache) -> None:
    assert announcement.announce(Announcement("a", 7, 2)) == Announcement("a", 7, 2)
    assert announcement.read() == Announcement("a", 7, 2)
    with redis_cache.client() as client:
        assert client.ttl("test:1:{pulse}:announcement") == -1
        assert client.get("test:1:{pulse}:announcement") == b"a:7:2"


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (Announcement("a", 8, 2), Announcement("a", 8, 2)),
        (Announcement("a", 6, 2), Announcement("a", 7, 2)),
        (Announcement("a", 7, 3), Announcement("a", 7, 3)),
        (Announcement("a", 6, 3), Announcement("a", 7, 3)),
        (Announcement("a", 8, 1), Announcement("a", 8, 2)),
        (Announcement("b", 1, 0), Announcement("b", 1, 0)),
    ],
)
def test_one_lineage_only_rises_and_another_replaces(redis_cache, later, expected) -> None:
    announcement.announce(Announcement("a", 7, 2))
    assert announcement.announce(later) == expected
    assert announcement.read() == expected


def test_garbage_is_written_over(redis_cache) -> None:
    with redis_cache.client() as client:
        client.set("test:1:{pulse}:announcement", b"\xff garbage")
    assert announcement.read() is None
    assert announcement.announce(Announcement("a", 1)) == Announcement("a", 1)


def test_without_redis_there_is_no_announcement(settings) -> None:
    settings.CACHES = LOCMEM
    with pytest.raises(StoreUnavailable):
        announcement.read()
    with pytest.raises(StoreUnavailable):
        announcement.announce(Announcement("a", 1))
