"""The one way in which the API writes policies: one revision, or none of it and the reason why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from django.db import transaction
from django.db.models import ProtectedError
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.api.errors import Problem
from pulse.api.parameters import FLAGS, flag, text, whole
from pulse.api.views import ApiView
from pulse.conf import conf
from pulse.core.document import Change, Document, difference
from pulse.policies import kinds, publisher
from pulse.policies.authors import lockout_check
from pulse.policies.consistency import still_used
from pulse.policies.guarded import MINUTES, MOST_MINUTES, MOST_REFUSALS, REFUSALS, read_guard
from pulse.policies.publisher import Check, Edit

T = TypeVar("T")

MAX_REASON: Final = 500
DRY_RUN: Final = "dry_run"
REVISION: Final = "X-Pulse-Revision"
#: What the query of every write of policies may say.
WRITING: Final = (
    flag(DRY_RUN, "Only tell what would change."),
    text("reason", "Why, for the history.", MAX_REASON),
    whole(REFUSALS, "Taken back by itself over so many refusals.", 1, MOST_REFUSALS),
    whole(MINUTES, "For so long refusals are counted; 10 by default.", 1, MOST_MINUTES),
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


def carry_out(
    view: ApiView, act: Callable[[], T], *, source: str = "api", default_reason: str = ""
) -> Written[T]:
    """Make what ``act`` writes one revision; on a dry run take everything back at the end.

    A dry run goes the whole way, so that it is refused for whatever the write would be.

    Args:
        view: Whose query says why and how, and whose principal is the author.
        act: Writes rows; may raise whatever the errors of the API know.
        source: By which door, for the history.
        default_reason: Why, where the query does not say.

    Raises:
        InvalidDocument: The rows make no policy, or the guard is none.
        LockOut: The write would refuse its author, the admin or the site's health.
        Problem: It deletes what others name.
    """
    assert view.principal is not None  # noqa: S101 - no write is open to all
    query = view.query
    guard = read_guard(query[REFUSALS], query[MINUTES])
    using = publisher.database()
    try:
        with transaction.atomic(using=using):
            before = None
            with publisher.edit(
                view.principal.actor,
                source=source,
                reason=query["reason"] or default_reason,
                request_id=view.request_id,
                guard=guard,
                check=check_of(view),
            ) as edit:
                if query[DRY_RUN]:
                    before = _before(using)  # Under the lock: nobody edits meanwhile.
                result = act()
            written = _written(result, edit, before, using)
            if query[DRY_RUN]:
                transaction.set_rollback(True, using=using)
    except ProtectedError as error:
        raise Problem(409, "in_use", still_used(error)) from error
    return written


def check_of(view: ApiView) -> Check | None:
    """Return the check that an edit locks nobody out; none where its author insists."""
    if view.query["force"]:
        return None
    address = reverse("pulse:api-policy")
    return lockout_check(view.request._request, own=[("GET", address), ("PUT", address)])


def _before(using: str) -> tuple[int, Document]:
    """Return the revision in force, and for a draft the rows as they were."""
    is_draft = conf.PUBLISH == "manual"
    return publisher.newest_number(), publisher.document_of_rows(using) if is_draft else {}


def _written(result: T, edit: Edit, before: tuple[int, Document] | None, using: str) -> Written[T]:
    changes: list[Change] = [] if edit.revision is None else list(edit.revision.changes)
    if before is None:
        return Written(
            result, publisher.newest_number(), changes, dry_run=False, draft=not edit.publish
        )
    number, rows = before
    if not edit.publish:
        changes = difference(rows, publisher.document_of_rows(using), kinds.keys())
    return Written(result, number, changes, dry_run=True, draft=not edit.publish)
