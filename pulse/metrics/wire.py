"""A reading as JSON tells it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pulse.conf import conf
from pulse.core.measures import Measures, Targets, Window, latency_ms, told
from pulse.metrics import window
from pulse.metrics.series import Span
from pulse.policies import kinds
from pulse.policies.kinds import time_to_text


def read(seconds: int | None = None) -> dict[str, Any]:
    """Read what was measured lately, the busiest endpoints first.

    Args:
        seconds: As ``window.read`` takes them.
    """
    reading = window.read(seconds)
    lifetime, covered_s, targets = reading.lifetime, reading.covered_s, promised()
    return {
        "window": {**_span(reading.from_at, reading.to_at), "seconds": reading.seconds},
        "scope": reading.scope,
        "stale": reading.is_stale,
        "processes": reading.processes,
        "gaps": [_span(since, until) for since, until in reading.gaps],
        "dropped": reading.dropped,
        "lag_s": reading.lag_s,
        "apart": dict(reading.apart),
        "lifetime": {
            "since_at": time_to_text(lifetime.since_at),
            "requests": lifetime.requests,
            "errors": lifetime.errors,
            "refused": lifetime.refused,
        },
        "total": told(reading.total, covered_s, targets, in_flight=reading.in_flight),
        "endpoints": [
            {
                "endpoint_id": name,
                **told(measures, covered_s, targets, in_flight=reading.in_flight_by.get(name, 0)),
                "refused_by": refused_by(measures),
            }
            for name, measures in busiest_first(reading)
        ],
    }


def point(span: Span) -> dict[str, Any]:
    """Write a span of a history; what nobody recorded is null, never 0."""
    found, there = span.measures, bool(span.seconds)
    return {
        "at": time_to_text(span.at),
        "requests": found.requests if there else None,
        "errors": found.errors if there else None,
        "refused": found.refused if there else None,
        "latency_ms": latency_ms(found),
    }


def promised() -> Targets:
    """Return what service is promised, by the settings."""
    return Targets(float(conf.SLA_P95_MS), conf.SLA_ERROR_RATE)


def busiest_first(reading: Window) -> list[tuple[str, Measures]]:
    """Return endpoints in the order of their requests."""
    return sorted(reading.endpoints.items(), key=lambda pair: (-pair[1].requests, pair[0]))


def refused_by(measures: Measures) -> list[dict[str, Any]]:
    """Write which rules refused how many, the most first."""
    return [
        {**rule_as_dict(rule), "count": count} for rule, count in measures.refused_by.most_common()
    ]


def rule_as_dict(rule: str) -> Mapping[str, Any]:
    """Write a rule, such as ``rate_tiers:default``, as kind and natural key."""
    name, _colon, key = rule.partition(":")
    kind = kinds.find_kind(name)
    fields = ("name",) if kind is None else kind.key
    return {"kind": name, "key": dict(zip(fields, key.split(" ", len(fields) - 1), strict=False))}


def _span(since: datetime, until: datetime) -> dict[str, str | None]:
    return {"from_at": time_to_text(since), "to_at": time_to_text(until)}
