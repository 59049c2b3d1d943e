"""Who is refused at this moment by a rule that is still enforced."""

from collections.abc import Iterable

from pulse.core.snapshot import Mode, Snapshot
from pulse.store.blocked import Blocked


def in_force(entries: Iterable[Blocked], snapshot: Snapshot) -> list[Blocked]:
    """Leave out whom a rule refused that is enforced no more."""
    names = {rule.prefix.rstrip(":") for rule in snapshot.rules if rule.mode is Mode.ENFORCE}
    names |= {name for name, rule in snapshot.access.rules.items() if rule.enforced}
    return [entry for entry in entries if entry.rule in names]
