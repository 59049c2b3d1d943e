"""The audit's rows: written, read, and pruned by age alone."""

from datetime import datetime
from typing import Any, Final, NoReturn, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

#: How far keys and times may be out of step: more than one edit of ten thousand rows writes.
OVERLAP: Final = 50_000


class AuditQuerySet(models.QuerySet[Any]):
    """Entries that no query changes; what prunes old ones goes past this."""

    def between(self, begin: datetime | None, end: datetime | None) -> Self:
        """Select a span of time, also in the order of primary keys; two queries by an index.

        Keys grow with time, but for what transactions that overlap write in another order.
        """
        rows = self
        every = self.model._default_manager.using(self.db)
        if begin is not None:
            first = every.filter(created_at__gte=begin).order_by("created_at").first()
            lowest = 0 if first is None else first.pk - OVERLAP
            rows = rows.filter(created_at__gte=begin, pk__gte=lowest)
        if end is not None:
            last = every.filter(created_at__lt=end).order_by("created_at").last()
            highest = 0 if last is None else last.pk + OVERLAP
            rows = rows.filter(created_at__lt=end, pk__lte=highest)
        return rows

    def update(self, **_values: Any) -> NoReturn:
        """Refuse: an entry is never changed."""
        raise ValidationError(_("An audit entry is never changed."))

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Add entries; none in the place of another."""
        if kwargs.get("update_conflicts"):
            raise ValidationError(_("An audit entry is never changed."))
        return super().bulk_create(objs, *args, **kwargs)

    def delete(self) -> NoReturn:
        """Refuse: an entry goes when it is old, not before."""
        raise ValidationError(_("An audit entry is never deleted by hand."))

    # As Django says it: no template and no related manager may call it.
    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]
