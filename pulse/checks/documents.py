"""What of a published document acts now."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from pulse.core.document import Document, Item
from pulse.core.snapshot import Mode


def enforced_now(document: Document, kind: str) -> list[Item]:
    """Return the items of a kind that are enforced, and whose time it is."""
    items: Any = document.get(kind, ())
    return [item for item in items if item["mode"] == Mode.ENFORCE and _is_now(item)]


def _is_now(item: Item) -> bool:
    now = timezone.now()
    starts, ends = item.get("starts_at"), item.get("ends_at")
    return (starts is None or datetime.fromisoformat(starts) <= now) and (
        ends is None or datetime.fromisoformat(ends) > now
    )
