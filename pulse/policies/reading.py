"""Text that anybody wrote becomes plain values, at a cost that is bounded."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import yaml
from django.utils.translation import gettext as _

from pulse.exceptions import InvalidDocument

#: Far above what an operator writes by hand, far below what would hurt to parse.
MAX_TEXT: Final = 32 * 1024 * 1024
#: Ten thousand rules have some 200,000 values.
MAX_VALUES: Final = 5_000_000
#: Of a document that its aliases make larger than its text.
MAX_REPEATED: Final = 100_000
MAX_DEPTH: Final = 10
MAX_INT: Final = 2**63 - 1


def load(text: str) -> Any:
    """Read YAML, of which JSON is a part.

    Raises:
        InvalidDocument: It is neither, or too large, or a key stands twice in it.
    """
    if len(text) > MAX_TEXT:
        raise InvalidDocument({"document": [_("The document is larger than 32 MB.")]})
    try:
        return load_json(text) if text.lstrip().startswith("{") else _load_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InvalidDocument({"document": [_("It cannot be read: %s") % error]}) from error


def check_storable(values: object) -> None:
    """Look values over for what no row and no JSON can hold.

    What YAML has beside texts, numbers, lists and mappings is refused, and so is a document that
    its aliases make larger than anybody writes.

    Raises:
        InvalidDocument: At the first such value.
    """
    _Storable().check(values)


_MERGE: Final = "tag:yaml.org,2002:merge"
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """YAML as its readers mean it: ``off`` is a mode and no ``false``, and no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - yaml's
        """Refuse a key that is written twice: of two lists, one would be lost in silence.

        And the merge key, by which a few lines copy each other into millions of pairs before
        anybody can count them.
        """
        seen: set[str] = set()
        for key, _value in getattr(node, "value", ()):
            if key.tag == _MERGE:
                problem = _("“%s” is no name of a field") % key.value
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = _("“%s” is written twice") % key.value
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# The booleans of YAML 1.2. In 1.1 yes, no, on and off are booleans too.
_BOOL: Final = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")


def _load_yaml(text: str) -> Any:
    #: How many values each open collection has so far, and how many each anchor stands for.
    sizes, anchors = [0], dict[str, int]()
    begun: list[str | None] = []
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            size = sizes.pop() + 1
            anchor = begun.pop()
            if anchor:
                anchors[anchor] = size
            sizes[-1] += size
        elif isinstance(event, yaml.CollectionStartEvent):
            begun.append(event.anchor)
            sizes.append(0)
        elif isinstance(event, yaml.AliasEvent):
            sizes[-1] += anchors.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            sizes[-1] += 1
        if len(begun) > MAX_DEPTH:
            # libyaml's composer recurses in C: 100,000 brackets end the process.
            raise ValueError(_("it is nested too deeply"))
        if sizes[-1] > max(MAX_REPEATED, len(text)):
            raise ValueError(_("its aliases repeat too much"))
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


def load_json(text: str) -> Any:
    """Read JSON in which no key stands twice, and no number is without end.

    Raises:
        ValueError: It is none.
        RecursionError: It is nested too deeply.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counted = Counter(name for name, _value in pairs)
            twice = next(name for name, count in counted.items() if count > 1)
            raise ValueError(_("“%s” is written twice") % twice)
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(_("%s is no number") % constant)

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


class _Storable:
    """One look over a document; counts what it has seen."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def check(self, value: object, place: str = "", depth: int = 0) -> None:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise InvalidDocument({"document": [_("It has too many values, or too deep ones.")]})
        if isinstance(value, Mapping):
            for name, inner in value.items():
                where = f"{place}.{name}" if place else str(name)
                if not isinstance(name, str) or not is_storable(name):
                    text = _("%s is no name of a field.") % ascii(name)[:40]
                    raise InvalidDocument({place or "document": [text]})
                self.check(inner, where, depth + 1)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                self.check(inner, f"{place}.{number}", depth + 1)
        elif not is_storable(value):
            raise InvalidDocument({place or "document": [_why_not_storable(value)]})


def _why_not_storable(value: object) -> str:
    if isinstance(value, str):
        return _("It has a character that cannot be stored.")
    if isinstance(value, int | float):
        return _("Write a number that is finite, and between -2^63 and 2^63.")
    return _("No JSON has a value of this kind.")


def is_storable(value: object) -> bool:
    """Whether every database can hold a value, alone or within JSON."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= mark <= "\udfff" for mark in value)
    if isinstance(value, int):
        return abs(value) <= MAX_INT
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, date)
