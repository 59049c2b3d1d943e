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
            self._announce()
            return super().update(**kwargs)

    update.alters_data = True  # type: ignore[attr-defined]  # Django's mark on a function

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        """Insert rows and announce it."""
        with transaction.atomic(using=self.db):
            self._announce()
            return super().bulk_create(objs, *args, **kwargs)

    def _raw_delete(self, using: str | None) -> int:
        # What contrib.admin and cascades use where no signal is sent.
        with transaction.atomic(using=using):
            self._announce()
            return super()._raw_delete(using)

    def _announce(self) -> None:
        policies_changed.send(sender=self.model, using=self.db)


PolicyManager = models.Manager.from_queryset(PolicyQuerySet)
