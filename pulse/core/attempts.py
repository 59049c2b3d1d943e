"""One attempt of a probe, as plain values: what is sent, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: What is read of an answer, at most; more is ``too_large``.
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 1024 * 1024


class Failure(StrEnum):
    """Why an attempt has no answer, or one that was not wanted; the ``error`` of a result."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    URL_FORBIDDEN = "url_forbidden"
    ADDRESS_FORBIDDEN = "address_forbidden"
    REDIRECT_FORBIDDEN = "redirect_forbidden"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    EXPECTATION = "expectation"
    DEADLINE = "deadline"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is to be sent, and its bounds.

    Attributes:
        headers: Beside those of the client itself (Host, User-Agent, Content-Length).
        secret_headers: As ``headers``; their values stand in no log, error or page.
        timeout_s: For everything together: look-up, connection, TLS, answer, redirects.
        follow_redirects: How many, at most.
        allow_networks: Private networks that are open to it, such as ``10.0.0.5/32`` or
            ``10.0.0.5/32:8000``.
        public: It may reach the internet; False: what ``allow_networks`` opens alone.
        trusts_origin: The URL's own origin is the site's (``PROBE_BASE_URL``), which the guard
            lets pass; a redirect elsewhere is judged as any.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout_s: float = 10.0
    follow_redirects: int = 0
    verify_tls: bool = True
    allow_networks: tuple[str, ...] = ()
    public: bool = True
    trusts_origin: bool = False


@dataclass(frozen=True, slots=True)
class Phases:
    """Where the time of an attempt went, in milliseconds; None for what did not happen."""

    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    first_byte: float | None = None
    body: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        failure: Why there is no whole answer; None where there is one.
        detail: The failure in words for people, without secrets.
        started_at: Epoch seconds.
        latency_ms: From the start to the last byte, or to the failure.
        headers: Of the last answer, names in small letters; of repeated ones all values, joined
            by a comma and a blank.
        body: Decoded, at most ``MAX_BODY_BYTES``.
        bytes: How many came over the wire in the body of the last answer.
        address: Which was connected to last.
        certificate_days: Until the certificate of the last TLS connection ends.
        url: The last one, after redirects.
    """

    started_at: float
    latency_ms: float
    failure: Failure | None = None
    detail: str = ""
    phases: Phases = field(default_factory=Phases)
    status_code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    bytes: int = 0
    address: str | None = None
    certificate_days: float | None = None
    url: str = ""
