"""Keys of the API as text."""

import pytest

from pulse.core.keys import bearer_of, hash_of, prefix_of

SECRET = "s" * 43
KEY = f"pulse_k3v9x2ab_{SECRET}"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"Bearer {KEY}", KEY),
        (f"bearer {KEY}", KEY),
        (f"BEARER   {KEY} ", KEY),
        ("Bearer", ""),
        ("Basic a2ltOnNlY3JldA==", None),
        (KEY, None),
        ("", None),
    ],
)
def test_a_token_is_read_of_the_scheme_bearer_alone(header, token):
    """RFC 9110, 11.1: the name of a scheme is read whatever its case."""
    assert bearer_of(header) == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pulse_",
        KEY[:-1],
        f"{KEY}s",
        KEY.upper(),
        f"pulse_K3V9X2AB_{SECRET}",
        f"pulse_k3v9x2a\u00e9_{SECRET}",
        f"pulse_k3v9x2ab_{'s' * 42}\n",
        f"pulse_k3v9x2ab_{'s' * 42}\x00",
        f" {KEY}",
    ],
)
def test_what_has_not_the_form_of_a_key_names_none(text):
    assert prefix_of(text) is None


def test_a_key_names_itself_by_its_prefix():
    assert prefix_of(KEY) == "k3v9x2ab"


def test_a_key_is_kept_as_its_sha_256():
    """NIST's example of one block; a lone surrogate, as a server may decode one, is no error."""
    assert hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(hash_of("\udcff")) == 64
