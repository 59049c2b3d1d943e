"""Whether policies lie in one database, and one that edits can share."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.checks import CheckMessage
from django.db import router

from pulse.checks.findings import found, one_of
from pulse.policies.models import PolicyState

SQLITE: Final = "django.db.backends.sqlite3"
WRITING: Final = frozenset({"IMMEDIATE", "EXCLUSIVE"})
#: What sqlite3 waits for where nothing is said, and what is enough for an edit to be waited for.
DEFAULT_TIMEOUT_S: Final = 5
ENOUGH_S: Final = 10


def check_routing() -> Iterator[CheckMessage]:
    """Policies, and the accounts that they name, are in one database."""
    written: dict[str, list[str]] = {}
    for model in apps.get_app_config("pulse").get_models():
        written.setdefault(router.db_for_write(model), []).append(model.__name__)
    if len(written) > 1:
        parts = one_of(f"{alias} ({one_of(sorted(names))})" for alias, names in written.items())
        yield found("E030", parts=parts)
        return
    alias = router.db_for_write(PolicyState)
    for model in (get_user_model(), Group):
        other = router.db_for_write(model)
        if other != alias:
            yield found("E031", model=model._meta.label, other=other, alias=alias)
    read = {router.db_for_read(model) for model in apps.get_app_config("pulse").get_models()}
    if read - {alias}:
        yield found("W030", alias=alias, other=one_of(sorted(read - {alias})))


def check_sqlite() -> Iterator[CheckMessage]:
    """Edits at one time wait for each other instead of failing."""
    alias = router.db_for_write(PolicyState)
    entry: Mapping[str, Any] = settings.DATABASES.get(alias, {})
    if entry.get("ENGINE") != SQLITE or _is_in_memory(str(entry.get("NAME", ""))):
        return
    options: Any = entry.get("OPTIONS") or {}
    if str(options.get("transaction_mode") or "").upper() not in WRITING:
        yield found("W031", alias=alias)
    seconds = options.get("timeout", DEFAULT_TIMEOUT_S)
    if isinstance(seconds, int | float) and seconds < ENOUGH_S:
        yield found("W032", alias=alias, seconds=seconds)


def _is_in_memory(name: str) -> bool:
    return name == ":memory:" or "mode=memory" in name
