"""Takes words that are due to their channels: any number of couriers, each word by one of them."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from django.db import connections

from pulse.alerts import deliveries, sender
from pulse.alerts.deliveries import Claimed, Sent
from pulse.logging import say

logger = logging.getLogger(__name__)

#: Words that are under way at once: one slow receiver holds nobody else's up.
AT_ONCE: Final = 8
#: A courier goes home after so many seconds; what is left is the next one's.
TURN_S: Final = 20.0


def deliver() -> int:
    """Send what is due, until nothing is or the turn is over; returns how many attempts."""
    until, sent = time.monotonic() + TURN_S, 0
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pulse-courier") as pool:
        while time.monotonic() < until and (claimed := deliveries.claim(AT_ONCE)):
            under_way = {pool.submit(_send, word): word for word in claimed}
            # Each as it ends: who waits behind a slow one would be sent again by another.
            for ended in as_completed(under_way):
                _record(under_way[ended], ended.result())
            sent += len(claimed)
    return sent


def _send(claimed: Claimed) -> Sent:
    try:
        return sender.send(claimed)
    finally:
        connections.close_all()


def _record(claimed: Claimed, sent: Sent) -> None:
    if not deliveries.record(claimed, sent):
        logger.info("A word to %s took too long, and was given to another", claimed.name)
    elif sent.delivered:
        logger.info("Told %s: %s", claimed.name, claimed.event)
    else:
        say(logger, logging.WARNING, "Not told %s: %s", claimed.name, sent.error)
