"""TLS: whom to believe, and until when (S2-52)."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pulse.core.attempts import MAX_BODY_BYTES, Answer, Call, Failure
from pulse.probes.client.calls import send
from pulse.probes.client.tls import client_context
from pulse.testing import stub_network
from tests.probes.client.servers import Server, answering, ok, read_head, redirect, serving

PUBLIC = "93.184.216.34"
DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates, of which the client trusts none but its."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tests")])
        certificate = (
            self._builder(self.name, self.key, -DAY, 100 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path = folder / "authority.pem"
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def context(
        self,
        *names: str,
        begins: dt.timedelta = -DAY,
        ends: dt.timedelta = 30 * DAY,
        self_signed: bool = False,
    ) -> ssl.SSLContext:
        """Return a server's context with a certificate for these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        others: list[x509.GeneralName] = []
        for name in names:
            try:
                others.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                others.append(x509.DNSName(name))
        certificate = (
            self._builder(x509.Name([]), key, begins, ends)
            .add_extension(x509.SubjectAlternativeName(others), critical=True)
            .sign(key if self_signed else self.key, hashes.SHA256())
        )
        path = self.folder / "server.pem"
        path.write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begins: dt.timedelta,
        ends: dt.timedelta,
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        number = x509.random_serial_number()
        return x509.CertificateBuilder(
            self.name, subject, key.public_key(), number, now + begins, now + ends
        )


@pytest.fixture
def authority(tmp_path, monkeypatch) -> Iterator[Authority]:
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    client_context.cache_clear()
    yield made
    client_context.cache_clear()


@contextlib.contextmanager
def site(tls: ssl.SSLContext | None, handle=None) -> Iterator[Server]:
    """Serve ``https://a.test/``."""
    with (
        serving(handle or answering(ok(b"secret")), tls=tls) as server,
        stub_network({"a.test": [PUBLIC]}, {f"{PUBLIC}:443": server.place}),
    ):
        yield server


def call(url: str = "https://a.test/", **fields) -> Answer:
    fields.setdefault("timeout_s", 20)
    return asyncio.run(send(Call(fields.pop("method", "GET"), url, **fields)))


