"""Rules that nearly every site wants, ready to be given to its routes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.urls import get_resolver
from django.utils.functional import Promise
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from pulse.core.claims import OnStoreError
from pulse.core.endpoints import Match
from pulse.policies import routes

MAX_NAME: Final = 64
#: What only leads to another route needs no limit of its own.
REDIRECT: Final = "django.views.generic.base.RedirectView"


@dataclass(frozen=True, slots=True)
class PresetRule:
    """One endpoint limit of a preset, counted by address.

    Attributes:
        rate: Empty for what limits a size or a time alone.
    """

    rate: str = ""
    methods: tuple[str, ...] = ()
    on_store_error: OnStoreError = OnStoreError.LOCAL
    max_body_bytes: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Preset:
    """What a preset is for, what it makes, and which routes look as if they wanted it.

    Attributes:
        looks_like: Found in the URL name, route or view of such a route.
    """

    name: str
    title: str | Promise
    why: str | Promise
    rules: tuple[PresetRule, ...]
    looks_like: re.Pattern[str]


PRESETS: Final[Sequence[Preset]] = (
    Preset(
        "auth-login",
        _("Login"),
        _("Makes guessing passwords slow. Nobody logs in while nothing can be counted."),
        (
            PresetRule("5/m", ("POST",), OnStoreError.CLOSED),
            PresetRule("20/m", ("GET",), OnStoreError.CLOSED),
        ),
        re.compile(r"log-?_?in|sign-?_?in|token|session", re.IGNORECASE),
    ),
    Preset(
        "auth-register",
        _("Registration"),
        _("Keeps machines from opening accounts."),
        (PresetRule("3/m", ("POST",)), PresetRule("20/m", ("GET",))),
        re.compile(r"regist(er|ration)|sign-?_?up|join", re.IGNORECASE),
    ),
    Preset(
        "export",
        _("Export"),
        _("For what is costly to put together, such as reports and archives."),
        (PresetRule("10/m", timeout_s=300.0),),
        re.compile(r"export|report|archive|packag", re.IGNORECASE),
    ),
    Preset(
        "download",
        _("Download"),
        _("For files that are ready, and large."),
        (PresetRule("30/m"),),
        re.compile(r"download|files?\b|attachment", re.IGNORECASE),
    ),
    Preset(
        "upload",
        _("Upload"),
        _("For what takes files, which are larger than other bodies."),
        (PresetRule(max_body_bytes=100 * 2**20),),
        re.compile(r"upload|import|ingest", re.IGNORECASE),
    ),
    Preset(
        "api-time",
        _("API"),
        _("For what a program waits for: better no answer than a late one."),
        (PresetRule(timeout_s=30.0),),
        re.compile(r"\bapi\b", re.IGNORECASE),
    ),
)


def find_preset(name: str) -> Preset | None:
    """Return a preset by its name."""
    return next((preset for preset in PRESETS if preset.name == name), None)


def suggested(preset: Preset) -> list[Match]:
    """Return the routes of this site that look as if they wanted a preset, once each."""
    found: dict[tuple[str, str], Match] = {}
    for match in routes.walk(get_resolver(settings.ROOT_URLCONF)):
        # Of an admin only its login: the rest is for those who are in. pulse's own views bound
        # themselves what they take.
        admin = match.view.startswith("django.contrib.admin.")
        if (admin and not match.url_name.endswith(":login")) or match.view == REDIRECT:
            continue
        if match.view.startswith("pulse."):
            continue
        if preset.looks_like.search(f"{match.url_name} {match.route}"):
            found.setdefault(target_of(match), match)
    return sorted(found.values(), key=lambda match: ":" in match.url_name)


def target_of(match: Match) -> tuple[str, str]:
    """Return matcher and value that name a route best: its URL name, or else its pattern."""
    return ("url_name", match.url_name) if match.url_name else ("route", match.route)


def items(
    preset: Preset,
    targets: Iterable[tuple[str, str]],
    existing: Mapping[str, tuple[str, str]],
) -> list[dict[str, Any]]:
    """Write the endpoint limits of a preset as items of the document.

    Args:
        preset: What to make.
        targets: Matcher and value of each route.
        existing: The target of each endpoint limit that there is, by name: a name that is
            taken by another route gets a number.
    """
    taken = dict(existing)
    found = []
    for matcher, value in targets:
        for rule in preset.rules:
            name = _free_name(_name(preset, rule, value), (matcher, value), taken)
            taken[name] = (matcher, value)
            found.append(
                {
                    "name": name,
                    matcher: value,
                    "methods": list(rule.methods),
                    "key": "ip",
                    "on_store_error": rule.on_store_error.value,
                    "limits": [{"rate": rule.rate}] if rule.rate else [],
                    "max_body_bytes": rule.max_body_bytes,
                    "timeout_s": rule.timeout_s,
                    "description": f"Preset {preset.name}",
                }
            )
    return found


def _name(preset: Preset, rule: PresetRule, value: str) -> str:
    slug = slugify(value.replace(":", "-").replace("/", "-"))
    parts = [preset.name]
    if slug and not preset.name.endswith(slug):
        parts.append(slug)
    parts += [method.lower() for method in rule.methods]
    return "-".join(parts)[: MAX_NAME - 4]


def _free_name(name: str, target: tuple[str, str], taken: Mapping[str, tuple[str, str]]) -> str:
    number, free = 1, name
    while taken.get(free, target) != target:
        number += 1
        free = f"{name}-{number}"
    return free
