"""Whether ``MIDDLEWARE`` has what pulse needs, in the order in which it works."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from pulse.checks.findings import MIDDLEWARE, as_setting, found, one_of
from pulse.conf import conf

PULSE: Final = "pulse.middleware.stack.PulseMiddleware"
CORS: Final = "corsheaders.middleware.CorsMiddleware"
AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
SECURITY: Final = "django.middleware.security.SecurityMiddleware"
#: Middlewares that are known to answer a request before the view does.
ANSWERING: Final = frozenset(
    {
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "django.middleware.cache.FetchFromCacheMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "whitenoise.middleware.WhiteNoiseMiddleware",
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of ``MIDDLEWARE``.

    Attributes:
        path: As the setting has it.
        found: What it names; None where that cannot be imported, which Django says at the start.
        lineage: The dotted names of the class and its bases.
    """

    path: str
    found: Any
    lineage: frozenset[str]


def check_place() -> Iterator[CheckMessage]:
    """PulseMiddleware is there, once, and first."""
    entries = _entries()
    ours = [entry.path for entry in entries if PULSE in entry.lineage]
    others = [entry.path for entry in entries if PULSE not in entry.lineage]
    corrected = as_setting([ours[0] if ours else MIDDLEWARE, *others])
    if not ours:
        yield found("E010", corrected=corrected)
    elif len(ours) > 1:
        yield found("E012", times=len(ours), corrected=corrected)
    elif entries[0].path != ours[0]:
        before = [entry.path for entry in entries]
        yield found("E011", before=one_of(before[: before.index(ours[0])]), corrected=corrected)


def check_async() -> Iterator[CheckMessage]:
    """Nothing makes Django run pulse in a thread where the site is served by ASGI."""
    if not getattr(settings, "ASGI_APPLICATION", None):
        return
    names = [
        entry.path
        for entry in _entries()
        # As Django's load_middleware reads it.
        if entry.found is not None and not getattr(entry.found, "async_capable", False)
    ]
    for name in names:
        yield found("W010", names=name)


def check_authentication() -> Iterator[CheckMessage]:
    """Who is named by the user is found before the view."""
    if "user" not in conf.CLIENT_IDENTITY:
        return
    if not any(AUTHENTICATION in entry.lineage for entry in _entries()):
        yield found("W011")


def check_cors() -> Iterator[CheckMessage]:
    """One middleware writes CORS headers, and sees every answer."""
    entries = _entries()
    cors = [entry.path for entry in entries if CORS in entry.lineage]
    if not cors:
        return
    if len(cors) > 1:
        kept = [entry.path for entry in entries if entry.path not in cors]
        kept.insert(_place_of(cors[0], entries), cors[0])
        yield found("W012", names=one_of(cors), corrected=as_setting(kept))
    place = _place_of(cors[0], entries)
    before = [entry.path for entry in entries[:place] if _answers(entry)]
    if before:
        paths = [entry.path for entry in entries if entry.path != cors[0]]
        paths.insert(_place_of(before[0], entries), cors[0])
        yield found("W013", before=one_of(before), corrected=as_setting(paths))


def has(path: str) -> bool:
    """Whether a middleware, or a class made of it, is in ``MIDDLEWARE``."""
    return any(path in entry.lineage for entry in _entries())


def _entries() -> Sequence[Entry]:
    paths: Any = settings.MIDDLEWARE
    if not isinstance(paths, list | tuple):
        return ()
    return [_entry(path) for path in paths if isinstance(path, str)]


def _entry(path: str) -> Entry:
    try:
        named = import_string(path)
    except Exception:  # noqa: BLE001 - whatever a module does as it is imported is Django's to tell
        named = None
    bases = getattr(named, "__mro__", ())
    return Entry(path, named, frozenset(f"{base.__module__}.{base.__qualname__}" for base in bases))


def _answers(entry: Entry) -> bool:
    return bool(entry.lineage & ANSWERING) or (
        # It redirects to HTTPS, and a browser follows no redirect of a preflight.
        SECURITY in entry.lineage and settings.SECURE_SSL_REDIRECT
    )


def _place_of(path: str, entries: Sequence[Entry]) -> int:
    return next(place for place, entry in enumerate(entries) if entry.path == path)
