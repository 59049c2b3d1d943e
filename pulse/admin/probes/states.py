"""Lists narrowed by what runs, which has rows of its own."""
# ruff: noqa: ARG002 - the signatures are Django's

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, TextChoices
from django.http import HttpRequest


class RunFilter(admin.SimpleListFilter):
    """Rows by their run state, which has the column ``parameter_name``.

    Attributes:
        states: The model of the run states, by name.
        choices_of: What they may be.
        unseen: What a row is that no worker has seen yet.
    """

    states: ClassVar[type[Model]]
    choices_of: ClassVar[type[TextChoices]]
    unseen: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return list(self.choices_of.choices)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Leave the rows of the state that is chosen."""
        value = self.value()
        if value not in self.choices_of.values:
            return queryset
        chosen = {str(self.parameter_name): value}
        states = self.states._default_manager.all()
        if value == self.unseen:
            return queryset.exclude(name__in=states.exclude(**chosen).values("name"))
        return queryset.filter(name__in=states.filter(**chosen).values("name"))
