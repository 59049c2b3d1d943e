"""Hostile origins, tried on a rule by the code that enforces it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from pulse.core.cors import cors_index
from pulse.core.document import Item
from pulse.core.origins import ANY, DEFAULT_PORTS, NULL, WILDCARD, is_wildcard, to_ascii

#: Letters of other scripts that look like these.
LOOKALIKES: Final = dict(
    zip("aceiopsxy", "асеіорѕху", strict=True)  # noqa: RUF001 - that is their point
)
EVIL: Final = "evil.example"


@dataclass(frozen=True, slots=True)
class Trial:
    """One origin that was tried on a rule.

    Attributes:
        origin: As a browser, or an attacker's own program, sends it.
        what: What is hostile about it.
        meant: It is meant to be allowed.
        allowed: It is.
    """

    origin: str
    what: str
    meant: bool
    allowed: bool

    @property
    def is_right(self) -> bool:
        """Whether the rule says what it is meant to say."""
        return self.meant == self.allowed


def try_rule(item: Item) -> list[Trial]:
    """Try a rule as if it were enforced, and the only one.

    Args:
        item: As the document has it, defaults written out.

    Raises:
        InvalidDocument: It cannot be a rule.
    """
    index = cors_index([{**item, "mode": "enforce", "percent": 100}])
    is_any = item["origin"] == ANY
    tried: dict[str, Trial] = {}
    for origin, what, meant in _candidates(item["origin"]):
        found = index.find(item["path"], origin)
        tried.setdefault(
            origin, Trial(origin, what, meant=meant or is_any, allowed=found.rule is not None)
        )
    return list(tried.values())


def _candidates(rule: str) -> Iterator[tuple[str, str, bool]]:
    if rule == ANY:
        yield f"https://{EVIL}", _("any page"), True
        yield NULL, _("a sandboxed frame or a local file"), True
        return
    scheme, _separator, rest = rule.partition("://")
    host, colon, port = _split(rest)
    name = host.removeprefix(WILDCARD)
    if is_wildcard(rule):
        first = f"{scheme}://a.{name}{colon}{port}"
        yield first, _("one label before it"), True
        yield f"{scheme}://a.b.{name}{colon}{port}", _("two labels before it"), True
        yield f"{scheme}://{name}{colon}{port}", _("no label before it"), False
        yield f"{scheme}://.{name}{colon}{port}", _("an empty label before it"), False
        host = f"a.{name}"
    else:
        first = rule
        yield rule, _("the origin itself"), True
        if not host.startswith("["):
            yield f"{scheme}://a.{host}{colon}{port}", _("a host under it"), False
    is_name = not host.startswith("[")
    if is_name:
        yield f"{scheme}://{host}.{EVIL}{colon}{port}", _("another name behind it"), False
        yield f"{scheme}://evil{name}{colon}{port}", _("another name before it"), False
        dotless = host.replace(".", "x", 1)
        if dotless != host:
            yield f"{scheme}://{dotless}{colon}{port}", _("a letter for a full stop"), False
    if scheme in DEFAULT_PORTS:
        other = "http" if scheme == "https" else "https"
        yield f"{other}://{host}{colon}{port}", _("the other scheme"), False
    yield f"{scheme}://{host}:{8443 if port != '8443' else 9443}", _("another port"), False
    yield NULL, _("a sandboxed frame or a local file"), False
    yield f"{first}@{EVIL}", _("the host as a user's name"), False
    yield f"{scheme}://evil@{host}{colon}{port}", _("a user's name before it"), False
    if first.upper() != first:
        yield first.upper(), _("capital letters"), False
    if is_name:
        letter = next((letter for letter in name if letter in LOOKALIKES), None)
        if letter is not None:
            alike = to_ascii(name.replace(letter, LOOKALIKES[letter], 1))
            text = _("a letter of another script that looks alike")
            yield f"{scheme}://{host.removesuffix(name)}{alike}{colon}{port}", text, False
        yield f"{scheme}://{host}.{colon}{port}", _("a full stop behind it"), False


def _split(rest: str) -> tuple[str, str, str]:
    end = rest.find("]") + 1 if rest.startswith("[") else 0
    host, colon, port = rest[end:].partition(":")
    return rest[:end] + host, colon, port
