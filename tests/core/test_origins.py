"""Which texts are origins, and what is said of the others."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.origins import LONGEST, is_wildcard, parse_origin, wildcards_of
from pulse.exceptions import InvalidOrigin


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "https://app.example.com",
        "http://app.example.com:8080",
        "https://app.example.com:80",
        "http://localhost:3000",
        "https://xn--bcher-kva.example",
        "https://a_b.example.com",
        "https://192.0.2.7:8443",
        "https://[::1]:3000",
        "http://[2001:db8::7]",
        "http://[::ffff:102:304]",
        "https://*.example.com",
        "https://*.b.example.com:8443",
        "https://*.mine.github.io",
        "https://*.notamazonaws.com",
        "http://*.localhost:3000",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "capacitor://localhost",
    ],
)
def test_what_browsers_send_is_taken_as_it_is(text: str) -> None:
    """S0-02: scheme, host and port, letter for letter."""
    assert parse_origin(text) == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("https://app.example.com/", "https://app.example.com"),
        ("https://app.example.com/api/?a=b#c", "https://app.example.com"),
        ("https://App.Example.com", "https://app.example.com"),
        ("HTTPS://app.example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:08080", "http://app.example.com:8080"),
        ("https://app.example.com:", "https://app.example.com"),
        ("https://app.example.com.", "https://app.example.com"),
        (" https://app.example.com\t", "https://app.example.com"),
        ("app.example.com", "https://app.example.com"),
        ("localhost:3000", "https://localhost:3000"),
        ("*.example.com", "https://*.example.com"),
        ("wss://app.example.com", "https://app.example.com"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://\uff41pp\u3002example", "https://app.example"),
        ("https://[0:0::1]", "https://[::1]"),
        ("https://[::1]/", "https://[::1]"),
        ("http://[::ffff:1.2.3.4]", "http://[::ffff:102:304]"),
    ],
)
def test_a_slip_is_refused_with_what_was_meant(text: str, meant: str) -> None:
    """Nothing is put right in silence."""
    with pytest.raises(InvalidOrigin) as error:
        parse_origin(text)
    assert error.value.reason.endswith(f" Did you mean {meant}?")
    assert parse_origin(meant) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "https://",
        "://app.example.com",
        "https:app.example.com",
        "//app.example.com",
        "https://app..example.com",
        "https://.example.com",
        "https://app.example.com:0",
        "https://app.example.com:65536",
        "https://app.example.com:٣",
        "https://app.example.com:8443:1",
        "https://kim@app.example.com",
        "https://kim:secret@app.example.com",
        "https://app.example.com@evil.example",
        "https://app.example.com\nX-Evil: 1",
        "https://app.example.com\0",
        "https://app.example.com,https://b.example.com",
        "https://app.example.com https://b.example.com",
        r"https://.*\.example\.com",
        "^https://app.example.com$",
        "https://app.example.com$",
        "https://127.1",
        "https://0x7f.1",
        "https://256.1.1.1",
        "https://192.0.2.07",
        "https://[::1",
        "https://[fe80::1%eth0]",
        "https://[1.2.3.4]",
        "https://" + "a" * 64 + ".example",
        "https://" + "a." * 130 + "example",
        "https://app.example.com" + "a" * LONGEST,
        "file://",
        "file:///etc/passwd",
        "data:text/html,x",
        "javascript://app.example.com",
        "ftp://app.example.com",
        "htt ps://app.example.com",
        "1https://app.example.com",
    ],
)
def test_what_no_browser_sends_is_refused(text: str) -> None:
    """S0-02: null, userinfo, control characters, regexes, lists and broken hosts."""
    with pytest.raises(InvalidOrigin):
        parse_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://*",
        "https://*.com",
        "https://*.co.uk",
        "https://*.github.io",
        "https://*.vercel.app:8443",
        "https://*.me.uk",
        "https://*.ngrok.app",
        "https://*.amazonaws.com",
        "https://*.s3.amazonaws.com",
        "https://*.s3.eu-west-1.amazonaws.com",
        "https://*.blob.core.windows.net",
        "https://*.lambda-url.us-east-1.on.aws",
        "https://*.a.run.app",
        "https://*example.com",
        "https://a.*.example.com",
        "https://a*.example.com",
        "https://*.*.example.com",
        "https://**.example.com",
        "https://example.*",
        "https://*.192.0.2.7",
        "https://*.1",
        "*://app.example.com",
        "https://app.example.com:*",
        "chrome-extension://*.localhost.com",
        "**",
        "*.com",
    ],
)
def test_a_wildcard_is_one_first_label_over_a_name_of_ones_own(text: str) -> None:
    """No suffix under which anybody gets a host, nothing unanchored (policy: decision 1)."""
    with pytest.raises(InvalidOrigin):
        parse_origin(text)


@pytest.mark.parametrize("letters", ["\u4e00\u4e01\u4e02", "\ufdfa"], ids=["many", "that grow"])
@pytest.mark.parametrize("count", [290, 20_000])
def test_a_long_text_costs_little_and_is_not_repeated_whole(letters: str, count: int) -> None:
    """Punycode takes the square of the length: half a minute for twenty thousand letters."""
    text = "https://" + (letters * count)[:count]
    begun = time.process_time()
    with pytest.raises(InvalidOrigin) as error:
        parse_origin(text)
    assert time.process_time() - begun < 0.5
    assert len(str(error.value)) < 3 * LONGEST


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused_and_a_hint_is_always_taken(text: str) -> None:
    for candidate in (text, f"https://{text}", f"https://{text}.example.com:8443"):
        try:
            assert parse_origin(candidate) == candidate
        except InvalidOrigin as error:
            hint = error.reason.rpartition(" Did you mean ")[2]
            if hint != error.reason:
                assert parse_origin(hint[:-1]) == hint[:-1]


def test_an_origin_lies_under_its_wildcards_longest_first() -> None:
    assert wildcards_of("https://a.b.example.com:8443") == [
        "https://*.b.example.com:8443",
        "https://*.example.com:8443",
        "https://*.com:8443",
    ]
    assert wildcards_of("http://localhost") == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://.example.com",
        "https://evil@a.example.com",
        "https://evil/a.example.com",
        "https://A.example.com",
        "https://a`.example.com",
        "https://a%2e.example.com",
        "https://é.example.com",
        "https://a\n.example.com",
        "https://a..example.com",
        "https://" + "a." * 200 + "example.com",
        "null",
        "",
    ],
)
def test_what_is_no_label_lies_under_no_wildcard(origin: str) -> None:
    """A wildcard stands for whole labels and for nothing else."""
    assert "https://*.example.com" not in wildcards_of(origin)


def test_only_a_first_label_makes_a_wildcard() -> None:
    assert is_wildcard("https://*.example.com")
    assert not is_wildcard("*")
    assert not is_wildcard("https://app.example.com")


@pytest.mark.parametrize(
    "text", ["https://exa mple.com", "https://a.com https://b.com", "https://a\tb.com"]
)
def test_with_a_blank_within_no_host_is_guessed(text: str) -> None:
    """Each guess would be somebody else's."""
    with pytest.raises(InvalidOrigin) as error:
        parse_origin(text)
    assert "Did you mean" not in str(error.value)
