"""Reads one answer within bounds; the grammar is llhttp's."""

import zlib
from collections.abc import Callable
from typing import Final

import httptools

from pulse.core.attempts import MAX_BODY_BYTES, MAX_HEADER_BYTES, Failure
from pulse.exceptions import CallFailed

#: Chunks of one byte each make six of one: what comes in all is bounded as well.
MAX_WIRE_BYTES: Final = MAX_HEADER_BYTES + 8 * MAX_BODY_BYTES

VERSIONS: Final = frozenset({"1.0", "1.1"})
GZIP: Final = frozenset({"gzip", "x-gzip"})
GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
RAW_WINDOW: Final = -zlib.MAX_WBITS
HEADERS: Final = "The answer has more than 64 KB of headers."
BODY: Final = "The answer has a body of more than 1 MB."
BROKEN: Final = "The answer is no HTTP/1.1"
CUT_OFF: Final = "The connection was closed before the answer was whole."


class Reader:
    """One answer, as far as it came.

    Attributes:
        status_code: Of the answer itself, not of an interim one; None until its headers are whole.
        headers: Names in small letters; the values of repeated ones joined by a comma and a blank.
        bytes: How many of its body came, before they were decoded.
    """

    __slots__ = (
        "_began",
        "_body",
        "_decode",
        "_done",
        "_failed",
        "_head_bytes",
        "_in_head",
        "_is_head",
        "_on_first",
        "_parser",
        "_wire_bytes",
        "bytes",
        "headers",
        "status_code",
    )

    def __init__(self, method: str, on_first: Callable[[], None]) -> None:
        """Begin.

        Args:
            method: Of the request: an answer to HEAD ends with its headers.
            on_first: Called when the first byte comes.
        """
        self._is_head = method == "HEAD"
        self._on_first = on_first
        self._began = self._done = False
        self._failed: CallFailed | None = None
        self._in_head = True
        self._head_bytes = self._wire_bytes = 0
        self.headers: dict[str, str] = {}
        self._body = bytearray()
        self._decode: Decoder | None = None
        self.status_code: int | None = None
        self.bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    @property
    def body(self) -> bytes:
        """What came of the body, decoded."""
        return bytes(self._body)

    def feed(self, data: bytes) -> bool:
        """Take what came; say whether the answer is whole.

        Args:
            data: ``b""`` for the end of the connection.

        Raises:
            CallFailed: It is none, too large, or will never be whole.
        """
        if not self._began:
            self._began = True
            self._on_first()
        if not data:
            return self._end()
        self._wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise CallFailed(Failure.PROTOCOL, "The answer changes the protocol.") from None
        except httptools.HttpParserError as error:
            if self._failed is None and not self._done:
                raise CallFailed(Failure.PROTOCOL, f"{BROKEN}: {error}.") from None
        if self._failed is not None:
            raise self._failed
        if self._done:
            return True
        if self._in_head and self._wire_bytes > MAX_HEADER_BYTES:
            raise CallFailed(Failure.TOO_LARGE, HEADERS)
        if self._wire_bytes > MAX_WIRE_BYTES:
            raise CallFailed(Failure.TOO_LARGE, BODY)
        return False

    def end(self) -> None:
        """Let go of the parser, which holds this reader in turn: no more is fed."""
        del self._parser, self._on_first

    def on_message_begin(self) -> None:
        """Forget an interim answer."""
        if not self._done:
            self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of those after the body, only count them."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEADER_BYTES:
            self._fail(Failure.TOO_LARGE, HEADERS)
        elif self._in_head:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Learn what follows."""
        if self._done:
            return
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in VERSIONS or not 100 <= status <= 999:
            self._fail(Failure.PROTOCOL, f"{BROKEN}: no version or status of it.")
        if status < 200:
            return
        self.status_code = status
        self._in_head = False
        if self._is_head:
            self._done = True
            return
        headers = self.headers
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MAX_BODY_BYTES and status not in {204, 304}:
            self._fail(Failure.TOO_LARGE, BODY)
        self._decode = decoder_for(headers.get("content-encoding", ""))

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        if self._done or self._failed is not None:
            return
        self.bytes += len(data)
        if self._decode is not None:
            try:
                data = self._decode.feed(data, MAX_BODY_BYTES + 1 - len(self._body))
            except zlib.error:
                self._fail(Failure.PROTOCOL, "The body is not encoded as its header says.")
                return
        self._body += data
        if len(self._body) > MAX_BODY_BYTES or self.bytes > MAX_BODY_BYTES:
            self._body.clear()
            self._fail(Failure.TOO_LARGE, BODY)

    def on_message_complete(self) -> None:
        """Know the answer for whole, unless it was an interim one."""
        if not self._in_head:
            self._finish()

    def _end(self) -> bool:
        """Judge the end of the connection: an answer without a length is whole with it."""
        if self._wire_bytes == 0:
            raise CallFailed(Failure.PROTOCOL, "The connection was closed without an answer.")
        headers = self.headers
        coding = headers.get("transfer-encoding", "").lower().rpartition(",")[2].strip()
        if self._in_head or coding == "chunked" or (not coding and "content-length" in headers):
            raise CallFailed(Failure.PROTOCOL, CUT_OFF)
        self._finish()
        if self._failed is not None:
            raise self._failed
        return True

    def _finish(self) -> None:
        if self._decode is not None and not self._decode.is_whole:
            self._fail(Failure.PROTOCOL, "The body ends before its encoding does.")
        self._done = True

    def _fail(self, failure: Failure, detail: str) -> None:
        # Raised after the parser has returned: it would bury what its callbacks raise.
        if self._failed is None:
            self._failed = CallFailed(failure, detail)


class Decoder:
    """Inflates a body as it comes, never more than is asked for."""

    __slots__ = ("_began", "_inflate", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._began = False
        self._inflate = zlib.decompressobj(window)

    @property
    def is_whole(self) -> bool:
        """Whether the end was seen, or nothing at all."""
        return self._inflate.eof or not self._began

    def feed(self, data: bytes, most: int) -> bytes:
        """Inflate a part, to at most so many bytes.

        Raises:
            zlib.error: It is not encoded so.
        """
        if not self._began:
            self._began = True
            # "deflate" is zlib's format to the standard, and bare to some servers.
            if self._window == zlib.MAX_WBITS and data[0] & 0x0F != zlib.DEFLATED:
                self._inflate = zlib.decompressobj(RAW_WINDOW)
        return self._inflate.decompress(data, most) if not self._inflate.eof else b""


def decoder_for(encoding: str) -> Decoder | None:
    """Choose what decodes a ``Content-Encoding``; None leaves the body as it is."""
    encoding = encoding.strip().lower()
    if encoding in GZIP:
        return Decoder(GZIP_WINDOW)
    return Decoder(zlib.MAX_WBITS) if encoding == "deflate" else None
