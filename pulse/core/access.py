"""Who may come in: networks that are denied or allowed, by path."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from pulse.core.clients import ClientAddress, in_percent
from pulse.core.document import Item
from pulse.core.endpoints import PathIndex
from pulse.core.networks import Address, Network, NetworkIndex, parse_network

#: The document's kind.
ACCESS: Final = "access_rules"


class Action(StrEnum):
    """What an access rule does."""

    DENY = "deny"
    ALLOW = "allow"


class AccessRule(NamedTuple):
    """One network and path, and what becomes of who comes from there.

    Attributes:
        name: Kind and natural key, such as ``access_rules:203.0.113.0/24 /``.
        network: As it is written in the policy.
        enforced: False for a rule in shadow.
        percent: The share of clients for whom it is enforced; for the others it is in shadow.
        ends_at: When it ends, in epoch seconds; None if it does not.
    """

    name: str
    network: str
    path: str
    action: Action
    reason: str = ""
    enforced: bool = True
    percent: int = 100
    ends_at: float | None = None

    def acts_on(self, client: ClientAddress, secret: bytes) -> bool:
        """Whether it is enforced for this client, rather than in shadow."""
        return self.enforced and (
            self.percent >= 100 or in_percent(self.name, client.prefix, self.percent, secret)
        )


class Admission(NamedTuple):
    """Whether a client may come in, and by which rule.

    Attributes:
        rule: The rule that decides; None where none does.
        would_refuse: The rule in shadow that would have refused an admitted client.
    """

    rule: AccessRule | None = None
    would_refuse: AccessRule | None = None

    @property
    def refused(self) -> bool:
        """Whether the client is turned away."""
        return self.rule is not None and self.rule.action is Action.DENY


OPEN: Final = Admission()


class AccessIndex:
    """The access rules of a policy; a look-up costs the same with ten and with ten thousand.

    Attributes:
        rules: Every rule in force, by its name.
    """

    __slots__ = ("_networks", "rules")

    def __init__(self, rules: Iterable[AccessRule] = ()) -> None:
        self.rules = {rule.name: rule for rule in rules}
        by_network: dict[Network, list[tuple[str, AccessRule]]] = {}
        # One network can be written in two ways. Of two rules for one path a denial goes first.
        for rule in sorted(self.rules.values(), key=lambda rule: rule.action is Action.ALLOW):
            by_network.setdefault(parse_network(rule.network), []).append((rule.path, rule))
        self._networks = NetworkIndex(
            (network, PathIndex(under)) for network, under in by_network.items()
        )

    def __bool__(self) -> bool:
        return bool(self.rules)

    def judge(self, client: ClientAddress, path: str, secret: bytes) -> Admission:
        """Judge one request by the most specific network that says something of its path.

        A rule in shadow hides no other: what it would have done is told apart, and only of a
        client that is let in.

        Args:
            client: Where the request comes from; no rule is for one without an address.
            path: The decoded path that Django resolves.
            secret: Keys the hash by which clients are chosen for a share.
        """
        address = client.address
        if address is None:
            return OPEN
        first: AccessRule | None = None
        for rule in self.covering(address, path):
            first = first or rule
            if rule.acts_on(client, secret):
                return Admission(rule, _would_refuse(first, rule))
        return OPEN if first is None else Admission(None, _would_refuse(first, None))

    def covering(self, address: Address, path: str) -> Iterator[AccessRule]:
        """Yield every rule for an address and a path: the narrowest network, its longest path."""
        for under in self._networks.find(address):
            yield from under.find(path)


def access_index(items: Iterable[Item]) -> AccessIndex:
    """Compile the access rules that are in force, in ``enforce`` and in ``shadow``."""
    return AccessIndex(
        AccessRule(
            name=rule_name(item["network"], item["path"]),
            network=item["network"],
            path=item["path"],
            action=Action(item["action"]),
            reason=item.get("reason", ""),
            enforced=item["mode"] == "enforce",
            percent=item["percent"],
            ends_at=_epoch(item.get("ends_at")),
        )
        for item in items
    )


def rule_name(network: str, path: str) -> str:
    """Name a rule as counters and logs do."""
    return f"{ACCESS}:{network} {path}"


def _would_refuse(first: AccessRule, acting: AccessRule | None) -> AccessRule | None:
    if first is acting or first.action is Action.ALLOW:
        return None
    return None if acting is not None and acting.action is Action.DENY else first


def _epoch(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
