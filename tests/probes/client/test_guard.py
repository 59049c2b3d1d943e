"""Nothing on somebody's word reaches what lies inside: no connection is even tried (S2-49)."""

# ruff: noqa: RUF001 - letters that look like others are what is tested

import asyncio
import json
import socket
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse.core.addresses import reason_of
from pulse.core.attempts import Answer, Call, Failure
from pulse.exceptions import TargetForbidden
from pulse.probes.client import network as networks
from pulse.probes.client.calls import send
from pulse.probes.client.dial import check_target
from pulse.testing import StubNetwork, stub_network
from tests.core.test_urls import HOSTILE
from tests.probes.client.servers import answering, ok, redirect, serving

PUBLIC = "93.184.216.34"
REFUSED = {Failure.URL_FORBIDDEN, Failure.ADDRESS_FORBIDDEN}


def call(url: str, **fields) -> Answer:
    fields.setdefault("timeout_s", 20)
    return asyncio.run(send(Call(fields.pop("method", "GET"), url, **fields)))


#: Hosts by which somebody might hope to reach 127.0.0.1, or what else lies inside.
HOSTS = [
    "127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "2130706433", "0x7f000001", "0x7f.0.0.1",
    "0177.0.0.1", "017700000001", "0", "0.0.0.0", "127.255.255.254", "[::1]", "[::]",
    "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::127.0.0.1]", "[2002:7f00:1::]",
    "[2001::80ff:fffe]", "[fe80::5efe:127.0.0.1]", "[::1%25lo]", "[::1%lo]", "127.0.0.1.",
    "127。0。0。1", "１２７.0.0.1", "①②⑦.⓪.⓪.①", "user@127.0.0.1", "a.test@127.0.0.1",
    "127.0.0.1%00.a.test", "127.0.0.1\\@a.test", "a.test\\@127.0.0.1", "127.0.0.1%2f",
    "%31%32%37.0.0.1", "127.0.0.1\t", "127.0.0.1\r\n", " 127.0.0.1", "169.254.169.254",
    "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "100.100.100.200", "10.0.0.1", "192.168.0.1",
    "172.16.0.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "224.0.0.1", "255.255.255.255",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("form", ["http://{}:{}/", "https://{}:{}/", "http:{}:{}/", "//{}:{}/"])
def test_no_notation_reaches_a_listener_inside(host: str, form: str) -> None:
    """Refused by URL or address; the listener counts nobody."""
    with serving(answering(ok())) as server, stub_network({}) as network:
        answer = call(form.format(host, server.port))
    assert answer.failure in REFUSED, answer
    assert answer.detail.startswith(("URL not allowed: ", "Address not allowed: "))
    assert server.accepted == []
    assert (network.dialled, network.looked_up) == ([], [])


@pytest.mark.parametrize("text", [text for text, reason in HOSTILE if reason])
def test_no_odd_url_is_looked_up(text: str) -> None:
    """What is refused for its form is asked of nobody."""
    with stub_network({}) as network:
        assert call(text).failure is Failure.URL_FORBIDDEN
    assert (network.dialled, network.looked_up) == ([], [])


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (["127.0.0.1"], "127.0.0.1 (loopback)"),
        (["::1"], "::1 (loopback)"),
        ([PUBLIC, "10.0.0.1"], "10.0.0.1 (private)"),
        (["10.0.0.1", PUBLIC], "10.0.0.1 (private)"),
        ([PUBLIC, "fd00::1"], "fd00::1 (private)"),
        (["169.254.169.254"], "169.254.169.254 (metadata)"),
        (["fe80::1%eth0"], "fe80::1 (link_local)"),
        (["0.0.0.0"], "0.0.0.0 (unspecified)"),
        (["100.64.0.1"], "100.64.0.1 (cgnat)"),
        (["224.0.0.1"], "224.0.0.1 (multicast)"),
        (["240.0.0.1"], "240.0.0.1 (reserved)"),
        (["2002:7f00:1::"], "2002:7f00:1:: (embedded)"),
    ],
)
def test_one_forbidden_answer_forbids_all(answers: list[str], told: str) -> None:
    """A name of anybody's may be said to be here."""
    with stub_network({"a.test": answers}) as network:
        answer = call("http://a.test/")
    assert answer.failure is Failure.ADDRESS_FORBIDDEN
    assert answer.detail == f"Address not allowed: {told}"
    assert network.dialled == []
    assert network.looked_up == ["a.test"]


