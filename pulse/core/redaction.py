"""Taking secrets out of what is stored, shown or logged: by value, by name and by form."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "***"
#: Parts of names whose values are secret, written without hyphens and underscores.
SECRET_PARTS: Final = (
    *("accesskey", "apikey", "authorization", "cookie", "credential", "csrf", "passphrase"),
    *("passwd", "password", "privatekey", "secret", "sessionid", "signature", "token"),
)
#: Whole names that are too short to be looked for within others.
SECRET_NAMES: Final = frozenset(
    {"auth", "jwt", "key", "pass", "pin", "pwd", "session", "sid", "sig"}
)
#: Shorter values are not looked for: they stand in many a word, and a hole in it would tell them.
MIN_SECRET: Final = 4
#: Of longer texts only the beginning is read.
MAX_TEXT: Final = 64 * 1024
#: For an excerpt so much is read, at least, as what is taken out makes room.
MIN_READ: Final = 4096
MAX_DEPTH: Final = 16

#: A name and what stands before its value: ``"name": ``, ``name=``, ``Name: ``, ``a[name]=``; in a
#: URL within a URL, ``name%3D``.
_NAME: Final = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]++)(?P<mark>(?P<quote>\\?[\"'])?\]?\s{0,9}(?P<sign>[:=]|%3[Dd])\s{0,9})"
)
_QUOTED: Final = re.compile(r"""\\?"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?""", re.DOTALL)
_LINE: Final = re.compile(r"[^\r\n]*")
_WORD: Final = re.compile(r"[^\s&;,\"'<>{}\[\]]*")
_FORMS: Final = (
    # What stands before the host of a URL.
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,30}://)[^/?#\s\"'<>]*@"), rf"\1{REDACTED}@"),
    (re.compile(r"(?i)\b(bearer)(\s+|%20|\+)[^\s\"'<>,;]+"), rf"\1\2{REDACTED}"),
    (re.compile(r"(?i)\b(basic|negotiate)(\s+)[a-z0-9+/=_-]{8,}"), rf"\1\2{REDACTED}"),
    # From the beginning of a word on: each of its thousands of "-eyJ" would read to its end.
    (
        re.compile(r"(?<![\w-])(?=([\w-]*?)\beyJ)\1eyJ[\w-]{5,}+\.[\w-]{5,}+\.[\w-]*+"),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(pulse_[A-Za-z0-9]{4,16})_[\w-]{20,}"), rf"\1_{REDACTED}"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), REDACTED),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        REDACTED,
    ),
)


