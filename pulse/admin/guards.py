"""What guards do, told where policies are edited and where their history is read."""

from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from pulse.admin.errands import revision_link
from pulse.policies import undoing, watching
from pulse.policies.guarded import guard_of
from pulse.policies.models import PolicyRevision
from pulse.policies.state import GuardState, PolicyGuard

#: So many of the guards that watch are told on each list, the newest first.
MAX_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a guard is, for a page.

    Attributes:
        by_rule: What was refused, by rule, the most first.
        undone_by: A link to the revision that rolled it back; empty where none did.
        share: The refusals as a share of the budget, in percent, 100 at most.
    """

    guard: PolicyGuard
    by_rule: dict[str, int]
    undone_by: str
    share: int

    @property
    def seen(self) -> int:
        """How many refusals there were."""
        return sum(self.by_rule.values()) if self.by_rule else self.guard.seen


def standing(revision: PolicyRevision, site: str) -> Standing | None:
    """Return how the guard of a revision stands; None where it has none."""
    guard = guard_of(revision)
    if guard is None:
        return None
    by_rule = watching.counts_of(guard)
    link = _link(guard.undone_by, site) if guard.undone_by else ""
    seen = sum(by_rule.values())
    return Standing(guard, by_rule, link, min(100, seen * 100 // guard.refusals))


def tell(request: HttpRequest, site: str) -> None:
    """Tell of the guard that watches, and of the one that has rolled back what was newest."""
    newest = PolicyRevision.objects.defer("document").first()
    if newest is None:
        return
    guards = PolicyGuard.objects.select_related("revision").defer("revision__document")
    for guard in guards.filter(state=GuardState.WATCHING)[:MAX_TOLD]:
        if not watching.has_something_left(guard, newest.number):
            continue
        messages.info(
            request,
            format_html(
                _("{} is guarded: {} of {} refusals so far. {}"),
                _link(guard.revision, site),
                guard.seen,
                guard.refusals,
                _("More, and it is taken back by itself."),
            ),
        )
    if newest.source == undoing.SOURCE:
        text = _("{} took back by itself what had been published: {}")
        messages.warning(request, format_html(text, _link(newest, site), newest.reason))


def _link(revision: Any, site: str) -> SafeString | str:
    return revision_link(revision.number, revision.pk, site)
