"""What refusals say to clients; the texts asked for, word for word."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.conf import conf


def too_many_requests(seconds: int) -> str:
    """Return the text of a 429: with the seconds where details are shown, else without."""
    if not conf.DETAILED_ERRORS:
        return _("Too many requests. Please try again later.")
    return ngettext(
        "Rate limit exceeded. Try again in %(seconds)d second",
        "Rate limit exceeded. Try again in %(seconds)d seconds",
        seconds,
    ) % {"seconds": seconds}


def unavailable() -> str:
    """Return the text of a 503."""
    return _("Service temporarily unavailable. Please try again later.")
