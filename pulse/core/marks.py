"""The mark by which a probe's request is known, so that it stays out of the users' metrics."""

import hashlib
import hmac
import re
from functools import lru_cache
from typing import Final

HEADER: Final = "X-Pulse-Probe"
#: A job and its signature: 128 bits, which nobody guesses while a probe lasts.
MARK: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9a-f]{32})", re.ASCII)
MAX_MARK: Final = 64 + 1 + 32


@lru_cache(maxsize=4)
def probe_secret(site_secret: str | bytes) -> bytes:
    """Derive the key by which marks are signed from the site's secret."""
    raw = site_secret if isinstance(site_secret, bytes) else site_secret.encode()
    return hashlib.blake2b(raw, person=b"pulse.probe", digest_size=32).digest()


def sign(job: str, secret: bytes, audience: str = "") -> str:
    """Return the value of the header for the requests of a job.

    Args:
        job: Its id: at most 64 letters, digits, hyphens and underscores.
        secret: Of ``probe_secret``.
        audience: The other site that is sent it, host and port. What that learns is no mark here:
            with one its own requests could pass for this site's probes.

    Raises:
        ValueError: The id could not be read again.
    """
    mark = f"{job}.{_signature(f'{job} {audience}' if audience else job, secret)}"
    if not MARK.fullmatch(mark):
        raise ValueError("A job's id has letters, digits, hyphens and underscores, at most 64.")
    return mark


def verify(mark: str, secret: bytes) -> str | None:
    """Return the job whose mark a request has; None if it has none, or a forged one.

    Whatever a client sends costs no more than the longest mark, and how long it takes does not
    tell how much of a signature was right.
    """
    if len(mark) > MAX_MARK or not (found := MARK.fullmatch(mark)):
        return None
    job, signature = found.groups()
    return job if hmac.compare_digest(signature, _signature(job, secret)) else None


def _signature(signed: str, secret: bytes) -> str:
    return hashlib.blake2b(signed.encode(), key=secret, digest_size=16).hexdigest()
