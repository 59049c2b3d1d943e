"""Which operations this site has, kept in rows: new ones, those that vanished, those that are back.

Found in the URLconf of the process that looks. While a release rolls out, old and new processes
find different ones; the next look after it has the last word.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import translation

from pulse.probes import engine, openapi
from pulse.probes.engine import Engine
from pulse.probes.inputs import input_of
from pulse.probes.operations import Operation, find_operations
from pulse.probes.state import DiscoveredEndpoint

logger = logging.getLogger(__name__)

#: Rows are written in batches of this size.
BATCH: Final = 500
#: What is compared with what was found before.
FOUND: Final = ("method", "route", "url_name", "view", "requires_input", "sample")
#: As long as the columns are.
MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a look at the URLconf found, by endpoint id.

    Attributes:
        total: How many there are.
        back: Vanished before, and found again.
        changed: Found before with another name, view or sample.
    """

    total: int
    new: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def discover() -> Discovery:
    """Look at the URLconf and bring the rows up to date; again changes nothing but the time.

    One transaction under the engine's lock, so that two processes at once find one after the
    other. Six queries and one more for each ``BATCH`` of rows that are new or changed.
    """
    found = {str(values["endpoint_id"]): values for values in _look()}
    with engine.locked() as held:
        discovery = _save(found, held)
        told = len(discovery.new), len(discovery.vanished)
        transaction.on_commit(
            partial(
                logger.info,
                "Discovered %d endpoints, new: %d, vanished: %d",
                *(discovery.total, *told),
            ),
            using=held.using,
            robust=True,
        )
    return discovery


def discover_if_empty() -> bool:
    """Look at the URLconf where nobody has yet, for those who show it; one query else."""
    if DiscoveredEndpoint.objects.using(engine.database()).exists():
        return False
    discover()
    return True


def _look() -> list[Mapping[str, Any]]:
    """Find what there is, without the lock: a large schema takes seconds."""
    described = openapi.current(anew=True)
    with translation.override(settings.LANGUAGE_CODE):
        return [
            _values(operation, described.find(operation.endpoint) if described else None)
            for operation in find_operations()
        ]


def _values(operation: Operation, described: openapi.Described | None) -> Mapping[str, Any]:
    needed = input_of(operation, described)
    return {
        "endpoint_id": str(operation.endpoint),
        "method": operation.endpoint.method,
        "route": operation.endpoint.route,
        "url_name": operation.match.url_name[:MAX_NAME],
        "view": operation.match.view[:MAX_NAME],
        "requires_input": needed.required,
        "sample": needed.sample,
    }


def _save(found: Mapping[str, Mapping[str, Any]], held: Engine) -> Discovery:
    rows = DiscoveredEndpoint.objects.using(held.using)
    known = {row.endpoint_id: row for row in rows.all()}
    fresh = [
        DiscoveredEndpoint(first_seen_at=held.now, last_seen_at=held.now, **values)
        for name, values in found.items()
        if name not in known
    ]
    back, changed = [], []
    for name in known.keys() & found.keys():
        row, values = known[name], found[name]
        if row.vanished_at is not None:
            row.vanished_at = None
            back.append(row)
        elif any(getattr(row, field) != values[field] for field in FOUND):
            changed.append(row)
        for field in FOUND:
            setattr(row, field, values[field])
    gone = [row for name, row in known.items() if name not in found and row.vanished_at is None]
    for row in gone:
        row.vanished_at = held.now
    rows.bulk_create(fresh, batch_size=BATCH)
    touched = sorted([*back, *changed, *gone], key=lambda row: row.pk)
    rows.bulk_update(touched, [*FOUND, "vanished_at"], batch_size=BATCH)
    rows.filter(vanished_at=None).update(last_seen_at=held.now)
    return Discovery(
        total=len(found),
        new=tuple(row.endpoint_id for row in fresh),
        vanished=tuple(row.endpoint_id for row in gone),
        back=tuple(sorted(row.endpoint_id for row in back)),
        changed=tuple(sorted(row.endpoint_id for row in changed)),
    )
