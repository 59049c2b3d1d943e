"""One uvicorn process of the demonstration (SERVER=asgi), on a socket it shares with others."""

import os
import socket

import uvicorn

from project.asgi import application
from project.demonstration import serving


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await serving.answer_once_async(application)
        await super().startup(sockets)
        serving.mark_ready()


def main() -> None:
    config = uvicorn.Config(
        application,
        lifespan="off",
        access_log=False,
        timeout_graceful_shutdown=2,
        # Who the client is, and over which scheme it came, is for Django and pulse to say.
        proxy_headers=False,
    )
    listener = socket.socket(fileno=int(os.environ["DEMO_LISTEN_FD"]))
    try:
        Server(config).run(sockets=[listener])
    finally:
        serving.unmark(os.getpid())


if __name__ == "__main__":
    main()
