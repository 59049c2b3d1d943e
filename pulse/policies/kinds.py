"""The kinds of policy: how each stands in the document, and how it becomes rows.

A room registers its kinds in ``ready()``; export, apply, difference and compiler walk the registry
in its order, in which what is named comes before what names it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Field, Model, Prefetch, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from pulse.core.document import Document, Item, canonical, key_of
from pulse.core.quotas import Algorithm
from pulse.exceptions import InvalidQuota
from pulse.policies.bases import FIRST_YEAR, LAST_YEAR, Limit, Policy
from pulse.policies.consistency import MAX_LIMITS, check_limits
from pulse.policies.edge import AccessRule, CorsOrigin, HeaderPolicy
from pulse.policies.models import (
    EndpointLimit,
    Exemption,
    OwnLimit,
    RateTier,
    TierAssignment,
    TierLimit,
    TrustedProxy,
)

Errors = dict[str, list[str]]

SHARED: Final = ("mode", "percent", "description", "starts_at", "ends_at")
TIMES: Final = ("starts_at", "ends_at")
NUMBER: Final = (int, float)
LIMIT_FIELDS: Final = ("rate", "burst", "algorithm")


@dataclass(frozen=True)
class Named:
    """A field that names a row of another model by its natural key."""

    model: type[Model]
    by: str


@dataclass(frozen=True)
class Problem:
    """What keeps one item of a whole document from being a policy beside the others.

    Attributes:
        place: The item's, in the document's list of its kind.
        field: Of which field; empty for the item as a whole.
    """

    place: int
    field: str
    text: str


@dataclass(frozen=True)
class Kind:
    """One list of the document.

    Attributes:
        name: Its key in the document.
        model: Its rows.
        key: The fields that name an item.
        fields: The fields of its own, in the order of the document; the shared ones follow.
        names: Those fields that name other rows.
        limits: The rows of an item's list ``limits``; None where items have no such list.
        short: The field that a bare string stands for.
        singles: Fields that may be one text where the rows keep a list.
        check: Looks the kind's items over within a whole document, defaults written out: what
            validators of one row cannot see.
        alone: Looks over a row that is written by itself, by a form or the API, for what a
            document may leave to somebody else; texts by field.
    """

    name: str
    model: type[Policy]
    key: tuple[str, ...]
    fields: tuple[str, ...]
    names: Mapping[str, Named] = field(default_factory=dict)
    limits: type[Limit] | None = None
    short: tuple[str, ...] = ()
    singles: tuple[str, ...] = ()
    check: Callable[[Document], Iterable[Problem]] | None = None
    alone: Callable[[Any], Mapping[str, Sequence[str]]] | None = None

    @property
    def all_fields(self) -> tuple[str, ...]:
        """Every field that an item may have."""
        return (*self.fields, *(("limits",) if self.limits else ()), *SHARED)

    def column(self, name: str) -> "Field[Any, Any]":
        """Return the column of a field other than ``limits``."""
        return cast("Field[Any, Any]", self.model._meta.get_field(name))

    def key_of(self, item: Item) -> dict[str, Any]:
        """Return the natural key of an item that may leave out what has a default."""
        defaults = {
            name: self.column(name).get_default() for name in self.key if name not in self.names
        }
        written = {name: item[name] for name in self.key if item.get(name) is not None}
        return key_of({**defaults, **written}, self.key)

    def rows(self, using: str | None = None) -> list[Policy]:
        """Read every row with what it names, in a fixed number of queries."""
        return list(self.queryset(using))

    def queryset(self, using: str | None = None) -> "QuerySet[Any]":
        """Return the rows, to be read with what they name."""
        rows: QuerySet[Any] = self.model._default_manager.using(using).all()
        if self.names:  # Without a name it would follow every key there is.
            rows = rows.select_related(*self.names)
        if not self.limits:
            return rows
        # Into a list of its own: a queryset for each of ten thousand rows costs half a second.
        return rows.prefetch_related(Prefetch("limits", to_attr="listed_limits"))

    def to_item(self, row: Any) -> dict[str, Any]:
        """Write a row as an item, defaults written out, unset choices left out."""
        item: dict[str, Any] = {}
        for name in self.fields:
            value = getattr(row, name)
            if name in self.names:
                value = None if value is None else getattr(value, self.names[name].by)
            elif name in self.singles and isinstance(value, list) and len(value) == 1:
                value = value[0]
            if value is None or value == "":
                continue
            item[name] = copy(value)
        if self.limits:
            listed = getattr(row, "listed_limits", None)
            limits = row.limits.all() if listed is None else listed
            item["limits"] = [limit_to_item(limit) for limit in limits]
        for name in SHARED:
            value = getattr(row, name)
            item[name] = time_to_text(value) if name in TIMES else value
        return item

    def values(self, item: Item, errors: Errors, place: str) -> dict[str, Any]:
        """Read an item as the values of a row; what cannot be read is told by its place.

        Named rows come back as the texts that name them.
        """
        values: dict[str, Any] = {}
        for name, value in item.items():
            if name == "limits" and self.limits:
                continue
            if name not in self.all_fields:
                known = ", ".join(self.all_fields)
                add_error(errors, f"{place}.{name}", _("Unknown field. Known are: %s.") % known)
            elif name in TIMES:
                values[name] = read_time(value, errors, f"{place}.{name}")
            elif name in self.singles and isinstance(value, str):
                values[name] = [value]
            else:
                values[name] = self._checked(name, value, errors, f"{place}.{name}")
        return values

    def _checked(self, name: str, value: Any, errors: Errors, place: str) -> Any:
        """Refuse what JSON has and the column has not: Django would turn it into text."""
        if name in self.names:
            if value is not None and not isinstance(value, str):
                add_error(errors, place, _("Write a name."))
                return None
            return value
        column = self.column(name)
        if value is None:
            if column.null or column.has_default() or column.blank:
                return column.get_default()
            add_error(errors, place, _("This is required."))
            return ""
        if text := _not_of(column.get_internal_type(), value):
            add_error(errors, place, text)
            return column.get_default()
        return value


def _not_of(column: str, value: Any) -> str:
    """Say what a column of a type wants instead of a value; nothing if it takes that."""
    if column == "JSONField":
        # YAML makes a date of what looks like one.
        return _("Write dates and times in quotes, as texts.") if _has_date(value) else ""
    expected: dict[str, tuple[Any, str]] = {
        "CharField": (str, _("Write a text.")),
        "TextField": (str, _("Write a text.")),
        "BooleanField": (bool, _("Write true or false.")),
        "PositiveIntegerField": (int, _("Write a whole number.")),
        "PositiveSmallIntegerField": (int, _("Write a whole number.")),
        "SmallIntegerField": (int, _("Write a whole number.")),
        "PositiveBigIntegerField": (int, _("Write a whole number.")),
        "FloatField": (NUMBER, _("Write a number.")),
    }
    kind = expected.get(column)
    return kind[1] if kind and not _is_of(value, kind[0]) else ""


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; True is no number, and neither are those without end."""
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        return False
    try:
        return kind is not NUMBER or math.isfinite(value)
    except OverflowError:  # An integer of a thousand digits, which no column holds.
        return False


