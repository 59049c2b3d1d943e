"""Values that tests begin from: each argument overrides what a usual one would be."""

from collections.abc import Mapping
from typing import Any

from pulse.core.charging import Facts
from pulse.core.claims import Allowance
from pulse.core.clients import ClientAddress, User
from pulse.core.endpoints import EndpointIndex, Match, Matcher
from pulse.core.networks import NetworkIndex, parse_address, parse_network
from pulse.core.quotas import make_quota
from pulse.core.snapshot import ENDPOINTS, TIERS, Assignment, Assignments, Mode, Rule, Snapshot
from pulse.policies.publisher import Actor

SECRET = b"a secret of the tests, 32 bytes!"
SOURCES = ("user", "header:X-Track-ID", "header:Authorization", "address")
SEARCH = Match("api/search/", "search", "project.shop.views.Search")
KIM = Actor("user", "kim")


def allowance(*rates: str, cost: int = 1) -> Allowance:
    return Allowance(tuple(make_quota(rate) for rate in rates or ("10/s",)), cost)


def tier(name: str = "default", *rates: str, **fields: Any) -> Rule:
    own = allowance(*rates)
    fields = {"mode": Mode.ENFORCE, "allowance": own, "ceiling": own.times(5), **fields}
    return Rule(TIERS, name, **fields)


def endpoint(name: str = "search", *rates: str, **fields: Any) -> Rule:
    own = allowance(*rates)
    fields = {
        "mode": Mode.ENFORCE,
        "allowance": own,
        "ceiling": own.times(5),
        "matcher": Matcher(url_name="search"),
        **fields,
    }
    return Rule(ENDPOINTS, name, **fields)


def assignment(given: Rule, who: str = "user kim", **fields: Any) -> Assignment:
    return Assignment(who, given, **{"priority": 0, **fields})


def networks(*texts: str) -> NetworkIndex[None]:
    return NetworkIndex((parse_network(text), None) for text in texts)


def snapshot(*endpoints: Rule, **fields: Any) -> Snapshot:
    fields = {"default_tier": tier(), "assignments": Assignments(), **fields}
    return Snapshot(
        rules=endpoints,
        endpoints=EndpointIndex((rule.matcher, rule) for rule in endpoints if rule.matcher),
        **fields,
    )


def facts(
    address: str = "203.0.113.9",
    *,
    headers: Mapping[str, str] | None = None,
    peer_trusted: bool = False,
    **fields: Any,
) -> Facts:
    known = {name.lower(): value for name, value in (headers or {}).items()}
    fields = {
        "method": "GET",
        "path": "/api/search/",
        "match": SEARCH,
        "sources": SOURCES,
        "secret": SECRET,
        **fields,
    }
    return Facts(
        address=ClientAddress(parse_address(address), peer_trusted),
        header=lambda name: known.get(name.lower()),
        **fields,
    )


def kim(*groups: str) -> User:
    return User("7", "kim", frozenset(groups))


def document(**kinds: Any) -> dict[str, Any]:
    return {"version": 1, **kinds}


def default_tier(rate: str = "10/s", **fields: Any) -> dict[str, Any]:
    limit = {"rate": rate} | ({"burst": fields.pop("burst")} if "burst" in fields else {})
    return {"name": "default", "default": True, "limits": [limit], **fields}
