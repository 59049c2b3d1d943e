"""A writing request of the admin: one revision of it, or none and the reason why."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError
from django.db.models import ProtectedError
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.exceptions import InvalidDocument, LockOut
from pulse.policies import publisher
from pulse.policies.authors import lockout_check
from pulse.policies.clients import client_of
from pulse.policies.consistency import still_used
from pulse.policies.guarded import MINUTES, REFUSALS, Guard, read_guard
from pulse.policies.models import PolicyRevision
from pulse.policies.publisher import Actor

REASON: Final = "reason"
SAVE_ANYWAY: Final = "save_anyway"
MAX_REASON: Final = 500


@dataclass
class Errand:
    """What became of a writing request.

    Attributes:
        saved: Policy rows were written.
        problems: Why all of it was rolled back, in words.
        threats: Those of the reasons that the author may overrule.
        messages: What is to be told once it is certain.
        tryout: What came of trying it on recorded traffic; then it is not saved.
    """

    saved: bool = False
    problems: list[str] = field(default_factory=list)
    threats: list[object] = field(default_factory=list)
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    under_way: bool = False
    tryout: Any = None


def errand_of(request: HttpRequest) -> Errand:
    """Return the errand of a request, which begins when it is first asked for."""
    errand: Errand | None = request.__dict__.get("pulse_errand")
    if errand is None:
        errand = request.__dict__["pulse_errand"] = Errand()
    return errand


def carry_out(
    request: HttpRequest,
    act: Callable[[], HttpResponseBase],
    *,
    site: str = "admin",
    source: str = "admin",
    default_reason: str = "",
) -> HttpResponseBase | None:
    """Make what a view writes one revision, named in a message.

    Returns:
        The view's response; None if everything was rolled back: ``errand_of(request)`` says why.
    """
    errand = errand_of(request)
    errand.under_way = True
    try:
        guard = read_guard(*(request.POST.get(name) for name in (REFUSALS, MINUTES)))
        with publisher.edit(
            actor_of(request),
            source=source,
            reason=reason_of(request) or default_reason,
            request_id=request_id_of(request),
            guard=guard,
            check=None if request.POST.get(SAVE_ANYWAY) else lockout_check(request, site=site),
        ) as edit:
            response = act()
    except LockOut as refusal:
        errand.threats = refusal.threats
        _roll_back(errand, [str(threat) for threat in refusal.threats])
    except InvalidDocument as error:
        _roll_back(errand, problems_of(error))
    except ProtectedError as error:
        _roll_back(errand, [still_used(error)])
    except (IntegrityError, OperationalError):
        _roll_back(errand, [_("Someone was saving at this moment. Nothing was saved: try again.")])
    except ValidationError as error:
        _roll_back(errand, error.messages)
    else:
        for message in errand.messages:
            messages.add_message(request, *message)
        if errand.saved:
            _tell(request, edit, site)
        return response
    finally:
        errand.under_way = False
    return None


def actor_of(request: HttpRequest) -> Actor:
    """Name who is logged in, and from where."""
    user = request.user
    name = user.get_username() if isinstance(user, AbstractBaseUser) else ""
    return Actor("user", name, str(client_of(request)))


def reason_of(request: HttpRequest) -> str:
    """Return what was given as the reason; no NUL, which a database may refuse."""
    return request.POST.get(REASON, "").replace("\0", "").strip()[:MAX_REASON]


def request_id_of(request: HttpRequest) -> str:
    """Return the request's id; empty where pulse's middleware did not run."""
    return getattr(getattr(request, "pulse", None), "request_id", "")


def problems_of(error: InvalidDocument) -> list[str]:
    """Write what is wrong with a document, each with its place."""
    return [f"{place}: {' '.join(texts)}" for place, texts in error.errors.items()]


def tell_in_force(request: HttpRequest, revision: PolicyRevision, site: str) -> None:
    """Tell the user which revision an edit made."""
    link = revision_link(revision.number, revision.pk, site)
    messages.success(request, format_html(_("{} is in force."), link))


def say_guard(guard: Guard) -> str:
    """Tell what a guard will do."""
    return _(
        "It is guarded: if what it changed refuses more than %(refusals)s requests within "
        "%(minutes)d minutes, pulse takes it back by itself."
    ) % {"refusals": number_format(guard.refusals), "minutes": guard.minutes}


def revision_link(number: int, primary_key: int, site: str) -> str:
    """Write a link to a revision's page."""
    address = reverse("admin:pulse_policyrevision_change", args=[primary_key], current_app=site)
    return format_html('<a href="{}">{}</a>', address, _("Revision %d") % number)


def _roll_back(errand: Errand, problems: list[str]) -> None:
    errand.problems = problems
    errand.messages = []
    errand.saved = False


def _tell(request: HttpRequest, edit: publisher.Edit, site: str) -> None:
    if edit.revision is not None:
        tell_in_force(request, edit.revision, site)
        if edit.guard is not None:
            messages.info(request, say_guard(edit.guard))
    elif conf.PUBLISH == "manual":
        address = reverse("admin:pulse_policyrevision_publish", current_app=site)
        link = format_html('<a href="{}">{}</a>', address, _("Publish the draft"))
        messages.warning(
            request, format_html(_("Saved as a draft, which is not in force yet. {}"), link)
        )
    else:
        messages.info(request, _("Nothing differs: the policy in force stays as it is."))
