"""``pulse_sync_origins``: the environment and the settings add rules, and change none."""

import json
import re

import pytest
from django.core.management import call_command

from pulse.policies import document, publisher
from pulse.policies.edge import CorsOrigin
from pulse.policies.models import PolicyRevision
from tests.management.test_commands import run

pytestmark = pytest.mark.django_db

NAME = "pulse_sync_origins"
APP, STAGING = "https://app.yourdomain.com", "https://staging.yourdomain.com"


def listed() -> list[tuple[str, str]]:
    return list(CorsOrigin.objects.order_by("pk").values_list("origin", "path"))


def test_help_has_an_example(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        call_command(NAME, "--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"manage.py {NAME}\n" in text
    assert "--format" in text


def test_the_environment_is_imported_with_its_blanks_trimmed(monkeypatch) -> None:
    """S0-03: comma separated; again, and nothing differs."""
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", f" {APP} ,{STAGING},, {APP} ")
    code, out, err = run(NAME)
    number = PolicyRevision.objects.latest("number").number
    assert (code, err) == (0, "")
    assert out == (
        f"+ cors_origins {APP}, /\n+ cors_origins {STAGING}, /\n2 changes, revision {number}.\n"
    )
    assert listed() == [(APP, "/"), (STAGING, "/")]
    made = PolicyRevision.objects.latest("number")
    assert (made.reason, made.actor_type) == ("Import from PULSE_ALLOWED_ORIGINS", "command")
    assert run(NAME)[:2] == (0, f"Nothing differs from revision {number}.\n")


@pytest.mark.parametrize("name", ["CORS_ORIGINS", "API_ALLOWED_ORIGINS"])
def test_another_variable_and_another_path(monkeypatch, name: str) -> None:
    """S2-29, S3-06."""
    monkeypatch.setenv(name, "https://instruqt.com,https://api.instruqt.com")
    assert run(NAME, "--env", name, "--path", "/api/")[0] == 0
    assert listed() == [("https://instruqt.com", "/api/"), ("https://api.instruqt.com", "/api/")]


def test_the_settings_are_imported_with_what_they_say_of_all(settings) -> None:
    """S2-29: a rule goes before the settings, and takes nothing away."""
    settings.CORS_ALLOWED_ORIGINS = [APP]
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_EXPOSE_HEADERS = ["X-Own"]
    settings.CORS_PREFLIGHT_MAX_AGE = 10**6
    assert run(NAME, "--from-settings")[0] == 0
    made = CorsOrigin.objects.get()
    assert (made.credentials, made.max_age, made.exposed_headers[0]) == (True, 86_400, "X-Own")
    assert "Retry-After" in made.exposed_headers
    assert {"PUT", "DELETE", "PATCH"} < set(made.methods)
    assert "x-csrftoken" in made.allowed_headers


def test_settings_for_some_paths_are_imported_to_a_path_that_one_names(settings) -> None:
    """They would be for every path, and with the visitor's cookies."""
    settings.CORS_ALLOWED_ORIGINS = [APP]
    settings.CORS_ALLOW_CREDENTIALS = True
    for regex in ("^/api/", re.compile("^/api/")):
        settings.CORS_URLS_REGEX = regex
        code, out, err = run(NAME, "--from-settings")
        assert (code, out, listed()) == (1, "", [])
        assert "CORS_URLS_REGEX matches, ^/api/" in err
        assert "name the path" in err
    assert run(NAME, "--from-settings", "--path", "/api/")[0] == 0
    assert listed() == [(APP, "/api/")]
    settings.CORS_ALLOWED_ORIGINS = []
    assert run(NAME, "--from-settings")[0] == 0


def test_a_variable_that_one_names_and_that_is_not_set_is_an_error(monkeypatch) -> None:
    """A slip in its name is no success; one that is set and empty names nobody."""
    monkeypatch.delenv("CORS_ORIGINZ", raising=False)
    assert run(NAME, "--env", "CORS_ORIGINZ") == (1, "", "--env: CORS_ORIGINZ is not set.")
    monkeypatch.setenv("CORS_ORIGINZ", "")
    code, _, err = run(NAME, "--env", "CORS_ORIGINZ")
    assert (code, err) == (0, "CORS_ORIGINZ names no origin.\n")


def test_what_to_add_is_decided_while_nobody_else_edits(monkeypatch) -> None:
    """A rule that came a moment before is not written over by the import's own."""
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", f"{APP},{STAGING}")
    real = publisher.lock

    def late(using: str):
        monkeypatch.setattr(publisher, "lock", real)
        CorsOrigin(origin=APP, mode="off", max_age=7).save()
        return real(using)

    monkeypatch.setattr(publisher, "lock", late)
    assert run(NAME)[0] == 0
    row = CorsOrigin.objects.get(origin=APP)
    assert (row.mode, row.max_age) == ("off", 7)
    assert len(listed()) == 2


def test_the_admin_stays_the_authority(monkeypatch) -> None:
    """What is there stays as it is, also what is off; what is no longer named stays too."""
    rules = [{"origin": APP, "mode": "off", "credentials": True}, {"origin": "https://old.example"}]
    document.apply({"version": 1, "cors_origins": rules}, publisher.SYSTEM)
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", f"{APP},{STAGING}")
    assert run(NAME)[0] == 0
    row = CorsOrigin.objects.get(origin=APP)
    assert (row.mode, row.credentials, row.version) == ("off", True, 1)
    assert len(listed()) == 3


def test_each_bad_origin_is_named_and_nothing_saved(monkeypatch) -> None:
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", f"{APP},https://B.example.com/,null,*,b.example")
    code, out, err = run(NAME)
    assert (code, out) == (1, "")
    assert "Did you mean https://b.example.com?" in err
    assert '"null" is what every sandboxed frame' in err
    assert '"*" is every origin' in err
    assert '"b.example" is no origin' in err
    assert listed() == []


def test_any_origin_is_imported_where_one_says_so(monkeypatch, settings) -> None:
    """Never with credentials (S0-01)."""
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", "*")
    assert run(NAME)[0] == 1
    assert run(NAME, "--allow-any", "--path", "/open/")[0] == 0
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOW_CREDENTIALS = ["*"], True
    assert run(NAME, "--from-settings", "--allow-any")[0] == 0
    assert [row.credentials for row in CorsOrigin.objects.all()] == [False, False]


def test_a_dry_run_exits_2_if_it_would_add(monkeypatch) -> None:
    monkeypatch.setenv("PULSE_ALLOWED_ORIGINS", APP)
    code, out, _ = run(NAME, "--dry-run", "--format", "json")
    assert code == 2
    assert json.loads(out)["changes"][0]["key"] == {"origin": APP, "path": "/"}
    assert listed() == []
    run(NAME)
    assert run(NAME, "--dry-run")[0] == 0


def test_nothing_named_is_said(monkeypatch) -> None:
    monkeypatch.delenv("PULSE_ALLOWED_ORIGINS", raising=False)
    code, out, err = run(NAME)
    assert code == 0
    assert "Nothing differs" in out
    assert "PULSE_ALLOWED_ORIGINS names no origin." in err


def test_a_path_that_cannot_be_is_named() -> None:
    code, _, err = run(NAME, "--path", "api")
    assert code == 1
    assert "Start it with a slash" in err
