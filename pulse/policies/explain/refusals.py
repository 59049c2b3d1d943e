"""What became of a request that was refused, from the decision id that its answer carried."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.claims import Claim
from pulse.core.clients import digest
from pulse.core.document import Document, Item, difference
from pulse.core.quotas import SECOND_US
from pulse.core.snapshot import TIERS, Rule, Snapshot
from pulse.exceptions import InvalidQuestion
from pulse.policies import current, kinds, words
from pulse.policies.decisions import SealedDecision, unseal
from pulse.policies.explain import rows
from pulse.policies.models import PolicyRevision
from pulse.policies.publisher import database
from pulse.store import blocked, limits
from pulse.store.blocked import Blocked

#: Stands in a counter's key for the address behind clients that are not verified.
CEILING: Final = "ceiling:"


def explain_refusal(decision_id: str) -> dict[str, Any]:
    """Tell what a decision id says: which rule refused, what it said then, and what it says now.

    The client is known by a hash alone. Where it is still refused, or was a moment ago, it is
    found by it among those who are; nothing is charged.

    Returns:
        The members of any explanation, null where they are not known any more; and ``decision``,
        ``then`` (the rule as that revision had it, None where the revision is gone) and ``now``.

    Raises:
        InvalidQuestion: It is no decision id of this site.
    """
    sealed = unseal(decision_id.strip())
    if sealed is None:
        raise InvalidQuestion({"decision": [_("That is no decision id of this site.")]})
    snapshot, document = current.current_snapshot(), current.document_in_force()
    revision = _revision(sealed.revision)
    item = None if revision is None else _find(revision.document, sealed)
    client = _client_of(sealed)
    return {
        "verdict": "refused",
        "status": 503 if sealed.unavailable else 429,
        "allowed": 0,
        "refused": 1,
        "revision": sealed.revision,
        "route": sealed.route or None,
        "url_name": None,
        "exempt_by": None,
        "client": {
            "address": None if client is None else client.address,
            "kind": None if client is None else client.client.partition(":")[0],
            "tier": sealed.name if sealed.kind == TIERS else None,
        },
        "rules": [_row(sealed, item, {} if revision is None else revision.document)],
        "headers": {},
        "body": None,
        "decision": {
            "kind": sealed.kind,
            "key": {"name": sealed.name},
            "rate": sealed.limit,
            "client": sealed.client,
            "method": sealed.method,
            "route": sealed.route or None,
            "at": kinds.time_to_text(datetime.fromtimestamp(sealed.at_us / SECOND_US, UTC)),
        },
        "then": None if revision is None else _then(revision, sealed, item),
        "now": _now(snapshot, document, sealed, item, client),
    }


def _revision(number: int) -> PolicyRevision | None:
    """Find a revision; what is in force without one, as in a host's tests, has the number 0."""
    if not number:
        return None
    return PolicyRevision.objects.using(database()).filter(number=number).first()


def _find(document: Document, sealed: SealedDecision) -> Item | None:
    items: Any = document.get(sealed.kind, ())
    return next((item for item in items if item.get("name") == sealed.name), None)


def _client_of(sealed: SealedDecision) -> Blocked | None:
    """Find the client among those who are refused now."""
    secret = conf.client_secret
    rule = f"{sealed.kind}:{sealed.name}"
    for entry in blocked.listing().entries:
        if entry.rule == rule and digest(entry.name, secret) == sealed.client:
            return entry
    return None


def _row(sealed: SealedDecision, item: Item | None, document: Document) -> rows.Row:
    """Write the rule as it was when it refused; what was left of its limits is not known."""
    return {
        "kind": sealed.kind,
        "key": {"name": sealed.name},
        "mode": None if item is None else item["mode"],
        "matched": True,
        "why": _("it refused the request"),
        "counted_by": None,
        "outcome": "refused",
        "limits": [
            {
                "rate": limit["rate"],
                "algorithm": limit["algorithm"],
                "limit": limit["burst"],
                "remaining": None,
                "retry_after": None,
                # Of the others it is not known.
                "passed": False if limit["rate"] == sealed.limit else None,
            }
            for limit in _limits(item, document)
        ],
    }


def _limits(item: Item | None, document: Document) -> Sequence[Item]:
    """Return a rule's limits: its own, or those of the tier that it names."""
    if item is None:
        return ()
    tier: Item = next((t for t in document.get(TIERS, ()) if t["name"] == item.get("tier")), {})
    limits: Sequence[Item] = item.get("limits") or tier.get("limits", ())
    return limits


def _then(revision: PolicyRevision, sealed: SealedDecision, item: Item | None) -> dict[str, Any]:
    return {
        "revision": revision.number,
        "created_at": kinds.time_to_text(revision.created_at),
        "actor": {"type": revision.actor_type, "name": revision.actor_name},
        "reason": revision.reason,
        "item": item,
        "words": "" if item is None else words.describe(sealed.kind, item),
    }


def _now(
    snapshot: Snapshot,
    document: Document,
    sealed: SealedDecision,
    before: Item | None,
    client: Blocked | None,
) -> dict[str, Any]:
    """Tell what the policy in force says of the rule, and of the client where it is known."""
    item = _find(document, sealed)
    rule = next(
        (rule for rule in snapshot.rules if (rule.kind, rule.name) == (sealed.kind, sealed.name)),
        None,
    )
    return {
        "revision": snapshot.revision,
        "exists": item is not None,
        "in_force": rule is not None,
        "item": item,
        "words": "" if item is None else words.describe(sealed.kind, item),
        "changed": _changed(sealed.kind, before, item),
        "limits": [] if rule is None or client is None else _standing(rule, client),
    }


def _changed(kind: str, before: Item | None, after: Item | None) -> dict[str, Any]:
    if before is None or after is None:
        return {}
    changes = difference({kind: [before]}, {kind: [after]}, {kind: kinds.keys()[kind]})
    fields: dict[str, Any] = changes[0]["fields"] if changes else {}
    return fields


def _standing(rule: Rule, client: Blocked) -> list[rows.Row]:
    """Tell how the client would stand with each limit if it asked now."""
    allowance = rule.ceiling if client.client.startswith(CEILING) else rule.allowance
    if not allowance.quotas:
        return []
    decision = limits.peek([Claim(client.name, allowance, on_store_error=rule.on_store_error)])
    return rows.limits_of(decision.outcomes[0])