@pytest.mark.parametrize("host", ["localhost", "localhost.", "LOCALHOST", "ip6-localhost"])
def test_names_of_this_machine_are_judged_by_its_own_resolver(host: str) -> None:
    """The real resolver is asked, and its answer refused."""
    with serving(answering(ok())) as server:
        answer = call(f"http://{host}:{server.port}/")
    assert answer.failure in {Failure.ADDRESS_FORBIDDEN, Failure.DNS}
    if host == "localhost":
        assert answer.failure is Failure.ADDRESS_FORBIDDEN
    assert server.accepted == []


def test_a_name_that_is_rebound_is_not_asked_twice() -> None:
    """What was judged is what is connected to, whatever the name's next answer is."""
    with (
        serving(answering(ok(b"first"))) as server,
        stub_network({"a.test": [[PUBLIC], ["127.0.0.1"]]}, {f"{PUBLIC}:80": server.place}) as net,
    ):
        answer = call("http://a.test/")
        assert (answer.failure, answer.body, answer.address) == (None, b"first", PUBLIC)
        assert net.looked_up == ["a.test"]
        assert call("http://a.test/").failure is Failure.ADDRESS_FORBIDDEN
        assert call("http://a.test/").failure is Failure.ADDRESS_FORBIDDEN
    assert net.dialled == [f"{PUBLIC}:80"]
    assert len(server.accepted) == 1


@pytest.mark.parametrize(
    ("location", "failure"),
    [
        ("http://127.0.0.1/", Failure.ADDRESS_FORBIDDEN),
        ("http://inside.test/", Failure.ADDRESS_FORBIDDEN),
        ("http://169.254.169.254/latest/meta-data/", Failure.ADDRESS_FORBIDDEN),
        ("//[::1]/", Failure.ADDRESS_FORBIDDEN),
        ("http://2130706433/", Failure.URL_FORBIDDEN),
        ("file:///etc/passwd", Failure.URL_FORBIDDEN),
        ("http://a.test:22/", Failure.URL_FORBIDDEN),
        ("http://user@a.test/", Failure.URL_FORBIDDEN),
        ("\\\\127.0.0.1\\", Failure.URL_FORBIDDEN),
        ("/b\x00", Failure.PROTOCOL),
    ],
)
def test_a_redirect_is_judged_as_the_first_url(location: str, failure: Failure) -> None:
    """Nobody is led inside from outside; that the first origin is trusted is of no use."""
    answers = {"a.test": [PUBLIC], "inside.test": ["127.0.0.1"]}
    with (
        serving(answering(redirect(location))) as server,
        stub_network(answers, {f"{PUBLIC}:80": server.place}) as network,
    ):
        answer = call("http://a.test/", follow_redirects=3, trusts_origin=True)
    assert answer.failure is failure
    assert network.dialled == [f"{PUBLIC}:80"]
    assert len(server.accepted) == 1


def test_a_redirect_back_to_a_rebound_name_is_judged_anew() -> None:
    """Each step looks its name up once, and judges."""
    with (
        serving(answering(redirect("/again"))) as server,
        stub_network({"a.test": [[PUBLIC], ["10.0.0.1"]]}, {f"{PUBLIC}:80": server.place}) as net,
    ):
        answer = call("http://a.test/", follow_redirects=3)
    assert answer.failure is Failure.ADDRESS_FORBIDDEN
    assert net.looked_up == ["a.test", "a.test"]
    assert len(server.accepted) == 1


def test_an_opening_opens_one_network_and_port() -> None:
    """For the target that has it; metadata stays closed whatever it says."""
    with serving(answering(ok())) as server:
        assert call(server.url).failure is Failure.ADDRESS_FORBIDDEN
        for opening in (f"127.0.0.1/32:{server.port}", "127.0.0.0/8"):
            assert call(server.url, allow_networks=(opening,)).failure is None
        for opening in (f"127.0.0.1/32:{server.port + 1}", "127.0.0.2/32", "0.0.0.0/0", "?"):
            answer = call(server.url, allow_networks=(opening,))
            assert answer.failure is Failure.ADDRESS_FORBIDDEN
    assert len(server.accepted) == 2
    everything = ("169.254.169.254/32", "169.254.0.0/16", "0.0.0.0/0", "10.0.0.0/8")
    assert call("http://169.254.169.254/", allow_networks=everything).failure in REFUSED


