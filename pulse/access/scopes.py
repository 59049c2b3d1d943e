"""What somebody may do with pulse itself; higher scopes include lower ones."""

from collections.abc import Collection
from enum import StrEnum
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


class Scope(StrEnum):
    """What is allowed, from the least to the most."""

    VIEW = "view"
    OPERATE = "operate"
    ADMINISTER = "administer"

    @property
    def permission(self) -> str:
        """The permission of Django's that gives it to a member of the staff."""
        return f"pulse.{self.value}"


ORDER: Final = tuple(Scope)


def holds(user: Any, scope: Scope) -> bool:
    """Whether a user's session is good for a scope: active staff with its permission, or more.

    Queries the user's permissions once, as ``has_perm`` does; none for a superuser.

    Args:
        user: Of the host's user model, or Django's anonymous one.
        scope: What is asked for.
    """
    if not getattr(user, "is_active", False) or not getattr(user, "is_staff", False):
        return False
    return any(user.has_perm(higher.permission) for higher in ORDER[ORDER.index(scope) :])


def scopes_of(user: Any) -> frozenset[Scope]:
    """Return every scope that a user's session is good for."""
    return frozenset(scope for scope in ORDER if holds(user, scope))


def with_lower(names: Collection[str]) -> frozenset[Scope]:
    """Return the scopes that are named, and those that they include."""
    highest = max((ORDER.index(scope) for scope in ORDER if scope in names), default=-1)
    return frozenset(ORDER[: highest + 1])


def validate_scopes(value: object) -> None:
    """Check the scopes of a key.

    Raises:
        ValidationError: It is no list of one or more of the scopes, each once.
    """
    if (
        not isinstance(value, list)
        or not value
        or any(name not in tuple(ORDER) for name in value)
        or len(set(value)) < len(value)
    ):
        raise ValidationError(
            _("Write one or more of %(scopes)s."),
            code="scopes",
            params={"scopes": ", ".join(ORDER)},
        )
