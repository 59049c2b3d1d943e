"""The models of every room, as Django's app registry asks."""

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

__all__ = [
    "AccessRule",
    "CorsOrigin",
    "EndpointLimit",
    "Exemption",
    "HeaderPolicy",
    "OwnLimit",
    "PolicyRevision",
    "PolicyState",
    "RateTier",
    "TierAssignment",
    "TierLimit",
    "TrustedProxy",
]
