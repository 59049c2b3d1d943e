"""Whether the rest of the host's settings let pulse work."""

from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template

from pulse.checks.findings import found
from pulse.conf import conf

REFUSED: Final = "pulse/refused.html"
OWN_PAGES: Final = ("pulse/429.html", "pulse/503.html")


def check_time_zone() -> Iterator[CheckMessage]:
    """Times are kept with their zone."""
    if not settings.USE_TZ:
        yield found("E050")


def check_templates() -> Iterator[CheckMessage]:
    """Browsers are refused by a page."""
    try:
        get_template(REFUSED)
    except TemplateDoesNotExist:
        yield found("W050")
    except (ImproperlyConfigured, ImportError):
        return  # TEMPLATES itself is broken, which Django says.
    except TemplateSyntaxError as error:
        yield found("W051", name=REFUSED, error=error)
    for name in OWN_PAGES:
        try:
            get_template(name)
        except TemplateDoesNotExist:
            continue
        except TemplateSyntaxError as error:
            yield found("W051", name=name, error=error)


def check_enabled() -> Iterator[CheckMessage]:
    """Pulse acts in production."""
    if not conf.ENABLED:
        yield found("W060")
