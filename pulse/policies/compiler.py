"""A document becomes a snapshot: everything that a request would compute, computed ahead."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pulse.core.access import access_index
from pulse.core.announcement import Announcement
from pulse.core.bounds import bounds_of
from pulse.core.claims import Allowance, OnStoreError
from pulse.core.cors import cors_index
from pulse.core.document import Document, Item
from pulse.core.endpoints import EndpointIndex, Matcher, PathSet
from pulse.core.headers import header_index
from pulse.core.networks import UNIX, NetworkIndex, parse_network
from pulse.core.quotas import Algorithm, Quota, make_quota
from pulse.core.snapshot import (
    DEFAULT_CEILING,
    ENDPOINTS,
    TIERS,
    Assignment,
    Assignments,
    Mode,
    Rule,
    Snapshot,
)
from pulse.exceptions import InvalidDocument, PolicyError


def compile_document(document: Document, announcement: Announcement | None, now: float) -> Snapshot:
    """Compile a whole document, as revisions keep it.

    Args:
        document: Canonical, defaults written out.
        announcement: Names its revision.
        now: Epoch seconds; what is not in force at that time is left out.

    Raises:
        InvalidDocument: A value was written past every validator.
    """
    try:
        return _Compiler(document, now).snapshot(announcement)
    except InvalidDocument:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvalidDocument({"document": [f"It makes no policy: {error!r}"]}) from error


def prove(document: Document) -> None:
    """Compile a document as if everything in it were in force, also what starts later.

    Raises:
        InvalidDocument: Something in it would fail in its time.
    """
    timeless = {
        kind: [item | {"starts_at": None, "ends_at": None} for item in items]
        for kind, items in document.items()
        if isinstance(items, list)
    }
    compile_document(timeless, None, 0.0)


class _Compiler:
    """One run over a document; remembers what its items share."""

    def __init__(self, document: Document, now: float) -> None:
        self._document = document
        self._now = now
        self._boundaries: list[float] = []
        self._quotas: dict[tuple[str, int, str], Quota] = {}
        self._allowances: dict[tuple[tuple[Quota, ...], int], Allowance] = {}

    def snapshot(self, announcement: Announcement | None) -> Snapshot:
        numbers = self._tier_quotas()
        tiers = {item["name"]: rule for item, rule in self._tiers(numbers)}
        endpoints = list(self._endpoints(numbers))
        assignments = self._assignments(tiers)
        default = next(
            (
                tiers[item["name"]]
                for item in self._items(TIERS)
                if item["default"] and item["name"] in tiers
            ),
            None,
        )
        exemptions = list(self._in_force("exemptions", enforced=True))
        proxies = [item["network"] for item in self._in_force("trusted_proxies", enforced=True)]
        cors = cors_index(self._in_force("cors_origins"))
        headers = header_index(self._in_force("header_policies", enforced=True))
        access = access_index(self._in_force("access_rules"))
        bounds = bounds_of(self._in_force(ENDPOINTS))
        return Snapshot(
            announcement=announcement,
            # Known only now that every kind has been gone through.
            valid_until=min(self._boundaries, default=None),
            default_tier=default,
            rules=(*tiers.values(), *endpoints),
            assignments=assignments,
            endpoints=EndpointIndex((rule.matcher, rule) for rule in endpoints if rule.matcher),
            exempt_paths=PathSet(item["path"] for item in exemptions if item.get("path")),
            exempt_networks=NetworkIndex(
                (parse_network(item["network"]), item["network"])
                for item in exemptions
                if item.get("network")
            ),
            trusted_proxies=NetworkIndex(
                (parse_network(name), None) for name in proxies if name != UNIX
            ),
            trusts_unix=UNIX in proxies,
            wants_user=bool(assignments.users or assignments.groups)
            or any(rule.by_user for rule in endpoints),
            wants_groups=bool(assignments.groups),
            wants_nonce=any(rule.require_nonce for rule in endpoints),
            cors=cors,
            headers=headers,
            access=access,
            bounds=bounds,
        )

    def _tier_quotas(self) -> dict[str, tuple[tuple[Quota, ...], int]]:
        """Return the numbers of every tier, whatever its mode: endpoint limits may take them."""
        return {
            item["name"]: (
                self._limits(item, f"{TIERS}.{place}"),
                item.get("address_ceiling", DEFAULT_CEILING),
            )
            for place, item in enumerate(self._items(TIERS))
        }

    def _tiers(
        self, numbers: Mapping[str, tuple[tuple[Quota, ...], int]]
    ) -> Iterator[tuple[Item, Rule]]:
        for item in self._in_force(TIERS):
            quotas, ceiling = numbers[item["name"]]
            if quotas:
                yield item, self._rule(TIERS, item, quotas, ceiling)

    def _endpoints(self, numbers: Mapping[str, tuple[tuple[Quota, ...], int]]) -> Iterator[Rule]:
        for item in self._in_force(ENDPOINTS):
            quotas: tuple[Quota, ...] = ()
            ceiling = DEFAULT_CEILING
            if item.get("tier"):
                quotas, ceiling = numbers[item["tier"]]
            if item["limits"]:
                quotas = self._limits(item, f"{ENDPOINTS}.{item['name']}")
            if not (quotas or item["replaces_tier"] or item.get("require_nonce")):
                continue
            key = item["key"]
            yield self._rule(
                ENDPOINTS,
                item,
                quotas,
                ceiling,
                key=(key,) if isinstance(key, str) else tuple(key),
                cost=item["cost"],
                matcher=Matcher(
                    route=item.get("route"),
                    url_name=item.get("url_name"),
                    view=item.get("view"),
                    path=item.get("path"),
                    methods=frozenset(item["methods"]) or None,
                ),
                replaces_tier=item["replaces_tier"],
                # Revisions of before have no such field.
                require_nonce=item.get("require_nonce", False),
                on_store_error=OnStoreError(item["on_store_error"]),
            )

    def _rule(
        self,
        kind: str,
        item: Item,
        quotas: tuple[Quota, ...],
        ceiling: int,
        cost: int = 1,
        **fields: Any,
    ) -> Rule:
        return Rule(
            kind=kind,
            name=item["name"],
            mode=Mode(item["mode"]),
            percent=item["percent"],
            allowance=self._allowance(quotas, cost),
            ceiling=self._allowance(tuple(quota.times(ceiling) for quota in quotas), cost),
            **fields,
        )

    def _assignments(self, tiers: Mapping[str, Rule]) -> Assignments:
        users: dict[str, tuple[Assignment, ...]] = {}
        groups: dict[str, tuple[Assignment, ...]] = {}
        api_keys: dict[str, tuple[Assignment, ...]] = {}
        tables = {"user": users, "group": groups, "api_key": api_keys}
        headers: dict[str, dict[str, tuple[Assignment, ...]]] = {}
        networks = []
        for item in self._in_force("tier_assignments"):
            if item["tier"] not in tiers:
                continue
            names = ("user", "group", "api_key", "network", "header")
            who = next(name for name in names if item.get(name))
            name = item[who]
            assignment = Assignment(
                f"{who} {name}",
                tiers[item["tier"]],
                item["priority"],
                Mode(item["mode"]),
                item["percent"],
            )
            if who == "network":
                networks.append((parse_network(name), assignment))
            elif who == "header":
                header, _, value = name.partition(":")
                values = headers.setdefault(header.strip(), {})
                values[value.strip()] = (*values.get(value.strip(), ()), assignment)
            else:
                table = tables[who]
                table[name] = (*table.get(name, ()), assignment)
        return Assignments(users, groups, headers, NetworkIndex(networks), api_keys)

    def _items(self, kind: str) -> Sequence[Item]:
        items: Sequence[Item] = self._document.get(kind, ())
        return items

    def _in_force(self, kind: str, *, enforced: bool = False) -> Iterator[Item]:
        """Yield the items of a kind that act or count now; note when the next one will."""
        for item in self._items(kind):
            if item["mode"] == Mode.OFF or (enforced and item["mode"] != Mode.ENFORCE):
                continue
            starts, ends = item.get("starts_at"), item.get("ends_at")
            if starts is None and ends is None:
                yield item
                continue
            start, end = _seconds(starts, 0.0), _seconds(ends, float("inf"))
            self._boundaries += [at for at in (start, end) if self._now < at < float("inf")]
            if start <= self._now < end:
                yield item

    def _limits(self, item: Item, place: str) -> tuple[Quota, ...]:
        quotas = []
        for number, limit in enumerate(item["limits"]):
            key = (limit["rate"], limit["burst"], limit["algorithm"])
            quota = self._quotas.get(key)
            if quota is None:
                try:
                    window = limit["algorithm"] == Algorithm.FIXED_WINDOW
                    quota = make_quota(limit["rate"], None if window else limit["burst"], key[2])
                except PolicyError as error:
                    raise InvalidDocument({f"{place}.limits.{number}": [str(error)]}) from error
                self._quotas[key] = quota
            quotas.append(quota)
        return tuple(quotas)

    def _allowance(self, quotas: tuple[Quota, ...], cost: int) -> Allowance:
        key = (quotas, cost)
        allowance = self._allowances.get(key)
        if allowance is None:
            allowance = self._allowances[key] = Allowance(quotas, cost)
        return allowance


def _seconds(text: str | None, otherwise: float) -> float:
    return otherwise if text is None else datetime.fromisoformat(text).timestamp()
