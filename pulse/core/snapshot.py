"""The policy in force, compiled: immutable, and only looked up on a request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from pulse.core.access import AccessIndex
from pulse.core.announcement import Announcement
from pulse.core.bounds import Bounds
from pulse.core.claims import Allowance, OnStoreError
from pulse.core.cors import CorsIndex
from pulse.core.endpoints import EndpointIndex, Matcher, PathSet
from pulse.core.headers import HeaderIndex
from pulse.core.keys import KeyIndex, LiveKey
from pulse.core.networks import NetworkIndex

TIERS: Final = "rate_tiers"
ENDPOINTS: Final = "endpoint_limits"
DEFAULT_CEILING: Final = 5


class Mode(StrEnum):
    """What a policy does with its verdict."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One limit of the policy: a tier, or an endpoint limit.

    Attributes:
        kind: The document's kind, and ``name`` the natural key within it.
        mode: ``enforce`` or ``shadow``; rules that are off or out of their time are not here.
        percent: The share of clients for whom it is enforced; for the others it is in shadow.
        allowance: What each counted client may take.
        ceiling: What an address may take through identities that pulse has not verified.
        key: What is counted, one or several of ``client``, ``ip``, ``user``, ``api_key``,
            ``header:NAME`` and ``global``.
        matcher: The requests it is for; None for a tier.
        replaces_tier: Requests that match are not charged to their client's tier.
        require_nonce: Each request that matches is taken once.
    """

    kind: str
    name: str
    mode: Mode
    allowance: Allowance
    ceiling: Allowance
    percent: int = 100
    key: tuple[str, ...] = ("client",)
    matcher: Matcher | None = None
    replaces_tier: bool = False
    require_nonce: bool = False
    on_store_error: OnStoreError = OnStoreError.LOCAL
    prefix: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"{self.kind}:{self.name}:")

    @property
    def by_user(self) -> bool:
        """Whether deciding asks for the authenticated user."""
        return "user" in self.key


@dataclass(frozen=True, slots=True)
class Assignment:
    """A tier given to some clients.

    Attributes:
        who: In words, such as ``group paying``.
        mode: In ``shadow`` the client keeps its tier, and this one counts beside it.
    """

    who: str
    tier: Rule
    priority: int
    mode: Mode = Mode.ENFORCE
    percent: int = 100


@dataclass(frozen=True, slots=True)
class Assignments:
    """Who is given which tier, by each way of naming clients."""

    users: Mapping[str, tuple[Assignment, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[Assignment, ...]] = field(default_factory=dict)
    headers: Mapping[str, Mapping[str, tuple[Assignment, ...]]] = field(default_factory=dict)
    networks: NetworkIndex[Assignment] = field(default_factory=NetworkIndex)
    api_keys: Mapping[str, tuple[Assignment, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.users or self.groups or self.headers or self.networks or self.api_keys)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything that deciding a request needs, of one revision at one time.

    Attributes:
        announcement: Names the revision; None where no database has told one.
        valid_until: When the next policy starts or ends, or a key does, in epoch seconds; None if
            none will.
        trusts_unix: A proxy on a Unix socket, which has no address, is a trusted one.
        wants_user: Some limit or assignment looks at the authenticated user.
        wants_groups: Some assignment is by group.
        wants_nonce: Some endpoint limit takes each request once.
        keys: The keys of the API that count; not of the document, but put beside it.
        assigns: Some client may have another tier than the default.
    """

    announcement: Announcement | None = None
    valid_until: float | None = None
    default_tier: Rule | None = None
    rules: tuple[Rule, ...] = ()
    assignments: Assignments = field(default_factory=Assignments)
    endpoints: EndpointIndex[Rule] = field(default_factory=EndpointIndex)
    exempt_paths: PathSet = field(default_factory=PathSet)
    exempt_networks: NetworkIndex[str] = field(default_factory=NetworkIndex)
    trusted_proxies: NetworkIndex[None] = field(default_factory=NetworkIndex)
    trusts_unix: bool = False
    wants_user: bool = False
    wants_groups: bool = False
    wants_nonce: bool = False
    cors: CorsIndex = field(default_factory=CorsIndex)
    headers: HeaderIndex = field(default_factory=HeaderIndex)
    access: AccessIndex = field(default_factory=AccessIndex)
    bounds: Bounds = field(default_factory=Bounds)
    keys: KeyIndex = field(default_factory=KeyIndex)
    stamp: str | None = field(init=False)
    assigns: bool = field(init=False)

    def __post_init__(self) -> None:
        text = None if self.announcement is None else str(self.announcement)
        object.__setattr__(self, "stamp", text)
        object.__setattr__(self, "assigns", bool(self.assignments))

    @property
    def revision(self) -> int:
        """The number of the revision; 0 for the empty policy."""
        return 0 if self.announcement is None else self.announcement.revision

    def with_keys(self, keys: Iterable[LiveKey], now: float) -> "Snapshot":
        """Put keys beside the policy, with the tiers that they give.

        Args:
            keys: All that are kept; those that have ended by ``now`` do not count.
            now: Epoch seconds.
        """
        live = [key for key in keys if key.expires_at is None or now < key.expires_at]
        ends = [key.expires_at for key in live if key.expires_at is not None]
        tiers = {rule.name: rule for rule in self.rules if rule.kind == TIERS}
        given = dict(self.assignments.api_keys)
        for key in live:
            if key.tier in tiers:
                own = Assignment(f"API key {key.prefix}", tiers[key.tier], priority=0)
                given[key.prefix] = (*given.get(key.prefix, ()), own)
        until = [*ends, *([] if self.valid_until is None else [self.valid_until])]
        return replace(
            self,
            keys=KeyIndex(live),
            assignments=replace(self.assignments, api_keys=given),
            valid_until=min(until, default=None),
        )
