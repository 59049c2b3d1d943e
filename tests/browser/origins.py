"""Pages on any ``*.localhost`` name, and scripts in them that ask another site."""

import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.cors_oracle import Script

PAGE: Final = b"<!doctype html><title>A page</title><link rel=icon href='data:,'>"
AT_ONCE: Final = 6
#: Asks for many things, some at a time; each comes back as what the script could read of it.
FETCH: Final = """async ([asks, atOnce]) => {
  const found = new Array(asks.length);
  let next = 0;
  async function work() {
    while (next < asks.length) {
      const place = next++;
      const [url, init] = asks[place];
      try {
        const response = await fetch(url, init);
        found[place] = {
          status: response.status,
          names: [...response.headers.keys()],
          headers: Object.fromEntries(response.headers),
          body: await response.text(),
        };
      } catch (error) {
        found[place] = {error: String(error)};
      }
    }
  }
  await Promise.all(Array.from({length: atOnce}, work));
  return found;
}"""


@dataclass(frozen=True)
class Got:
    """What a script got: an answer, or a network error."""

    readable: bool
    status: int = 0
    names: frozenset[str] = frozenset()
    headers: dict[str, str] | None = None
    body: str = ""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served_pages() -> Iterator[int]:
    """Serve one empty page under every path and name, on a port of loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Pages:
    """One open page for each origin; ``null`` is a sandboxed frame in one of them."""

    def __init__(self, context: Any, home: str) -> None:
        self._context, self._home = context, home
        self._frames: dict[str, Any] = {}

    def on(self, origin: str) -> Any:
        """The frame whose origin, as the browser writes it, is ``origin``."""
        if origin not in self._frames:
            self._frames[origin] = self._null() if origin == "null" else self._open(origin)
            assert self._frames[origin].evaluate("self.origin") == origin
        return self._frames[origin]

    def _open(self, origin: str) -> Any:
        page = self._context.new_page()
        page.goto(f"{origin}/")
        return page.main_frame

    def _null(self) -> Any:
        page = self._context.new_page()
        page.goto(f"{self._home}/")
        page.evaluate(
            "() => new Promise((done) => {"
            " const frame = document.createElement('iframe');"
            " frame.sandbox = 'allow-scripts'; frame.srcdoc = 'inner'; frame.onload = done;"
            " document.body.append(frame); })"
        )
        return page.frames[-1]

    def ask(self, site: str, scripts: Sequence[Script]) -> list[Got]:
        """Run scripts of one origin against a site such as ``http://api.localhost:8000``."""
        (origin,) = {script.origin for script in scripts}
        asks = [(f"{site}{script.path}?{script.query}", _init(script)) for script in scripts]
        found = self.on(origin).evaluate(FETCH, [asks, AT_ONCE])
        return [_read(answer) for answer in found]


def _init(script: Script) -> dict[str, Any]:
    init: dict[str, Any] = {
        "method": script.method,
        "headers": dict(script.headers),
        "credentials": script.credentials,
    }
    if script.body is not None:
        init["body"] = script.body
    return init


def _read(answer: dict[str, Any]) -> Got:
    if "error" in answer:
        # What a script gets wrong itself has another text, and proves nothing.
        assert answer["error"] == "TypeError: Failed to fetch", answer
        return Got(readable=False)
    return Got(
        True, answer["status"], frozenset(answer["names"]), answer["headers"], answer["body"]
    )
