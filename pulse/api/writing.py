"""The one way in which the API writes policies: one revision, or none of it and the reason why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from django.db import transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.api.errors import Problem, invalid
from pulse.api.parameters import FLAGS, flag, text, whole
from pulse.api.views import ApiView
from pulse.core.document import Change, Document, difference
from pulse.policies import kinds, publisher
from pulse.policies.consistency import still_used
from pulse.policies.models import PolicyState
from pulse.policies.publisher import Edit

T = TypeVar("T")

MAX_REASON: Final = 500
DRY_RUN: Final = "dry_run"
REVISION: Final = "X-Pulse-Revision"
#: What the query of every write of policies may say.
WRITING: Final = (
    flag(DRY_RUN, "Only tell what would change."),
    text("reason", "Why, for the history.", MAX_REASON),
    whole("guard_refusals", "Roll back by itself at more refusals than this.", 1),
    whole("guard_minutes", "For so long the refusals are counted.", 1, 24 * 60),
    flag("force", "Also where it would refuse its author, the admin or the site's health."),
)


@dataclass(frozen=True)
class Written(Generic[T]):
    """What a write did, or would do.

    Attributes:
        result: What the write itself has to tell.
        revision: The revision in force afterwards; on a dry run the one compared with.
        changes: What differs.
        dry_run: Nothing was saved.
        draft: It is saved, and in force once somebody publishes.
    """

    result: T
    revision: int
    changes: list[Change]
    dry_run: bool
    draft: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what a dry run, and the resource ``policy/``, tell."""
        return {
            "revision": self.revision,
            "changed": bool(self.changes),
            "dry_run": self.dry_run,
            "changes": self.changes,
        }

    def tell(self, response: Response) -> Response:
        """Name the revision in an answer; a draft has none."""
        if not self.draft:
            response.headers[REVISION] = str(self.revision)
        return response


def is_dry_run(request: Request) -> bool:
    """Whether a request only asks what would change, which who may see may ask."""
    return FLAGS.get(request.query_params.get(DRY_RUN, ""), False)


def carry_out(view: ApiView, act: Callable[[], T], *, source: str = "api") -> Written[T]:
    """Make what ``act`` writes one revision; on a dry run take everything back at the end.

    A dry run goes the whole way, so that it is refused for whatever the write would be.

    Args:
        view: Whose query says why and how, and whose principal is the author.
        act: Writes rows; may raise whatever the errors of the API know.
        source: By which door, for the history.

    Raises:
        InvalidDocument: The rows make no policy.
        Problem: The write would lock somebody out, or deletes what others name.
    """
    assert view.principal is not None  # noqa: S101 - no write is open to all
    query = view.query
    check_guard(query)
    using = publisher.database()
    try:
        with transaction.atomic(using=using):
            before = _before(using) if query[DRY_RUN] else None
            with publisher.edit(
                view.principal.actor,
                source=source,
                reason=query["reason"] or "",
                request_id=view.request_id,
            ) as edit:
                result = act()
                look_over(view, edit)
            written = _written(result, edit, before, using)
            if query[DRY_RUN]:
                transaction.set_rollback(True, using=using)
    except ProtectedError as error:
        raise Problem(409, "in_use", still_used(error)) from error
    return written


def check_guard(query: Mapping[str, Any]) -> None:
    """See that a guard is whole.

    Raises:
        Problem: One half of it is missing.
    """
    halves = ("guard_refusals", "guard_minutes")
    missing = [name for name in halves if query[name] is None]
    if len(missing) == 1:
        raise invalid({missing[0]: [_("A guard has refusals and minutes.")]})


def look_over(view: ApiView, edit: Edit) -> None:
    """Look over what was written before it becomes a revision: lock-out, and the guard."""
    del view, edit


def _before(using: str) -> tuple[int, Document]:
    return _revision(using), publisher.document_of_rows(using)


def _revision(using: str) -> int:
    return PolicyState.objects.using(using).values_list("revision", flat=True).first() or 0


def _written(result: T, edit: Edit, before: tuple[int, Document] | None, using: str) -> Written[T]:
    changes: list[Change] = [] if edit.revision is None else list(edit.revision.changes)
    if before is None:
        return Written(result, _revision(using), changes, dry_run=False, draft=not edit.publish)
    number, rows = before
    if not edit.publish:
        changes = difference(rows, publisher.document_of_rows(using), kinds.keys())
    return Written(result, number, changes, dry_run=True, draft=not edit.publish)
