"""Which check runs when: always, with ``--database``, or with ``--deploy``."""

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Final

from django.core.checks import CheckMessage, Tags, register

from pulse.checks import (
    bodies,
    caches,
    cors,
    databases,
    host,
    keys,
    middleware,
    outbound,
    policies,
    probes,
    values,
)
from pulse.checks.findings import found

logger = logging.getLogger(__name__)

Check = Callable[[], Iterable[CheckMessage]]

TAG: Final = "pulse"
ALWAYS: Final[tuple[tuple[Check, str], ...]] = (
    (values.check_values, TAG),
    (middleware.check_place, TAG),
    (middleware.check_async, Tags.async_support),
    (middleware.check_authentication, TAG),
    (middleware.check_cors, TAG),
    (cors.check_settings, TAG),
    (caches.check_cache, Tags.caches),
    (databases.check_routing, TAG),
    (databases.check_sqlite, TAG),
    (keys.check_basic, Tags.security),
    (host.check_time_zone, TAG),
    (host.check_templates, Tags.templates),
    (host.check_refused_cookies, Tags.security),
    (probes.check_addresses, TAG),
    (outbound.check_network, TAG),
)
DEPLOYED: Final[tuple[tuple[Check, str], ...]] = (
    (caches.check_deployed_cache, Tags.caches),
    (host.check_enabled, TAG),
    (cors.check_switched_off, TAG),
    (host.check_cookies, Tags.security),
    (host.check_https, Tags.security),
    (bodies.check_arrival, Tags.async_support),
    (bodies.check_size, TAG),
    (outbound.check_deployed_network, Tags.security),
)


def register_all() -> None:
    """Register every check. Those of the policy run where databases may be asked.

    Again changes nothing: ``ready()`` runs anew where a test installs further apps.
    """
    for check, tag in ALWAYS:
        register(_made_once(check), TAG, tag)
    for check, tag in DEPLOYED:
        register(_made_once(check), TAG, tag, deploy=True)
    register(check_policies, TAG, Tags.database)
    register(check_deployed_policies, TAG, Tags.database, deploy=True)


def check_policies(databases: Iterable[str] | None = None, **_: object) -> list[CheckMessage]:
    """Look at the published policy, where its database is among those that may be asked."""
    return _guarded(functools.partial(policies.check_policy, frozenset(databases or ())))()


def check_deployed_policies(
    databases: Iterable[str] | None = None, **_: object
) -> list[CheckMessage]:
    """Look at what the published policy needs in production."""
    return _guarded(functools.partial(policies.check_deployed_policy, frozenset(databases or ())))()


@functools.cache
def _made_once(check: Check) -> Callable[..., list[CheckMessage]]:
    return _guarded(check)


def _guarded(check: Check) -> Callable[..., list[CheckMessage]]:
    """Make Django's check of ours: one that fails is told of, and stops nobody's start."""
    name = getattr(check, "__name__", "check_policy")

    def run(**_: object) -> list[CheckMessage]:
        try:
            return list(check())
        except Exception as error:
            logger.exception("The check %s failed", name)
            return [found("W099", check=name, error=f"{type(error).__name__}: {error}")]

    run.__name__ = run.__qualname__ = name
    return run
