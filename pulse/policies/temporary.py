"""Temporary exceptions: for a while, one network passes what refuses it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.core.access import ACCESS
from pulse.core.networks import client_prefix, parse_address
from pulse.core.snapshot import ENDPOINTS, TIERS
from pulse.exceptions import InvalidFields
from pulse.policies import publisher
from pulse.policies.bases import ModeChoices, Policy
from pulse.policies.edge import AccessRule, ActionChoices
from pulse.policies.models import Exemption
from pulse.policies.publisher import Actor, Edit
from pulse.policies.reading import is_storable

#: How long a rule may be meant to hold, so that nobody has to reckon a time.
PERIODS: Final = {
    "1h": (_("an hour"), timedelta(hours=1)),
    "1d": (_("a day"), timedelta(days=1)),
    "1w": (_("a week"), timedelta(weeks=1)),
    "30d": (_("30 days"), timedelta(days=30)),
}
MAX_REASON: Final = 200
EXEMPTIONS: Final = "exemptions"


@dataclass(frozen=True, slots=True)
class Offer:
    """An exception that would let a client pass.

    Attributes:
        kind: ``exemptions`` against limits, ``access_rules`` against a denial.
        network: The client's; empty where nobody knows it any more.
        path: Under which path; of a denial its own.
    """

    kind: str
    network: str
    path: str = ""


def offer(row: Mapping[str, Any], address: str | None) -> Offer | None:
    """Return what would let a client pass a rule that refuses it; None where nothing would.

    A rule that denies the client's network and nothing else is to be changed itself; what
    refuses a body, or a preflight, refuses everybody.

    Args:
        row: What an explanation tells of the rule.
        address: The client's; None for one that is not known.
    """
    found = parse_address(address or "")
    network = "" if found is None else client_prefix(found)
    if row["kind"] == ACCESS:
        is_own = row["key"]["network"] == network
        return None if is_own or not network else Offer(ACCESS, network, row["key"]["path"])
    counted = row["kind"] in {TIERS, ENDPOINTS} and row["limits"]
    return Offer(EXEMPTIONS, network) if counted else None


def make(wanted: Offer, period: str, reason: str, actor: Actor, *, request_id: str = "") -> Edit:
    """Make an exception: an edit of the policy as any other, which ends by itself.

    One that is over is renewed.

    Raises:
        InvalidFields: By ``network``, ``ends_in`` or ``reason``: it cannot be made.
        InvalidDocument: The rows make no policy.
    """
    errors = {}
    if period not in PERIODS:
        errors["ends_in"] = [__("Say when it ends.")]
    if not reason or len(reason) > MAX_REASON:
        errors["reason"] = [__("Say why, in at most %d characters.") % MAX_REASON]
    given = {"network": wanted.network, "path": wanted.path, "reason": reason}
    for name, text in given.items():
        if not is_storable(text):
            errors[name] = [__("It has a character that cannot be stored.")]
    if errors:
        raise InvalidFields(errors)
    now = timezone.now()
    with publisher.edit(actor, source="admin", reason=reason, request_id=request_id) as edit:
        row = _row(wanted, reason, now)
        row.mode, row.percent = ModeChoices.ENFORCE, 100
        row.starts_at, row.ends_at = None, now + PERIODS[period][1]
        row.description = reason
        try:
            row.full_clean()
        except ValidationError as error:
            raise InvalidFields(error.message_dict) from error
        row.save()
    return edit


def _row(wanted: Offer, reason: str, now: datetime) -> Policy:
    """Return a new row, or that of an exception which is over.

    Raises:
        InvalidFields: There is one that is not over.
    """
    row: Policy
    if wanted.kind == ACCESS:
        denial = AccessRule.objects.filter(network=wanted.network, path=wanted.path).first()
        row = denial or AccessRule(network=wanted.network, path=wanted.path)
        row.action, row.reason = ActionChoices.ALLOW, reason
    else:
        exemption = Exemption.objects.filter(network=wanted.network, path="").first()
        row = exemption or Exemption(network=wanted.network)
    if not row._state.adding and (row.ends_at is None or row.ends_at > now):
        text = __("There is a rule for %s already. Change it where policies are edited.")
        raise InvalidFields({"network": [text % wanted.network]})
    return row