def _has_date(value: object) -> bool:
    """Whether there is a date in a value, which JSON has none of."""
    if isinstance(value, Mapping):
        return any(map(_has_date, value.values()))
    return any(map(_has_date, value)) if isinstance(value, list) else isinstance(value, date)


def limit_to_item(limit: Limit) -> dict[str, Any]:
    """Write a limit, its burst written out."""
    try:
        burst = limit.quota.capacity
    except InvalidQuota:  # Written past the validators; the compiler will name it.
        burst = limit.burst or 0
    return {"rate": limit.rate, "burst": burst, "algorithm": limit.algorithm}


def read_limits(
    model: type[Limit], items: Any, errors: Errors, place: str, cost: int = 1
) -> list[Limit]:
    """Read a list of limits as unsaved rows, each validated, and together possible."""
    if not isinstance(items, list):
        add_error(errors, place, _("Write a list of limits, such as [{rate: 10/s}]."))
        return []
    if len(items) > MAX_LIMITS:
        add_error(errors, place, _("At most %d limits.") % MAX_LIMITS)
        return []
    limits = []
    for number, written in enumerate(items):
        here = f"{place}.{number}"
        item = {"rate": written} if isinstance(written, str) else written
        if not isinstance(item, Mapping):
            add_error(errors, here, _("Write a limit, such as {rate: 10/s, burst: 20}."))
            continue
        for name in item.keys() - set(LIMIT_FIELDS):
            known = ", ".join(LIMIT_FIELDS)
            add_error(errors, f"{here}.{name}", _("Unknown field. Known are: %s.") % known)
        limits.append(_read_limit(model, item, errors, here))
    for number, name, text in check_limits(limits, cost):
        add_error(errors, f"{place}.{number}.{name}", text)
    return limits


