"""Run state of policies: what happens to them, not what operators decide."""

from collections.abc import Sequence
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from pulse.policies.models import PolicyRevision


class GuardState(models.TextChoices):
    """How far a guard is."""

    WATCHING = "watching", _("Watching")
    PASSED = "passed", _("Passed")
    ROLLED_BACK = "rolled_back", _("Rolled back")


class PolicyGuard(models.Model):
    """The budget of refusals that a revision was published with.

    Attributes:
        refusals: How many refusals by the rules that the revision changed are too many.
        minutes: For how long they are counted, and until when that is.
        seen: How many there were, of all processes, when it was last looked.
        by_rule: ``seen`` by rule, once it has ended; before, its counts say it.
        undone_by: The revision that rolled it back.
    """

    revision = models.OneToOneField(
        PolicyRevision, on_delete=models.CASCADE, related_name="guard", verbose_name=_("revision")
    )
    refusals = models.PositiveIntegerField(_("refusals"))
    minutes = models.PositiveIntegerField(_("minutes"))
    until_at = models.DateTimeField(_("until"))
    seen = models.PositiveBigIntegerField(_("seen"), default=0)
    by_rule = models.JSONField(_("by rule"), default=dict)
    state = models.CharField(
        _("state"), max_length=12, choices=GuardState, default=GuardState.WATCHING
    )

    undone_by = models.ForeignKey(
        PolicyRevision,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("undone by"),
    )

    class Meta:
        verbose_name = _("guard")
        ordering: ClassVar[Sequence[str]] = ["-pk"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["until_at"],
                condition=Q(state=GuardState.WATCHING),
                name="pulse_guards_that_watch",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_state_display()}: {self.seen} of {self.refusals}"


class PolicyGuardCount(models.Model):
    """How many refusals one process has seen by one rule, for a guard that watches.

    The whole of it, not what was added: writing it twice counts nothing twice.
    """

    guard = models.ForeignKey(PolicyGuard, on_delete=models.CASCADE, related_name="counts")
    process = models.UUIDField()
    rule = models.CharField(max_length=400)
    refusals = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["guard", "process", "rule"], name="pulse_one_count_of_a_process"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.refusals}"
