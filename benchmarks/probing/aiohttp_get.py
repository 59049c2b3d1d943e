"""A peer: aiohttp in one loop, which records nothing. ``… NUMBER CONCURRENCY PORT PORT …``."""

import asyncio
import json
import resource
import ssl
import sys
import time

import aiohttp


async def fetch(urls: list[str], concurrency: int, certificate: str) -> None:
    left = iter(urls)
    context = ssl.create_default_context(cafile=certificate)
    # A connection for each, as a probe has: what is probed includes that it can be made.
    connector = aiohttp.TCPConnector(limit=concurrency, force_close=True, ssl=context)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def some() -> None:
            for url in left:
                async with session.get(url) as answer:
                    await answer.read()
                    assert answer.status == 200

        await asyncio.gather(*(some() for _ in range(concurrency)))


def main() -> None:
    number, concurrency, certificate, scheme, *ports = sys.argv[1:]
    urls = [
        f"{scheme}://127.0.0.1:{ports[each % len(ports)]}/t/{each}" for each in range(int(number))
    ]
    asyncio.run(fetch(urls[:200], int(concurrency), certificate))
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    asyncio.run(fetch(urls, int(concurrency), certificate))
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"number": int(number), "cpu_s": used, "wall_s": ended - began}))


if __name__ == "__main__":
    main()
