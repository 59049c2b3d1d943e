"""Whether bodies are limited, and where."""

import ast
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
    module = _parsed(path.rpartition(".")[0])
    if module is not None and not _calls(module, LIMIT):
        yield found("W090", path=path)


def check_size() -> Iterator[CheckMessage]:
    """There is a limit."""
    if conf.ENABLED and not conf.MAX_BODY_BYTES:
        yield found("W091")


def _parsed(module: str) -> ast.Module | None:
    """Read a module, without running it: an ASGI application sets Django up anew."""
    try:
        spec = find_spec(module)
        return (
            ast.parse(Path(spec.origin).read_bytes()) if spec is not None and spec.origin else None
        )
    except (ImportError, OSError, SyntaxError, ValueError):
        return None


def _calls(module: ast.Module, name: str) -> bool:
    """Whether a module calls a function, by its own name or by one that it is imported under."""
    names = {name}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            names.update(alias.asname or name for alias in node.names if alias.name == name)
    called = (node.func for node in ast.walk(module) if isinstance(node, ast.Call))
    return any(
        (isinstance(function, ast.Name) and function.id in names)
        or (isinstance(function, ast.Attribute) and function.attr == name)
        for function in called
    )
