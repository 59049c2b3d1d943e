"""The alert rules that are looked at, as plain values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pulse.core.document import Item
from pulse.core.snapshot import Mode
from pulse.policies import current

RULES: Final = "alert_rules"
#: The comparison that finds nothing measured.
ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the policy in force; its fields are those of ``AlertRule``.

    Attributes:
        endpoint: An endpoint id, or a target's name; empty for all.
        threshold: None where nothing is compared.
        baseline_s: How long before the window is compared with it; None for not.
        shadow: It is looked at, and nobody is told.
    """

    name: str
    metric: str
    endpoint: str
    op: str
    threshold: float | None
    window_s: int
    baseline_s: int | None
    for_s: int
    resolve_for_s: int
    severity: str
    channels: tuple[str, ...]
    shadow: bool


def rule_of(item: Item) -> Rule:
    """Read a rule of the document."""
    return Rule(
        name=item["name"],
        metric=item["metric"],
        endpoint=item.get("endpoint", ""),
        op=item["op"],
        threshold=item.get("threshold"),
        window_s=item["window_s"],
        baseline_s=item.get("baseline_s"),
        for_s=item["for_s"],
        resolve_for_s=item["resolve_for_s"],
        severity=item["severity"],
        channels=tuple(item["channels"]),
        shadow=item["mode"] == Mode.SHADOW,
    )


def in_force(now: datetime) -> Iterator[Rule]:
    """Yield the rules that are looked at: those that are not off, in their time."""
    for item in items(RULES):
        if item["mode"] != Mode.OFF and is_in_time(item, now):
            yield rule_of(item)


def items(kind: str) -> Sequence[Item]:
    """Return the items of a kind as the newest policy has them."""
    current.current_snapshot()  # It looks for a newer one first.
    found: Sequence[Item] = current.document_in_force().get(kind, ())
    return found


def is_in_time(item: Item, now: datetime) -> bool:
    """Whether a policy has started and has not ended."""
    starts, ends = item.get("starts_at"), item.get("ends_at")
    return (not starts or datetime.fromisoformat(starts) <= now) and (
        not ends or now < datetime.fromisoformat(ends)
    )