def _read_limit(model: type[Limit], item: Item, errors: Errors, place: str) -> Limit:
    rate, burst = item.get("rate"), item.get("burst")
    algorithm = item.get("algorithm", Algorithm.TOKEN_BUCKET.value)
    if not isinstance(rate, str):
        add_error(errors, f"{place}.rate", _("Write a count and a unit, such as 10/s."))
        rate = ""
    if burst is not None and (not isinstance(burst, int) or isinstance(burst, bool)):
        add_error(errors, f"{place}.burst", _("Write a whole number."))
        burst = None
    limit = model(rate=rate.strip(), burst=burst, algorithm=algorithm)
    if algorithm == Algorithm.FIXED_WINDOW and burst is not None:
        # Written out by export: the count again. Anything else means a token bucket.
        limit.burst = None
        try:
            if limit.quota.count != burst:
                add_error(errors, f"{place}.burst", _("A fixed window has no burst."))
        except InvalidQuota:
            pass
    collect_errors(limit, ["id", "tier", "endpoint_limit"], errors, place)
    return limit


def time_to_text(value: datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_time(value: Any, errors: Errors, place: str) -> datetime | None:
    """Read a time with its zone, as UTC; what is none is told by its place."""
    if value is None:
        return None
    moment = value
    if isinstance(value, str):
        try:
            moment = parse_datetime(value)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime):
        add_error(errors, place, _("Write a time such as 2027-01-01T00:00:00Z."))
        return None
    if moment.tzinfo is None:
        add_error(errors, place, _("Name the time zone: end it with Z or an offset."))
        return None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        told = {"first": FIRST_YEAR, "last": LAST_YEAR}
        add_error(errors, place, _("Write a year from %(first)d to %(last)d.") % told)
        return None
    return moment.astimezone(UTC)


def collect_errors(row: Model, exclude: Iterable[str], errors: Errors, place: str) -> None:
    """Run a row's validators, and put what they say in its place."""
    try:
        row.full_clean(
            exclude=[name for name in exclude if _has(row, name)],
            validate_unique=False,
            validate_constraints=False,
        )
    except ValidationError as error:
        for name, texts in error.message_dict.items():
            where = place if name == "__all__" else f"{place}.{name}"
            if where not in errors:
                errors[where] = list(texts)


def _has(row: Model, name: str) -> bool:
    return any(field.name == name for field in row._meta.get_fields())


def add_error(errors: Errors, place: str, text: str) -> None:
    """Put a text in its place."""
    errors.setdefault(place, []).append(str(text))


_registry: dict[str, Kind] = {}


def register(*kinds: Kind) -> None:
    """Make kinds part of the document, after those registered before."""
    for kind in kinds:
        _registry[kind.name] = kind


def all_kinds() -> Sequence[Kind]:
    """Return every kind, what is named before what names it."""
    return list(_registry.values())


