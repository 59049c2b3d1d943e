"""Values of headers that are nobody's to read: encrypted at rest, or taken from the environment."""

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.exceptions import SecretUnreadable
from pulse.probes.models import KEPT, ProbeSecret, ProbeTarget

#: ``env:NAME`` is read from the environment of the process that sends.
REFERENCE: Final = "env:"
PURPOSE: Final = b"pulse.probes.secrets:"


def is_public(value: str) -> bool:
    """Whether a value of ``secret_headers`` may stand in rows, documents and answers."""
    return value == KEPT or value.startswith(REFERENCE)


def is_open(variable: str) -> bool:
    """Whether ``PULSE["PROBE_SECRET_ENV"]`` lets probes send a variable of the environment."""
    return any(
        variable.startswith(name[:-1]) if name.endswith("*") else variable == name
        for name in conf.PROBE_SECRET_ENV
    )


def closed(variable: str) -> str:
    """Say that a variable is not for probes."""
    text = _('The variable %s is not open to probes: add it to PULSE["PROBE_SECRET_ENV"].')
    return text % variable


def encrypt(value: str) -> str:
    """Encrypt a value with the newest key."""
    return _cipher().encrypt(value.encode()).decode()


def decrypt(token: str) -> str:
    """Return what was encrypted with any of the keys.

    Raises:
        SecretUnreadable: None of the keys is the one.
    """
    try:
        return _cipher().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable from error


@contextmanager
def kept_apart(target: ProbeTarget, using: str) -> Iterator[None]:
    """Put a target's secrets into rows of their own while it is saved, in one transaction.

    What is kept was written for one origin: of a target that leads elsewhere now it is forgotten.
    """
    values = dict(target.secret_headers)
    forgotten = set(target.secrets_for_elsewhere(using))
    fresh = {name: value for name, value in values.items() if not is_public(value)}
    target.secret_headers = {name: KEPT if name in fresh else values[name] for name in values}
    with transaction.atomic(using=using):
        yield
        rows = ProbeSecret.objects.using(using).filter(target=target)
        kept = [
            name.lower()
            for name, value in target.secret_headers.items()
            if value == KEPT and name not in forgotten
        ]
        rows.exclude(header__in=kept).delete()
        for name, value in fresh.items():
            ProbeSecret.objects.using(using).update_or_create(
                target=target, header=name.lower(), defaults={"value": encrypt(value)}
            )


def stored(targets: Iterable[str], using: str) -> dict[str, dict[str, str]]:
    """Return the encrypted values of some targets, by target and header; one query."""
    found: dict[str, dict[str, str]] = {}
    rows = ProbeSecret.objects.using(using).filter(target__name__in=list(targets))
    for name, header, value in rows.values_list("target__name", "header", "value"):
        found.setdefault(name, {})[header] = value
    return found


def revealed(headers: Mapping[str, str], encrypted: Mapping[str, str]) -> dict[str, str]:
    """Return the values to send.

    Args:
        headers: ``secret_headers`` of a target: ``***`` or ``env:NAME`` by name.
        encrypted: What ``stored`` has for it.

    Raises:
        SecretUnreadable: A value is stored nowhere, or under a key that is gone.
    """
    values = {}
    for name, value in headers.items():
        if value.startswith(REFERENCE):
            variable = value.removeprefix(REFERENCE)
            if not is_open(variable):
                raise SecretUnreadable(closed(variable))
            if variable not in os.environ:
                raise SecretUnreadable(f"The environment has no {variable}.")
            values[name] = os.environ[variable]
        elif name.lower() in encrypted:
            values[name] = decrypt(encrypted[name.lower()])
        else:
            raise SecretUnreadable(f"No value is stored for the header {name}.")
    return values


def _cipher() -> MultiFernet:
    keys: Sequence[str | bytes] = conf.SECRET_KEYS
    if not keys:
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_key(key)) for key in keys])


def _key(key: str | bytes) -> bytes:
    raw = key if isinstance(key, bytes) else key.encode()
    digest = hashlib.sha256(PURPOSE + raw).digest()
    return base64.urlsafe_b64encode(digest)
