"""The least that a limit can cost: one GCRA in one script, and one on a dictionary."""

import time
from typing import Any, Final

import redis

#: KEYS[1] the state; ARGV spacing in us, tolerance in us. On the server's clock, as pulse's.
GCRA: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local arrival = tonumber(redis.call('GET', KEYS[1]) or 0)
if arrival < now then arrival = now end
local spacing, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local wait = arrival + spacing - tolerance - now
if wait > 0 then return {0, 0, wait, arrival - now} end
arrival = arrival + spacing
redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000))
return {1, math.floor((now + tolerance - arrival) / spacing), 0, arrival - now}
"""
PERIOD_US: Final = 3_600_000_000
COUNT: Final = 1_000_000


def gcra_arguments() -> tuple[int, int]:
    """Spacing and tolerance of 1,000,000 an hour."""
    spacing = PERIOD_US // COUNT
    return spacing, COUNT * spacing


def redis_client(url: str) -> redis.Redis:
    """A client that is held for good, as fast as redis-py has one."""
    return redis.Redis.from_url(url, decode_responses=False)


def dict_gcra() -> Any:
    """A GCRA on a dictionary, without a lock or a bound."""
    kept: dict[str, int] = {}
    spacing, tolerance = gcra_arguments()

    def hit(key: str) -> tuple[bool, int]:
        now = time.time_ns() // 1000
        arrival = max(kept.get(key, 0), now)
        if arrival + spacing - tolerance > now:
            return False, 0
        kept[key] = arrival = arrival + spacing
        return True, (now + tolerance - arrival) // spacing

    return hit
