"""Keys on the screens: made, shown once, changed, rotated, revoked."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.utils import timezone

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.core.keys import KEY
from pulse.exceptions import KeyRefused
from pulse.policies.models import PolicyState, RateTier
from tests.admin.conftest import Operator
from tests.factories import KIM

FOUND = re.compile(r'value="(pulse_[^"]+)"')


@pytest.fixture
def key(db) -> keys.NewKey:
    return keys.make("ci", actor=KIM)


def fields(**changed):
    end = timezone.now() + timedelta(days=30)
    return {
        "name": "ci",
        "scopes": ["view"],
        "tier": "",
        "expires_at_0": f"{end:%Y-%m-%d}",
        "expires_at_1": "00:00:00",
        **changed,
    }


def shown(response) -> str:
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    return FOUND.search(response.content.decode())[1]


def test_a_new_key_is_shown_in_the_answer_and_kept_nowhere(kim: Operator):
    """S3-08: once; no message, no session, no log has it."""
    text = shown(kim.post("apikey_add", **fields(scopes=["view", "operate"])))
    assert KEY.fullmatch(text)
    row = keys.authenticate(text)
    assert (row.name, row.scopes, row.created_by) == ("ci", ["view", "operate"], "kim")
    later = (
        kim.get("apikey_changelist").content.decode()
        + kim.get("apikey_change", row.pk).content.decode()
    )
    kept = [entry.change_message + entry.object_repr for entry in LogEntry.objects.all()]
    kept += [str(session.get_decoded()) for session in Session.objects.all()]
    for secret in (text, text.rsplit("_", 1)[1], row.hash):
        assert secret not in later
        assert not any(secret in each for each in kept)
    assert row.prefix in later


def test_a_new_key_begins_with_the_least_and_ends_in_90_days(kim: Operator):
    form = kim.get("apikey_add").context["adminform"].form
    assert form.initial["scopes"] == ["view"]
    assert timedelta(days=89) < form.initial["expires_at"] - timezone.now() <= timedelta(days=90)


@pytest.mark.parametrize("wrong", [{"scopes": []}, {"scopes": ["root"]}, {"name": ""}])
def test_what_is_no_key_is_not_made(kim: Operator, wrong):
    response = kim.post("apikey_add", **fields(**wrong))
    assert response.status_code == 200
    assert set(response.context["adminform"].form.errors) == set(wrong)
    assert not ApiKey.objects.exists()


def test_a_change_keeps_the_key(kim: Operator, key):
    tier = RateTier.objects.get(name="paid")
    changed = fields(name="deploy", scopes=["administer"], tier=tier.pk, seen_version=1)
    assert kim.post("apikey_change", key.row.pk, **changed).status_code == 302
    row = keys.authenticate(key.text)
    assert (row.name, row.scopes, row.tier, row.version) == ("deploy", ["administer"], tier, 2)


def test_the_second_of_two_is_told(kim: Operator, key):
    form = kim.get("apikey_change", key.row.pk).content.decode()
    assert re.search(r'name="seen_version" value="1"', form)
    keys.change(key.row, actor=KIM, name="of another")
    response = kim.post("apikey_change", key.row.pk, **fields(seen_version=1))
    assert "Somebody has changed this key meanwhile" in response.content.decode()
    assert ApiKey.objects.get().name == "of another"


def test_rotation_asks_and_shows_the_successor(kim: Operator, key):
    page = kim.get("apikey_rotate", key.row.pk).content.decode()
    assert "Yes, rotate" in page
    assert ApiKey.objects.count() == 1
    text = shown(kim.post("apikey_rotate", key.row.pk, hours="2"))
    assert keys.authenticate(text).name == "ci"
    old = keys.authenticate(key.text)
    assert timedelta(hours=1, minutes=59) < old.expires_at - timezone.now() <= timedelta(hours=2)
    assert kim.post("apikey_rotate", key.row.pk, hours="-1").context["form"].errors


def test_revocation_asks_and_is_for_good(kim: Operator, key):
    assert "cannot be undone" in kim.get("apikey_revoke", key.row.pk).content.decode()
    assert keys.authenticate(key.text)
    assert kim.post("apikey_revoke", key.row.pk).status_code == 302
    with pytest.raises(KeyRefused):
        keys.authenticate(key.text)
    for act in ("rotate", "revoke"):
        page = kim.post(f"apikey_{act}", key.row.pk, hours="1").content.decode()
        assert "errornote" in page
    assert ApiKey.objects.count() == 1


def test_several_are_revoked_at_once_after_a_question(kim: Operator, key):
    other = keys.make("other", actor=KIM)
    rows = [key.row, other.row]
    page = kim.act("apikey", "revoke_chosen", *rows)
    assert "other (" in page.content.decode()
    assert not ApiKey.objects.exclude(revoked_at=None).exists()
    kim.act("apikey", "revoke_chosen", *rows, confirmed="1")
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_a_deleted_key_is_withdrawn(kim: Operator, key):
    assert kim.post("apikey_delete", key.row.pk, post="yes").status_code == 302
    with pytest.raises(KeyRefused):
        keys.authenticate(key.text)


def test_a_key_that_another_changed_is_not_deleted_unseen(kim: Operator, key):
    shown = kim.get("apikey_delete", key.row.pk)
    assert shown.status_code == 302
    page = shown.headers["Location"]
    keys.change(key.row, actor=KIM, scopes=["administer"])
    refused = kim.client.post(page, {"post": "yes"}, follow=True)
    assert "Somebody has changed this key meanwhile" in refused.content.decode()
    assert ApiKey.objects.filter(pk=key.row.pk).exists()
    again = refused.redirect_chain[-1][0]
    assert kim.client.post(again, {"post": "yes"}).status_code == 302
    assert not ApiKey.objects.filter(pk=key.row.pk).exists()


def test_a_key_that_is_gone_is_not_found(kim: Operator, key):
    pk = key.row.pk
    keys.delete(key.row, actor=KIM)
    for name in ("apikey_rotate", "apikey_revoke"):
        assert kim.post(name, pk, hours="1").status_code == 404


def test_what_changes_nothing_makes_no_process_read_keys_anew(kim: Operator, key):
    before = PolicyState.objects.get().key_epoch
    kim.post("apikey_change", key.row.pk, name="")
    keys.change(key.row, actor=KIM, name="ci")
    assert PolicyState.objects.get().key_epoch == before


def test_the_list_says_what_ends_soon(kim: Operator, key):
    keys.make("soon", actor=KIM, expires_at=timezone.now() + timedelta(days=3, hours=1))
    keys.make("never", actor=KIM, expires_at=None)
    text = kim.get("apikey_changelist").content.decode()
    assert re.search(r"pulse-soon[^<]*>◐ ends in 3\xa0days", text)
    assert text.count("pulse-soon") == 1
    assert "● without end" in text


def test_only_who_administers_sees_keys(key):
    """Django's permission on the model is not enough: whoever makes a key could make any."""
    user = get_user_model().objects.create_user("clerk", is_staff=True)
    names = ["operate", *(f"{verb}_apikey" for verb in ("view", "add", "change", "delete"))]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    clerk = Operator(user)
    for name in ("changelist", "add"):
        assert clerk.get(f"apikey_{name}").status_code == 403
    for name in ("change", "delete", "history", "rotate", "revoke"):
        assert clerk.post(f"apikey_{name}", key.row.pk).status_code == 403
    assert keys.authenticate(key.text)
