"""Every key of PULSE is known, and its value one that can be."""

import pytest

from pulse.checks import values
from pulse.conf import conf
from tests.checks.messages import ids


@pytest.mark.parametrize(
    ("pulse", "expected"),
    [
        ({}, []),
        ([], ["E001"]),
        (None, ["E001"]),
        ("on", ["E001"]),
        ({"ENABLE": True}, ["E002"]),
        ({"enabled": True}, ["E002"]),
        ({1: 2}, ["E002"]),
        ({"ENABLED": False}, []),
        ({"ENABLED": "0"}, ["E003"]),
        ({"ENABLED": 1}, ["E003"]),
        ({"ENABLED": None}, ["E003"]),
        ({"DETAILED_ERRORS": True}, []),
        ({"DETAILED_ERRORS": "no"}, ["E003"]),
        ({"CACHE": "default"}, []),
        ({"CACHE": None}, ["E003"]),
        ({"OUTBOUND_NETWORK": "pulse.testing.StubNetwork"}, []),
        ({"OUTBOUND_NETWORK": None}, ["E003"]),
        ({"STORE_TIMEOUT_MS": 1}, []),
        ({"STORE_TIMEOUT_MS": 5000}, []),
        ({"STORE_TIMEOUT_MS": 0}, ["E004"]),
        ({"STORE_TIMEOUT_MS": 5001}, ["E004"]),
        ({"STORE_TIMEOUT_MS": True}, ["E003"]),
        ({"STORE_TIMEOUT_MS": 50.0}, ["E003"]),
        ({"STORE_TIMEOUT_MS": "50"}, ["E003"]),
        ({"LOCAL_MAX_KEYS": 1000}, []),
        ({"LOCAL_MAX_KEYS": 999}, ["E004"]),
        ({"RATE_LIMIT_REQUESTS_PER_SECOND": 1, "RATE_LIMIT_BURST": 1}, []),
        ({"RATE_LIMIT_REQUESTS_PER_SECOND": 0, "RATE_LIMIT_BURST": 0}, ["E004", "E004"]),
        ({"RATE_LIMIT_REQUESTS_PER_SECOND": 1_000_001}, ["E004"]),
        ({"RATE_LIMIT_HEADERS": "ietf"}, []),
        ({"RATE_LIMIT_HEADERS": "all"}, ["E005"]),
        ({"RATE_LIMIT_HEADERS": False}, ["E003"]),
        ({"PUBLISH": "manual"}, []),
        ({"PUBLISH": "Manual"}, ["E005"]),
        ({"CLIENT_IDENTITY": ["user", "header:X-Track-ID", "address"]}, []),
        ({"CLIENT_IDENTITY": ("user",)}, []),
        ({"CLIENT_IDENTITY": "user"}, ["E003"]),
        ({"CLIENT_IDENTITY": {"user"}}, ["E003"]),
        ({"CLIENT_IDENTITY": []}, ["E006"]),
        ({"CLIENT_IDENTITY": ["ip"]}, ["E007"]),
        ({"CLIENT_IDENTITY": ["header:"]}, ["E007"]),
        ({"CLIENT_IDENTITY": ["header: X-A"]}, ["E007"]),
        ({"CLIENT_IDENTITY": ["user", 5]}, ["E007"]),
        ({"PROBE_BASE_URL": "http://127.0.0.1:8000"}, []),
        ({"PROBE_BASE_URL": None}, ["E003"]),
        ({"PROBE_TRANSPORT": "in_process"}, []),
        ({"PROBE_TRANSPORT": "inprocess"}, ["E005"]),
        ({"PROBE_PAYLOAD_MAX_BYTES": 1, "PROBE_PAYLOAD_TOTAL_BYTES": 2**30}, []),
        ({"PROBE_PAYLOAD_MAX_BYTES": 0, "PROBE_PAYLOAD_TOTAL_BYTES": 2**31}, ["E004", "E004"]),
        ({"PROBE_TURNS": 65, "PROBE_RESULTS_MAX": 10}, ["E004", "E004"]),
        ({"AUDIT_DAYS": 0}, ["E004"]),
        ({"AUTH_FAILURES": "5/h", "AUTH_DELAY_MS": 0}, []),
        ({"AUTH_FAILURES": None, "AUTH_DELAY_MS": 1001}, ["E003", "E004"]),
        ({"AUTH_FAILURES": "many"}, ["E009"]),
        ({"PROBE_SECRET_ENV": ["SHOP_KEY", "PULSE_*"]}, []),
        ({"PROBE_SECRET_ENV": "SHOP_KEY"}, ["E003"]),
        ({"PROBE_SECRET_ENV": ["*", "SHOP KEY", 1]}, ["E122", "E122", "E122"]),
        ({"METRICS_BUCKET_S": 15}, []),
        ({"METRICS_BUCKET_S": 45}, ["E140"]),
        ({"METRICS_BUCKET_S": 61, "MAX_ENDPOINTS": 0}, ["E004", "E004"]),
        ({"METRICS": 1, "COUNT_QUERIES": "no"}, ["E003", "E003"]),
        ({"METRICS_BACKEND": "tests.metrics.backend.Kept"}, []),
        ({"METRICS_BACKEND": "tests.metrics.backend.Lacking"}, ["E141"]),
        ({"METRICS_BACKEND": "nowhere.at.all"}, ["E141"]),
        ({"METRICS_BACKEND": 5}, ["E003"]),
        ({"METRICS_NETWORKS": ["10.0.0.0/8", "::1"]}, []),
        ({"METRICS_NETWORKS": ["10.0.0.1/8", "here", 5]}, ["E142", "E142", "E142"]),
        ({"METRICS_NETWORKS": "10.0.0.0/8"}, ["E003"]),
        ({"SLA_P95_MS": 0, "SLA_ERROR_RATE": 1}, ["E004"]),
        ({"SLA_ERROR_RATE": 5}, ["E003"]),
        ({"SLA_ERROR_RATE": True}, ["E003"]),
        ({"USAGE_WARNING": 80}, ["E003"]),
        ({"SECRET_KEYS": []}, []),
        ({"SECRET_KEYS": ("new", "old")}, []),
        ({"SECRET_KEYS": "one"}, ["E003"]),
        ({"SECRET_KEYS": ["new", "", b"old"]}, ["E008", "E008"]),
        ({"CLIENT_IDENTITY": ["address", "user"]}, ["W001"]),
        ({"CLIENT_IDENTITY": ["user", "address", "user"]}, ["W002"]),
    ],
)
def test_values(settings, pulse, expected) -> None:
    """Each key and value of PULSE, right and wrong."""
    settings.PULSE = pulse
    assert ids(values.check_values()) == expected


