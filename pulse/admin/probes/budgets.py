"""How much is probed at once."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from pulse.admin.probes.base import SWITCH, ProbeForm, ProbePolicyAdmin
from pulse.admin.tiers import NOTES
from pulse.probes.models import ProbeBudget


class ProbeBudgetForm(ProbeForm):
    """The budget."""

    MODE = _("Off: the defaults hold, 3 jobs, 200 probes at once and 2 of one host.")
    HAS_SHADOW = False


@admin.register(ProbeBudget)
class ProbeBudgetAdmin(ProbePolicyAdmin):
    """The one budget of all workers."""

    form = ProbeBudgetForm
    list_display: Any = (
        "name",
        "words_column",
        "max_concurrency",
        "max_per_host",
        "max_jobs",
        "mode_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = ()
    fieldsets: ClassVar[Any] = (
        (_("Probes"), {"fields": ("max_concurrency", "max_per_host")}),
        (_("Jobs started by hand"), {"fields": ("max_jobs", "job_timeout_s")}),
        SWITCH,
        NOTES,
    )
    empty = _(
        "The defaults hold: 200 probes at once over all workers and 2 of one host; 3 jobs that "
        "were started by hand, each for 10 minutes at most. Add the budget to change them."
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is one budget."""
        return super().has_add_permission(request) and not ProbeBudget.objects.exists()

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Leave adding to the list: every page of the admin asks, and would query for it."""
        perms = {"view": self.has_view_permission, "change": self.has_change_permission}
        return {"add": False, "delete": False} | {name: may(request) for name, may in perms.items()}
