"""Header policies and this site: where reports go, what would be sent, what most sites want."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from django.conf import settings
from django.core.signals import setting_changed
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.translation import gettext as _

from pulse.core.document import Document, Item
from pulse.core.endpoints import PathIndex
from pulse.core.headers import HSTS, HSTS_STAGES, MAX_AGE, HeaderRule, Preset, Sent
from pulse.core.snapshot import Mode
from pulse.exceptions import InvalidHeader
from pulse.policies import kinds
from pulse.policies.django_headers import Given, given
from pulse.policies.edge import HeaderPolicy
from pulse.policies.routes import match_path

#: How long browsers are held to HTTPS by what is added in one click: it cannot be taken back.
FIRST_STAGE: Final = "5m"
LONGEST_STAGE_S: Final = max(HSTS_STAGES.values())
API: Final = "/api/"
KIND: Final = "header_policies"


def collector() -> str:
    """Return the address of the collector of reports, without a policy's name.

    Returns:
        Such as ``/pulse/csp-reports/``; empty where ``pulse.urls`` is not mounted.
    """
    path = _collector_path()
    return f"{get_script_prefix()}{path}" if path else ""


def mount() -> str:
    """Return the path under which ``pulse.urls`` is mounted; empty where it is not."""
    path = _collector_path().removesuffix("csp-reports/")
    return f"/{path}" if path else ""


def item_of(row: HeaderPolicy) -> Item:
    """Write a row as its item of the document."""
    kind = kinds.find_kind(KIND)
    assert kind is not None  # noqa: S101 - registered with the app
    return kind.to_item(row)


class Shown(NamedTuple):
    """One header as an answer would carry it.

    Attributes:
        plain: Its value over HTTP, and ``secure`` over HTTPS; empty where it is not sent.
        setting: The setting of Django's by which it is sent; empty where the policy sends it.
    """

    name: str
    plain: str
    secure: str
    setting: str = ""


def preview(item: Item, *, hsts: bool = True) -> list[Shown]:
    """List the headers that answers would carry: those of a policy, then those of Django's.

    What Django's settings set first stays, unless the policy forces its own or removes it.

    Raises:
        InvalidHeader: Something was written past every validator.
    """
    rule = HeaderRule(item)
    plain = carried(rule, given(secure=False), secure=False, hsts=hsts)
    secure = carried(rule, given(secure=True), secure=True, hsts=hsts)
    found = []
    for lower, header in (secure | plain).items():
        values = [each[lower].value if lower in each else "" for each in (plain, secure)]
        found.append(Shown(header.name, values[0], values[1], header.setting))
    return sorted(found, key=lambda header: (bool(header.setting), header.name))


def carried(
    rule: HeaderRule | None, first: Mapping[str, Given], *, secure: bool, hsts: bool
) -> dict[str, Given]:
    """Return what an answer carries once Django's settings and a policy have had their say.

    Args:
        rule: The policy; None where none holds.
        first: What Django's settings give.
        secure: The answer goes out over HTTPS.
        hsts: Browsers may be held to HTTPS by pulse.

    Returns:
        Headers by the name in small letters; those of the policy without a setting.
    """
    theirs = {lower: Sent(header.name, header.value) for lower, header in first.items()}
    fields: dict[str, tuple[str, str]] = dict(theirs)
    if rule is not None:
        address = collector() if rule.reports else ""
        rule.dress(fields, secure=secure, hsts=hsts, collector=address)
    return {
        lower: Given(*header, first[lower].setting if header is theirs.get(lower) else "")
        for lower, header in fields.items()
    }


def usual(
    existing: Mapping[str, str], admin: str | None, *, admin_evaluates: bool = False
) -> list[dict[str, Any]]:
    """Write the policies that most sites want, for paths that have none of their own.

    Pages are strict at once where they are known to work so: the admin, and those of pulse. The
    rest of the site reports what would be blocked.

    Args:
        existing: The path of each policy that there is, by name.
        admin: The path of the admin; None where there is none.
        admin_evaluates: Its theme evaluates code in the page, which a strict policy would stop, and
            the way back with it: it reports only.
    """
    wanted = [
        ("site", "/", Preset.HTML, True),
        ("api", API, Preset.API, False),
        ("admin", admin or "", Preset.HTML, admin_evaluates),
        ("pulse", mount(), Preset.HTML, False),
    ]
    taken, paths = set(existing), set(existing.values())
    found = []
    for name, path, preset, report_only in wanted:
        if not path or path in paths:
            continue
        free = _free(name, taken)
        taken.add(free)
        paths.add(path)
        found.append(
            {
                "name": free,
                "path": path,
                "preset": preset.value,
                "csp_report_only": report_only,
                "hsts_stage": FIRST_STAGE,
            }
        )
    return found


def holding(items: Iterable[Item], path: str) -> Item | None:
    """Return the policy that is enforced for a path, and for everybody."""
    ordered = sorted(items, key=lambda item: str(item["name"]))
    index = PathIndex(
        (item["path"], item)
        for item in ordered
        if item["mode"] == Mode.ENFORCE and item["percent"] >= 100
    )
    return next(iter(index.find(path)), None)


def new_holds(before: Document, after: Document) -> list[str]:
    """Warn of each policy that begins to hold browsers to HTTPS beyond every stage, or for good.

    Args:
        before: The policy as it was.
        after: As it is to be.

    Returns:
        A sentence for each, in the order of the document.
    """
    held = {item["name"]: _hold_of(item) for item in before.get(KIND, ())}
    found = []
    for item in after.get(KIND, ()):
        (seconds, preload), (was, was_preload) = _hold_of(item), held.get(item["name"], (0, False))
        if (seconds > LONGEST_STAGE_S >= was) or (preload and not was_preload):
            value = f"max-age={seconds}{'; preload' if preload else ''}"
            text = _(
                "The header policy %(name)s begins to hold browsers to HTTPS (%(value)s), which "
                "cannot be taken back. A shorter hsts_stage tries it first."
            )
            found.append(text % {"name": item["name"], "value": value})
    return found


def page_of(path: str) -> str:
    """Name a page by its route: what a path names may be private. Empty for none of the site's."""
    match = match_path(without_prefix(unquote(path))) if path else None
    return "" if match is None else f"/{match.route.removeprefix('^')}"


def without_prefix(address: str) -> str:
    """Return the path that Django resolves, of an address within the site."""
    return f"/{address.removeprefix(get_script_prefix())}"


def _hold_of(item: Item) -> tuple[int, bool]:
    """Return for how many seconds a policy holds browsers to HTTPS, and whether for good."""
    if item["mode"] != Mode.ENFORCE:
        return 0, False
    try:
        sent = HeaderRule(item).sent(secure=True).get(HSTS.lower())
    except InvalidHeader:  # Written past every validator: it is not sent.
        return 0, False
    value = "" if sent is None else sent.value
    age = MAX_AGE.search(value)
    return int(age[1]) if age else 0, "preload" in value.lower()


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


@cache
def _collector_path() -> str:
    """Return the collector's path below the site's prefix, which differs between threads.

    By the site's own URLconf: that of a request may be another, and this is kept.
    """
    try:
        found = reverse("pulse:csp-reports", urlconf=settings.ROOT_URLCONF, args=["name"])
    except NoReverseMatch:
        return ""
    return found.removeprefix(get_script_prefix()).removesuffix("name/")


def _forget(*, setting: str, **_: object) -> None:
    if setting == "ROOT_URLCONF":
        _collector_path.cache_clear()


setting_changed.connect(_forget, dispatch_uid="pulse.policies.headers")
