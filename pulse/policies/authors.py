"""Who makes an edit over the network, and the check that it does not lock them out."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import unquote

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from pulse.core.clients import User
from pulse.core.document import Document
from pulse.exceptions import LockOut
from pulse.policies import current
from pulse.policies.headers import without_prefix
from pulse.policies.lockout import LOGIN, WORK, Author, Need, Visit, new_threats
from pulse.policies.routes import match_path

#: Of thousands of rules that are added at once, so many are told.
MAX_THREATS: Final = 20

#: The pages that an operator needs to take an edit back, and how they are asked for.
WORK_PAGES: Final = (
    ("index", ("GET",)),
    ("pulse_ratetier_changelist", ("GET", "POST")),
    ("pulse_endpointlimit_changelist", ("GET", "POST")),
    ("pulse_exemption_changelist", ("GET", "POST")),
    ("pulse_accessrule_changelist", ("GET", "POST")),
    ("pulse_ratetier_change", ("GET", "POST")),
    ("pulse_endpointlimit_change", ("GET", "POST")),
    ("pulse_accessrule_change", ("GET", "POST")),
    ("pulse_policyrevision_changelist", ("GET",)),
    ("pulse_policyrevision_rollback", ("GET", "POST")),
    ("jsi18n", ("GET",)),
)


def lockout_check(
    request: HttpRequest, *, site: str = "admin", own: Sequence[tuple[str, str]] = ()
) -> Callable[[Document, Document], None]:
    """Return the ``check`` of an edit that ``request`` makes.

    It raises ``LockOut`` where the policy that the edit would make refuses its author, the admin
    or the site's health, and the policy before did not.

    Args:
        request: Whose author it is.
        site: The name of the admin site.
        own: Further requests that the author needs, as method and path that Django resolves.
    """

    def check(before: Document, after: Document) -> None:
        needed = [*visits(site), *(_visit_of(path, method, WORK) for method, path in own)]
        found = new_threats(before, after, author_of(request), [v for v in needed if v is not None])
        if found:
            raise LockOut(found[:MAX_THREATS])

    return check


def author_of(request: HttpRequest) -> Author:
    """Describe the one who edits, as the middleware would see them."""
    user: Any = getattr(request, "user", None)
    groups = user.groups.values_list("name", flat=True) if hasattr(user, "groups") else ()
    is_known = bool(getattr(user, "is_authenticated", False))
    return Author(
        peer=request.META.get("REMOTE_ADDR", ""),
        forwarded_for=request.META.get("HTTP_X_FORWARDED_FOR", ""),
        header=request.headers.get,
        user=User(str(user.pk), user.get_username(), frozenset(groups)) if is_known else None,
        # Of the policy in force, as the one that is judged is compiled without its keys.
        api_key=current.current_snapshot().keys.find(request.headers.get("Authorization", "")),
    )


def visits(site: str) -> list[Visit]:
    """List the requests that using the admin site takes; none where the host has no such site."""
    found: list[Visit | None] = []
    for name, methods in WORK_PAGES:
        arguments = ["1"] if name.endswith(("_change", "_rollback")) else []
        found += [_visit(site, name, method, arguments, WORK) for method in methods]
    found += [_visit(site, "login", method, [], LOGIN) for method in ("GET", "POST")]
    return [visit for visit in found if visit is not None]


def _visit(site: str, name: str, method: str, arguments: list[str], need: Need) -> Visit | None:
    try:
        address = reverse(f"admin:{name}", args=arguments, current_app=site)
    except NoReverseMatch:
        return None
    return _visit_of(address, method, need)


def _visit_of(address: str, method: str, need: Need) -> Visit | None:
    # Rules hold for the decoded path that Django resolves, below the prefix of the site.
    path = without_prefix(unquote(address))
    match = match_path(path)
    return None if match is None else Visit(method, path, match, need)
