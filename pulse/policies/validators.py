"""Rules on one value, shared by admin, API and document: the core's parsers, as Django asks."""

import re
from collections.abc import Callable
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from pulse.core.clients import HEADER_SOURCE
from pulse.core.endpoints import METHODS, parse_path
from pulse.core.headers import parse_header
from pulse.core.networks import UNIX, parse_network
from pulse.core.origins import parse_origin
from pulse.core.quotas import parse_rate
from pulse.exceptions import PolicyError

HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
KEYS: Final = ("client", "ip", "user", "api_key", "global")
MAX_HEADER_VALUE: Final = 256

validate_name = RegexValidator(
    re.compile(r"^[a-z0-9_-]+\Z"),
    _("Use small letters, digits, hyphens and underscores, such as login-post."),
    code="name",
)


validate_key_prefix = RegexValidator(
    re.compile(r"^[a-z0-9]{8}\Z"),
    _("Write the prefix of a key: the eight characters after pulse_, such as k3v9x2ab."),
    code="api_key",
)


def validate_rate(value: str) -> None:
    """Refuse what is no rate."""
    _run(parse_rate, value)


def validate_network(value: str) -> None:
    """Refuse what is no address or CIDR network."""
    _run(parse_network, value)


def validate_proxy(value: str) -> None:
    """Refuse what is neither a network nor ``unix``."""
    if value != UNIX:
        _run(parse_network, value)


def validate_path(value: str) -> None:
    """Refuse what cannot be a path prefix."""
    _run(parse_path, value)


def validate_origin(value: str) -> None:
    """Refuse what is no origin."""
    _run(parse_origin, value)


def validate_header_names(value: Any) -> None:
    """Refuse anything but a list of header names."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError(_("Write a list of header names."), code="headers")
    wrong = [name for name in value if not HEADER_NAME.fullmatch(name) or name == "*"]
    if wrong:
        raise ValidationError(
            _("“%(name)s” is not a header's name."), code="headers", params={"name": wrong[0]}
        )
    if len({name.lower() for name in value}) != len(value):
        raise ValidationError(_("A header is named twice."), code="headers")


def validate_header_values(value: Any) -> None:
    """Refuse anything but header values, or null, by name."""
    if not isinstance(value, dict):
        raise ValidationError(
            _("Write headers by name, such as {Referrer-Policy: same-origin}."), code="headers"
        )
    for name, content in value.items():
        if content is not None and not isinstance(content, str):
            raise ValidationError(
                _("%(name)s: write a text, or null to remove the header."),
                code="headers",
                params={"name": name},
            )
        try:
            parse_header(name, content)
        except PolicyError as error:
            raise ValidationError(str(error), code=type(error).__name__) from error
    if len({name.lower() for name in value}) != len(value):
        raise ValidationError(_("A header is named twice."), code="headers")


def validate_methods(value: Any) -> None:
    """Refuse anything but a list of HTTP methods."""
    if not isinstance(value, list) or not all(isinstance(method, str) for method in value):
        raise ValidationError(_("Write a list of methods, such as [GET, POST]."), code="methods")
    unknown = [method for method in value if method not in METHODS]
    if unknown:
        raise ValidationError(
            _("%(methods)s: not a method. Use %(known)s."),
            code="methods",
            params={"methods": ", ".join(unknown), "known": ", ".join(METHODS)},
        )
    if len(set(value)) != len(value):
        raise ValidationError(_("A method is named twice."), code="methods")


def validate_key(value: Any) -> None:
    """Refuse anything but a list of what can be counted."""
    if not isinstance(value, list) or not value:
        raise ValidationError(_("Say what is counted, such as client or ip."), code="key")
    for source in value:
        if source in KEYS:
            continue
        if (
            isinstance(source, str)
            and source.startswith(HEADER_SOURCE)
            and HEADER_NAME.fullmatch(source.removeprefix(HEADER_SOURCE))
        ):
            continue
        raise ValidationError(
            _(
                "“%(source)s” cannot be counted. "
                "Use client, ip, user, api_key, global or header:NAME."
            ),
            code="key",
            params={"source": source},
        )
    if len(set(value)) != len(value):
        raise ValidationError(_("A part is named twice."), code="key")


def validate_header(value: str) -> None:
    """Refuse what is not ``Name: value``."""
    name, colon, content = value.partition(":")
    if not colon or not HEADER_NAME.fullmatch(name.strip()) or not content.strip():
        raise ValidationError(
            _("Write the header's name and value, such as X-Plan: gold."), code="header"
        )
    if len(content) > MAX_HEADER_VALUE or not content.isprintable():
        raise ValidationError(_("A header has no such value."), code="header")


def _run(parse: Callable[[str], object], value: str) -> None:
    try:
        parse(value)
    except PolicyError as error:
        raise ValidationError(str(error), code=type(error).__name__) from error
