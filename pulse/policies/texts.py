"""What refusals say to clients; the texts asked for, word for word."""

from http import HTTPStatus

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.conf import conf
from pulse.core.bounds import round_size
from pulse.core.replay import Problem


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


def access_denied() -> str:
    """Return the text of a 403; the rule's reason is for the operator alone."""
    return _("Access denied.")


def body_too_large(limit: int) -> str:
    """Return the text of a 413: the limit in bytes, rounded down to megabytes where it has any."""
    return _("Request body too large (max %(size)s)") % {"size": round_size(limit)}


def of_replay(problem: Problem | None) -> tuple[int, str]:
    """Return status and text of the answer to a request that is to be taken once, and cannot be."""
    if problem is Problem.SEEN:
        return HTTPStatus.CONFLICT, nonce_seen()
    text = nonce_stale() if problem is Problem.STALE else nonce_missing()
    return HTTPStatus.BAD_REQUEST, text


def nonce_missing() -> str:
    """Return the text of a 400 to a request that cannot be told from its repetition."""
    return _(
        "Send X-Timestamp, in seconds since 1970, and X-Nonce, 16 to 128 characters of ASCII that "
        "you use once."
    )


def nonce_stale() -> str:
    """Return the text of a 400 for a time that is not now."""
    return _("X-Timestamp is more than five minutes away from now.")


def nonce_seen() -> str:
    """Return the text of a 409."""
    return _("This X-Nonce was used before.")


def method_not_allowed() -> str:
    """Return the text of a 405; its header ``Allow`` says what is."""
    return _("This method is not allowed here.")


def no_reports() -> str:
    """Return the text of a 404 to reports of what is no policy."""
    return _("No header policy of that name is in force.")


def no_kind_of_report() -> str:
    """Return the text of a 415 to what is no report."""
    return _("Send what browsers send: application/csp-report or application/reports+json.")


def length_required() -> str:
    """Return the text of a 411."""
    return _("A body needs a Content-Length: this server takes none in chunks.")


def bad_length() -> str:
    """Return the text of a 400 for a length that cannot be believed."""
    return _("The length of the body cannot be read.")


def took_too_long(seconds: float) -> str:
    """Return the text of a 503 for an answer that was not ready in time."""
    if seconds == 1:
        return _("The request took longer than 1 second.")
    return _("The request took longer than %(seconds)s seconds.") % {"seconds": f"{seconds:g}"}
