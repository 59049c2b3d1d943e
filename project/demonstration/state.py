"""``.demo/``: where the demonstration keeps what others may read, and that it is running."""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class AlreadyRunning(Exception):
    """Another demonstration holds this directory."""


@dataclass(slots=True)
class State:
    """What ``state.json`` says."""

    url: str = ""
    username: str = "admin"
    password: str = ""
    token: str = ""
    """Of a paying customer, for the API."""
    api_key: str = ""
    """Of the administrator, for pulse's own API."""
    redis_url: str = ""
    database_url: str = ""
    pids: dict[str, list[int]] = field(default_factory=dict)


def read(directory: Path) -> State:
    """What the last demonstration wrote; empty where it cannot be read."""
    try:
        values: Any = json.loads((directory / "state.json").read_text())
    except (OSError, ValueError):
        return State()
    if not isinstance(values, dict):
        return State()
    texts = ("url", "password", "token", "api_key", "redis_url", "database_url")
    return State(**{name: values[name] for name in texts if isinstance(values.get(name), str)})


def write(directory: Path, state: State) -> None:
    """Replace ``state.json`` in one step, readable by its owner alone."""
    descriptor, draft = tempfile.mkstemp(dir=directory, prefix=".state-")  # mode 600
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(state), file, indent=2)
        file.write("\n")
    Path(draft).replace(directory / "state.json")


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold ``directory`` for one demonstration; the kernel lets go of it however that ends.

    Raises:
        AlreadyRunning: If another one holds it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning from None
        yield