def test_a_good_certificate(authority) -> None:
    """The handshake is a phase of its own, and the certificate's end is told."""
    with site(authority.context("a.test")) as server:
        answer = call()
    assert (answer.failure, answer.status_code, answer.body) == (None, 200, b"secret")
    assert answer.certificate_days == pytest.approx(30, abs=0.1)
    assert answer.phases.tls is not None
    assert answer.address == PUBLIC
    assert b"\r\nHost: a.test\r\n" in server.requests[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(authority, version) -> None:
    """1.2 and 1.3, whose handshakes take different turns."""
    context = authority.context("a.test")
    context.maximum_version = context.minimum_version = version
    with site(context):
        answer = call()
    assert (answer.failure, answer.body) == (None, b"secret")
    assert answer.certificate_days is not None


@pytest.mark.parametrize(
    ("names", "fields", "told"),
    [
        (["b.test"], {}, "Hostname mismatch"),
        (["*.a.test"], {}, "Hostname mismatch"),
        ([PUBLIC], {}, "Hostname mismatch"),
        (["a.test"], {"ends": -DAY / 24}, "expired"),
        (["a.test"], {"begins": DAY}, "not yet valid"),
        (["a.test"], {"self_signed": True}, ""),
    ],
)
def test_a_certificate_that_does_not_hold(authority, names, fields, told) -> None:
    """It is for another name, for another time, or anybody's; nothing is sent."""
    with site(authority.context(*names, **fields)) as server:
        answer = call(secret_headers={"Authorization": "hunter2"})
    assert answer.failure is Failure.TLS
    assert answer.detail.startswith("The certificate does not hold: ")
    assert told.lower() in answer.detail.lower()
    assert answer.status_code is None
    assert server.requests == []


@pytest.mark.parametrize(
    ("fields", "days"), [({"ends": -DAY / 2}, -0.5), ({"self_signed": True}, 30), ({}, 30)]
)
def test_verification_may_be_switched_off(authority, fields, days) -> None:
    """Then any certificate will do, and its end is told all the same."""
    with site(authority.context("b.test", **fields)):
        answer = call(verify_tls=False)
    assert (answer.failure, answer.body) == (None, b"secret")
    assert answer.certificate_days == pytest.approx(days, abs=0.1)


def test_an_address_is_verified_as_one(authority) -> None:
    """A URL without a name asks for a certificate of the address."""
    with serving(answering(ok()), tls=authority.context("127.0.0.1")) as server:
        answer = call(f"https://127.0.0.1:{server.port}/", trusts_origin=True)
    assert answer.failure is None
    with serving(answering(ok()), tls=authority.context("a.test")) as server:
        answer = call(f"https://127.0.0.1:{server.port}/", trusts_origin=True)
    assert answer.failure is Failure.TLS


def test_the_name_goes_with_the_handshake(authority) -> None:
    """Servers of many names choose by it."""
    seen: list[str | None] = []
    context = authority.context("a.test")
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    with site(context):
        call()
    assert seen == ["a.test"]


def test_each_call_sees_the_certificate_of_now(authority) -> None:
    """No session is resumed: what was changed since is seen."""
    with (
        serving(answering(ok()), tls=authority.context("a.test")) as good,
        serving(answering(ok()), tls=authority.context("a.test", ends=-DAY / 24)) as ended,
    ):
        for server, failure in ((good, None), (good, None), (ended, Failure.TLS)):
            with stub_network({"a.test": [PUBLIC]}, {f"{PUBLIC}:443": server.place}):
                assert call().failure is failure


@pytest.mark.parametrize(
    "answer", [ok(b"no TLS"), b"\x15\x03\x01\x00\x02\x02\x28", b"\x00" * 100, b""]
)
def test_what_does_not_speak_tls(authority, answer: bytes) -> None:
    """Plain HTTP, an alert, garbage, a closed door."""

    def handle(connection: socket.socket, server: Server) -> None:
        connection.recv(10_000)
        connection.sendall(answer)

    with site(None, handle):
        got = call()
    assert got.failure is Failure.TLS
    assert got.detail.endswith(".")


def test_a_large_body_both_ways(authority) -> None:
    """Many records, and more than one write."""

    def handle(connection: socket.socket, server: Server) -> None:
        data = read_head(connection)
        length = int(data.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        received = len(data.partition(b"\r\n\r\n")[2])
        while received < length:
            received += len(connection.recv(65536))
        connection.sendall(ok(bytes(MAX_BODY_BYTES)))

    with site(authority.context("a.test"), handle):
        answer = call(method="POST", body=bytes(3_000_000))
    assert (answer.failure, answer.bytes) == (None, MAX_BODY_BYTES)


def test_a_body_until_the_end(authority) -> None:
    """The connection's end is the body's; a break in the middle of a length is none."""
    with site(authority.context("a.test"), answering(b"HTTP/1.1 200 OK\r\n\r\n", b"all")):
        assert call().body == b"all"
    cut = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    with site(authority.context("a.test"), cut):
        assert call().failure is Failure.PROTOCOL


def test_a_tampered_record(authority) -> None:
    """What was changed on the way is no answer."""

    def handle(connection: socket.socket, server: Server) -> None:
        read_head(connection)
        plain = socket.socket(fileno=connection.detach())
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        plain.close()

    with site(authority.context("a.test"), handle):
        answer = call()
    assert (answer.failure, answer.status_code) == (Failure.TLS, None)


def test_from_https_to_http_on_the_wire(authority) -> None:
    """The redirect is not followed; where it led is not connected to."""
    with (
        serving(answering(ok())) as plain,
        site(authority.context("a.test"), answering(redirect(plain.url))),
    ):
        answer = call(follow_redirects=3)
    assert answer.failure is Failure.REDIRECT_FORBIDDEN
    assert plain.accepted == []
