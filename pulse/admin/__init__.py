"""The admin screens; importing this registers all of them."""

from pulse.admin import (
    access,
    alerts,
    audit,
    cors,
    endpoints,
    exceptions,
    headers,
    keys,
    revisions,
    tiers,
)
from pulse.admin.probes import budgets, jobs, payloads, schedules, targets, windows

__all__ = [
    "access",
    "alerts",
    "audit",
    "budgets",
    "cors",
    "endpoints",
    "exceptions",
    "headers",
    "jobs",
    "keys",
    "payloads",
    "revisions",
    "schedules",
    "targets",
    "tiers",
    "windows",
]
