"""How a client stands with its own limits: what ``quota/`` tells it."""

from typing import Any

from pulse.conf import conf
from pulse.core.answers import ceil_s
from pulse.core.charging import Facts, charges, exempt_by
from pulse.core.snapshot import Snapshot
from pulse.policies.explain.explanations import client_of
from pulse.store import limits


def standings(snapshot: Snapshot, facts: Facts) -> dict[str, Any]:
    """Tell what is left of each limit that is enforced on a request; one call to the store.

    Nothing is charged. What is in shadow is nobody's affair but the operator's.

    Args:
        snapshot: The policy.
        facts: The request that the client has in mind.
    """
    acts = conf.ENABLED and exempt_by(snapshot, facts) is None
    found = [each for each in charges(snapshot, facts) if each.claim.enforced] if acts else []
    client = client_of(facts, found)
    claims = [charge.claim for charge in found]
    reading = limits.read(claims)
    return {
        "client": {"kind": client["kind"], "tier": client["tier"]},
        "limits": [
            {
                "kind": charge.rule.kind,
                "key": {"name": charge.rule.name},
                "counted_by": charge.counted_by,
                "rate": quota.rate,
                "algorithm": str(quota.algorithm),
                "limit": quota.capacity,
                "remaining": verdict.remaining,
                "reset": ceil_s(reading.now_us + verdict.reset_after_us),
            }
            for charge, verdicts in zip(found, reading.standings(claims), strict=True)
            for quota, verdict in zip(charge.claim.allowance.quotas, verdicts, strict=False)
        ],
    }
