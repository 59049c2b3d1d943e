"""Keys of the API, from made to withdrawn."""

from datetime import timedelta

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.access.scopes import Scope
from pulse.access.signals import key_changed, key_made, key_revoked, key_rotated
from pulse.core.keys import KEY
from pulse.exceptions import KeyEnded, KeyRefused
from pulse.policies import current, history, publisher
from pulse.policies.models import Exemption, PolicyRevision, PolicyState, RateTier
from tests.factories import KIM

pytestmark = pytest.mark.django_db(transaction=True)


def a_tier(name: str) -> RateTier:
    return RateTier.objects.create(name=name)


def epoch() -> int:
    return PolicyState.objects.get().key_epoch


def reason_of(text: str) -> str:
    with pytest.raises(KeyRefused) as refused:
        keys.authenticate(text)
    assert str(refused.value) == "The key is not valid."
    return refused.value.reason


@pytest.fixture
def told():
    """What signals tell, in order."""
    found = []
    signals = {"made": key_made, "rotated": key_rotated, "changed": key_changed, "off": key_revoked}
    receivers = []
    for name, signal in signals.items():

        def receive(*, name=name, **arguments):
            assert connection.in_atomic_block
            found.append((name, arguments["key"].prefix, arguments["actor"].name))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield found
    for signal, receive in receivers:
        signal.disconnect(receive)


def test_a_key_is_made_of_256_random_bits_and_kept_as_a_hash():
    """S3-08."""
    new = keys.make("ci", actor=KIM)
    assert KEY.fullmatch(new.text)
    assert new.text not in str(list(ApiKey.objects.values()))
    row = ApiKey.objects.get()
    assert (row.name, row.scopes, row.created_by, row.version) == ("ci", ["view"], "kim", 1)
    assert timedelta(days=89, hours=23) < row.expires_at - timezone.now() <= timedelta(days=90)
    assert keys.authenticate(new.text) == row


@pytest.mark.parametrize("scopes", [[], ["root"], ["view", "view"], "view", [1]])
def test_a_key_is_made_with_scopes_that_are(scopes):
    with pytest.raises(ValidationError) as refused:
        keys.make("ci", actor=KIM, scopes=scopes)
    assert "scopes" in refused.value.message_dict
    assert not ApiKey.objects.exists()


def test_what_does_not_count_is_refused_alike():
    new = keys.make("ci", actor=KIM)
    assert reason_of("") == "unknown"
    assert reason_of("pulse_nobody00_" + "s" * 43) == "unknown"
    assert reason_of(new.text[:-2] + "..") == "unknown"
    assert reason_of(new.text[:-4] + "AAAA") == "wrong"
    with time_machine.travel(new.row.expires_at, tick=False):
        assert reason_of(new.text) == "expired"
    keys.revoke(new.row, actor=KIM)
    assert reason_of(new.text) == "revoked"
    assert reason_of(new.text[:-4] + "AAAA") == "wrong"


def test_a_known_and_an_unknown_prefix_cost_one_query_of_the_same_form():
    """S1-69: the work does not tell which keys there are."""
    new = keys.make("ci", actor=KIM)
    queries = []
    for text in (new.text[:-4] + "AAAA", "pulse_nobody00_" + "s" * 43, "nonsense"):
        with CaptureQueriesContext(connection) as captured:
            reason_of(text)
        assert len(captured) == 1
        queries.append(captured[0]["sql"].replace(new.row.prefix, "").replace("nobody00", ""))
    assert len(set(queries)) == 1


def test_each_change_of_keys_counts_up_the_epoch_and_is_announced(told):
    before = current.current_snapshot().announcement
    new = keys.make("ci", actor=KIM)
    successor = keys.rotate(new.row, actor=KIM).row
    keys.change(successor, actor=KIM, name="deploy")
    keys.revoke(new.row, actor=KIM)
    keys.delete(successor, actor=KIM)
    assert epoch() == before.key_epoch + 5
    assert current.current_snapshot().announcement.key_epoch == epoch()
    assert told == [
        ("made", new.row.prefix, "kim"),
        ("rotated", new.row.prefix, "kim"),
        ("changed", successor.prefix, "kim"),
        ("off", new.row.prefix, "kim"),
        ("off", successor.prefix, "kim"),
    ]


def test_changes_in_one_block_count_once():
    key = keys.make("ci", actor=KIM).row
    before = epoch()
    with keys.changing():
        keys.rotate(key, actor=KIM)
        keys.revoke(key, actor=KIM)
        assert epoch() == before
    assert current.current_snapshot().announcement.key_epoch == epoch() == before + 1