class Redactor:
    """Takes secrets out of texts and JSON values: those that it is given, and what looks like one.

    A given secret is found as it is, and as URLs, JSON and HTML write it. What is taken out
    leaves ``***``.
    """

    __slots__ = ("_given", "_pattern")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        given = {form for secret in secrets for form in _forms_of(secret)}
        # Longest first, so that one which begins another takes all of it.
        self._given = sorted(given, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._given)))

    def text(self, text: str) -> str:
        """Return a text without its secrets; of a long one the first ``MAX_TEXT`` characters."""
        return self.excerpt(text, MAX_TEXT)

    def excerpt(self, text: str, most: int, *, is_cut: bool = False) -> str:
        """Return the first ``most`` characters of what a text is without its secrets.

        Cutting first would leave the front half of a secret, which is not found any more.

        Args:
            text: From its beginning.
            most: How much is returned.
            is_cut: It went on, and may end in the middle of a secret.
        """
        read = text[: max(most, min(MAX_TEXT, max(MIN_READ, 16 * most)))]
        is_cut = is_cut or len(read) < len(text)
        if is_cut:
            read = self._without_half_secret(_without_half_word(read))
        told = self._without_given(read)
        for pattern, instead in _FORMS:
            told = pattern.sub(instead, told)
        told = self._without_given(_without_named(told))
        return told if len(told) <= most and not is_cut else f"{told[: most - 1]}…"

    def value(self, value: object, *, name: str = "", depth: int = 0) -> object:
        """Return a JSON value without its secrets, those of the names in it among them."""
        if name and is_secret_name(name):
            # What is not there is no secret.
            return value if value is None or value == "" else REDACTED
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping | list | tuple):
            if depth >= MAX_DEPTH:
                return REDACTED
            if isinstance(value, Mapping):
                return self.mapping(value, depth=depth + 1)
            return [self.value(item, depth=depth + 1) for item in value]
        # A number can be a secret, too.
        return REDACTED if self._given and str(value) in self._given else value

    def mapping(self, mapping: Mapping[str, object], *, depth: int = 0) -> dict[str, object]:
        """Return a mapping, such as headers or a payload, without its secrets."""
        return {
            self.text(str(name)): self.value(value, name=str(name), depth=depth)
            for name, value in mapping.items()
        }

    def _without_given(self, text: str) -> str:
        if not self._given:
            return text
        told = self._pattern.sub(REDACTED, text)
        # What stood on both sides of a secret may be one together.
        return REDACTED if self._pattern.search(told) else told

    def _without_half_secret(self, text: str) -> str:
        """Leave out what may be the front half of a secret at the end of a text that was cut."""
        if not self._given:
            return text
        # What is whole stays so: the end of a secret may look like the beginning of another.
        whole = max((found.end() for found in self._pattern.finditer(text)), default=0)
        half = max(
            (
                length
                for secret in self._given
                for length in range(1, min(len(secret), len(text) - whole + 1))
                if text.endswith(secret[:length])
            ),
            default=0,
        )
        return text[: len(text) - half]


def is_secret_name(name: str) -> bool:
    """Whether a header, field or parameter of this name holds a secret."""
    # Names are few, except where a client chose them; those are told by their length.
    return _names_secret(name) if len(name) <= 64 else _names_secret.__wrapped__(name)


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    plain = name[:MAX_TEXT].lower().replace("_", "").replace("-", "").replace(".", "")
    return plain in SECRET_NAMES or any(part in plain for part in SECRET_PARTS)


def _without_half_word(text: str) -> str:
    """Leave out the last word of a text that was cut: half a URL or token is not known as one."""
    end = max(text.rfind(blank) for blank in " \n\t")
    return text[: end + 1] if end > len(text) // 2 else text


def _without_named(text: str) -> str:
    """Take out the values of secret names."""
    parts: list[str] = []
    end = at = 0
    while found := _NAME.search(text, at):
        at = found.end()
        if not is_secret_name(found["name"]):
            continue
        value = _value_of(found, text)
        if value:
            mark = value[: 2 if value.startswith("\\") else 1]
            # The quotes stay, so that JSON stays JSON.
            mark = mark if mark[-1] in {'"', "'"} else ""
            parts += text[end:at], mark, REDACTED, mark
            end = at = at + len(value)
    return "".join((*parts, text[end:]))


def _value_of(name: re.Match[str], text: str) -> str:
    """Return what belongs to a name: in quotes, to the end of a header's line, or one word."""
    at = name.end()
    if quoted := _QUOTED.match(text, at):
        return quoted[0]
    is_header = name["sign"] == ":" and not name["quote"]
    pattern = _LINE if is_header or text[at : at + 1] in {"[", "{"} else _WORD
    found = pattern.match(text, at)
    return found[0] if found else ""


def _forms_of(secret: str) -> set[str]:
    """Return how a secret may be written; none of one that is too short to be looked for."""
    if len(secret) < MIN_SECRET:
        return set()
    clean = secret.encode("utf-8", "replace").decode()
    quoted = {quote(clean, safe=""), quote(clean), quote_plus(clean)}
    lower = {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), form) for form in quoted}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, *quoted, *lower, *escaped, html.escape(secret), repr(secret)[1:-1]}