def in_use(using: str) -> set[str]:
    """Return the names of the kinds that have rows: one query tells, where most have none."""
    connection = connections[using]
    kinds = all_kinds()
    tables = [connection.ops.quote_name(kind.model._meta.db_table) for kind in kinds]
    asked = ", ".join(
        f"CASE WHEN EXISTS (SELECT 1 FROM {table}) THEN 1 ELSE 0 END"  # noqa: S608 - of models
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {asked}{connection.features.bare_select_suffix}")
        found = cursor.fetchone()
    return {kind.name for kind, has_rows in zip(kinds, found, strict=True) if has_rows}


def find_kind(name: str) -> Kind | None:
    """Return a kind by its key in the document."""
    return _registry.get(name)


def kind_of(model: type[Model]) -> Kind | None:
    """Return the kind whose rows a model holds."""
    return next((kind for kind in _registry.values() if kind.model is model), None)


def problems_of(
    document: Document, places: Mapping[str, Mapping[str, int]] | None = None
) -> Errors:
    """List what the kinds find wrong with their items in a whole document.

    Args:
        document: Canonical, defaults written out.
        places: Where items stand in what somebody wrote, by kind and canonical key; an item that
            is not there is told of by its key.
    """
    errors: Errors = {}
    for kind in all_kinds():
        for problem in kind.check(document) if kind.check else ():
            key = key_of(document[kind.name][problem.place], kind.key)
            written = (places or {}).get(kind.name, {}).get(canonical(key))
            item = " ".join(map(str, key.values())) if written is None else written
            field_of = f".{problem.field}" if problem.field else ""
            add_error(errors, f"{kind.name}.{item}{field_of}", problem.text)
    return errors


def unknown_names(
    document: Document, kind: str, field: str, named: str
) -> Iterator[tuple[int, str]]:
    """Yield names in a list of each item that no item of another kind has, with its place."""
    known = {item["name"] for item in document.get(named, ())}
    for place, item in enumerate(document.get(kind, ())):
        for name in item[field]:
            if name not in known:
                yield place, name


def keys() -> dict[str, tuple[str, ...]]:
    """Return the natural key of every kind."""
    return {kind.name: kind.key for kind in _registry.values()}


def register_own() -> None:
    """Register the kinds of this room."""
    user = get_user_model()
    tier = Named(RateTier, "name")
    register(
        Kind(
            "rate_tiers",
            RateTier,
            ("name",),
            ("name", "default", "address_ceiling"),
            limits=TierLimit,
        ),
        Kind(
            "tier_assignments",
            TierAssignment,
            ("user", "group", "api_key", "network", "header", "tier"),
            ("user", "group", "api_key", "network", "header", "tier", "priority"),
            names={
                "user": Named(user, user.USERNAME_FIELD),
                "group": Named(Group, "name"),
                "tier": tier,
            },
        ),
        Kind(
            "endpoint_limits",
            EndpointLimit,
            ("name",),
            (
                "name",
                "route",
                "url_name",
                "view",
                "path",
                "methods",
                "key",
                "tier",
                "replaces_tier",
                "cost",
                "on_store_error",
                "max_body_bytes",
                "timeout_s",
                "slow_ms",
                "require_nonce",
            ),
            names={"tier": tier},
            limits=OwnLimit,
            singles=("key",),
        ),
        Kind(
            "exemptions",
            Exemption,
            ("path", "network"),
            ("path", "network"),
            short=("path", "network"),
        ),
        Kind("trusted_proxies", TrustedProxy, ("network",), ("network",), short=("network",)),
        Kind(
            "cors_origins",
            CorsOrigin,
            ("origin", "path"),
            (
                "origin",
                "path",
                "methods",
                "allowed_headers",
                "exposed_headers",
                "credentials",
                "max_age",
                "private_network",
                "strict_preflight",
                "csrf_trusted",
            ),
        ),
        Kind(
            "header_policies",
            HeaderPolicy,
            ("name",),
            ("name", "path", "preset", "headers", "force", "csp_report_only", "hsts_stage"),
        ),
        Kind(
            "access_rules",
            AccessRule,
            ("network", "path"),
            ("network", "path", "action", "reason"),
            short=("network",),
        ),
    )
