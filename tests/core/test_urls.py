"""URLs that pulse may call, and every odd one that it may not (S2-49)."""

# ruff: noqa: RUF001 - letters that look like others are what is tested

from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse.core.urls import BLOCKED_PORTS, MAX_URL, Url, join_url, parse_url
from pulse.exceptions import ForbiddenUrl

CONTROL = "control characters"
DISAGREE = "parsers disagree"
HOST = "no host that there can be"
PORT = "a port on the Fetch standard's blocked list"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://a.test", Url("http", "a.test", 80, "/")),
        ("HTTPS://A.Test:443/", Url("https", "a.test", 443, "/")),
        ("http://a.test:8080/b?c=d#e", Url("http", "a.test", 8080, "/b?c=d")),
        ("http://a.test?c", Url("http", "a.test", 80, "/?c")),
        ("http://a.test?", Url("http", "a.test", 80, "/?")),
        ("http://a.test#b", Url("http", "a.test", 80, "/")),
        ("http://a.test:/", Url("http", "a.test", 80, "/")),
        ("http://a.test:0080/", Url("http", "a.test", 80, "/")),
        ("http://a.test./", Url("http", "a.test", 80, "/")),
        ("http://my_service-1:8000/", Url("http", "my_service-1", 8000, "/")),
        ("http://a.test/é?q=ü", Url("http", "a.test", 80, "/%C3%A9?q=%C3%BC")),
        ("http://a.test/%7Ea%2Fb", Url("http", "a.test", 80, "/%7Ea%2Fb")),
        ("http://a.test/%zz", Url("http", "a.test", 80, "/%zz")),
        ('http://a.test/<">?{}', Url("http", "a.test", 80, "/%3C%22%3E?%7B%7D")),
        ("http://a.test/b@c", Url("http", "a.test", 80, "/b@c")),
        ("http://bücher.example/", Url("http", "xn--bcher-kva.example", 80, "/")),
        ("http://BÜCHER.example/", Url("http", "xn--bcher-kva.example", 80, "/")),
        ("http://xn--bcher-kva.example/", Url("http", "xn--bcher-kva.example", 80, "/")),
    ],
)
def test_what_may_be_called(text: str, url: Url) -> None:
    """In parts, each as it is sent."""
    assert parse_url(text) == url


@pytest.mark.parametrize(
    ("text", "host", "authority"),
    [
        ("http://93.184.216.34/", "93.184.216.34", "93.184.216.34"),
        ("http://127.0.0.1:8000/", "127.0.0.1", "127.0.0.1:8000"),
        ("https://[2606:2800::1]/", "2606:2800::1", "[2606:2800::1]"),
        ("https://[2606:2800:0:0:0:0:0:1]:8443/", "2606:2800::1", "[2606:2800::1]:8443"),
        ("http://[::1]:80/", "::1", "[::1]"),
    ],
)
def test_an_address_is_known_for_one(text: str, host: str, authority: str) -> None:
    """It needs no look-up, and IPv6 stands in brackets where a port could follow."""
    url = parse_url(text)
    assert str(url.address) == url.host == host
    assert url.authority == authority


