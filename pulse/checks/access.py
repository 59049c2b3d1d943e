"""Whether the access rules of the published document do what they seem to."""

from collections.abc import Iterator
from typing import Final

from django.core.checks import CheckMessage

from pulse.checks.documents import enforced_now
from pulse.checks.findings import found
from pulse.core.access import ACCESS, AccessIndex, AccessRule, Action, access_index
from pulse.core.document import Document
from pulse.core.networks import Network, parse_network
from pulse.policies.lockout import hidden_health

EVERYBODY: Final = ("0.0.0.0/0", "::/0")


def check_access(document: Document) -> Iterator[CheckMessage]:
    """Look at the rules that are enforced now."""
    index = access_index(enforced_now(document, ACCESS))
    closed = list(_closed(index))
    for network in closed:
        yield found("W100", network=network, family=6 if ":" in network else 4)
    for threat in hidden_health(index):
        if threat.name.partition(" ")[0] not in closed:
            yield found("W101", rule=threat.name, path=threat.path, problem=threat.problem)
    for first, second in _twice(index):
        yield found("W102", first=first.network, second=second.network, path=first.path)


def _closed(index: AccessIndex) -> Iterator[str]:
    """Find the families of addresses from which nobody at all may come in."""
    for network in EVERYBODY:
        rule = index.rules.get(f"{ACCESS}:{network} /")
        if rule is None or rule.action is Action.ALLOW or rule.percent < 100:
            continue
        version = parse_network(network).version
        if not any(
            other.action is Action.ALLOW and parse_network(other.network).version == version
            for other in index.rules.values()
        ):
            yield network


def _twice(index: AccessIndex) -> Iterator[tuple[AccessRule, AccessRule]]:
    """Find what is said twice of one network and path, in two ways of writing it."""
    seen: dict[tuple[Network, str], AccessRule] = {}
    for rule in index.rules.values():
        first = seen.setdefault((parse_network(rule.network), rule.path), rule)
        if first is not rule:
            yield first, rule
