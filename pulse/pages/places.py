"""Where the admin shows what pages name: for who may see it there."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from pulse.pages.answers import admin_url
from pulse.policies import kinds


class Places:
    """The lists of the admin, as one user may open them; empty addresses where they may not."""

    def __init__(self, request: HttpRequest) -> None:
        self._user: Any = request.user

    @cached_property
    def lists(self) -> Mapping[str, str]:
        """The address of each kind's list."""
        found = {}
        for kind in kinds.all_kinds():
            name = kind.model._meta.model_name
            verbs = ("view", "change")
            may_see = any(self._user.has_perm(f"pulse.{verb}_{name}") for verb in verbs)
            found[kind.name] = admin_url(f"pulse_{name}_changelist") if may_see else ""
        return found

    def of(self, kind: str, key: Mapping[str, Any]) -> str:
        """Return where the list shows one rule, found by the first part of its key."""
        address = self.lists.get(kind, "")
        words = next(iter(key.values()), "")
        return f"{address}?{urlencode({'q': words})}" if address and words else address
