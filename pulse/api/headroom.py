"""How close endpoint limits came to refusing of late, beside what they say."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pulse.api.operations import Schema
from pulse.api.policies import PolicyDetail, PolicyList
from pulse.core.snapshot import ENDPOINTS
from pulse.exceptions import StoreUnavailable
from pulse.policies.headroom import UNUSED, headroom_of_rules

EXTRA: Mapping[str, Schema] = {
    "refused_24h": {"type": ["integer", "null"], "minimum": 0, "readOnly": True},
    "peak_24h": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "readOnly": True},
}


#: What is told of rules that nobody met.
RESTING: Mapping[str, Any] = {"refused_24h": UNUSED.refused, "peak_24h": UNUSED.peak}


class EndpointLimitList(PolicyList):
    """Endpoint limits, with the last 24 hours of each."""

    extra: ClassVar[Mapping[str, Schema]] = EXTRA
    resting: ClassVar[Mapping[str, Any]] = RESTING

    def extras(self, listed: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Return the refusals and the peak of rows."""
        return _last_day(listed)


class EndpointLimitDetail(PolicyDetail):
    """An endpoint limit, with its last 24 hours."""

    extra: ClassVar[Mapping[str, Schema]] = EXTRA
    resting: ClassVar[Mapping[str, Any]] = RESTING

    def extras(self, listed: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Return the refusals and the peak of a row."""
        return _last_day(listed)


def _last_day(listed: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what the counters tell of rows; null of all where they cannot be asked."""
    try:
        known = headroom_of_rules()
    except StoreUnavailable:
        return [dict.fromkeys(EXTRA)] * len(listed)
    found = [known.get(f"{ENDPOINTS}:{row.name}", UNUSED) for row in listed]
    return [{"refused_24h": one.refused, "peak_24h": one.peak} for one in found]
