"""Whether every process runs the newest policy."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.utils import timezone

from pulse.doctor.findings import Finding, Progress, Severity
from pulse.policies.processes import convergence

TOPIC: Final = "convergence"
#: A process looks each second and tells of it every other one, and a busy one is late.
PATIENCE: Final = timedelta(seconds=10)


def examine(_progress: Progress) -> Iterator[Finding]:
    """Ask which processes run which revision."""
    found = convergence()
    if found.unavailable:
        yield Finding(
            TOPIC,
            Severity.WARNING,
            "Redis cannot be asked which processes run.",
            "It did not answer in time.",
            "See that Redis runs and can be reached; until then each process counts alone.",
        )
        return
    if not found.shared:
        yield Finding(
            TOPIC,
            Severity.INFO,
            "Nobody can tell which other processes run.",
            "The cache that PULSE names is no Redis; each process looks at the database.",
            "Use a Redis cache where there is more than one process.",
        )
        return
    evidence = found.sentence()
    is_settled = found.published is None or timezone.now() - found.published > PATIENCE
    if not found.processes:
        title = "No process tells of itself."
        fix = "A process does so from its first request on; see that PulseMiddleware is in use."
        yield Finding(TOPIC, Severity.INFO, title, evidence, fix)
    elif found.behind and is_settled:
        named = ", ".join(f"{one.id} ({one.kind}): {one.revision}" for one in found.behind)
        yield Finding(
            TOPIC,
            Severity.ERROR,
            f"Processes that do not run the newest policy: {len(found.behind)}.",
            f"{evidence} {named}",
            "Look into their logs for why the policy cannot be loaded; restart them.",
        )
    else:
        yield Finding(TOPIC, Severity.OK, "Every process runs the newest policy.", evidence)
