"""What operators decide, and the record of it.

Policy rows are what the next revision is made of; no request reads them. Run state lives elsewhere.
"""

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from pulse.core.bounds import MAX_BODY_BYTES, MAX_SLOW_MS, MAX_TIMEOUT_S
from pulse.core.claims import OnStoreError
from pulse.core.networks import parse_network
from pulse.core.snapshot import DEFAULT_CEILING
from pulse.exceptions import InvalidNetwork
from pulse.policies import routes
from pulse.policies.bases import Limit, Policy
from pulse.policies.validators import (
    validate_header,
    validate_key,
    validate_key_prefix,
    validate_methods,
    validate_name,
    validate_network,
    validate_path,
    validate_proxy,
)


def is_everyone(network: str) -> bool:
    """Whether a network, if it is one, has every address of its family in it."""
    try:
        return parse_network(network).prefixlen == 0
    except InvalidNetwork:
        return False


def count_by_client() -> list[str]:
    """Return the default of ``EndpointLimit.key``."""
    return ["client"]


class OnStoreErrorChoices(models.TextChoices):
    """``OnStoreError``, in words for people."""

    LOCAL = OnStoreError.LOCAL.value, _("Count in each process")
    OPEN = OnStoreError.OPEN.value, _("Let everything through")
    CLOSED = OnStoreError.CLOSED.value, _("Refuse everything")


class RateTier(Policy):
    """How much a client may do in all; every client has one tier."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    default = models.BooleanField(
        _("default"),
        default=False,
        help_text=_("The tier of every client that no assignment names. At most one is."),
    )
    address_ceiling = models.PositiveSmallIntegerField(
        _("address ceiling"),
        default=DEFAULT_CEILING,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_(
            "Clients that only a header names can be invented, so all such clients of one "
            "address together may take this many times the tier."
        ),
    )

    class Meta:
        verbose_name = _("rate tier")
        ordering: ClassVar[Sequence[str]] = ["-default", "name"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["default"],
                condition=Q(default=True),
                name="pulse_one_default_tier",
                violation_error_message=_("Another tier is the default. Unmark that one first."),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class TierLimit(Limit):
    """One of a tier's limits; all of them must pass."""

    OWNER = "tier"

    tier = models.ForeignKey(RateTier, on_delete=models.CASCADE, related_name="limits")

    class Meta(Limit.Meta):
        verbose_name = _("limit")


