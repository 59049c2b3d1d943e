"""Secrets of channels: made where there is none, encrypted apart, shown once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.db import transaction

from pulse.core.webhooks import make_secret
from pulse.probes import secrets
from pulse.probes.models import KEPT

if TYPE_CHECKING:
    from pulse.alerts.models import AlertChannel


@contextmanager
def kept_apart(channel: "AlertChannel", using: str) -> Iterator[None]:
    """Put a channel's secret into a row of its own while it is saved, in one transaction.

    A webhook without one gets a new one, which the row that was saved shows once, as
    ``made_secret``. What was written for one receiver is not kept for another, on another host.
    """
    from pulse.alerts.models import AlertChannel, ChannelSecret, ChannelType

    rows = ChannelSecret.objects.using(using)
    channel.made_secret = ""
    if channel.type != ChannelType.WEBHOOK:
        channel.secret = ""
    elif channel.secret in {"", KEPT}:
        stored = AlertChannel.objects.using(using).filter(pk=channel.pk)
        url = stored.values_list("url", flat=True).first()
        is_same = url is not None and _receiver(url) == _receiver(channel.url)
        has_one = rows.filter(channel__pk=channel.pk).exists()
        if channel.secret != KEPT or not has_one or not is_same:
            channel.secret = channel.made_secret = make_secret()
    fresh = channel.secret if not secrets.is_public(channel.secret) else ""
    if fresh:
        channel.secret = KEPT
    with transaction.atomic(using=using):
        yield
        if fresh:
            defaults = {"value": secrets.encrypt(fresh)}
            rows.update_or_create(channel=channel, defaults=defaults)
        elif channel.secret != KEPT:
            rows.filter(channel=channel).delete()


def _receiver(url: str) -> tuple[str, str]:
    """Name who receives what is sent to a URL; what ``env:`` names is one by its name."""
    parts = urlsplit(url)
    return parts.scheme.lower(), (parts.netloc or parts.path).lower()
