"""The rest of the host's settings let pulse work."""

from pulse.checks import host
from tests.checks.messages import ids


def templates(settings, **files: str) -> None:
    loader = (
        "django.template.loaders.locmem.Loader",
        {f"pulse/{k}.html": v for k, v in files.items()},
    )
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [loader]},
        }
    ]


def test_templates(settings) -> None:
    """The page is found, and can be used."""
    templates(settings, refused="<p>{{ detail }}")
    assert ids(host.check_templates()) == []
    templates(settings)
    assert ids(host.check_templates()) == ["W050"]
    templates(settings, refused="{% no_such_tag %}")
    assert ids(host.check_templates()) == ["W051"]
    templates(settings, **{"refused": "ok", "429": "{% if %}", "503": "ok"})
    (message,) = host.check_templates()
    assert "pulse/429.html" in message.msg
    settings.TEMPLATES = []
    assert ids(host.check_templates()) == ["W050"]
    settings.TEMPLATES = [{"BACKEND": "no.such.Engine"}]
    assert ids(host.check_templates()) == []


def test_time_zone(settings) -> None:
    """Times in the document are UTC."""
    assert ids(host.check_time_zone()) == []
    settings.USE_TZ = False
    assert ids(host.check_time_zone()) == ["E050"]


def test_enabled(settings) -> None:
    """A pulse that is off is no surprise in production."""
    assert ids(host.check_enabled()) == []
    settings.PULSE = {"ENABLED": False}
    assert ids(host.check_enabled()) == ["W060"]
