"""Which hostile origins are tried, and that every rule stands them."""

import pytest

from pulse.policies.trials import try_rule
from tests.core.test_cors import item

ORIGINS = (
    "https://app.example.com",
    "http://localhost:3000",
    "https://app.example.com:8443",
    "https://*.example.com",
    "https://*.acme.com",
    "https://*.apple.com",
    "https://*.com.example.com",
    "http://*.localhost:3000",
    "http://[::1]:3000",
    "https://192.0.2.7",
    "https://xn--bcher-kva.example",
    "chrome-extension://abcdefghijklmnop",
    "capacitor://localhost",
)


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("mode", ["enforce", "shadow", "off"])
def test_every_rule_stands_its_trials(origin: str, mode: str) -> None:
    """Whatever its mode, tried as if it were enforced."""
    found = try_rule(item(origin, "/api/", mode=mode))
    assert [trial for trial in found if not trial.is_right] == []
    assert any(trial.allowed for trial in found)
    assert sum(not trial.meant for trial in found) >= 6
    assert len({trial.origin for trial in found}) == len(found)


def test_the_known_mistakes_are_tried() -> None:
    """Suffix, prefix, full stop, scheme, port, null, userinfo, case, look-alikes, trailing dot."""
    tried = {trial.origin: trial.allowed for trial in try_rule(item("https://app.example.com"))}
    assert tried.pop("https://app.example.com")
    assert tried == dict.fromkeys(
        (
            "https://a.app.example.com",
            "https://app.example.com.evil.example",
            "https://evilapp.example.com",
            "https://appxexample.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "null",
            "https://app.example.com@evil.example",
            "https://evil@app.example.com",
            "HTTPS://APP.EXAMPLE.COM",
            "https://xn--pp-6kc.example.com",
            "https://app.example.com.",
        ),
        False,
    )


def test_any_is_for_any() -> None:
    assert all(trial.allowed and trial.is_right for trial in try_rule(item("*")))
