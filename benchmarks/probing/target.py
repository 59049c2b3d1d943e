"""What is fetched: ``python -m benchmarks.probing.target PORTS CERTIFICATE``, as cheap as can be.

Says on standard output, in JSON, its ports, plain and with TLS; ends with its standard input.
"""

import asyncio
import json
import socket
import ssl
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
#: Ports with TLS, of all.
SECURED = 10


class Answering(asyncio.Protocol):
    """One connection, one answer."""

    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        if self._head.startswith(b"GET /answered "):
            body = str(Answering.answered).encode()
            length = f"{len(body)}".encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + length
                + b"\r\n\r\n" + body
            )  # fmt: skip
        else:
            Answering.answered += 1
            self._transport.write(ANSWER)
        self._transport.close()


async def serve(ports: int, certificate: str) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    found: dict[str, list[int]] = {"http": [], "https": []}
    for scheme, number, tls in (("http", ports, None), ("https", SECURED, context)):
        for _ in range(number):
            listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
            await loop.create_server(Answering, sock=listener, ssl=tls, backlog=1024)
            found[scheme].append(listener.getsockname()[1])
    print(json.dumps(found), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
