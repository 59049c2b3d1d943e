"""What the doctor finds, on a page; and what each process uses."""

from typing import Final

from django.http import HttpRequest, HttpResponse

from pulse.access.scopes import Scope
from pulse.doctor.findings import Finding, Severity
from pulse.doctor.topics import TOPICS, examine
from pulse.pages.answers import data, page, wants_json
from pulse.pages.guard import guarded
from pulse.policies.processes import convergence

#: Verifying the whole history reads every revision: the command does it.
SLOW: Final = frozenset({"history"})
WORDS: Final = {
    Severity.OK: "ok",
    Severity.INFO: "shadow",
    Severity.WARNING: "degraded",
    Severity.ERROR: "down",
}


@guarded(Scope.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Examine what can be looked at while one waits."""
    found = list(examine([topic for topic in TOPICS if topic not in SLOW]))
    if wants_json(request):
        return data(request, {"findings": [finding.as_dict() for finding in found]})
    context = {
        "findings": [(finding, WORDS[finding.severity]) for finding in _worst_first(found)],
        "processes": convergence().processes,
        "slow": sorted(SLOW),
    }
    return page(request, "pulse/doctor.html", context)


def _worst_first(found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: -finding.severity.rank)
