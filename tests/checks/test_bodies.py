"""Bodies are limited, and under ASGI while they arrive."""

import sys
from pathlib import Path

import pytest

from pulse.checks import bodies
from tests.checks.messages import ids


@pytest.fixture
def module(tmp_path: Path, monkeypatch):
    """A host's asgi.py, which is never run."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> str:
        name = f"asgi_of_a_host_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('run')\n{source}")
        return f"{name}.application"

    return write


def test_a_site_under_asgi_limits_bodies_while_they_arrive(settings, module) -> None:
    """Its source says so; it is read and not run."""
    settings.ASGI_APPLICATION = module("application = get_asgi_application()")
    (message,) = bodies.check_arrival()
    assert ids([message]) == ["W090"]
    assert settings.ASGI_APPLICATION in message.msg
    settings.ASGI_APPLICATION = module("application = limit_bodies(get_asgi_application())")
    assert ids(bodies.check_arrival()) == []
    assert not [name for name in sys.modules if name.startswith("asgi_of_a_host")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "# limit_bodies(application) is for later\napplication = get_asgi_application()",
            ["W090"],
        ),
        ("from pulse.asgi import limit_bodies\napplication = get_asgi_application()", ["W090"]),
        ("note = 'limit_bodies()'", ["W090"]),
        ("from pulse.asgi import limit_bodies as bounded\napplication = bounded(django)", []),
        ("from pulse import asgi\napplication = asgi.limit_bodies(django)", []),
        ("application = outer(limit_bodies(django))", []),
        ("this is no Python", []),
    ],
)
def test_it_is_called_and_not_only_named(
    settings, module, source: str, expected: list[str]
) -> None:
    """What cannot be read is not judged."""
    settings.ASGI_APPLICATION = module(source)
    assert ids(bodies.check_arrival()) == expected


@pytest.mark.parametrize("path", [None, "", "application", "no.such.application", ["a"]])
def test_what_cannot_be_read_is_not_judged(settings, path) -> None:
    """Django says what is wrong with it."""
    settings.ASGI_APPLICATION = path
    assert ids(bodies.check_arrival()) == []


def test_the_demonstration_limits_its_own(settings) -> None:
    """As it tells others to."""
    assert settings.ASGI_APPLICATION == "project.asgi.application"
    assert ids([*bodies.check_arrival(), *bodies.check_size()]) == []


def test_no_limit_at_all_is_told(settings, module) -> None:
    """Once, not twice."""
    settings.ASGI_APPLICATION = module("application = get_asgi_application()")
    settings.PULSE = {"MAX_BODY_BYTES": 0}
    assert ids([*bodies.check_arrival(), *bodies.check_size()]) == ["W091"]
    settings.PULSE = {"MAX_BODY_BYTES": 0, "ENABLED": False}
    assert ids([*bodies.check_arrival(), *bodies.check_size()]) == []
