"""No check asks anybody."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> None:
    """A check that connects fails its test."""

    def refuse(*args: object) -> None:
        raise AssertionError(f"A check connected to {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
