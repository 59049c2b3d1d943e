"""Screens of what happened: rows that are read, and of which there are many."""
# ruff: noqa: ARG002 - the signatures are Django's

from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

from pulse.admin.base import RecordedAdmin

if TYPE_CHECKING:
    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

#: Rows that can be leafed through; older ones are found by what they belong to.
MOST: Final = 1000


class NewestPaginator(PaginatorBase):
    """Pages of the newest rows, without counting millions of them."""

    @cached_property
    def count(self) -> int:
        """How many there are to leaf through; reads their keys, newest first."""
        rows: Any = self.object_list
        return len(rows.values_list("pk", flat=True)[:MOST])


class RecordsAdmin(RecordedAdmin):
    """Rows that tell what happened: nothing here adds, changes or deletes one.

    Attributes:
        empty: What to do where the list is empty.
    """

    paginator = NewestPaginator
    show_full_result_count = False
    list_per_page = 50
    actions: Any = None
    empty: Any = ""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds one by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Retention deletes them."""
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Say what to do where the list is empty."""
        return super().changelist_view(request, {"pulse_admin": self, **(extra_context or {})})
