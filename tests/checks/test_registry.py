"""Which check runs when; that none raises, and each is documented."""

import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.checks.registry import registry as django_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from pulse.checks import findings, host, registry, values
from tests.checks.messages import LOCMEM, REDIS, ids

DOCS = Path(__file__).parents[2] / "docs"


def test_check_that_breaks_is_told_and_stops_nothing(settings, caplog) -> None:
    """A check never raises."""
    settings.PULSE = {}

    def check_broken():
        raise ZeroDivisionError("broken")
        yield

    (message,) = registry._guarded(check_broken)(app_configs=None, databases=None)
    assert ids([message]) == ["W099"]
    assert "check_broken" in message.msg
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("name", ["PULSE", "MIDDLEWARE", "CACHES", "TEMPLATES", "DATABASE_ROUTERS"])
@pytest.mark.parametrize("value", [None, [], {}, "text", 7, [None], [7], {"default": None}])
def test_no_setting_makes_a_check_raise(monkeypatch, name, value) -> None:
    """Whatever stands there, a check answers."""
    from django.conf import settings

    monkeypatch.setattr(settings, name, value)
    for check, _ in (*registry.ALWAYS, *registry.DEPLOYED):
        if name in {"TEMPLATES", "DATABASE_ROUTERS"} and check is not values.check_values:
            registry._guarded(check)()
        else:
            assert "W099" not in ids(registry._guarded(check)())


def test_commands_show_them(settings) -> None:
    """check fails on an error, and --deploy asks for what production needs."""
    settings.PULSE = {"UNKNOWN": 1}
    with pytest.raises(SystemCheckError, match=r"pulse\.E002"):
        call_command("check", stderr=StringIO())
    settings.PULSE, settings.CACHES = {}, {"default": LOCMEM}
    out = StringIO()
    call_command("check", stderr=out)
    assert "pulse.W020" in out.getvalue()
    with pytest.raises(SystemCheckError, match=r"pulse\.E021"):
        call_command("check", deploy=True, stderr=StringIO())


@pytest.mark.django_db
def test_command_with_a_database_shows_the_policy() -> None:
    """check --database looks at the policy, with --tag pulse too."""
    for options in ({}, {"tags": ["pulse"]}):
        out = StringIO()
        call_command("check", databases=["default"], stderr=out, **options)
        assert "pulse.W041" in out.getvalue()


def test_registering_twice_registers_once() -> None:
    """What ready() did stands, however often it runs: each check is there."""
    registry.register_all()
    ready = django_checks.get_checks(include_deployment_checks=True)
    names = [check.__name__ for check in ready if "pulse" in check.tags]
    for check, _ in (*registry.ALWAYS, *registry.DEPLOYED):
        assert names.count(check.__name__) == 1
    assert names.count("check_policies") == 1


def test_ids_are_unique_well_formed_and_documented() -> None:
    """Each finding has its row in docs/checks.md, and the page names no other."""
    table = [finding.id for finding in findings.FINDINGS]
    assert len(set(table)) == len(table)
    assert all(re.fullmatch(r"[EW]\d{3}", ident) for ident in table)
    page = (DOCS / "checks.md").read_text()
    assert re.findall(r"^\| `pulse\.([EW]\d{3})`", page, re.MULTILINE) == table


def test_each_finding_is_made_by_a_test() -> None:
    """A new id comes with a test of its own."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [finding.id for finding in findings.FINDINGS if f'"{finding.id}"' not in text] == []


def test_demonstration_site_is_installed_right(settings) -> None:
    """With Redis behind its cache nothing is found."""
    settings.CACHES = {"default": REDIS}
    for check, _ in registry.ALWAYS:
        if check is not host.check_templates:
            assert ids(check()) == []
