"""How often an address may send a key that does not count."""

import secrets
import time
from functools import lru_cache
from typing import Final

from pulse.conf import conf
from pulse.core.claims import Allowance, Claim
from pulse.core.quotas import SECOND_US, Quota
from pulse.exceptions import TooManyFailures
from pulse.store import limits

PREFIX: Final = "access:failures:"


def check(address: str) -> None:
    """See that an address has failures left, before any key of its is looked at.

    A right key too is refused then: else a guess would be known by its answer. One call to the
    store; nothing is charged.

    Args:
        address: As limits count it (``ClientAddress.prefix``).

    Raises:
        TooManyFailures: It has none.
    """
    _raise_if_spent(limits.peek([_claim(address)]).outcomes[0].retry_after_us)


def charge(address: str) -> None:
    """Count a failure of an address.

    Raises:
        TooManyFailures: It had none left: others took them while this one was looked at.
    """
    _raise_if_spent(limits.decide([_claim(address)]).outcomes[0].retry_after_us)


def delay() -> None:
    """Wait for a moment of chance, ``AUTH_DELAY_MS`` at most.

    Holds the thread, so never called in an event loop. What a key's comparison takes is the same
    for all of them; this is for whoever asks for it besides.
    """
    if conf.AUTH_DELAY_MS:
        time.sleep(secrets.randbelow(conf.AUTH_DELAY_MS * 1000) / SECOND_US)


def _raise_if_spent(retry_after_us: int) -> None:
    if retry_after_us:
        raise TooManyFailures(retry_after_us / SECOND_US)


def _claim(address: str) -> Claim:
    return Claim(f"{PREFIX}{address}", _allowance(conf.auth_failures))


@lru_cache(maxsize=4)
def _allowance(quota: Quota) -> Allowance:
    return Allowance((quota,))
