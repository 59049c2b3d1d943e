"""The models of every room, as Django's app registry asks."""

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
    "EndpointLimit",
    "Exemption",
    "OwnLimit",
    "PolicyRevision",
    "PolicyState",
    "RateTier",
    "TierAssignment",
    "TierLimit",
    "TrustedProxy",
]
