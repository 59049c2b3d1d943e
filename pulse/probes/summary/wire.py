"""Jobs and results as JSON tells them; the one form of them for pages, API and commands."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pulse.policies.kinds import time_to_text
from pulse.probes.state import OPEN_ITEMS, ItemState, JobStatus, ProbeItem, ProbeJob

#: In the order in which they happen; null for what did not.
PHASES: Final = ("dns", "connect", "tls", "first_byte", "body")


def job_as_dict(job: ProbeJob, counts: Mapping[str, int], now: datetime) -> dict[str, Any]:
    """Write a job.

    Args:
        job: Which.
        counts: Of its items by state, with ``total`` (``probes.jobs.counts``).
        now: What the time that is left is counted from.
    """
    return {
        "id": str(job.pk),
        "status": str(job.status),
        "trigger": str(job.trigger),
        "schedule": job.schedule or None,
        "actor": {"type": job.actor_type, "name": job.actor_name},
        "created_at": time_to_text(job.created_at),
        "started_at": time_to_text(job.started_at),
        "finished_at": time_to_text(job.finished_at),
        "deadline_at": time_to_text(job.deadline_at),
        "eta_s": eta_s(job, counts, now),
        "error": job.error or None,
        # Single results are kept for a time; how many there were is told for longer.
        "counts": {**counts, "total": max(job.total, counts["total"])},
    }


def eta_s(job: ProbeJob, counts: Mapping[str, int], now: datetime) -> int | None:
    """Estimate how long a job still takes, in seconds, by what it has done; at most its deadline.

    Returns:
        None where it does not run, or has done nothing yet to tell by.
    """
    left = counts["queued"] + counts["running"]
    done = counts["total"] - left
    if job.status != JobStatus.RUNNING or job.started_at is None or not done:
        return None
    each_s = max((now - job.started_at).total_seconds(), 0.0) / done
    until_s = max((job.deadline_at - now).total_seconds(), 0.0)
    return round(min(each_s * left, until_s))


def result_as_dict(item: ProbeItem) -> dict[str, Any]:
    """Write the result of a probe that has ended; reads its job."""
    phases = item.phases_ms or {}
    return {
        "id": str(item.pk),
        "job": str(item.job_id),
        "schedule": item.job.schedule or None,
        "target": item.target,
        "endpoint_id": item.endpoint_id or None,
        "state": str(item.state),
        "error": item.error or None,
        "detail": item.detail or None,
        "attempts": item.attempts,
        "started_at": time_to_text(item.started_at),
        "latency_ms": item.latency_ms,
        "phases_ms": {name: phases.get(name) for name in PHASES},
        "status_code": item.status_code,
        "bytes": item.bytes,
        "address": item.address or None,
        "certificate_days": item.certificate_days,
        "expectations": item.expectations or [],
        "revision": item.job.revision,
    }


def item_as_dict(item: ProbeItem) -> dict[str, Any]:
    """Write one probe of a job; reads its job where it has a result."""
    return {
        "target": item.target,
        "state": str(item.state),
        "result": result_as_dict(item) if has_result(item) else None,
    }


def has_result(item: ProbeItem) -> bool:
    """Whether a probe has ended; one that was cancelled before it was sent has no result."""
    if item.state == ItemState.CANCELLED:
        return item.started_at is not None
    return item.state not in OPEN_ITEMS
