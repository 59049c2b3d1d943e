"""Header policies and this site: where reports go, what would be sent, what most sites want."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

from django.conf import settings
from django.core.signals import setting_changed
from django.urls import NoReverseMatch, get_script_prefix, reverse

from pulse.core.document import Item
from pulse.core.endpoints import PathIndex
from pulse.core.headers import HeaderRule, Preset
from pulse.core.snapshot import Mode
from pulse.policies import kinds
from pulse.policies.edge import HeaderPolicy
from pulse.policies.routes import match_path

#: How long browsers are held to HTTPS by what is added in one click: it cannot be taken back.
FIRST_STAGE: Final = "5m"
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


def preview(item: Item, *, hsts: bool = True) -> list[tuple[str, str, str]]:
    """List the headers that a policy would send: name, value over HTTP, value over HTTPS.

    A value is empty where the header is not sent.

    Raises:
        InvalidHeader: Something was written past every validator.
    """
    rule = HeaderRule(item)
    plain = rule.sent(secure=False, collector=collector())
    secure = rule.sent(secure=True, hsts=hsts, collector=collector())
    found = {**secure, **plain}
    return sorted(
        (
            sent.name,
            plain[lower].value if lower in plain else "",
            secure[lower].value if lower in secure else "",
        )
        for lower, sent in found.items()
    )


def usual(existing: Mapping[str, str], admin: str | None) -> list[dict[str, Any]]:
    """Write the policies that most sites want, for paths that have none of their own.

    Pages are strict at once where they are known to work so: the admin, and those of pulse. The
    rest of the site reports what would be blocked.

    Args:
        existing: The path of each policy that there is, by name.
        admin: The path of the admin; None where there is none.
    """
    wanted = [
        ("site", "/", Preset.HTML, True),
        ("api", API, Preset.API, False),
        ("admin", admin or "", Preset.HTML, False),
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


def page_of(path: str) -> str:
    """Name a page by its route: what a path names may be private. Empty for none of the site's."""
    match = match_path(without_prefix(unquote(path))) if path else None
    return "" if match is None else f"/{match.route.removeprefix('^')}"


def without_prefix(address: str) -> str:
    """Return the path that Django resolves, of an address within the site."""
    return f"/{address.removeprefix(get_script_prefix())}"


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
