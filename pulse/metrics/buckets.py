"""Buckets as they are read: hashes of fields made into measures."""

import json
import zlib
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
    add_fields,
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
PACKED: Final = b"packed"


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
    found = groups_of(reply if isinstance(reply, list) else [])
    measured = of_groups(found.groups, found.seconds)
    measured.version = found.version
    return measured


@dataclass(slots=True)
class Hash:
    """What a hash holds.

    Attributes:
        groups: Fields by endpoint.
        seconds: Of the epoch, in which a process recorded.
        about: Other numbers.
    """

    groups: Groups = field(default_factory=dict)
    seconds: set[int] = field(default_factory=set)
    about: Fields = field(default_factory=dict)

    @property
    def version(self) -> int:
        """0 of a hash that is not there."""
        return self.about.get("version", 0)

    def add(self, endpoint: str, fields: Mapping[str, int]) -> None:
        """Add fields to an endpoint's."""
        add_fields(self.groups.setdefault(endpoint, {}), fields)


def groups_of(reply: list[bytes]) -> Hash:
    """Part the fields of a hash, packed ones too."""
    made = Hash()
    for key, value in zip(reply[::2], reply[1::2], strict=True):
        if key == PACKED:
            _unpack(value, made)
            continue
        endpoint, newline, name = key.decode(errors="replace").rpartition("\n")
        with suppress(ValueError):
            amount = int(value)
            if newline:
                made.add(endpoint, {name: amount})
            elif name[0] == SECOND and name[1:].isdecimal():
                made.seconds.add(int(name[1:]))
            else:
                made.about[name] = amount
    return made


def pack(found: Hash) -> bytes:
    """Write what a hash holds as one value."""
    text = json.dumps([found.groups, sorted(found.seconds)], separators=(",", ":"))
    return zlib.compress(text.encode())


def _unpack(packed: bytes, made: Hash) -> None:
    # Of another release, or cut off: what is beside it is read all the same.
    with suppress(ValueError, TypeError, AttributeError, zlib.error):
        groups, seconds = json.loads(zlib.decompress(packed))
        for endpoint, fields in groups.items():
            made.add(endpoint, fields)
        made.seconds.update(seconds)


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
