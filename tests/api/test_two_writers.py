"""Two write at once: the second is told, and nothing is lost."""

import threading

import pytest
from django.db import connections

from pulse.policies import document
from pulse.policies.models import PolicyRevision
from tests.api.conftest import problem
from tests.factories import KIM

pytestmark = pytest.mark.django_db(transaction=True)

GOLD = {"name": "gold", "limits": ["100/s"]}


def together(*calls):
    barrier = threading.Barrier(len(calls))
    told = [None] * len(calls)

    def one(place: int) -> None:
        barrier.wait()
        try:
            told[place] = calls[place]()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_of_many_that_read_the_same_version_one_writes(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    place = f"rate-tiers/{row['id']}/"
    before = PolicyRevision.objects.count()
    told = together(
        *(
            lambda n=n: administrator.patch(place, {"percent": n}, If_Match='"1"')
            for n in range(1, 7)
        )
    )
    won = [answer for answer in told if answer.status_code == 200]
    assert len(won) == 1
    for answer in told:
        if answer is not won[0]:
            assert problem(answer, 412, "version_mismatch")["current_version"] == 2
    now = administrator.get(place).json()
    assert (now["version"], now["percent"]) == (2, won[0].json()["percent"])
    assert PolicyRevision.objects.count() == before + 1


def test_edits_of_different_rows_at_once_are_both_kept(administrator) -> None:
    made = [administrator.post("rate-tiers/", {**GOLD, "name": name}).json() for name in "abcd"]
    told = together(
        *(
            lambda row=row: administrator.patch(
                f"rate-tiers/{row['id']}/", {"percent": 7}, If_Match='"1"'
            )
            for row in made
        )
    )
    assert [answer.status_code for answer in told] == [200] * 4
    tiers = administrator.get("policy/").json()["rate_tiers"]
    assert [tier["percent"] for tier in tiers if tier["name"] in "abcd"] == [7] * 4
    numbers = sorted(int(answer.headers["X-Pulse-Revision"]) for answer in told)
    assert numbers == list(range(numbers[0], numbers[0] + 4))


def test_a_document_and_a_row_at_once(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    etag = administrator.get("policy/").headers["ETag"]
    told = together(
        lambda: administrator.put("policy/?prune=1", {"rate_tiers": [GOLD]}, If_Match=etag),
        lambda: administrator.patch(f"rate-tiers/{row['id']}/", {"percent": 7}, If_Match='"1"'),
    )
    # Whichever came first: the document was refused, or the row's edit came after it.
    assert sorted(answer.status_code for answer in told) in ([200, 200], [200, 412])
    if told[0].status_code == 412:
        assert administrator.get(f"rate-tiers/{row['id']}/").json()["percent"] == 7


def test_another_door_raises_the_same_version(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    document.apply({"rate_tiers": [{**GOLD, "percent": 3}]}, KIM)
    told = administrator.patch(f"rate-tiers/{row['id']}/", {"percent": 7}, If_Match='"1"')
    assert problem(told, 412, "version_mismatch")["current_version"] == 2
