"""A secret never survives; what is none is left alone."""

import base64
import html
import json
import re
import string
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.redaction import MAX_TEXT, MIN_READ, Redactor, is_secret_name

NOTHING = Redactor()
canaries = st.text(string.ascii_letters + string.digits + "-_", min_size=12, max_size=40).map(
    lambda text: f"canary{text}"
)
#: Places in which a secret is known by what stands around it.
PLACES = [
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "Authorization: Digest username=a, response={}",
    "Cookie: a=b; sessionid={}; c=d",
    "Set-Cookie: sessionid={}; HttpOnly",
    "X-Api-Key: {}",
    "x-auth-token:{}",
    "Proxy-Authorization:   {}",
    "http://user:{}@example.com/",
    "redis://:{}@10.0.0.1:6379/0",
    "postgres://{}@db/name",
    "https://example.com/?page=1&api_key={}&x=2",
    "https://example.com/?access_token={}#top",
    "url: https://example.com/?sig={}",
    "https://example.com/?next=https%3A%2F%2Fb.test%2F%3Ftoken%3D{}",
    "user[password]={}",
    "password={}&name=x",
    '{{"password": "{}"}}',
    '{{"count": 1, "client_secret": "{}", "x": 2}}',
    '{{"tokens": ["a", "{}"]}}',
    '"{{\\"token\\": \\"{}\\"}}"',
    "{{'Cookie': '{}'}}",
    "refused: Bearer {} is no key",
    "-H 'Authorization: token {}'",
    "pulse_k3v9x2ab_{}aaaaaaaaaaaaaaa",
    "eyJhbGciOi.eyJzdWIiOi.{}",
    "whsec_{}",
    "-----BEGIN RSA PRIVATE KEY-----\nMII\n{}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n{}",
]


@given(canaries, st.sampled_from(PLACES), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_is_known_by_its_place(secret: str, place: str, before: str, after: str) -> None:
    """By the name before it, or by its own form; whatever stands around it, on lines of its own."""
    text = f"{before}\n{place.format(secret)}\n{after}"
    assert secret not in NOTHING.text(text)
    assert secret not in NOTHING.excerpt(text, 60)


@given(canaries, st.sampled_from(PLACES))
def test_a_secret_is_known_within_values(secret: str, place: str) -> None:
    """In texts anywhere in a JSON value, and by the names of its mappings."""
    value = {
        "items": [{"note": place.format(secret)}],
        "headers": {"X-API-Key": secret, "Set-Cookie": [secret]},
        "auth": {"user": "kim", "pass": secret},
    }
    assert secret not in json.dumps(NOTHING.value(value))
    assert secret not in json.dumps(NOTHING.mapping({"token": {"a": secret}, secret[:0]: None}))


@given(
    st.lists(st.text(min_size=4, max_size=30), min_size=1, max_size=4),
    st.lists(st.text(max_size=20), min_size=2, max_size=5),
)
def test_a_given_secret_never_survives(secrets: list[str], parts: list[str]) -> None:
    """Whatever it is and wherever it stands; next to another one, and after what is taken out."""
    redactor = Redactor(secrets)
    for secret in secrets:
        text = secret.join(parts) + "".join(secrets)
        told = redactor.text(text)
        assert not any(known in told for known in secrets)


@given(st.text(string.printable, min_size=8, max_size=30))
def test_a_given_secret_is_known_in_other_writing(secret: str) -> None:
    """As URLs, JSON, HTML and Python write it."""
    redactor = Redactor([secret])
    forms = [quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)]
    forms += [json.dumps(secret)[1:-1], repr(secret)[1:-1]]
    forms += [re.sub("%..", lambda found: found[0].lower(), quote(secret))]
    for form in forms:
        assert form not in redactor.text(f"<{form}>")