def test_the_site_itself_is_trusted_and_no_other() -> None:
    """Its own origin may be at loopback; another port of it is another origin."""
    with serving(answering(ok())) as other:
        with serving(answering(redirect(other.url))) as server:
            assert call(server.url, trusts_origin=True).status_code == 302
            answer = call(server.url, trusts_origin=True, follow_redirects=1)
        assert answer.failure is Failure.ADDRESS_FORBIDDEN
        assert other.accepted == []
    assert call("http://169.254.169.254/", trusts_origin=True).failure in REFUSED


def test_the_sites_own_name_is_looked_up_seldom() -> None:
    """Only where it is trusted: anybody else's is asked each time."""
    asked: list[str] = []

    class Counted(networks.Internet):
        def look_up(self, host: str) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

    from pulse.probes.client import dial

    counted, real = Counted(), dial.INTERNET
    dial._trusted.clear()
    dial.INTERNET = counted
    try:
        with serving(answering(ok())) as server:
            url = f"http://site.test:{server.port}/"
            for _ in range(3):
                sent = Call("GET", url, trusts_origin=True, timeout_s=20)
                assert asyncio.run(send(sent, counted)).failure is None
            assert asked == ["site.test"]
            opened = Call("GET", url, allow_networks=("127.0.0.1/32",), timeout_s=20)
            for _ in range(2):
                assert asyncio.run(send(opened, counted)).failure is None
            assert asked == ["site.test"] * 3
    finally:
        dial.INTERNET = real
        dial._trusted.clear()


def test_another_address_of_a_name_is_tried() -> None:
    """Where one refuses the connection, the next may answer."""
    with (
        socket.socket() as closed,
        serving(answering(ok())) as server,
    ):
        closed.bind(("127.0.0.1", 0))  # Bound, and nobody listens.
        refusing = f"127.0.0.1:{closed.getsockname()[1]}"
        routes = {"93.184.216.35:80": refusing, f"{PUBLIC}:80": server.place}
        with stub_network({"a.test": ["93.184.216.35", PUBLIC]}, routes) as network:
            answer = call("http://a.test/")
    assert (answer.failure, answer.address) == (None, PUBLIC)
    assert network.dialled == ["93.184.216.35:80", f"{PUBLIC}:80"]


@pytest.mark.parametrize("answers", [{}, {"a.test": []}, {"a.test": ["no address"]}])
def test_no_answer_is_a_failure_of_dns(answers) -> None:
    """Nobody is connected to."""
    with stub_network(answers) as network:
        answer = call("http://a.test/")
    assert answer.failure is Failure.DNS
    assert answer.detail.startswith("a.test: ")
    assert answer.phases.dns is not None
    assert network.dialled == []


