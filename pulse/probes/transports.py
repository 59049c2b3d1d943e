"""Sends each call by the way that it is meant to go."""

from pulse.core.attempts import Answer, Call
from pulse.probes import in_process
from pulse.probes.client import calls


async def send(call: Call) -> Answer:
    """Send a call: one whose URL is a path alone within the site, every other over the network.

    Never raises, save ``asyncio.CancelledError``.
    """
    way = in_process.send if call.url.startswith("/") else calls.send
    return await way(call)
