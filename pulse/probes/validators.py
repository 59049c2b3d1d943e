"""Rules on one value or one row of probes, shared by admin, API and document."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Sum
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.conf import conf
from pulse.core.addresses import check_address, parse_opening, parse_openings
from pulse.core.endpoints import METHODS
from pulse.core.expectations import parse_expectations
from pulse.core.requests import check_header
from pulse.core.schedules import parse_cron, parse_every
from pulse.core.targets import SAFE_METHODS, EndpointId, parse_target
from pulse.core.urls import parse_url
from pulse.core.windows import make_window
from pulse.exceptions import (
    ForbiddenAddress,
    ForbiddenUrl,
    InvalidSchedule,
    InvalidWindow,
    PulseError,
)
from pulse.policies import routes

if TYPE_CHECKING:
    from pulse.probes.models import (
        MaintenanceWindow,
        ProbePayload,
        ProbeSchedule,
        ProbeTarget,
    )

#: Parameters, query and headers each, as compact JSON, in bytes.
MAX_INPUT_BYTES: Final = 64 * 1024
MAX_TARGETS: Final = 10_000
MAX_RETRIES: Final = 5
KB: Final = 1024
MB: Final = 1024 * 1024


def validate_parameters(value: Any) -> None:
    """Refuse anything but texts and numbers by name."""
    if not isinstance(value, dict) or not all(
        isinstance(content, str | int | float) and not isinstance(content, bool)
        for content in value.values()
    ):
        raise ValidationError(_("Write texts or numbers by name, such as {pk: 1}."), code="values")
    _check_size(value)


def validate_headers(value: Any) -> None:
    """Refuse anything but header values by name, and headers that are the client's own."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValidationError(_("Write texts by header name."), code="headers")
    for name, content in value.items():
        _run(check_header, name, content)
    if len({name.lower() for name in value}) != len(value):
        raise ValidationError(_("A header is named twice."), code="headers")
    _check_size(value)


def validate_method(value: str) -> None:
    """Refuse what is no HTTP method."""
    if value not in METHODS:
        raise ValidationError(_("Use one of %(known)s."), params={"known": ", ".join(METHODS)})


def validate_site_path(value: str) -> None:
    """Refuse what is no path of this site; a query belongs to the query."""
    if (
        not value.startswith("/")
        or value.startswith("//")
        or not value.isprintable()
        or set(value) & set(" ?#\\")
    ):
        raise ValidationError(_("Write a path such as /api/products/; the query stands apart."))


def validate_url(value: str) -> None:
    """Refuse a URL that the address guard would refuse by its text alone."""
    _run(parse_url, value)


def validate_references(target: "ProbeTarget") -> None:
    """Refuse secrets of variables that the site does not open to probes."""
    from pulse.probes import secrets

    names = (
        value.removeprefix(secrets.REFERENCE)
        for value in texts_of(target.secret_headers)
        if value.startswith(secrets.REFERENCE)
    )
    errors = [secrets.closed(name) for name in names if not secrets.is_open(name)]
    if errors:
        raise ValidationError({"secret_headers": errors})


def validate_allow_networks(value: Any) -> None:
    """Refuse anything but a list of networks, each with a port or without."""
    validate_texts(value)
    for network in value:
        _run(parse_opening, network)


def validate_expect(value: Any) -> None:
    """Refuse what is no expectation."""
    _run(parse_expectations, value)


def validate_target(value: str) -> None:
    """Refuse what is neither a target's name nor an endpoint of this site (S0-07)."""
    try:
        found = parse_target(value)
    except PulseError as error:
        raise ValidationError(str(error), code="invalid_endpoint_id") from error
    if isinstance(found, EndpointId) and found.route not in _known("route"):
        raise ValidationError(_("Unknown target: %(name)s"), params={"name": value})


def validate_targets(value: Any) -> None:
    """Refuse anything but a list of targets."""
    validate_texts(value)
    if len(value) > MAX_TARGETS:
        raise ValidationError(_("Name at most %(most)d targets."), params={"most": MAX_TARGETS})
    for name in value:
        validate_target(name)
        if " " in name and name.partition(" ")[0] not in SAFE_METHODS:
            text = _("%(name)s may change things. Make a target of it that says so.")
            raise ValidationError(text, params={"name": name})


def validate_texts(value: Any) -> None:
    """Refuse anything but a list of different texts."""
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise ValidationError(_("Write a list of texts."), code="texts")
    if len(set(value)) != len(value):
        raise ValidationError(_("Something is named twice."), code="texts")


