"""Whether bodies are limited, and where."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage

from pulse.checks.findings import found
from pulse.conf import conf

LIMIT: Final = "limit_bodies"


def check_arrival() -> Iterator[CheckMessage]:
    """A site that is served by ASGI limits bodies while they arrive."""
    path: Any = getattr(settings, "ASGI_APPLICATION", None)
    if not isinstance(path, str) or not conf.ENABLED or not conf.MAX_BODY_BYTES:
        return
    source = _source(path.rpartition(".")[0])
    if source is not None and LIMIT not in source:
        yield found("W090", path=path)


def check_size() -> Iterator[CheckMessage]:
    """There is a limit."""
    if conf.ENABLED and not conf.MAX_BODY_BYTES:
        yield found("W091")


def _source(module: str) -> str | None:
    """Read a module, without running it: an ASGI application sets Django up anew."""
    try:
        spec = find_spec(module)
        return Path(spec.origin).read_text() if spec is not None and spec.origin else None
    except (ImportError, OSError, ValueError):
        return None