def test_a_rotated_key_goes_on_beside_its_successor_for_the_overlap():
    """S1-44."""
    paid = a_tier("paid")
    old = keys.make("ci", actor=KIM, scopes=["operate"], tier=paid)
    new = keys.rotate(old.row, actor=KIM, overlap_s=600)
    assert (new.row.name, new.row.scopes, new.row.tier) == ("ci", ["operate"], paid)
    assert keys.authenticate(old.text).pk == old.row.pk
    lifetime = new.row.expires_at - new.row.created_at
    assert abs(lifetime - timedelta(days=90)) < timedelta(seconds=5)
    with time_machine.travel(timezone.now() + timedelta(seconds=601)):
        assert reason_of(old.text) == "expired"
        assert keys.authenticate(new.text).pk == new.row.pk


def test_every_successor_lives_as_long_as_the_key_was_to():
    """Also the second one, whose key has but its overlap left."""
    for expires_at in (timezone.now() + timedelta(days=30), None):
        old = keys.make("ci", actor=KIM, expires_at=expires_at)
        first = keys.rotate(old.row, actor=KIM, overlap_s=600).row
        second = keys.rotate(old.row, actor=KIM, overlap_s=600).row
        if expires_at is None:
            assert first.expires_at is second.expires_at is None
        else:
            assert abs(second.expires_at - first.expires_at) < timedelta(minutes=1)
            assert second.expires_at > timezone.now() + timedelta(days=29)
        old.row.refresh_from_db()
        assert old.row.expires_at < timezone.now() + timedelta(seconds=601)


def test_rotation_never_lengthens_a_life():
    end = timezone.now() + timedelta(seconds=60)
    old = keys.make("ci", actor=KIM, expires_at=end)
    keys.rotate(old.row, actor=KIM, overlap_s=3600)
    assert ApiKey.objects.get(pk=old.row.pk).expires_at == end


def test_what_has_ended_has_no_successor():
    old = keys.make("ci", actor=KIM)
    keys.revoke(old.row, actor=KIM)
    with pytest.raises(KeyEnded):
        keys.rotate(old.row, actor=KIM)
    with pytest.raises(ValidationError):
        keys.make("ci", actor=KIM, expires_at=timezone.now())
    late = keys.make("ci", actor=KIM)
    ApiKey.objects.filter(pk=late.row.pk).update(expires_at=timezone.now())
    with pytest.raises(KeyEnded):
        keys.rotate(late.row, actor=KIM)
    assert ApiKey.objects.count() == 2


def test_revoking_again_changes_nothing(told):
    new = keys.make("ci", actor=KIM)
    keys.revoke(new.row, actor=KIM)
    first = ApiKey.objects.get()
    keys.revoke(new.row, actor=KIM)
    assert ApiKey.objects.get().revoked_at == first.revoked_at
    assert [name for name, *_ in told] == ["made", "off"]


def test_a_change_raises_the_version_and_one_that_changes_nothing_does_not():
    new = keys.make("ci", actor=KIM)
    keys.change(new.row, actor=KIM, name="ci")
    assert new.row.version == 1
    keys.change(new.row, actor=KIM, name="deploy", scopes=[Scope.ADMINISTER.value])
    row = ApiKey.objects.get()
    assert (row.version, row.name, row.scopes) == (2, "deploy", ["administer"])
    with pytest.raises(ValidationError):
        keys.change(new.row, actor=KIM, scopes=["root"])
    with pytest.raises(TypeError):
        keys.change(new.row, actor=KIM, hash="0" * 64)


def test_a_receiver_that_raises_undoes_the_change():
    """What cannot be audited does not happen."""
    new = keys.make("ci", actor=KIM)
    before = epoch()

    def refuse(**_):
        raise RuntimeError("the audit is full")

    key_revoked.connect(refuse)
    try:
        with pytest.raises(RuntimeError):
            keys.revoke(new.row, actor=KIM)
    finally:
        key_revoked.disconnect(refuse)
    assert epoch() == before
    assert keys.authenticate(new.text)


def test_a_key_made_within_an_edit_keeps_its_epoch():
    """The edit saves the same row at its end."""
    before = epoch()
    with publisher.edit(KIM, source="admin"):
        a_tier("paid")
        keys.make("ci", actor=KIM)
    assert epoch() == before + 1
    assert current.current_snapshot().announcement == current.announcement_of(
        PolicyState.objects.get()
    )


def test_no_rollback_revives_a_key():
    """Keys are in no document."""
    publisher.finish_leftovers()
    with publisher.edit(KIM, source="admin") as first:
        Exemption.objects.create(path="/a/")
    new = keys.make("ci", actor=KIM)
    keys.revoke(new.row, actor=KIM)
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/b/")
    history.rollback(first.revision.number, KIM)
    assert PolicyRevision.objects.first().source == "rollback"
    assert reason_of(new.text) == "revoked"