def test_no_settings_at_all(settings) -> None:
    """Every key has a safe default, and so has PULSE."""
    del settings.PULSE
    assert ids(values.check_values()) == []


@pytest.mark.parametrize(
    ("pulse", "text"),
    [
        ({"STORE_TIMEOUT": 5}, 'Did you mean "STORE_TIMEOUT_MS"?'),
        ({"publish": "auto"}, 'Did you mean "PUBLISH"?'),
        ({"RATE_LIMIT_HEADERS": "legasy"}, 'Did you mean "legacy"?'),
        ({"CLIENT_IDENTITY": ["adress"]}, 'Did you mean "address"?'),
        ({"CLIENT_IDENTITY": ["X-Track-ID"]}, 'Did you mean "header:X-Track-ID"?'),
        ({"CLIENT_IDENTITY": ["headers:X-A"]}, 'Did you mean "header:X-A"?'),
    ],
)
def test_did_you_mean(settings, pulse, text) -> None:
    """A slip of the pen is answered by what was meant."""
    settings.PULSE = pulse
    (message,) = values.check_values()
    assert text in message.msg


def test_every_key_is_looked_at() -> None:
    """A key that conf reads and no check knows would go unchecked."""
    known = {*values.FLAGS, *values.TEXTS, *values.NUMBERS, *values.CHOICES, *values.OTHERS}
    assert known == conf.names()


def test_corrected_identity(settings) -> None:
    """The hint is the line to write."""
    settings.PULSE = {"CLIENT_IDENTITY": ["address", "user"]}
    (message,) = values.check_values()
    assert '["user", "address"]' in message.hint
