"""Who names a target: what would be left without it."""

from collections.abc import Iterable
from typing import Final

from django.db.models import Model

from pulse.probes.models import MaintenanceWindow, ProbePayload, ProbeSchedule

#: The rows that name targets, each by which field.
NAMING: Final[tuple[tuple[type[Model], str], ...]] = (
    (ProbeSchedule, "targets"),
    (ProbePayload, "target"),
    (MaintenanceWindow, "targets"),
)


def users_of(names: Iterable[str]) -> list[Model]:
    """Return the rows that name one of some targets; one query a model.

    No database function for lists in JSON is the same everywhere, so the lists are read.
    """
    wanted = set(names)
    found: list[Model] = []
    for model, field in NAMING:
        rows = model._default_manager.only("pk", field, *_named_by(model))
        for row in rows.order_by("pk"):
            named = getattr(row, field)
            if wanted.intersection([named] if isinstance(named, str) else named):
                found.append(row)
    return found


def say_users(rows: Iterable[Model]) -> str:
    """Name rows with what they are: ``probe schedule core, maintenance window night``."""
    return ", ".join(f"{row._meta.verbose_name} {row}" for row in rows)


def _named_by(model: type[Model]) -> tuple[str, ...]:
    return () if model is ProbePayload else ("name",)
