"""Changing the mode of many rules in one edit."""

from typing import Any, Final

from pulse.core.document import Document
from pulse.core.snapshot import Mode
from pulse.policies import kinds, publisher
from pulse.policies.bases import ModeChoices, Policy
from pulse.policies.edge import AccessRule
from pulse.policies.models import EndpointLimit, RateTier
from pulse.policies.publisher import Actor, Edit
from pulse.policies.querysets import PolicyQuerySet

#: What can refuse a request. Not CORS and header policies: off, they take permissions and
#: protection away. An endpoint limit in shadow leaves its body to the site's own bound.
RULES: Final[tuple[type[Policy], ...]] = (RateTier, EndpointLimit, AccessRule)
#: What the audit calls it.
DEED: Final = "policy.shadow_all"


def enforced_rules() -> dict[type[Policy], int]:
    """Count the rules that are enforced, by model."""
    return {model: model.objects.filter(mode=ModeChoices.ENFORCE).count() for model in RULES}


def everything_to_shadow(
    actor: Actor, *, source: str, reason: str = "", request_id: str = ""
) -> tuple[int, Edit]:
    """Let every rule that is enforced count and report only, as one revision.

    In force at once, whatever stands in its way: with ``manual`` publishing, and where a row was
    written that makes no policy, the published policy alone changes, and the rows stay as they
    are for someone to publish or to mend.

    Returns:
        How many rules were changed, and the edit.
    """
    with publisher.edit(actor, source=source, reason=reason, request_id=request_id) as edit:
        edit.deed = DEED
        changed = sum(
            set_mode(model.objects.filter(mode=ModeChoices.ENFORCE), ModeChoices.SHADOW)
            for model in RULES
        )
        if not edit.publish or publisher.problems_of_rows():
            edit.document, edit.publish = _in_shadow(publisher.newest_document()), True
    return changed, edit


def _in_shadow(document: Document) -> Document:
    names = {kind.name for model in RULES if (kind := kinds.kind_of(model)) is not None}
    return {
        kind: [
            {**item, "mode": Mode.SHADOW.value} if item["mode"] == Mode.ENFORCE else item
            for item in items
        ]
        if kind in names
        else items
        for kind, items in document.items()
    }


def set_mode(rows: PolicyQuerySet[Any], mode: ModeChoices) -> int:
    """Give rows a mode; those that have it already keep their version.

    Returns:
        How many were changed.
    """
    return rows.exclude(mode=mode).update(mode=mode)