def texts_of(value: Any) -> list[str]:
    """Return the texts in a list or a mapping: what else is there, its own validator tells of."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [text for text in value if isinstance(text, str)]


def validate_every(value: str) -> None:
    """Refuse what is no interval."""
    _run(parse_every, value)


def validate_cron(value: str) -> None:
    """Refuse what is no cron expression, or one that never comes."""
    _run(parse_cron, value)


def validate_time_zone(value: str) -> None:
    """Refuse what is no time zone."""
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError) as error:  # What it raises depends on the text.
        raise ValidationError(
            _("“%(name)s” is no time zone. Write one such as Europe/Berlin."),
            params={"name": value},
        ) from error


def validate_place(target: "ProbeTarget") -> None:
    """Refuse a route of this site that there is not, or without what it needs."""
    if not isinstance(target.path_params, dict):
        return  # Its own field says so.
    if target.path_params and not target.url_name:
        raise ValidationError({"path_params": __("Only a URL name takes parameters.")})
    if target.url_name:
        try:
            reverse(target.url_name, kwargs=target.path_params or None)
        except NoReverseMatch as error:
            known = target.url_name in _known("url_name")
            field = "path_params" if known else "url_name"
            text = (
                __("The route does not take these parameters.")
                if known
                else __("There is no route of this name.")
            )
            raise ValidationError({field: text}) from error


def validate_address(target: "ProbeTarget") -> None:
    """Refuse a URL whose host is an address that may not be connected to.

    What a name's address is, each attempt judges: it may be another by then.
    """
    try:
        url = parse_url(target.url)
        if url.address is not None:
            check_address(url.address, url.port, parse_openings(texts_of(target.allow_networks)))
    except ForbiddenUrl:
        return  # Its own field says so.
    except ForbiddenAddress as error:
        raise ValidationError({"url": str(error)}) from error


def validate_pace(schedule: "ProbeSchedule") -> None:
    """Refuse retries that would not have ended when the schedule is due again."""
    if not schedule.every or not 0 < schedule.retries <= MAX_RETRIES:
        return  # Of too many its own field says so: two to the power of them would take for ever.
    try:
        interval_s = parse_every(schedule.every)
    except PulseError:
        return  # Its own field says so.
    waits = schedule.retry_backoff_s * (2**schedule.retries - 1)
    if waits >= interval_s:
        text = __("Waiting between retries takes %(waits)g s, longer than the interval.")
        raise ValidationError({"retry_backoff_s": text % {"waits": waits}})


def payload_size(body: Any) -> int:
    """Return the bytes of a payload's body: a text's own, or those of compact JSON, in UTF-8."""
    if body is None:
        return 0
    text = body if isinstance(body, str) else _compact(body)
    return len(text.encode("utf-8", "surrogatepass"))


def validate_payload(payload: "ProbePayload") -> None:
    """Refuse a body that is too large by itself (S0-08), or with all others (S0-09)."""
    size, most = payload_size(payload.body), conf.PROBE_PAYLOAD_MAX_BYTES
    if size > most:
        raise ValidationError(
            {
                "body": f"Payload too large: {size} bytes. "
                f"Maximum allowed: {most} bytes ({most // KB}KB)"
            }
        )
    others = type(payload)._default_manager.exclude(pk=payload.pk)
    total = size + (others.aggregate(total=Sum("size"))["total"] or 0)
    if total > conf.PROBE_PAYLOAD_TOTAL_BYTES:
        raise ValidationError({"body": too_much_stored(total)})


def too_much_stored(total: int) -> str:
    """Say that payloads together are too large (S0-09); ``total`` is what a write would make."""
    most = conf.PROBE_PAYLOAD_TOTAL_BYTES
    return f"Storage limit exceeded. Current: {total} bytes, Maximum: {most} bytes ({most // MB}MB)"


def validate_window(window: "MaintenanceWindow") -> None:
    """Refuse a window that opens again before it closes, for ever."""
    if not window.cron:
        return
    try:
        make_window(
            window.name,
            cron=window.cron,
            time_zone=window.time_zone,
            duration_s=window.duration_s,
        )
    except InvalidWindow as error:
        raise ValidationError({"duration_s": str(error)}) from error
    except InvalidSchedule:
        return  # Its own field says so.


def _known(matcher: str) -> frozenset[str]:
    return routes.known_values(settings.ROOT_URLCONF)[matcher]


def _check_size(value: Any) -> None:
    if len(_compact(value).encode("utf-8", "surrogatepass")) > MAX_INPUT_BYTES:
        raise ValidationError(_("That is more than 64 KB."), code="size")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _run(parse: Callable[..., object], *values: object) -> None:
    try:
        parse(*values)
    except PulseError as error:
        raise ValidationError(str(error), code=type(error).__name__) from error
