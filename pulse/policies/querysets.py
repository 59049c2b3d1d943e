"""Bulk operations on policies, which go the same announced road as a save."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from django.db import models, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from pulse.policies.signals import policies_changed

M = TypeVar("M", bound=models.Model)


class PolicyQuerySet(QuerySet[M], Generic[M]):
    """Rows of a policy; what changes them in bulk is announced, in the same transaction."""

    def update(self, **kwargs: Any) -> int:
        """Change rows, raise their version, and announce it."""
        names = {field.name for field in self.model._meta.get_fields()}
        if "version" in names and "version" not in kwargs:
            kwargs |= {"version": F("version") + 1, "updated_at": timezone.now()}
        with transaction.atomic(using=self.db):
            changed = super().update(**kwargs)
            if changed:
                self._announce()
        return changed

    update.alters_data = True  # type: ignore[attr-defined]  # Django's mark on a function

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        """Insert rows and announce it."""
        with transaction.atomic(using=self.db):
            created = super().bulk_create(objs, *args, **kwargs)
            if created:
                self._announce()
        return created

    def _raw_delete(self, using: str | None) -> int:
        # What contrib.admin and cascades use where no signal is sent.
        deleted = super()._raw_delete(using)
        if deleted:
            self._announce()
        return deleted

    def _announce(self) -> None:
        policies_changed.send(sender=self.model, using=self.db)


PolicyManager = models.Manager.from_queryset(PolicyQuerySet)
