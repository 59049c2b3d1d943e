"""Takes words that are due to their channels: any number of couriers, each word by one of them."""

import logging
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

from django.db import connections

from pulse.alerts import deliveries, sender
from pulse.alerts.deliveries import Claimed, Sent
from pulse.logging import say
from pulse.policies import current

logger = logging.getLogger(__name__)

#: Words that are under way at once.
AT_ONCE: Final = 8
#: Of one channel: a slow receiver holds nobody else's up.
SHARE: Final = 4
#: A courier goes home after so many seconds; what is left is the next one's.
TURN_S: Final = 20.0


def deliver() -> int:
    """Send what is due, until nothing is or the turn is over; returns how many attempts."""
    # A channel may be younger than the policy that this process holds.
    current.look_at_database()
    until, sent = time.monotonic() + TURN_S, 0
    under_way: dict[Future[Sent], Claimed] = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pulse-courier") as pool:
        while True:
            if time.monotonic() < until and len(under_way) < AT_ONCE:
                busy = Counter(word.name for word in under_way.values())
                for word in deliveries.claim(AT_ONCE - len(under_way), busy, SHARE):
                    under_way[pool.submit(_send, word)] = word
            if not under_way:
                return sent
            # Each is recorded as it ends: behind a slow one it would be sent again by another.
            for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
                _record(under_way.pop(ended), ended.result())
                sent += 1


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
