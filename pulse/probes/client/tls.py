"""TLS over a wire, and until when the other side's certificate holds."""

import functools
import ssl
import time
from typing import Final

from cryptography import x509
from cryptography.x509.extensions import DuplicateExtension

from pulse.core.attempts import Failure
from pulse.exceptions import CallFailed
from pulse.probes.client.wire import Take, Wire

DAY_S: Final = 86_400
READ_BYTES: Final = 64 * 1024
HANDSHAKE_CUT_OFF: Final = "The connection was closed during the TLS handshake."


class Tls:
    """One TLS session of a client over a wire.

    No session is resumed: then the other side would show no certificate, and one that has ended
    or changed since would go unseen. Nor would it be cheaper, as measured.
    """

    __slots__ = ("_in", "_object", "_out", "_wire")

    def __init__(self, wire: Wire, host: str, *, verify: bool) -> None:
        self._wire = wire
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = client_context(verify=verify).wrap_bio(
            self._in, self._out, server_hostname=host
        )

    async def handshake(self) -> None:
        """Agree on keys; its last flight goes out with what is sent next.

        Raises:
            CallFailed: They do not agree, or the certificate does not hold.
        """
        try:
            self._step()
            await self._wire.exchange(self._out.read(), self._take_handshake)
        except ssl.SSLCertVerificationError as error:
            detail = f"The certificate does not hold: {error.verify_message}"
            raise CallFailed(Failure.TLS, detail) from None
        except ssl.SSLError as error:
            reason = (error.reason or "broken").replace("_", " ").lower()
            raise CallFailed(Failure.TLS, f"The TLS handshake failed: {reason}.") from None
        except OSError:
            raise CallFailed(Failure.TLS, HANDSHAKE_CUT_OFF) from None

    async def exchange(self, data: bytes, take: Take) -> None:
        """Send, and hand what comes, decrypted, to ``take`` until that has enough.

        Raises:
            CallFailed: The other side broke TLS, or what ``take`` raised.
            OSError: The connection broke.
        """

        def take_encrypted(data: bytes) -> bool:
            if not data:
                return take(b"")
            self._in.write(data)
            while True:
                try:
                    plain = self._object.read(READ_BYTES)
                except ssl.SSLWantReadError:
                    if self._out.pending:  # Keys are renewed.
                        self._wire.send(self._out.read())
                    return False
                except ssl.SSLZeroReturnError:
                    plain = b""
                if take(plain):
                    return True

        self._object.write(data)
        try:
            await self._wire.exchange(self._out.read(), take_encrypted)
        except ssl.SSLError as error:
            reason = (error.reason or "broken").replace("_", " ").lower()
            raise CallFailed(Failure.TLS, f"TLS was broken: {reason}.") from None

    def certificate_days(self) -> float | None:
        """Return how many days the certificate still holds, below 0 where it has ended."""
        certificate = self._object.getpeercert(binary_form=True)
        ends_at = _end_of(certificate) if certificate else None
        return None if ends_at is None else round((ends_at - time.time()) / DAY_S, 3)

    def _take_handshake(self, data: bytes) -> bool:
        if not data:
            raise CallFailed(Failure.TLS, HANDSHAKE_CUT_OFF)
        self._in.write(data)
        if self._step():
            return True
        if self._out.pending:
            self._wire.send(self._out.read())
        return False

    def _step(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            if self._out.pending:  # Tell the other side why.
                self._wire.send(self._out.read())
            raise
        return True


@functools.cache
def client_context(*, verify: bool) -> ssl.SSLContext:
    """Return the one context of this process; making it reads every root certificate.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name other roots, as OpenSSL has it.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    # From Python 3.13 on by default: it refuses private authorities that every browser takes.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@functools.lru_cache(maxsize=512)
def _end_of(certificate: bytes) -> float | None:
    """Return when a certificate ends, in epoch seconds; None if it cannot be read."""
    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except (ValueError, DuplicateExtension):
        return None
