"""A network with a place that ends whoever goes there, as a fault in a C library would."""

import os
import signal

from pulse.probes.client.network import Internet

DEADLY_PORT = 59_999


class DeadlyNetwork(Internet):
    """One port kills the process before it connects."""

    def route(self, address: str, port: int) -> tuple[str, int]:
        if port == DEADLY_PORT:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().route(address, port)
