"""Whether anybody said which pages may read, and nobody said too much."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from corsheaders.conf import conf as host
from corsheaders.signals import check_request_enabled
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.urls import URLResolver, get_resolver

from pulse.checks.findings import found, one_of
from pulse.conf import conf
from pulse.core.cors import KIND
from pulse.core.document import Document, Item
from pulse.core.origins import ANY
from pulse.core.snapshot import Mode
from pulse.policies import origins

#: What a pattern ends with that matches to the end.
ANCHORS: Final = ("$", r"\Z")
#: What an attacker puts behind an origin that a pattern allows.
BEHIND: Final = ".evil.example"
#: Origins that no pattern means, unless it means all.
UNRELATED: Final = ("https://evil.example", "http://evil.example")
#: What may be a name in a pattern, its full stops escaped or, by mistake, not.
NAMES: Final = re.compile(r"(?:[\w.-]|\\[.-])+")


def check_settings() -> Iterator[CheckMessage]:
    """Look at the host's own settings, the base layer of CORS."""
    if not conf.CORS:
        return
    if host.CORS_ALLOW_ALL_ORIGINS and host.CORS_ALLOW_CREDENTIALS:
        yield found("E070")
    patterns: Any = host.CORS_ALLOWED_ORIGIN_REGEXES
    for pattern in patterns if isinstance(patterns, list | tuple) else ():
        text = pattern.pattern if isinstance(pattern, re.Pattern) else str(pattern)
        if host.CORS_ALLOW_CREDENTIALS and (example := _first_match(pattern, UNRELATED)):
            yield found("E071", pattern=repr(text), example=example)
        elif not _is_anchored(text):
            yield found(
                "W071",
                pattern=repr(text),
                example=f"https://…{BEHIND}",
                corrected=repr(f"(?:{text})$" if "|" in text else f"{text}$"),
            )
        elif example := _first_match(pattern, [*UNRELATED, *_lookalikes(text)]):
            yield found("W074", pattern=repr(text), example=example)


def check_switched_off() -> Iterator[CheckMessage]:
    """Where pulse says nothing of CORS, somebody else does."""
    if conf.CORS or _has_other_middleware():
        return
    view = _api_view()
    if view:
        yield found("W072", view=view)


def check_rules(document: Document) -> Iterator[CheckMessage]:
    """Look at the rules in force, and at what holds without any."""
    if not conf.CORS:
        return
    rules = _rules(document)
    public = [item["path"] for item in rules if item["origin"] == ANY and _is_enforced(item)]
    if public and not settings.DEBUG:
        yield found("W070", paths=one_of(public))
    if settings.DEBUG and not rules and not _is_said_elsewhere():
        yield found("W073", origin=origins.DEFAULT)


def check_deployed_rules(document: Document) -> Iterator[CheckMessage]:
    """An API is for somebody, be it for nobody else."""
    if not conf.CORS or _rules(document) or _is_said_elsewhere():
        return
    view = _api_view()
    if view:
        yield found("W072", view=view)


def _rules(document: Document) -> list[Item]:
    items: Any = document.get(KIND, ())
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _is_enforced(item: Item) -> bool:
    return bool(item.get("mode", Mode.ENFORCE) == Mode.ENFORCE)


def _is_said_elsewhere() -> bool:
    return origins.has_host_settings() or bool(check_request_enabled.receivers)


def _first_match(pattern: Any, origins: Iterable[str]) -> str:
    """Return the first origin that a pattern lets in; empty if none."""
    try:
        return next((origin for origin in origins if re.match(pattern, origin)), "")
    except (re.error, TypeError):
        return ""  # Upstream's own check tells of it.


def _lookalikes(pattern: str) -> Iterator[str]:
    """Yield origins that anybody can have, beside those that a pattern names."""
    for written in NAMES.findall(pattern):
        name = written.replace("\\", "").strip(".-")
        if "." in name:
            for scheme in ("https", "http"):
                yield f"{scheme}://evil{name}"
                yield f"{scheme}://{name.replace('.', 'x', 1)}"


def _is_anchored(pattern: str) -> bool:
    """Whether every alternative of a pattern ends where the text does."""
    for part in _alternatives(pattern):
        is_escaped = part.endswith("\\$")
        if part.endswith(ANCHORS) and not is_escaped:
            continue
        inner = _last_group(part)
        if inner is None or not _is_anchored(inner):
            return False
    return True


def _alternatives(pattern: str) -> list[str]:
    """Split a pattern at each ``|`` that stands in no group and no class."""
    parts, start = [], 0
    for place, mark, depth in _marks(pattern):
        if mark == "|" and depth == 0:
            parts.append(pattern[start:place])
            start = place + 1
    return [*parts, pattern[start:]]


def _last_group(pattern: str) -> str | None:
    """Return what is in the group that a pattern ends with; None if it ends with none."""
    begin, last = None, None
    for place, mark, depth in _marks(pattern):
        if mark == "(" and depth == 1:
            begin = place
        elif mark == ")" and depth == 0:
            last = place
    if begin is None or last != len(pattern) - 1:
        return None
    return pattern[begin + 1 : last].removeprefix("?:")


def _marks(pattern: str) -> Iterator[tuple[int, str, int]]:
    """Yield each bracket and bar that means one, with how many groups are open behind it."""
    depth, in_class, escaped = 0, False, False
    for place, mark in enumerate(pattern):
        if escaped or mark == "\\":
            escaped = not escaped
        elif in_class:
            in_class = mark != "]"
        elif mark == "[":
            in_class = True
        elif mark in "(|)":
            depth += {"(": 1, ")": -1}.get(mark, 0)
            yield place, mark, depth


def _has_other_middleware() -> bool:
    return any("cors" in str(path).lower() for path in settings.MIDDLEWARE or ())


def _api_view() -> str:
    """Name a view of REST framework that a route of this site leads to; empty if none does."""
    if not apps.is_installed("rest_framework"):
        return ""
    return next(_api_views(get_resolver(settings.ROOT_URLCONF)), "")


def _api_views(resolver: URLResolver) -> Iterator[str]:
    from rest_framework.views import APIView

    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from _api_views(entry)
        else:
            view = getattr(entry.callback, "cls", None)
            # Those of pulse itself are for its own pages.
            own = str(getattr(view, "__module__", "")).startswith("pulse.")
            if isinstance(view, type) and issubclass(view, APIView) and not own:
                yield f"{view.__module__}.{view.__qualname__}"
