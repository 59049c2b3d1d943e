"""A bar that shows how far long work is, on a terminal; elsewhere nothing."""

import shutil
import time
from typing import Any, Final, Self

#: Between two pictures, in seconds.
EVERY_S: Final = 0.1
WIDTH: Final = 30


class Progress:
    """Draws on one line, which is empty again in the end.

    Args:
        stream: Usually standard error, so that what is printed can be piped.
    """

    def __init__(self, stream: Any) -> None:
        # A command's own stream ends each writing with a new line.
        self._stream = getattr(stream, "_out", stream)
        self._shown = False
        self._next_at = 0.0
        self._is_terminal = bool(getattr(self._stream, "isatty", lambda: False)())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, name: str, done: int, total: int, more: str = "") -> None:
        """Draw how much of a total is done, if it is time to."""
        now = time.monotonic()
        if not self._is_terminal or (now < self._next_at and done < total):
            return
        self._next_at = now + EVERY_S
        share = done / total if total else 1.0
        filled = int(share * WIDTH)
        bar = "█" * filled + "░" * (WIDTH - filled)
        line = f"{name} {bar} {done:,} of {total:,}{f' · {more}' if more else ''}"
        self._write(line[: shutil.get_terminal_size().columns - 1])
        self._shown = True

    def clear(self) -> None:
        """Take the line away, so that others can be written."""
        if self._shown:
            self._write("")
            self._shown = False

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[2K{line}")
        self._stream.flush()
