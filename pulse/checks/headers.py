"""Whether the header policies of the published document do what they seem to."""

from collections.abc import Iterator, Sequence

from django.conf import settings
from django.core.checks import CheckMessage
from django.urls import NoReverseMatch, reverse

from pulse.checks.documents import enforced_now
from pulse.checks.findings import found, one_of
from pulse.core.csp import loads_own_files
from pulse.core.document import Document, Item
from pulse.core.headers import HSTS, HeaderRule, Preset
from pulse.policies import django_headers, headers


def check_headers(document: Document) -> Iterator[CheckMessage]:
    """Look at the policies that are enforced now."""
    items = enforced_now(document, headers.KIND)
    rules = [HeaderRule(item) for item in items]
    for item, rule in zip(items, rules, strict=True):
        if item.get("preset") == Preset.LEGACY:
            yield found("W080", name=rule.name)
        value = "" if rule.force else _hsts(rule)
        first = django_headers.given(secure=True).get(HSTS.lower())
        if value and first is not None and value != first.value:
            yield found("W081", name=rule.name, value=value, other=settings.SECURE_HSTS_SECONDS)
        if rule.reports and not headers.collector():
            yield found("W084", name=rule.name)
    yield from _check_paths(items)
    yield from _check_admin(items)


def check_deployed_headers(document: Document) -> Iterator[CheckMessage]:
    """Look at what production needs of them."""
    items = enforced_now(document, headers.KIND)
    if not items:
        yield found("W085")
        return
    for rule in map(HeaderRule, items):
        if _hsts(rule) and not settings.SECURE_SSL_REDIRECT:
            yield found("W082", name=rule.name)
            return


def _check_paths(items: Sequence[Item]) -> Iterator[CheckMessage]:
    by_path: dict[str, list[Item]] = {}
    for item in items:
        by_path.setdefault(item["path"], []).append(item)
    for path, same in by_path.items():
        first, *others = sorted(same, key=lambda item: str(item["name"]))
        # One that is enforced for a share of clients leaves the rest to the next.
        if others and first["percent"] >= 100:
            names = one_of(item["name"] for item in (first, *others))
            yield found("W083", names=names, path=path, name=first["name"])


def _check_admin(items: Sequence[Item]) -> Iterator[CheckMessage]:
    try:
        path = headers.without_prefix(reverse("admin:index"))
    except NoReverseMatch:
        return
    item = headers.holding(items, path)
    if item is None:
        return
    rule = HeaderRule(item)
    if rule.csp and not rule.report_only and not loads_own_files(rule.csp):
        yield found("W086", name=rule.name, path=path)


def _hsts(rule: HeaderRule) -> str:
    sent = rule.sent(secure=True).get(HSTS.lower())
    return sent.value if sent else ""
