"""The one reader of PULSE: defaults, what is set, and what a slip of configuration becomes."""

import re
from pathlib import Path

import pytest

from pulse.conf import Conf, conf

DEFAULTS = {
    "ENABLED": True,
    "CACHE": "default",
    "CLIENT_IDENTITY": ("api_key", "user", "header:X-Track-ID", "header:Authorization", "address"),
    "DETAILED_ERRORS": False,
    "RATE_LIMIT_HEADERS": "both",
    "PUBLISH": "auto",
    "STORE_TIMEOUT_MS": 50,
    "LOCAL_MAX_KEYS": 100_000,
    "RATE_LIMIT_REQUESTS_PER_SECOND": 10,
    "RATE_LIMIT_BURST": 20,
    "CORS": True,
    "MAX_BODY_BYTES": 10_485_760,
    "ACCESS_LOG": True,
    "SLOW_REQUEST_MS": 1000,
    "SAMPLE_BYTES": 8388608,
    "METRICS": True,
    "METRICS_BACKEND": "",
    "METRICS_WINDOW_S": 300,
    "METRICS_BUCKET_S": 60,
    "MAX_ENDPOINTS": 1000,
    "APDEX_MS": 500,
    "COUNT_QUERIES": False,
    "PROMETHEUS_COMPAT": False,
    "PROMETHEUS_ADDRESSES": False,
    "SLOW_QUERY_MS": 500,
    "AUTH_FAILURES": "20/m",
    "AUTH_DELAY_MS": 20,
    "PROBE_BASE_URL": "",
    "SITE_URL": "",
    "PROBE_TRANSPORT": "http",
    "PROBE_OPENAPI": "",
    "PROBE_PAYLOAD_MAX_BYTES": 1_048_576,
    "PROBE_PAYLOAD_TOTAL_BYTES": 10_485_760,
    "PROBE_TURNS": 2,
    "PROBE_RESULTS_MAX": 2_000_000,
    "AUDIT_DAYS": 365,
    "METRICS_NETWORKS": ("127.0.0.0/8", "::1"),
    "SLA_P95_MS": 200,
    "SLA_ERROR_RATE": 0.05,
    "USAGE_WARNING": 0.8,
    "PROBE_SECRET_ENV": ("PULSE_PROBE_*",),
    "SECRET_KEYS": (),
    "OUTBOUND_NETWORK": "",
}
DOCS = Path(__file__).parents[1] / "docs" / "settings.md"


def test_names_are_those_of_the_properties() -> None:
    """Every key has a property, and the checks know it by this list."""
    assert Conf.names() == DEFAULTS.keys()


@pytest.mark.parametrize("pulse", [{}, None, [], "on"])
def test_defaults(settings, pulse) -> None:
    """An empty PULSE is a whole configuration, and what is no dictionary is an empty one."""
    settings.PULSE = pulse
    assert {name: getattr(conf, name) for name in conf.names()} == DEFAULTS


def test_no_pulse_at_all(settings) -> None:
    """The setting itself may be missing."""
    del settings.PULSE
    assert {name: getattr(conf, name) for name in conf.names()} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENABLED", False),
        ("CACHE", "counters"),
        ("DETAILED_ERRORS", True),
        ("RATE_LIMIT_HEADERS", "off"),
        ("PUBLISH", "manual"),
        ("STORE_TIMEOUT_MS", 20),
        ("LOCAL_MAX_KEYS", 5_000),
        ("RATE_LIMIT_REQUESTS_PER_SECOND", 3),
        ("RATE_LIMIT_BURST", 4),
        ("PROBE_BASE_URL", "http://127.0.0.1:8000"),
        ("SITE_URL", "https://www.example.com"),
        ("PROBE_TRANSPORT", "in_process"),
        ("PROBE_TURNS", 4),
        ("METRICS_NETWORKS", ("10.0.0.0/8",)),
        ("SLA_ERROR_RATE", 0.001),
        ("USAGE_WARNING", 0.5),
        ("PROBE_SECRET_ENV", ("SHOP_*", "A")),
        ("SECRET_KEYS", ("new", "old")),
        ("OUTBOUND_NETWORK", "pulse.testing.StubNetwork"),
    ],
)
def test_what_is_set_holds_at_once(settings, name, value) -> None:
    """Read anew at each access, so that a test may set it."""
    settings.PULSE = {name: value}
    assert getattr(conf, name) == value
    settings.PULSE = {}
    assert getattr(conf, name) == DEFAULTS[name]


@pytest.mark.parametrize("name", sorted(DEFAULTS))
@pytest.mark.parametrize("value", [None, 1.5, object(), {"a": 1}])
def test_wrong_type_counts_as_the_default(settings, name, value) -> None:
    """A slip never becomes an exception on a request; the check tells of it."""
    settings.PULSE = {name: value}
    assert getattr(conf, name) == DEFAULTS[name]


@pytest.mark.parametrize("name", ["RATE_LIMIT_HEADERS", "PUBLISH", "PROBE_TRANSPORT"])
def test_unknown_choice_counts_as_the_default(settings, name) -> None:
    """As does a text that is none of the choices."""
    settings.PULSE = {name: "everything"}
    assert getattr(conf, name) == DEFAULTS[name]


@pytest.mark.parametrize("value", [["address"], ("address",)])
def test_identity_is_a_tuple(settings, value) -> None:
    """A list and a tuple say the same."""
    settings.PULSE = {"CLIENT_IDENTITY": value}
    assert conf.CLIENT_IDENTITY == ("address",)


@pytest.mark.parametrize("debug", [True, False])
def test_detailed_errors_follow_debug(settings, debug) -> None:
    """What was exceeded is shown to who develops."""
    settings.DEBUG = debug
    settings.PULSE = {}
    assert conf.DETAILED_ERRORS is debug


def test_every_key_is_documented_with_its_default() -> None:
    """The table of docs/settings.md has a row for each key and no other."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \|", DOCS.read_text(), re.MULTILINE)
    written = {name: text.strip("`") for name, text in rows}
    assert written.keys() == DEFAULTS.keys()
    for name, default in DEFAULTS.items():
        if name != "DETAILED_ERRORS":
            expected = list(default) if isinstance(default, tuple) else default
            assert eval(written[name]) == expected