def test_nobody_listens() -> None:
    """A refused connection is told with address and port."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        answer = call(f"http://127.0.0.1:{port}/", allow_networks=("127.0.0.1/32",))
    assert answer.failure is Failure.CONNECT
    assert answer.detail == f"127.0.0.1 port {port}: connection refused."
    assert answer.address == "127.0.0.1"


def test_no_proxy_of_the_environment_counts(monkeypatch) -> None:
    """Who sets HTTP_PROXY redirects other programs, not this."""
    with serving(answering(ok())) as server, serving(answering(ok())) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert call(server.url, trusts_origin=True).failure is None
    assert (len(server.accepted), proxy.accepted) == (1, [])


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("http://a.test/", False),
        ("http://unknown.test/", False),
        (f"http://{PUBLIC}/", False),
        ("http://10.0.0.5/", False),
        ("http://10.0.0.6/", True),
        ("http://b.test/", True),
        ("http://127.0.0.1/", True),
        ("http://169.254.169.254/", True),
        ("ftp://a.test/", True),
    ],
)
def test_a_target_is_judged_as_it_is_saved(url: str, refused: bool) -> None:
    """By what its name is now; one that has no address yet is accepted."""
    with stub_network({"a.test": [PUBLIC], "b.test": [PUBLIC, "127.0.0.1"]}) as network:
        if refused:
            with pytest.raises(TargetForbidden, match="not allowed: "):
                check_target(url, ["10.0.0.5/32"])
        else:
            check_target(url, ["10.0.0.5/32"])
    assert network.dialled == []


HOST_TEXTS = (
    st.sampled_from(HOSTS)
    | st.ip_addresses().map(lambda ip: f"[{ip}]" if ip.version == 6 else str(ip))
    | st.from_regex(r"(0x[0-9a-f]{1,8}|[0-9]{1,10})(\.(0x[0-9a-f]{1,4}|[0-9]{1,4})){0,4}\.?")
    | st.text(alphabet="ab019.:@%[]\\/#?。①x-", max_size=20)
    | st.just("name.test")
)


@settings(max_examples=300, deadline=None)
@given(
    host=HOST_TEXTS,
    port=st.sampled_from(["", ":80", ":8000", ":0", ":22"]),
    answers=st.lists(st.ip_addresses().map(str), max_size=3),
)
def test_no_url_makes_the_client_dial_a_forbidden_address(host, port, answers) -> None:
    """Whatever the URL, whatever its name is said to be."""

    class Watched:
        def __init__(self) -> None:
            self.dialled: list[str] = []

        def look_up(self, host: str) -> list[str]:
            return answers

        def route(self, address: str, port: int) -> tuple[str, int]:
            self.dialled.append(address)
            raise OSError(0, "nowhere")

    watched = Watched()
    answer = asyncio.run(send(Call("GET", f"http://{host}{port}/", timeout_s=20), watched))
    assert answer.failure is not None
    assert answer.failure is not Failure.INTERNAL
    for address in watched.dialled:
        assert reason_of(ip_address(address)) is None


def test_the_setting_puts_the_stub_in_force(settings, tmp_path, monkeypatch) -> None:
    """Its file is read anew at each use, and says what was asked in files beside it."""
    path = tmp_path / "network.json"
    monkeypatch.setenv("PULSE_STUB_NETWORK", str(path))
    settings.PULSE = {"OUTBOUND_NETWORK": "pulse.testing.StubNetwork"}
    networks._load.cache_clear()
    with serving(answering(ok())) as server:
        path.write_text(json.dumps({"answers": {"a.test": [PUBLIC]}}))
        assert call("http://a.test/").failure is Failure.CONNECT
        routes = {f"{PUBLIC}:80": server.place}
        path.write_text(json.dumps({"answers": {"a.test": [PUBLIC]}, "routes": routes}))
        assert call("http://a.test/").failure is None
        assert call(server.url, trusts_origin=True).failure is None
    assert (tmp_path / "network.json.looked_up").read_text() == "a.test\na.test\n"
    dialled = (tmp_path / "network.json.dialled").read_text()
    assert dialled == f"{PUBLIC}:80\n{PUBLIC}:80\n{server.place}\n"
    path.write_text("no json")
    assert call("http://a.test/").failure is Failure.DNS
    monkeypatch.delenv("PULSE_STUB_NETWORK")
    assert call("http://a.test/").failure is Failure.DNS


def test_a_setting_that_names_nothing_reaches_nothing(settings) -> None:
    """Who put another network in place meant not to reach the real one."""
    settings.PULSE = {"OUTBOUND_NETWORK": "nowhere.Network"}
    with serving(answering(ok())) as server:
        assert call(server.url, trusts_origin=True).failure is Failure.INTERNAL
    assert server.accepted == []


def test_the_stub_refuses_what_has_no_route() -> None:
    """Loopback is dialled as it is, IPv6 stands in brackets."""
    with stub_network({}, {"[2606:2800::1]:80": "[::1]:9"}) as network:
        assert isinstance(network, StubNetwork)
        assert network.route("127.0.0.1", 81) == ("127.0.0.1", 81)
        assert network.route("::1", 81) == ("::1", 81)
        assert network.route("2606:2800::1", 80) == ("::1", 9)
        for address in (PUBLIC, "2606:2800::2", "10.0.0.1"):
            with pytest.raises(OSError, match="no route"):
                network.route(address, 80)
    assert network.dialled[:3] == ["127.0.0.1:81", "[::1]:81", "[2606:2800::1]:80"]
