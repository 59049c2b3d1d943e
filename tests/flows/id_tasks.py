"""Tasks that tell under which request they run."""

import logging

from celery import Task, shared_task

logger = logging.getLogger("host.tasks")


@shared_task(bind=True, max_retries=1)
def first(self: Task, name: str) -> None:
    """Log, try again once, and pass on."""
    if not self.request.retries:
        logger.info("%s begins", name)
        raise self.retry(countdown=0)
    logger.info("%s again", name)
    second.delay(name)


@shared_task
def second(name: str) -> None:
    logger.info("%s goes on", name)
    third.apply(args=[name])
    logger.info("%s goes on after", name)


@shared_task
def third(name: str) -> None:
    logger.info("%s within", name)


@shared_task
def fails(name: str) -> None:
    logger.info("%s fails", name)
    raise RuntimeError(name)
