"""Is the process alive, and can it serve."""

import logging

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

logger = logging.getLogger(__name__)


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """The process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """503 without the database. The shop serves without its cache, and says so."""
    database, cached = _database_answers(), _cache_answers()
    status = "ok" if database and cached else "degraded" if database else "unavailable"
    checks = {"database": _in_words(answers=database), "cache": _in_words(answers=cached)}
    return JsonResponse({"status": status, "checks": checks}, status=200 if database else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone())
    except DatabaseError:
        logger.exception("the database does not answer")
        return False


def _cache_answers() -> bool:
    try:
        cache.get("readyz")
    except Exception as error:  # noqa: BLE001  (each cache backend has exceptions of its own)
        logger.warning("the cache does not answer: %s", error)
        return False
    return True


def _in_words(*, answers: bool) -> str:
    return "ok" if answers else "unavailable"
