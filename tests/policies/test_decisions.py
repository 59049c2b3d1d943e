"""Decision ids: for the site alone."""

from base64 import urlsafe_b64decode

import pytest

from pulse.policies.decisions import SealedDecision, seal, unseal

DECISION = SealedDecision(
    revision=12,
    kind="endpoint_limits",
    name="search",
    limit="10/m",
    client="6a0b7f5d2c1e4a3b9f8e7d6c",
    method="GET",
    route="api/search/",
    at_us=1_800_000_000_000_000,
)


def test_what_is_sealed_is_read_again() -> None:
    assert unseal(seal(DECISION)) == DECISION


def test_nobody_else_reads_it() -> None:
    """Neither as it is nor decoded; and no two are alike."""
    text = seal(DECISION)
    for shown in (text.encode(), urlsafe_b64decode(text)):
        assert not any(part in shown for part in (b"search", b"limits", b"10/m", b"GET"))
    assert seal(DECISION) != text
    assert len(text) < 300


def test_nobody_else_makes_one(settings) -> None:
    text = seal(DECISION)
    assert unseal(text[:20] + ("A" if text[20] != "A" else "B") + text[21:]) is None
    settings.SECRET_KEY = "another"
    assert unseal(text) is None


def test_the_secret_may_be_changed(settings) -> None:
    """As Django's own signatures are, ids are read by the fallbacks too."""
    text = seal(DECISION)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert unseal(text) == DECISION


@pytest.mark.parametrize("text", ["", "a:b:c", "é", "\ud800", "gAAAAA=="])
def test_what_is_no_id_is_none(text: str) -> None:
    assert unseal(text) is None