HOSTILE = [
    ("ftp://a.test/", "not http or https"),
    ("file:///etc/passwd", "not http or https"),
    ("gopher://a.test/", "not http or https"),
    ("javascript:alert(1)", "not http or https"),
    ("ws://a.test/", "not http or https"),
    ("//a.test/", "not http or https"),
    ("/path", "not http or https"),
    ("a.test", "not http or https"),
    ("", "not http or https"),
    ("http//a.test", "not http or https"),
    ("http:a.test", DISAGREE),
    ("http:/a.test/", DISAGREE),
    ("http:", DISAGREE),
    ("http://", HOST),
    ("http:///a.test", HOST),
    ("http://?a", HOST),
    ("http://:80/", HOST),
    ("http://./", HOST),
    ("http://a..test/", HOST),
    ("http://.a.test/", HOST),
    ("http://a.test../", HOST),
    ("http://a,b/", HOST),
    ("http://a;b/", HOST),
    ("http://*.test/", HOST),
    ("http://[]/", HOST),
    ("http://[::1/", DISAGREE),
    ("http://::1/", DISAGREE),
    ("http://[1.2.3.4]/", HOST),
    ("http://[::1]a/", DISAGREE),
    ("http://[v1.a]/", HOST),
    ("http://[:::1]/", HOST),
    (f"http://{'a' * 64}.test/", HOST),
    (f"http://{'a.' * 126}aa/", HOST),
    (f"http://{'a.' * 127}a/", "too long"),
    (f"http://a.test/{'a' * MAX_URL}", "too long"),
    ("http://user@a.test/", "userinfo"),
    ("http://user:secret@a.test/", "userinfo"),
    ("http://a.test@127.0.0.1/", "userinfo"),
    ("http://127.0.0.1#@a.test/", None),
    ("http://@a.test/", "userinfo"),
    ("http://a.test:80@127.0.0.1:81/", "userinfo"),
    ("http://[fe80::1%25eth0]/", "zone"),
    ("http://[fe80::1%eth0]/", "zone"),
    ("http://[::1%25lo]/", "zone"),
    (" http://a.test/", CONTROL),
    ("http://a.test/ ", CONTROL),
    ("http://a.test/\r\nX-A: b", CONTROL),
    ("http://a.test/\n", CONTROL),
    ("http://a\t.test/", CONTROL),
    ("ht\ntp://a.test/", CONTROL),
    ("http://a.test/\x00", CONTROL),
    ("http://a.test/\x7f", CONTROL),
    ("http://a.test/\x85", CONTROL),
    ("http://a.test/\u2028", CONTROL),
    ("http://a.test/\u3000", CONTROL),
    ("http://a\u00ad.test/", CONTROL),
    ("http://a\u200b.test/", CONTROL),
    ("http://a.test/\ud800", CONTROL),
    ("http:\\\\127.0.0.1/", DISAGREE),
    ("http://a.test\\@127.0.0.1/", DISAGREE),
    ("http://127.0.0.1\\.a.test/", DISAGREE),
    ("http://a%2etest/", DISAGREE),
    ("http://127.0.0.1%00.a.test/", DISAGREE),
    ("http://a.test:80:81/", DISAGREE),
    ("http://a.test:+80/", DISAGREE),
    ("http://a.test:-1/", DISAGREE),
    ("http://a.test:８０/", DISAGREE),
    ("http://a.test:65536/", "no such port"),
    ("http://a.test:99999999999999999999/", "no such port"),
    ("http://2130706433/", DISAGREE),
    ("http://0x7f000001/", DISAGREE),
    ("http://0X7F.1/", DISAGREE),
    ("http://0x7f.0x0.0x0.0x1/", DISAGREE),
    ("http://017700000001/", DISAGREE),
    ("http://0177.0.0.1/", DISAGREE),
    ("http://127.1/", DISAGREE),
    ("http://127.0.1/", DISAGREE),
    ("http://127.0.0.01/", DISAGREE),
    ("http://127.0.0.1./", DISAGREE),
    ("http://0/", DISAGREE),
    ("http://1.2.3.4.5/", DISAGREE),
    ("http://256.1.1.1/", DISAGREE),
    ("http://a.0x/", DISAGREE),
    ("http://127。0。0。1/", DISAGREE),
    ("http://127．0．0．1/", DISAGREE),
    ("http://127｡0｡0｡1/", DISAGREE),
    ("http://１２７.0.0.1/", DISAGREE),
    ("http://①②⑦.0.0.1/", DISAGREE),
    ("http://ⓛocalhost/", DISAGREE),
    ("http://ｌocalhost/", DISAGREE),
    ("http://faß.example/", DISAGREE),
    ("http://ς.example/", DISAGREE),
    ("http://a.test／b/", DISAGREE),
    ("http://a.test＠127.0.0.1/", DISAGREE),
    ("http://ℂ.example/", DISAGREE),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [pair for pair in HOSTILE if pair[1]])
def test_what_may_not_be_called(text: str, reason: str) -> None:
    """Whatever two readers could read in two ways is refused, and the URL not repeated."""
    with pytest.raises(ForbiddenUrl) as caught:
        parse_url(text)
    assert str(caught.value) == f"URL not allowed: {reason}"
    assert caught.value.reason == reason


@pytest.mark.parametrize("port", sorted(BLOCKED_PORTS))
def test_ports_of_other_protocols_are_blocked(port: int) -> None:
    """The list of the Fetch standard, for either scheme."""
    for scheme in ("http", "https"):
        with pytest.raises(ForbiddenUrl, match="blocked list"):
            parse_url(f"{scheme}://a.test:{port}/")


@pytest.mark.parametrize("port", [80, 443, 8000, 8080, 8443, 5000, 9000, 65535])
def test_other_ports_are_free(port: int) -> None:
    """Applications listen there."""
    assert parse_url(f"http://a.test:{port}/").port == port


def test_a_fragment_hides_nothing() -> None:
    """What follows the first # is no part of what is called."""
    assert parse_url("http://127.0.0.1#@a.test/").host == "127.0.0.1"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "http://a.test:8080/b"),
        ("c?d", "http://a.test:8080/x/c?d"),
        ("?d", "http://a.test:8080/x/y?d"),
        ("", "http://a.test:8080/x/y?z"),
        ("//b.test/c", "http://b.test/c"),
        ("https://b.test", "https://b.test/"),
        ("../../../c", "http://a.test:8080/c"),
        ("#e", "http://a.test:8080/x/y?z"),
    ],
)
def test_where_a_redirect_leads(location: str, url: str) -> None:
    """Relative to where it comes from."""
    assert str(join_url(parse_url("http://a.test:8080/x/y?z"), location)) == url


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd", "ftp://a/", "javascript:1", "data:,x", "\\\\127.0.0.1\\", "/\\b.test",
        "//user@b.test/", "//127.1/", " /b", "/b\r\nX: y", "\thttp://b.test/", "//[::1",
        "//a:99999", "http://[v1.a]/", "//",
    ],
)  # fmt: skip
def test_where_no_redirect_may_lead(location: str) -> None:
    """Held to what a target is held to."""
    base = parse_url("http://a.test/x")
    try:
        url = join_url(base, location)
    except ForbiddenUrl:
        return
    assert url.origin == base.origin  # "//" alone names no other host.


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"https?:[\\/]{0,3}[\w.:@%\[\]\-。①#?/\\]{0,60}"))
def test_what_is_accepted_is_read_alike_by_others(text: str) -> None:
    """Or refused: nothing else happens to any text."""
    try:
        url = parse_url(text)
    except ForbiddenUrl:
        return
    again = urlsplit(str(url))
    assert (again.scheme, again.hostname) == (url.scheme, url.host)
    assert parse_url(str(url)) == url
    assert url.target.isascii()
    assert not set(url.target) & set(" \r\n\t\x00")
    assert url.host.isascii()
