"""Who may do what in the admin: by Django's permissions on a model, or by pulse's own scopes."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import BaseModelAdmin
from django.db.models import Model
from django.http import HttpRequest

from pulse.access.scopes import Scope, holds

if TYPE_CHECKING:
    Base = BaseModelAdmin[Any]
else:
    Base = object


def may(request: HttpRequest, verb: str, model: type[Model]) -> bool:
    """Whether who asks may ``view``, ``add``, ``change`` or ``delete`` the rows of a model."""
    scope = Scope.VIEW if verb == "view" else Scope.ADMINISTER
    permission = f"{model._meta.app_label}.{verb}_{model._meta.model_name}"
    return request.user.has_perm(permission) or holds(request.user, scope)


class ByScope(Base):
    """``view`` sees every screen, ``administer`` changes what can be changed on it.

    Who has Django's permission on a model has what that gives, as anywhere in the admin.
    """

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the app is listed."""
        return super().has_module_permission(request) or holds(request.user, Scope.VIEW)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether rows are shown."""
        return super().has_view_permission(request, obj) or holds(request.user, Scope.VIEW)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Whether there may be another row."""
        return super().has_add_permission(request, *args) or self._administers(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a row may be changed."""
        return super().has_change_permission(request, obj) or self._administers(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a row may be deleted."""
        return super().has_delete_permission(request, obj) or self._administers(request)

    def _administers(self, request: HttpRequest) -> bool:
        return holds(request.user, Scope.ADMINISTER)