@given(st.text("ab\n", min_size=4, max_size=12), st.integers(0, 30), st.integers(2, 40))
def test_no_half_of_a_secret_is_left_by_cutting(secret: str, offset: int, most: int) -> None:
    """Neither where the excerpt ends, nor where reading does."""
    secret = f"S3{secret}!"
    redactor = Redactor([secret])
    text = "x" * offset + secret + "y" * 50
    assert redactor.excerpt(text, most).startswith(("x" * offset + "***")[: most - 1])
    end = "x" * (MAX_TEXT - 5) + secret
    assert redactor.text(f"{end}{'y' * 50}") == f"{'x' * (MAX_TEXT - 5)}…"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("http://kim:pw@example.com/a?b=c", "http://***@example.com/a?b=c"),
        ("/x?token=abc&page=2", "/x?token=***&page=2"),
        ('{"password": "a\\"b c", "name": "kim"}', '{"password": "***", "name": "kim"}'),
        ('{"pin": 1234, "name": "kim"}', '{"pin": ***, "name": "kim"}'),
        ("the key pulse_k3v9x2ab_AAAAAAAAAAAAAAAAAAAAAAAA", "the key pulse_k3v9x2ab_***"),
        ("token=&x=1", "token=&x=1"),
    ],
)
def test_what_is_left_still_reads(text: str, told: str) -> None:
    assert NOTHING.text(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "status 500, expected 200",
        "The connection to 10.0.0.5:8000 was refused.",
        "Content-Type: application/json; charset=utf-8",
        "https://example.com:8443/a/b?page=2&q=x#top",
        "mail kim@example.com at 10:30",
        '{"keyboard": "qwerty", "author": "kim", "monkey": 1}',
        "a basic need",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert NOTHING.text(text) == text


def test_values_keep_their_shape() -> None:
    redactor = Redactor(["hunter22", "123456"])
    value = {"a": [1, 2.5, None, True, "say hunter22"], "n": 123456, "password": None, "key": ""}
    assert redactor.value(value) == {
        "a": [1, 2.5, None, True, "say ***"],
        "n": "***",
        "password": None,
        "key": "",
    }


def test_what_is_too_deep_is_left_out() -> None:
    value: object = "canary"
    for _ in range(5000):
        value = [value]
    assert "canary" not in json.dumps(NOTHING.value(value))


@pytest.mark.parametrize("place", ["http://kim:{}@a.test/", "Bearer {}", "a eyJab.eyJcd.{}"])
def test_no_half_of_what_is_known_by_its_form_is_left(place: str) -> None:
    """Reading ends within it, at each of its characters, and all before it is taken out."""
    text = place.format("canary" * 10)
    for cut in range(len(text)):
        before = f"token: {'x' * (MIN_READ - 8 - cut)}\n"
        assert "canary" not in NOTHING.excerpt(before + text + " y" * 5000, 100)


def test_short_values_are_no_secrets() -> None:
    """Taken out of every word that has them, they would be told by what is missing."""
    assert Redactor(["a", "", "500"]).text("a banana, status 500") == "a banana, status 500"


def test_an_excerpt_is_cut_where_it_says() -> None:
    assert NOTHING.excerpt("abcdef", 6) == "abcdef"
    assert NOTHING.excerpt("abcdefg", 6) == "abcde…"
    assert len(NOTHING.text("x" * (MAX_TEXT + 1))) == MAX_TEXT


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "COOKIE",
        "Set-Cookie",
        "X-Api-Key",
        "api_key",
        "key",
        "accessToken",
        "csrfmiddlewaretoken",
        "client.secret",
        "PassWord",
        "x_" * 50 + "token",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["Accept", "author", "monkey", "keyboard", "passenger", "page"])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "a" * MAX_TEXT,
        "a:" * MAX_TEXT,
        "://" * MAX_TEXT,
        'token="' + "\\" * MAX_TEXT,
        "a.-" * MAX_TEXT,
        "http://a" * MAX_TEXT,
        "Bearer " * MAX_TEXT,
        "eyJ" * MAX_TEXT,
        "eyJaaaaa-" * MAX_TEXT,
        "eyJaaaaa." + "a-" * MAX_TEXT,
        " " * MAX_TEXT,
        "-----BEGIN PRIVATE KEY-----" * 2000,
        "token" * MAX_TEXT,
        "token='" * MAX_TEXT,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Answers are of whoever is probed; time grows with their length alone."""
    started = time.process_time()
    NOTHING.text(text)
    assert time.process_time() - started < 5


def test_a_header_of_tokens_blocks_nobody() -> None:
    """It took a second, of a loop in which other probes wait: the time grew with the square."""
    times = []
    for length in (8_000, 64_000):
        started = time.process_time()
        for _again in range(5):
            NOTHING.text(("eyJaaaaa-" * length)[:length])
        times.append(time.process_time() - started)
    assert times[1] < times[0] * 24 + 0.01


def test_half_a_secret_at_a_cut_is_left_out() -> None:
    """Also where somebody else has cut."""
    told = Redactor(["hunter2-hunter2"]).excerpt("hunter2-hunter2 hunter2-hun", 4096, is_cut=True)
    assert "hun" not in told


def test_a_secret_that_ends_as_it_begins_is_left_out_whole_at_a_cut() -> None:
    told = Redactor(["hunter2-hunter2"]).excerpt("a hunter2-hunter2", 4096, is_cut=True)
    assert "hunter2" not in told


def test_a_basic_credential_is_taken_out_whole() -> None:
    pair = base64.b64encode(b"kim:hunter22").decode()
    assert NOTHING.text(f"sent Basic {pair} to it") == "sent Basic *** to it"
