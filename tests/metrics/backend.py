"""Backends of a host's own."""

from datetime import UTC, datetime

from pulse.core.measures import Measures, Window


class Kept:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []

    def record_request(
        self, *, endpoint: str, method: str, status_code: int, duration_ms: float
    ) -> None:
        assert duration_ms >= 0
        self.told.append((endpoint, method, status_code))

    def read(self, seconds: int) -> Window:
        now = datetime.now(UTC)
        total = Measures()
        total.statuses.update(status for _, _, status in self.told)
        return Window(now, now, "mine", 1, total, {})


class Lacking:
    """Cannot be read."""

    def record_request(self, **_: object) -> None:
        """Count nothing."""


class Failing(Kept):
    """Fails at everything."""

    def record_request(self, **_: object) -> None:
        raise RuntimeError("no room")

    def read(self, seconds: int) -> Window:
        raise RuntimeError("no shelf")
