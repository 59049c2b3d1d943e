"""Whether every key of ``settings.PULSE`` is known, and its value one that can be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage

from pulse.checks.findings import did_you_mean, found, one_of
from pulse.conf import (
    AUTH_FAILURES,
    BUCKETS_S,
    CHOICES,
    IDENTITY_SOURCES,
    METRICS_NETWORKS,
    NUMBERS,
    PROBE_SECRET_ENV,
    SLA_ERROR_RATE,
    VARIABLE,
    Number,
    conf,
    is_share,
)
from pulse.core.clients import HEADER_SOURCE
from pulse.core.networks import parse_network
from pulse.core.quotas import make_quota
from pulse.exceptions import InvalidNetwork, InvalidQuota
from pulse.metrics import backends
from pulse.policies.validators import HEADER_NAME

FLAGS: Final = (
    *("ENABLED", "DETAILED_ERRORS", "CORS", "ACCESS_LOG", "METRICS", "COUNT_QUERIES"),
    *("PROMETHEUS_COMPAT", "PROMETHEUS_ADDRESSES"),
)
TEXTS: Final = {
    "CACHE": "default",
    "METRICS_BACKEND": "project.measures.Backend",
    "OUTBOUND_NETWORK": "",
    "PROBE_BASE_URL": "http://127.0.0.1:8000",
    "PROBE_OPENAPI": "project.api.openapi",
    "SITE_URL": "https://www.example.com",
}
OTHERS: Final = (
    *("AUTH_FAILURES", "CLIENT_IDENTITY", "METRICS_NETWORKS"),
    *("PROBE_SECRET_ENV", "SECRET_KEYS", "SLA_ERROR_RATE", "USAGE_WARNING"),
)


def check_values() -> Iterator[CheckMessage]:
    """Look at every key and value of ``PULSE``; at what is not set, never."""
    entries: Any = getattr(settings, "PULSE", {})
    if not isinstance(entries, Mapping):
        yield found("E001", found=type(entries).__name__)
        return
    others: dict[str, Callable[[str, Any], Iterator[CheckMessage]]] = {
        "AUTH_FAILURES": _check_rate,
        "CLIENT_IDENTITY": _check_identity,
        "METRICS_NETWORKS": _check_networks,
        "PROBE_SECRET_ENV": _check_variables,
        "SECRET_KEYS": _check_keys,
        "SLA_ERROR_RATE": _check_share,
        "USAGE_WARNING": _check_share,
    }
    for key, value in entries.items():
        if key not in conf.names():
            yield _unknown(key)
        elif key == "METRICS_BACKEND":
            yield from _check_backend(key, value)
        elif key in FLAGS:
            yield from _check_flag(key, value)
        elif key in TEXTS:
            yield from _check_text(key, value)
        elif key in NUMBERS:
            yield from _check_number(key, value, NUMBERS[key])
        elif key in CHOICES:
            yield from _check_choice(key, value, CHOICES[key])
        elif key in others:
            yield from others[key](key, value)


def _unknown(key: object) -> CheckMessage:
    close = get_close_matches(str(key).upper(), conf.names(), n=1)
    return found(
        "E002",
        key=key,
        close=did_you_mean(close[0] if close else None),
        known=one_of(sorted(conf.names())),
    )


def _check_flag(key: str, value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, bool):
        yield _wrong_type(key, value, "True or False", "True")


def _check_text(key: str, value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, str):
        yield _wrong_type(key, value, "a text", f'"{TEXTS[key]}"')


def _check_number(key: str, value: Any, number: Number) -> Iterator[CheckMessage]:
    # True is an int to Python; nobody who writes it means one millisecond.
    if not isinstance(value, int) or isinstance(value, bool):
        yield _wrong_type(key, value, "a whole number", number.default)
    elif not number.least <= value <= number.most:
        yield found(
            "E004",
            key=key,
            value=value,
            least=f"{number.least:,}",
            most=f"{number.most:,}",
            example=number.default,
        )
    elif key == "METRICS_BUCKET_S" and value not in BUCKETS_S:
        yield found("E140", value=value, choices=one_of([str(seconds) for seconds in BUCKETS_S]))


def _check_backend(key: str, value: Any) -> Iterator[CheckMessage]:
    yield from _check_text(key, value)
    if value and isinstance(value, str) and backends.current() is None:
        yield found("E141", path=value)


def _check_choice(key: str, value: Any, choices: Sequence[str]) -> Iterator[CheckMessage]:
    if not isinstance(value, str):
        yield _wrong_type(key, value, "a text", f'"{choices[0]}"')
    elif value not in choices:
        close = get_close_matches(value.lower(), choices, n=1)
        yield found(
            "E005",
            key=key,
            value=value,
            close=did_you_mean(close[0] if close else None),
            example=close[0] if close else choices[0],
            choices=one_of(choices),
        )


def _check_identity(key: str, value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, list | tuple):
        yield _wrong_type(key, value, "a list", '["user", "address"]')
        return
    if not value:
        yield found("E006")
        return
    unknown = [source for source in value if not _is_source(source)]
    for source in unknown:
        yield found("E007", source=repr(source), close=did_you_mean(_closest_source(source)))
    if unknown:
        return
    unique = list(dict.fromkeys(value))
    for source in unique:
        if value.count(source) > 1:
            yield found("W002", source=source, corrected=_listed(unique))
    late = unique[unique.index("address") + 1 :] if "address" in unique else []
    if late:
        corrected = [*(source for source in unique if source != "address"), "address"]
        yield found("W001", sources=one_of(late), corrected=_listed(corrected))


def _check_rate(key: str, value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, str):
        yield _wrong_type(key, value, "a rate", f'"{AUTH_FAILURES}"')
        return
    try:
        make_quota(value)
    except InvalidQuota as error:
        yield found("E009", key=key, reason=str(error), example=AUTH_FAILURES)


def _check_keys(key: str, value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, list | tuple):
        yield _wrong_type(key, value, "a list", '["a long random text"]')
        return
    for place, text in enumerate(value):
        if not isinstance(text, str) or not text:
            # Of a key nothing is told, not even where it is wrong.
            yield found("E008", key=key, number=place + 1)


def _check_variables(key: str, value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, list | tuple):
        yield _wrong_type(key, value, "a list", f'["{PROBE_SECRET_ENV[0]}"]')
        return
    for name in value:
        if not isinstance(name, str) or not VARIABLE.fullmatch(name):
            yield found("E122", key=key, name=str(name), example=PROBE_SECRET_ENV[0])


def _check_share(key: str, value: Any) -> Iterator[CheckMessage]:
    if not is_share(value):
        yield _wrong_type(key, value, "a number from 0 to 1", str(SLA_ERROR_RATE))


def _check_networks(key: str, value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, list | tuple):
        yield _wrong_type(key, value, "a list", f'["{METRICS_NETWORKS[0]}"]')
        return
    for text in value:
        try:
            parse_network(str(text))
        except InvalidNetwork as error:
            yield found("E142", key=key, reason=str(error), example=METRICS_NETWORKS[0])


def _is_source(source: Any) -> bool:
    if not isinstance(source, str):
        return False
    if source.startswith(HEADER_SOURCE):
        return HEADER_NAME.fullmatch(source.removeprefix(HEADER_SOURCE)) is not None
    return source in IDENTITY_SOURCES


def _closest_source(source: Any) -> str | None:
    """Guess what was meant: a source misspelt, or a header named without saying so."""
    if not isinstance(source, str):
        return None
    close = get_close_matches(source.lower(), (*IDENTITY_SOURCES, "header"), n=1)
    if close and close[0] != "header":
        return close[0]
    name = source.partition(":")[2].strip() if ":" in source else source
    return f"{HEADER_SOURCE}{name}" if HEADER_NAME.fullmatch(name) and "-" in name else None


def _listed(sources: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{source}"' for source in sources) + "]"


def _wrong_type(key: str, value: Any, wanted: str, example: object) -> CheckMessage:
    # The type alone: a value in the wrong place may be a secret.
    kind = "None" if value is None else f"of the type {type(value).__name__}"
    return found("E003", key=key, found=kind, wanted=wanted, example=example)
