"""Rules on one value or one row of alerts, shared by admin, API and document."""

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _

from pulse.alerts.measured import METRICS
from pulse.core.addresses import Reason
from pulse.core.urls import is_plain
from pulse.core.webhooks import read_secret
from pulse.exceptions import ForbiddenAddress, ForbiddenUrl, InvalidSecret
from pulse.probes import secrets
from pulse.probes import validators as probes
from pulse.probes.client.dial import check_target
from pulse.probes.models import KEPT

#: Addresses of one channel; more are a list of their own elsewhere.
MAX_ADDRESSES: Final = 50


def validate_metric(value: str) -> None:
    """Refuse what nobody measures."""
    if value not in METRICS:
        raise ValidationError(
            _("“%(name)s” is not measured. There are: %(known)s."),
            params={"name": value, "known": ", ".join(METRICS)},
            code="metric",
        )


def validate_emails(value: Any) -> None:
    """Refuse what is no list of addresses."""
    if not isinstance(value, list):
        return  # Another validator says so.
    if len(value) > MAX_ADDRESSES:
        raise ValidationError(_("Write at most %(most)d."), params={"most": MAX_ADDRESSES})
    for address in value:
        try:
            validate_email(address if isinstance(address, str) else "")
        except ValidationError as error:
            raise ValidationError(
                _("“%(text)s” is no address of email."), params={"text": address}, code="email"
            ) from error


def validate_url(value: str) -> None:
    """Refuse what is neither a URL that may be called nor the name of one."""
    if not value.startswith(secrets.REFERENCE):
        probes.validate_url(value)
        return
    variable = value.removeprefix(secrets.REFERENCE)
    if not secrets.is_open(variable):
        raise ValidationError(secrets.closed(variable), code="closed")


def validate_reach(url: str, allow_networks: Any) -> None:
    """Refuse a URL that word may not be sent to, by what its host is now.

    Without encryption anybody on the way may read it, so ``http`` leads only to what
    ``allow_networks`` opens. What is named by ``env:`` is judged as it is sent.
    """
    if url.startswith(secrets.REFERENCE):
        return
    networks = probes.texts_of(allow_networks)
    plain = _("Write https; http leads only to the private networks that are named below.")
    try:
        check_target(url, networks, public=not is_plain(url))
    except ForbiddenUrl:
        return  # Its own field says so.
    except ForbiddenAddress as error:
        text = plain if error.reason == Reason.PUBLIC else str(error)
        raise ValidationError({"url": text}) from error
    if is_plain(url) and not networks:  # Its host has no address yet.
        raise ValidationError({"url": plain})


def validate_secret(value: str) -> None:
    """Refuse what no webhook can be signed with; empty means that one is made."""
    if not value or value == KEPT:
        return
    if value.startswith(secrets.REFERENCE):
        variable = value.removeprefix(secrets.REFERENCE)
        if not secrets.is_open(variable):
            raise ValidationError({"secret": secrets.closed(variable)})
        return
    try:
        read_secret(value)
    except InvalidSecret as error:
        raise ValidationError({"secret": str(error)}) from error
