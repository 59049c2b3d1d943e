"""Buckets as they are read: hashes of fields made into measures."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from pulse.core.histogram import MAX_BUCKET
from pulse.core.measures import Measures
from pulse.metrics.recorder import (
    BUCKET,
    BYTES_IN,
    BYTES_OUT,
    LEAST,
    MOST,
    OWN,
    QUERIES,
    QUERY_US,
    REFUSED,
    SATISFIED,
    SLOW,
    STATUS,
    SUM,
    TOLERATED,
    WOULD_REFUSE,
    Fields,
    Groups,
)

#: Sums that are attributes of measures.
ATTRIBUTES: Final = {
    SATISFIED: "satisfied",
    TOLERATED: "tolerated",
    SLOW: "slow",
    BYTES_IN: "bytes_in",
    BYTES_OUT: "bytes_out",
    QUERIES: "queries",
    QUERY_US: "query_us",
}
SECOND: Final = "t"


@dataclass(slots=True)
class Measured:
    """What all processes measured in one bucket.

    Attributes:
        endpoints: By endpoint id.
        own: What is counted of pulse itself, by name.
        seconds: Of the epoch, in which any of them recorded.
        version: Counts up whenever somebody adds.
    """

    endpoints: dict[str, Measures] = field(default_factory=dict)
    own: Counter[str] = field(default_factory=Counter)
    seconds: set[int] = field(default_factory=set)
    version: int = 0


def of_groups(groups: Groups, seconds: Iterable[int] = ()) -> Measured:
    """Make measures of fields by endpoint."""
    endpoints = {name: measures_of(fields) for name, fields in groups.items() if name != OWN}
    return Measured(endpoints, Counter(groups.get(OWN, {})), set(seconds))


def of_reply(reply: object) -> Measured:
    """Make measures of a bucket's hash; what only another release can read is left out."""
    found: list[bytes] = reply if isinstance(reply, list) else []
    groups, about = groups_of(found)
    seconds = {int(name[1:]) for name in about if name[0] == SECOND and name[1:].isdecimal()}
    measured = of_groups(groups, seconds)
    measured.version = about.get("version", 0)
    return measured


def groups_of(reply: list[bytes]) -> tuple[Groups, Fields]:
    """Part the fields of a hash: by endpoint, and those about it."""
    groups: Groups = {}
    about: Fields = {}
    for key, value in zip(reply[::2], reply[1::2], strict=True):
        endpoint, newline, name = key.decode(errors="replace").rpartition("\n")
        with suppress(ValueError):
            amount = int(value)
            if newline:
                groups.setdefault(endpoint, {})[name] = amount
            elif name:
                about[name] = amount
    return groups, about


def measures_of(fields: Mapping[str, int]) -> Measures:
    """Make measures of one endpoint's fields."""
    made = Measures()
    latencies = made.latencies
    for name, amount in fields.items():
        letter, rest = name[:1], name[1:]
        if letter == STATUS and rest.isdecimal():
            made.statuses[int(rest)] += amount
        elif letter == BUCKET and rest.isdecimal() and int(rest) <= MAX_BUCKET:
            latencies.counts[int(rest)] = amount
        elif letter == REFUSED:
            made.refused_by[rest.partition(" ")[2]] += amount
        elif letter == WOULD_REFUSE:
            made.would_refuse += amount
        elif name == SUM:
            latencies.sum_us = amount
        elif name == LEAST:
            latencies.min_us = amount
        elif name == MOST:
            latencies.max_us = amount
        elif name in ATTRIBUTES:
            setattr(made, ATTRIBUTES[name], amount)
    return made
