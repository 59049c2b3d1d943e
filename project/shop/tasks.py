"""The shop's background work."""

import logging
from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from project.shop import orders
from project.shop.models import Order

PAY_WITHIN = timedelta(hours=24)

logger = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]  # celery is untyped
def cancel_abandoned_orders() -> int:
    """Cancel what was not paid in time and put it back on the shelf; safe to run twice at once."""
    overdue = Order.objects.filter(
        status=Order.Status.PLACED,
        created_at__lt=timezone.now() - PAY_WITHIN,
    )
    cancelled = sum(orders.cancel(pk) for pk in list(overdue.values_list("pk", flat=True)))
    if cancelled:
        logger.info("cancelled %d orders that were not paid in time", cancelled)
    return cancelled
