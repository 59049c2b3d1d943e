"""The audit's rows: written, read, and pruned by age alone."""

from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _


class AuditQuerySet(models.QuerySet[Any]):
    """Entries that no query changes; what prunes old ones goes past this."""

    def update(self, **_values: Any) -> NoReturn:
        """Refuse: an entry is never changed."""
        raise ValidationError(_("An audit entry is never changed."))

    def delete(self) -> NoReturn:
        """Refuse: an entry goes when it is old, not before."""
        raise ValidationError(_("An audit entry is never deleted by hand."))

    # As Django says it: no template and no related manager may call it.
    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]
