"""Where the admin shows what pages name: for who can see it there."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from pulse.access.principals import asker_of
from pulse.pages.answers import admin_url
from pulse.policies import kinds


class Places:
    """The lists of the admin, which whoever sees a page may see; but no key can open one."""

    def __init__(self, request: HttpRequest) -> None:
        self._has_session = asker_of(request).user is not None

    @cached_property
    def lists(self) -> Mapping[str, str]:
        """The address of each kind's list."""
        if not self._has_session:
            return {}
        return {
            kind.name: admin_url(f"pulse_{kind.model._meta.model_name}_changelist")
            for kind in kinds.all_kinds()
        }

    def screen(self, name: str) -> str:
        """Return the address of a screen of the admin; empty for who has no session."""
        return admin_url(name) if self._has_session else ""

    def of(self, kind: str, key: Mapping[str, Any]) -> str:
        """Return where the list shows one rule, found by the first part of its key."""
        address = self.lists.get(kind, "")
        words = next(iter(key.values()), "")
        return f"{address}?{urlencode({'q': words})}" if address and words else address
