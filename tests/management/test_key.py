"""``pulse_key``: the first key of a new installation, and what becomes of keys in scripts."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.exceptions import KeyRefused
from pulse.policies.models import RateTier
from tests.factories import KIM
from tests.management.test_commands import run

pytestmark = pytest.mark.django_db


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        call_command("pulse_key", "--help")
    assert "examples:\n  KEY=$(manage.py pulse_key make ci" in capsys.readouterr().out


def test_a_new_key_stands_alone_on_standard_output():
    """So that a script can take it as it is."""
    code, out, err = run("pulse_key", "make", "ci", "--scope", "administer")
    assert code == 0
    key = keys.authenticate(out.removesuffix("\n"))
    assert (key.name, key.scopes) == ("ci", ["administer"])
    assert key.created_by
    assert "shown this once" in err
    assert "may: administer" in err
    assert timedelta(days=89) < key.expires_at - timezone.now() < timedelta(days=90)


def test_a_key_is_made_as_told():
    RateTier.objects.create(name="paid")
    words = ["pulse_key", "make", "a", "--scope", "view", "--scope", "operate", "--tier", "paid"]
    code, out, _ = run(*words, "--no-end", "--format", "json")
    told = json.loads(out)
    assert code == 0
    assert keys.authenticate(told["api_key"]).tier.name == "paid"
    assert (told["scopes"], told["tier"], told["expires_at"]) == (["view", "operate"], "paid", None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("make", "x", "--tier", "gold"), "there is no tier gold"),
        (("make", ""), "blank"),
        (("make", "x" * 65), "64"),
        (("make", "x", "--days", "0"), "from 1 to"),
        (("make", "x", "--days", "9" * 20), "from 1 to"),
        (("make", "x", "--scope", "root"), "invalid choice"),
        (("rotate", "nobody00"), "no key nobody00"),
        (("revoke", "nobody00"), "no key nobody00"),
        ((), "required"),
    ],
)
def test_what_cannot_be_is_told(words, said):
    code, _, err = run("pulse_key", *words)
    assert code
    assert said in err
    assert not ApiKey.objects.exists()


def test_rotate_and_revoke():
    old = keys.make("ci", actor=KIM)
    code, out, err = run("pulse_key", "rotate", old.row.prefix, "--overlap", "60")
    assert code == 0
    new = keys.authenticate(out.strip())
    assert new.name == "ci"
    assert f"{old.row.prefix} goes on until " in err
    assert run("pulse_key", "revoke", old.row.prefix)[:2] == (
        0,
        f"{old.row.prefix} (ci) is revoked.\n",
    )
    with pytest.raises(KeyRefused):
        keys.authenticate(old.text)
    assert "revoked already" in run("pulse_key", "revoke", old.row.prefix)[1]
    code, _, err = run("pulse_key", "rotate", old.row.prefix)
    assert (code, "has ended already" in err) == (1, True)
    told = json.loads(run("pulse_key", "revoke", old.row.prefix, "--format", "json")[1])
    assert told["revoked_at"]


def test_the_list_tells_everything_but_keys():
    assert run("pulse_key", "list")[1] == "No key.\n"
    gone, here = keys.make("gone", actor=KIM), keys.make("here", actor=KIM)
    keys.revoke(gone.row, actor=KIM)
    code, out, _ = run("pulse_key", "list")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[:2] == ["PREFIX", "NAME"]
    assert [line.split()[1] for line in lines[1:]] == ["here", "gone"]
    assert "ends 20" in lines[1]
    assert "revoked 20" in lines[2]
    for secret in (here.text, here.row.hash):
        assert secret not in out
    told = json.loads(run("pulse_key", "list", "--format", "json")[1])
    assert [key["name"] for key in told] == ["here", "gone"]
    assert not {"hash", "api_key"} & told[0].keys()


def test_a_key_that_ends_soon_fails_a_nightly_job():
    """S3-09: whoever is told in time can rotate."""
    keys.make("later", actor=KIM)
    keys.make("never", actor=KIM, expires_at=None)
    assert run("pulse_key", "list", "--ending-within", "14")[0] == 0
    keys.make("soon", actor=KIM, expires_at=timezone.now() + timedelta(days=13))
    code, out, _ = run("pulse_key", "list", "--ending-within", "14")
    assert code == 2
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["soon"]
