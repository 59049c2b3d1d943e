"""The alerts' part of the policy document."""

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext as _

from pulse.alerts import words
from pulse.alerts.deliveries import CHANNELS
from pulse.alerts.models import AlertChannel, AlertRule
from pulse.alerts.rules import RULES
from pulse.core.document import Document
from pulse.policies import kinds
from pulse.policies import words as policy_words
from pulse.policies.kinds import Kind, Problem
from pulse.probes import secrets

OF_RULE: Final = (
    *("name", "metric", "endpoint", "op", "threshold", "window_s", "baseline_s"),
    *("for_s", "resolve_for_s", "severity", "channels"),
)
OF_CHANNEL: Final = ("name", "type", "to", "url", "secret", "allow_networks")


def register() -> None:
    """Register the kinds of this room, and their words."""
    policy_words.register(words.WRITERS)
    kinds.register(
        Kind(CHANNELS, AlertChannel, ("name",), OF_CHANNEL, check=_check_channels),
        Kind(RULES, AlertRule, ("name",), OF_RULE, check=_check_rules),
    )


def _check_channels(document: Document) -> Iterator[Problem]:
    """Find secrets that were written past ``save()``, as ``QuerySet.update()`` does."""
    for place, item in enumerate(document.get(CHANNELS, ())):
        if (secret := item.get("secret")) and not secrets.is_public(secret):
            text = _("The secret would stand in every revision. Save it by its row.")
            yield Problem(place, "secret", text)


def _check_rules(document: Document) -> Iterator[Problem]:
    """Find names of channels that there are not."""
    for place, name in kinds.unknown_names(document, RULES, "channels", CHANNELS):
        yield Problem(place, "channels", _("Unknown channel: %s") % name)
