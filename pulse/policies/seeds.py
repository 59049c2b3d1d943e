"""What ``migrate`` puts into a new database: a default tier in shadow, and exemptions."""

from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, router
from django.urls import reverse

from pulse.conf import conf
from pulse.policies import document, publisher
from pulse.policies.models import PolicyState

EXEMPT: Final = ("/healthz", "/readyz", "/metrics")


def seed(using: str = DEFAULT_DB_ALIAS, **_kwargs: object) -> None:
    """Make the first revision where there is none; receives ``post_migrate``."""
    if not router.allow_migrate_model(using, PolicyState) or using != publisher.database():
        return
    # Sent for every app on every migrate, also before pulse has its tables and after it lost them.
    if not publisher.is_migrated(using):
        return
    if PolicyState.objects.using(using).exists():
        return
    document.apply(seed_document(), publisher.SYSTEM, source="system", reason="Seeded by migrate")


def seed_document() -> dict[str, object]:
    """Return the policy of a new installation: nothing is refused until someone says so."""
    rate = f"{conf.RATE_LIMIT_REQUESTS_PER_SECOND}/s"
    limit = {"rate": rate, "burst": conf.RATE_LIMIT_BURST}
    return {
        "version": 1,
        "rate_tiers": [{"name": "default", "default": True, "mode": "shadow", "limits": [limit]}],
        "exemptions": [{"path": path} for path in (*EXEMPT, *_measures(), *_own_paths())],
    }


def _measures() -> list[str]:
    """Return where Prometheus finds pulse's measures: not to be refused while the site is."""
    # At this time a host's URLs may be wrong in any way; it is told so when it serves.
    with suppress(Exception):
        path = reverse("pulse:metrics")
        return [] if path in EXEMPT else [path]
    return []


def _own_paths() -> list[str]:
    """Return STATIC_URL and MEDIA_URL where this site serves them itself."""
    paths = []
    for url in (settings.STATIC_URL, settings.MEDIA_URL):
        parts = urlsplit(url or "")
        # MEDIA_URL is "/" where a host never set it: that would exempt the whole site.
        if not parts.netloc and parts.path.startswith("/") and parts.path != "/":
            paths.append(parts.path)
    return list(dict.fromkeys(paths))
