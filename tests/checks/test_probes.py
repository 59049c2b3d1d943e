"""What is to be probed can be, and somebody is there to do it."""

import pytest
from celery import current_app

from pulse.checks import policies, probes
from pulse.policies import document, publisher
from pulse.probes.models import ProbeSecret, ProbeTarget
from pulse.schedules import beat_schedule
from tests.checks.messages import ids

TARGET = {"name": "products", "url_name": "products"}
ELSEWHERE = {"name": "elsewhere", "url": "https://status.example.com/"}


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", []),
        ("http://127.0.0.1:8000", []),
        ("https://shop.example.com/", []),
        ("http://[::1]:8000/shop", []),
        ("127.0.0.1:8000", ["E120"]),
        ("ftp://shop.example.com", ["E120"]),
        ("http://", ["E120"]),
        ("http://kim:secret@shop.example.com", ["E120"]),
        ("http://127.0.0.1:99999", ["E120"]),
        ("http://127.0.0.1:25", ["E120"]),
        ("http://shop.example.com/?q=1", ["E120"]),
        ("http://shop.example.com/#top", ["E120"]),
    ],
)
def test_where_probes_reach_this_site(settings, base, expected) -> None:
    """And the message keeps what may be a password to itself."""
    settings.PULSE = {"PROBE_BASE_URL": base}
    messages = list(probes.check_addresses())
    assert ids(messages) == expected
    assert not [message for message in messages if "secret" in str(message)]


def test_where_words_of_alerts_lead(settings) -> None:
    settings.PULSE = {"SITE_URL": "https://www.example.com/shop"}
    assert list(probes.check_addresses()) == []
    settings.PULSE = {"SITE_URL": "www.example.com"}
    assert ids(probes.check_addresses()) == ["E112"]


def test_who_describes_the_site(settings) -> None:
    settings.PULSE = {"PROBE_OPENAPI": "nowhere.at_all"}
    assert ids(probes.check_addresses()) == ["E121"]
    settings.PULSE = {"PROBE_OPENAPI": "pulse.schedules.beat_schedule"}
    assert ids(probes.check_addresses()) == []


@pytest.fixture
def beat():
    """Beat does what it should, unless a test says otherwise."""
    before = current_app.conf.beat_schedule

    def does(entries: object) -> None:
        current_app.conf.beat_schedule = entries

    does(beat_schedule())
    yield does
    does(before)


@pytest.fixture
def check(db, beat):
    """Check a document."""

    def run(**kinds: object) -> list[str]:
        document.apply(kinds, publisher.SYSTEM, prune=True)
        found = ids(policies.check_policy(frozenset({"default"})))
        return [ident for ident in found if ident[1:] in {"120", "121", "122", "123"}]

    return run


@pytest.mark.parametrize(
    ("targets", "schedules", "expected"),
    [
        ([], [], []),
        ([ELSEWHERE], [], []),
        ([TARGET], [], ["W120"]),
        ([{**TARGET, "mode": "off"}], [], []),
        ([{**TARGET, "transport": "in_process"}], [], []),
        ([], [{"name": "core", "every": "60s", "targets": ["GET /api/search/"]}], ["W120"]),
        ([], [{"name": "c", "every": "60s", "targets": ["GET /api/search/"], "mode": "off"}], []),
    ],
)
def test_targets_of_a_site_without_an_address(check, targets, schedules, expected) -> None:
    """One finding, however many they are."""
    assert check(probe_targets=targets, probe_schedules=schedules) == expected
    assert check(probe_targets=[*targets, *({**t, "name": f"{t['name']}2"} for t in targets)]) == (
        expected if targets else []
    )


def test_a_site_with_an_address(check, settings) -> None:
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}
    assert check(probe_targets=[TARGET, ELSEWHERE]) == []


def test_a_route_that_a_release_took_away(check, settings) -> None:
    """It keeps nobody from editing, so somebody must say so."""
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}
    schedule = {"name": "core", "every": "60s", "targets": ["products", "GET /api/search/"]}
    assert check(probe_targets=[TARGET], probe_schedules=[schedule]) == []
    settings.ROOT_URLCONF = "tests.flows.body_urls"
    found = ids(policies.check_policy(frozenset({"default"})))
    assert [ident for ident in found if ident.startswith("W12")] == ["W121", "W121"]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, ["W122"]),
        (None, ["W122"]),
        ({"own": {"task": "shop.tidy", "schedule": 60}}, ["W122"]),
        ({"renamed": {"task": "pulse.tick", "schedule": 1.0}}, []),
    ],
)
def test_schedules_that_nobody_runs(check, beat, entries, expected) -> None:
    """Without schedules nobody has to."""
    beat(entries)
    schedule = {"name": "core", "every": "60s", "targets": ["elsewhere"]}
    assert check(probe_targets=[ELSEWHERE]) == []
    assert check(probe_targets=[ELSEWHERE], probe_schedules=[schedule]) == expected


def test_secrets_that_no_key_opens(check, settings) -> None:
    """Told by target and header; a fallback that opens them is enough."""
    settings.PULSE = {"SECRET_KEYS": ["old"]}
    items = [{**ELSEWHERE, "secret_headers": {"X-Key": "env:PULSE_PROBE_KEY"}}]
    assert check(probe_targets=items) == []
    target = ProbeTarget.objects.get()
    target.secret_headers = {"X-Key": "s3cr3t"}
    target.save()
    settings.PULSE = {"SECRET_KEYS": ["new", "old"]}
    assert ids(probes.check_secrets("default")) == []
    settings.PULSE = {"SECRET_KEYS": ["new"]}
    (message,) = probes.check_secrets("default")
    assert ids([message]) == ["W123"]
    assert "x-key" in message.msg
    assert "elsewhere" in message.msg
    ProbeSecret.objects.update(value="nonsense")
    assert ids(probes.check_secrets("default")) == ["W123"]


def test_a_secret_that_is_stored_nowhere(check) -> None:
    """A target that a document brings back has lost its secrets, which is not its fault."""
    assert check(probe_targets=[{**ELSEWHERE, "secret_headers": {"X-Key": "***"}}]) == []
    (message,) = probes.check_secrets("default")
    assert ids([message]) == ["W124"]
    assert "X-Key" in message.msg
