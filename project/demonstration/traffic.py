"""A gentle stream of real requests, so that there is something to see.

``python -m project.demonstration.traffic http://127.0.0.1:8000/``

A handful of shoppers look round, a few requests a second in all, each behind an address of its
own; now and then one client asks for far too much at once and is refused. The addresses are of
198.18.0.0/15 (RFC 2544, for load generators), so that nobody who plays a client by hand meets them.
"""

import contextlib
import http.client
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

SHOPPERS = tuple(f"198.18.0.{last}" for last in range(11, 19))
SCRAPER = "198.18.66.6"
PATHS = (
    *("/",) * 4,
    *("/api/products/",) * 6,
    *(f"/api/products/{pk}/" for pk in range(1, 7)),
    *(f"/api/search/?q={word}" for word in ("mug", "beans", "glass", "press")),
    "/accounts/login/",
    "/api/echo/",
    "/api/slow/?seconds=0.3",
    "/api/flaky/",
    "/nothing/here/",
)
PAUSE_S = 0.3
SCRAPE_EVERY_S = 30.0
SCRAPE_REQUESTS = 26
REPORT_EVERY_S = 60.0
UNREACHABLE = 0

logger = logging.getLogger("traffic")


def main(url: str) -> None:
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    os.nice(10)
    host = urlsplit(url).netloc
    seen: Counter[int] = Counter()
    report_at = time.monotonic() + REPORT_EVERY_S
    for client, path in _requests():
        status = _get(host, client, path)
        seen[status] += 1
        if status == UNREACHABLE:  # the site is away: do not knock in a hurry
            time.sleep(1)
        if time.monotonic() >= report_at:
            logger.info("answers by status: %s", dict(sorted(seen.items())))
            seen.clear()
            report_at += REPORT_EVERY_S


def _requests() -> Iterator[tuple[str, str]]:
    """Without end, at the pace of people: a client's address and what it asks for."""
    choose = random.Random()  # noqa: S311  (no secret hangs on it)
    scrape_at = time.monotonic() + SCRAPE_EVERY_S / 3
    while True:
        yield choose.choice(SHOPPERS), choose.choice(PATHS)
        time.sleep(min(choose.expovariate(1 / PAUSE_S), 2.0))
        if time.monotonic() >= scrape_at:
            yield from ((SCRAPER, "/api/products/") for _ in range(SCRAPE_REQUESTS))
            scrape_at = time.monotonic() + SCRAPE_EVERY_S


def _get(host: str, client: str, path: str) -> int:
    headers = {"X-Forwarded-For": client, "User-Agent": "pulse-demo-traffic", "Connection": "close"}
    with contextlib.closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return UNREACHABLE
        return response.status


if __name__ == "__main__":
    main(sys.argv[1])
