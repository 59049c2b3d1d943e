"""Whether the audit is kept as long as it should be, and no longer."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.utils import timezone

from pulse.audit.retention import old
from pulse.conf import conf
from pulse.doctor.findings import Finding, Progress, Severity

TOPIC: Final = "audit"
#: The worker prunes every hour; one that rests over a weekend is no fault.
GRACE: Final = timedelta(days=3)


def examine(_progress: Progress) -> Iterator[Finding]:
    """Look for entries that should have gone; reads one by its index."""
    first = old(timezone.now() - GRACE).order_by("created_at").first()
    kept = f"Entries are kept for {conf.AUDIT_DAYS} days"
    if first is None:
        yield Finding(TOPIC, Severity.OK, "Old entries of the audit are removed.", f"{kept}.")
        return
    yield Finding(
        TOPIC,
        Severity.WARNING,
        "Old entries of the audit are not removed.",
        f"{kept}; the oldest is of {first.created_at:%Y-%m-%d}.",
        "Run a worker with pulse's beat schedule, or pulse_prune by a timer.",
    )