class TierAssignment(Policy):
    """Who has another tier than the default."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    group = models.ForeignKey(
        "auth.Group",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group"),
    )
    network = models.CharField(
        _("network"),
        max_length=64,
        blank=True,
        default="",
        validators=[validate_network],
        help_text=_("An address or a CIDR, such as 198.51.100.0/24."),
    )
    api_key = models.CharField(
        _("API key"),
        max_length=16,
        blank=True,
        default="",
        validators=[validate_key_prefix],
        help_text=_("The prefix of a key, such as k3v9x2ab."),
    )
    header = models.CharField(
        _("header"),
        max_length=330,
        blank=True,
        default="",
        validators=[validate_header],
        help_text=_("Name and value, such as X-Plan: gold. Believed only from a trusted proxy."),
    )
    tier = models.ForeignKey(
        RateTier, on_delete=models.PROTECT, related_name="assignments", verbose_name=_("tier")
    )
    priority = models.SmallIntegerField(
        _("priority"), default=0, help_text=_("Of several that match, the highest holds.")
    )

    WHO: ClassVar[tuple[str, ...]] = ("user", "group", "api_key", "network", "header")

    class Meta:
        verbose_name = _("tier assignment")
        ordering: ClassVar[Sequence[str]] = ["-priority", "pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *(
                models.UniqueConstraint(
                    fields=[who, "tier"],
                    condition=condition,
                    name=f"pulse_one_assignment_by_{who}",
                    violation_error_message=_("This assignment is there already."),
                )
                for who, condition in (
                    ("user", Q(user__isnull=False)),
                    ("group", Q(group__isnull=False)),
                    ("api_key", ~Q(api_key="")),
                    ("network", ~Q(network="")),
                    ("header", ~Q(header="")),
                )
            ),
        ]

    def __str__(self) -> str:
        return f"{self.who} → {self.tier}"

    @property
    def who(self) -> str:
        """In words who is given the tier."""
        return next((f"{name} {getattr(self, name)}" for name in self._named()), "nobody")

    def clean(self) -> None:
        """Refuse to name nobody, or two."""
        super().clean()
        named = self._named()
        if len(named) == 1:
            return
        if not named:
            raise ValidationError(_("Say who: a user, a group, an API key, a network or a header."))
        raise ValidationError(
            {named[1]: _("Name only one: a %(first)s is named already.") % {"first": named[0]}}
        )

    def _named(self) -> list[str]:
        values = {"user": self.user_id, "group": self.group_id}
        return [
            name
            for name in self.WHO
            if values.get(name) is not None or (name not in values and getattr(self, name))
        ]


class EndpointLimit(Policy):
    """A limit of its own for some endpoints, beside every client's tier."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    route = models.CharField(
        _("route"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("The URL pattern whole, such as api/products/<int:pk>/."),
    )
    url_name = models.CharField(
        _("URL name"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("As in reverse(), with namespaces, such as shop:product."),
    )
    view = models.CharField(
        _("view"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("The dotted path of the view, such as shop.views.ProductList."),
    )
    path = models.CharField(
        _("path prefix"),
        max_length=255,
        blank=True,
        default="",
        validators=[validate_path],
        help_text=_(
            "Matches on whole segments: /api/ holds for every view that lies under it. What no "
            "view answers is charged to its client's tier alone."
        ),
    )
    methods = models.JSONField(
        _("methods"),
        default=list,
        blank=True,
        validators=[validate_methods],
        help_text=_("None: all of them. GET includes HEAD."),
    )
    key = models.JSONField(
        _("counted by"),
        default=count_by_client,
        validators=[validate_key],
        help_text=_(
            "client (as its tier), ip, user, api_key, header:NAME or global; several, by commas, "
            "count each combination."
        ),
    )
    tier = models.ForeignKey(
        RateTier,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="endpoint_limits",
        verbose_name=_("limits of tier"),
        help_text=_("Take the numbers of a tier instead of limits of its own. Counted apart."),
    )
    replaces_tier = models.BooleanField(
        _("replaces the tier"),
        default=False,
        help_text=_("Requests that match are not charged to their client's tier."),
    )
    cost = models.PositiveIntegerField(
        _("cost"),
        default=1,
        validators=[MinValueValidator(1)],
        help_text=_("What one request takes from each limit."),
    )
    on_store_error = models.CharField(
        _("without the shared counters"),
        max_length=8,
        choices=OnStoreErrorChoices,
        default=OnStoreErrorChoices.LOCAL,
        help_text=_("What holds while Redis cannot be reached. Choose refuse for logins."),
    )
    max_body_bytes = models.PositiveBigIntegerField(
        _("largest body"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_BODY_BYTES)],
        help_text=_("Bytes; 104857600 is 100 MB. Empty: as everywhere on the site."),
    )
    timeout_s = models.FloatField(
        _("time limit"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01), MaxValueValidator(MAX_TIMEOUT_S)],
        help_text=_(
            "Seconds for an answer. Under ASGI the view is cancelled; under WSGI it can ask "
            "request.pulse.deadline, and what takes longer is logged."
        ),
    )
    slow_ms = models.PositiveIntegerField(
        _("slow after"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_SLOW_MS)],
        help_text=_(
            "Milliseconds after which an answer is logged as slow; 0: none is. Empty: as "
            "everywhere on the site. With the path / it holds for the whole site."
        ),
    )

    require_nonce = models.BooleanField(
        _("once only"),
        default=False,
        help_text=_(
            "Each request must carry X-Timestamp, within five minutes, and an X-Nonce that none "
            "before it carried: what was recorded cannot be sent again."
        ),
    )

    MATCHERS: ClassVar[tuple[str, ...]] = ("route", "url_name", "view", "path")

    class Meta:
        verbose_name = _("endpoint limit")
        ordering: ClassVar[Sequence[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def matches_by(self) -> str:
        """Which of the matchers is set; empty if none is."""
        return next((name for name in self.MATCHERS if getattr(self, name)), "")

    @property
    def target(self) -> str:
        """The value of that matcher."""
        return getattr(self, self.matches_by) if self.matches_by else ""

    def clean(self) -> None:
        """Refuse a rule that matches nothing, or in two ways."""
        super().clean()
        named = [name for name in self.MATCHERS if getattr(self, name)]
        if not named:
            raise ValidationError(
                _("Say which endpoints: a route, a URL name, a view or a path prefix.")
            )
        if len(named) > 1:
            words = {field.name: field.verbose_name for field in self._meta.fields}
            text = _("Name endpoints in one way only: %(first)s is set already.")
            raise ValidationError({named[1]: text % {"first": words[named[0]]}})
        problem = routes.problem(named[0], getattr(self, named[0]))
        if problem:
            raise ValidationError({named[0]: problem})


class OwnLimit(Limit):
    """One of an endpoint limit's own limits; all of them must pass."""

    OWNER = "endpoint_limit"

    endpoint_limit = models.ForeignKey(
        EndpointLimit, on_delete=models.CASCADE, related_name="limits"
    )

    class Meta(Limit.Meta):
        verbose_name = _("limit")


class Exemption(Policy):
    """What no limit touches."""

    path = models.CharField(
        _("path"),
        max_length=255,
        blank=True,
        default="",
        validators=[validate_path],
        help_text=_("Whole, or on a segment boundary: /healthz holds for /healthz/ too."),
    )
    network = models.CharField(
        _("network"),
        max_length=64,
        blank=True,
        default="",
        validators=[validate_network],
        help_text=_("An address or a CIDR, such as 10.0.0.0/8."),
    )

    class Meta:
        verbose_name = _("exemption")
        ordering: ClassVar[Sequence[str]] = ["path", "network"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["path", "network"],
                name="pulse_one_exemption",
                violation_error_message=_("This exemption is there already."),
            ),
        ]

    def __str__(self) -> str:
        return self.path or self.network

    def clean(self) -> None:
        """Refuse to name nothing, or two."""
        super().clean()
        if bool(self.path) == bool(self.network):
            raise ValidationError(_("Name either a path or a network."))
        if self.path == "/":
            text = _("That exempts the whole site. Put the limits in shadow instead.")
            raise ValidationError({"path": text})
        if is_everyone(self.network):
            text = _("That exempts every client. Put the limits in shadow instead.")
            raise ValidationError({"network": text})


class TrustedProxy(Policy):
    """Whose forwarding headers count."""

    network = models.CharField(
        _("network"),
        max_length=64,
        unique=True,
        validators=[validate_proxy],
        help_text=_(
            "The address or CIDR of your own proxies, such as 10.0.0.0/8; never of clients. "
            "Write unix for a proxy on a Unix socket."
        ),
    )

    class Meta:
        verbose_name = _("trusted proxy")
        verbose_name_plural = _("trusted proxies")
        ordering: ClassVar[Sequence[str]] = ["network"]

    def __str__(self) -> str:
        return self.network

    def clean(self) -> None:
        """Refuse to believe everybody."""
        super().clean()
        if is_everyone(self.network):
            text = _("That trusts everybody: each client could tell any address as its own.")
            raise ValidationError({"network": text})


class PolicyState(models.Model):
    """The one row that orders edits: who changes policies locks it first.

    Attributes:
        lineage: Names this database's history; a database found restored begins another.
        revision: The number of the newest revision, 0 before the first.
        key_epoch: Counted up when an API key is revoked.
        dirty: Rows were changed and are not yet in a revision.
        draft_edits: Who made the draft of what: newest last, as ``publisher`` notes it.
    """

    lineage = models.UUIDField(default=uuid.uuid4, editable=False)
    revision = models.PositiveIntegerField(default=0, editable=False)
    key_epoch = models.PositiveIntegerField(default=0, editable=False)
    dirty = models.BooleanField(default=False, editable=False)
    draft_edits = models.JSONField(default=list, editable=False)
    locked_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("policy state")
        # What people may do on the pages and by the API; each includes the ones before.
        permissions: ClassVar[list[tuple[str, Any]]] = [
            ("view", "Can see pulse's pages"),
            ("operate", "Can start and cancel probes"),
            ("administer", "Can change policies"),
        ]

    def __str__(self) -> str:
        return f"revision {self.revision}"


class PolicyRevision(models.Model):
    """One published policy: the whole document, who made it and why. Never changed.

    Revisions form a chain: each carries the hash of the one before.
    """

    number = models.PositiveIntegerField(_("number"), unique=True)
    created_at = models.DateTimeField(_("created at"))
    actor_type = models.CharField(_("actor type"), max_length=16)
    actor_name = models.CharField(_("actor"), max_length=150, blank=True)
    source = models.CharField(_("source"), max_length=16)
    reason = models.TextField(_("reason"), blank=True)
    request_id = models.CharField(_("request id"), max_length=128, blank=True)
    document = models.JSONField(_("document"))
    changes = models.JSONField(_("changes"))
    previous_hash = models.CharField(_("previous hash"), max_length=64, blank=True)
    hash = models.CharField(_("hash"), max_length=64)

    class Meta:
        verbose_name = _("policy revision")
        ordering: ClassVar[Sequence[str]] = ["-number"]

    def __str__(self) -> str:
        return f"revision {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the revision; one that exists is never changed."""
        if not self._state.adding:
            raise ValidationError(
                _("A revision is never changed. Roll back, which makes a new one.")
            )
        super().save(*args, **kwargs)
