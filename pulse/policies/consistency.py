"""What the limits of one rule must be together, told to forms and documents alike."""

from collections.abc import Iterable
from itertools import combinations
from typing import Final

from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from pulse.core.bounds import FIELDS
from pulse.core.claims import MAX_QUOTAS
from pulse.core.quotas import Quota
from pulse.exceptions import InvalidQuota
from pulse.policies.bases import Limit, Policy
from pulse.policies.models import RateTier

MAX_LIMITS: Final = MAX_QUOTAS


def check_limits(limits: Iterable[Limit], cost: int = 1) -> list[tuple[int, str, str]]:
    """Find what makes the limits of one rule impossible together.

    Rows that are no quota by themselves are left out: their own field says so.

    Returns:
        The place among the limits, the field and the text of each error.
    """
    quotas: list[tuple[int, Quota]] = []
    for place, limit in enumerate(limits):
        try:
            quotas.append((place, limit.quota))
        except InvalidQuota:
            continue
    errors = [
        (
            place,
            "rate",
            _(
                "One request costs %(cost)d and this limit never holds more than %(most)d: "
                "nothing would ever pass."
            )
            % {"cost": cost, "most": quota.capacity},
        )
        for place, quota in quotas
        if cost > quota.capacity
    ]
    for (__, one), (__, other) in combinations(quotas, 2):
        short, long = sorted((one, other), key=lambda quota: quota.period_us)
        if short.period_us < long.period_us and long.count < short.count:
            place = next(place for place, quota in quotas if quota is long)
            errors.append(
                (
                    place,
                    "rate",
                    _(
                        "%(long)s allows less than %(short)s in a longer time, so %(short)s could "
                        "never be used up."
                    )
                    % {"long": long.rate, "short": short.rate},
                )
            )
    seen: dict[tuple[str, int, int], int] = {}
    for place, quota in quotas:
        if seen.setdefault((quota.algorithm, quota.count, quota.period_us), place) != place:
            errors.append((place, "rate", _("This limit is there already.")))
    return errors


def still_used(error: ProtectedError) -> str:
    """Say in words what keeps a row from being deleted."""
    named = ", ".join(sorted(str(row) for row in error.protected_objects))
    return _("It is still used by: %s.") % named


def missing_limits(row: Policy, *, has_limits: bool) -> str | None:
    """Say what a rule lacks that has no limits, or has them twice; None if it is whole."""
    if isinstance(row, RateTier):
        return None if has_limits else _("A tier has at least one limit, such as 10/s.")
    tier = getattr(row, "tier_id", None)
    if has_limits and tier is not None:
        return _("Either limits of its own or those of a tier.")
    # A body of 0 bytes is a bound too.
    bounded = any(getattr(row, name, None) is not None for name in FIELDS)
    acts = any(getattr(row, name, False) for name in ("replaces_tier", "require_nonce"))
    if not (has_limits or tier is not None or bounded or acts):
        return _("It limits nothing: give it limits, or name a tier.")
    return None
