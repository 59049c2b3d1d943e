"""Whether each bound of the published endpoint limits holds where it is set."""

from collections.abc import Iterator, Sequence
from typing import Final

from django.core.checks import CheckMessage

from pulse.checks.documents import enforced_now
from pulse.checks.findings import found, one_of
from pulse.core.document import Document, Item
from pulse.core.endpoints import Matcher
from pulse.core.snapshot import ENDPOINTS

#: How a finding names what only one endpoint limit can say of a request.
BOUNDS: Final = {
    "max_body_bytes": "largest body",
    "timeout_s": "time limit",
    "slow_ms": "threshold for what is slow",
}
#: How it names what they match.
MATCHERS: Final = {
    "route": "route",
    "url_name": "URL name",
    "view": "view",
    "path": "path",
}


def check_endpoints(document: Document) -> Iterator[CheckMessage]:
    """Look for bounds of which another, just as specific, takes the place."""
    groups: dict[tuple[str, str, bool], list[Item]] = {}
    for item in enforced_now(document, ENDPOINTS):
        by = next(name for name in MATCHERS if item.get(name))
        groups.setdefault((by, item[by], bool(item["methods"])), []).append(item)
    for (by, value, _methods), items in groups.items():
        for field, words in BOUNDS.items():
            bounds = [item for item in items if item.get(field) is not None]
            for first, others in _hiding(bounds):
                yield found(
                    "W092",
                    names=one_of(item["name"] for item in (first, *others)),
                    place=f"the {MATCHERS[by]} {value}",
                    field=words,
                    name=first["name"],
                )


def _hiding(items: Sequence[Item]) -> Iterator[tuple[Item, list[Item]]]:
    """Yield each item with those after it whose place it is the first to take."""
    hidden: dict[int, list[Item]] = {}
    for place, item in enumerate(items):
        for before, other in enumerate(items[:place]):
            # One that is enforced for a share of clients leaves the rest to the next.
            if other["percent"] >= 100 and _overlap(other, item):
                hidden.setdefault(before, []).append(item)
                break
    for before, others in hidden.items():
        yield items[before], others


def _overlap(one: Item, other: Item) -> bool:
    """Whether two of the same specificity are for a method in common."""
    matcher = Matcher(methods=frozenset(one["methods"]) or None)
    return not other["methods"] or any(
        matcher.accepts(method) or (method == "GET" and matcher.accepts("HEAD"))
        for method in other["methods"]
    )
