"""How long entries are kept."""

from datetime import datetime, timedelta

from django.db import router
from django.db.models import QuerySet

from pulse.audit.models import AuditEntry
from pulse.conf import conf


def old(now: datetime) -> QuerySet[AuditEntry]:
    """Select the entries that are older than ``PULSE["AUDIT_DAYS"]``."""
    rows = AuditEntry.objects.using(router.db_for_write(AuditEntry))
    return rows.filter(created_at__lt=now - timedelta(days=conf.AUDIT_DAYS))
