"""The models of every room, as Django's app registry asks."""

from pulse.access.models import ApiKey, StoredAnswer
from pulse.alerts.models import AlertChannel, AlertRule, ChannelSecret
from pulse.alerts.state import (
    AlertDelivery,
    AlertEngine,
    AlertState,
    AlertTally,
    Incident,
    IncidentUpdate,
    Mark,
)
from pulse.audit.models import AuditEntry
from pulse.metrics.models import MetricHour, MetricMinute
from pulse.policies.edge import AccessRule, CorsOrigin, HeaderPolicy
from pulse.policies.models import (
    EndpointLimit,
    Exemption,
    OwnLimit,
    PolicyRevision,
    PolicyState,
    RateTier,
    TierAssignment,
    TierLimit,
    TrustedProxy,
)
from pulse.policies.state import PolicyGuard, PolicyGuardCount
from pulse.probes.models import (
    MaintenanceWindow,
    ProbeBudget,
    ProbePayload,
    ProbeSchedule,
    ProbeSecret,
    ProbeTarget,
)
from pulse.probes.state import (
    DiscoveredEndpoint,
    ProbeDay,
    ProbeEngine,
    ProbeHour,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ProbeStart,
    ProbeTargetState,
    ProbeTransition,
    ProbeWorker,
)

__all__ = [
    "AccessRule",
    "AlertChannel",
    "AlertDelivery",
    "AlertEngine",
    "AlertRule",
    "AlertState",
    "AlertTally",
    "ApiKey",
    "AuditEntry",
    "ChannelSecret",
    "CorsOrigin",
    "DiscoveredEndpoint",
    "EndpointLimit",
    "Exemption",
    "HeaderPolicy",
    "Incident",
    "IncidentUpdate",
    "MaintenanceWindow",
    "Mark",
    "MetricHour",
    "MetricMinute",
    "OwnLimit",
    "PolicyGuard",
    "PolicyGuardCount",
    "PolicyRevision",
    "PolicyState",
    "ProbeBudget",
    "ProbeDay",
    "ProbeEngine",
    "ProbeHour",
    "ProbeItem",
    "ProbeJob",
    "ProbePayload",
    "ProbeSchedule",
    "ProbeScheduleState",
    "ProbeSecret",
    "ProbeStart",
    "ProbeTarget",
    "ProbeTargetState",
    "ProbeTransition",
    "ProbeWorker",
    "RateTier",
    "StoredAnswer",
    "TierAssignment",
    "TierLimit",
    "TrustedProxy",
]
