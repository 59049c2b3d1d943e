"""Badges: a name and a status in a small picture, drawn here and asked of nobody else."""

from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from pulse.probes.summary.public import DEGRADED, MAINTENANCE, NOT_WATCHED, OPERATIONAL, OUTAGE

#: Colours on which white has a contrast of 4.5 at least.
COLOURS: Final = {
    OPERATIONAL: "#1a7f37",
    DEGRADED: "#9a6700",
    OUTAGE: "#cf222e",
    MAINTENANCE: "#0969da",
    NOT_WATCHED: "#59636e",
}
HEIGHT: Final = 20
#: Of a character at 11 pixels, on average, and beside a text.
CHARACTER: Final = 6.6
PADDING: Final = 12
MAX_NAME: Final = 80


def draw(name: str, word: str, uptime: float | None) -> SafeString:
    """Draw a badge.

    Args:
        name: Of the component.
        word: Its status, as the contract has it.
        uptime: 0 to 1, of 30 days; None leaves it out.
    """
    # XML has no control characters, not even written as references.
    name = "".join(filter(str.isprintable, name[:MAX_NAME]))
    says = word.replace("_", " ")
    if uptime is not None:
        says = f"{says} {int(uptime * 10_000) / 100:g} %"
    left, right = _width(name), _width(says)
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
        'aria-label="{name}: {says}"><title>{name}: {says}</title>'
        '<rect width="{width}" height="{height}" rx="3" fill="#3b424a"/>'
        '<path d="M{left} 0h{body}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{body}z" fill="{colour}"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" '
        'font-size="11"><text x="{left_middle}" y="14" textLength="{left_text}">{name}</text>'
        '<text x="{right_middle}" y="14" textLength="{right_text}">{says}</text></g></svg>',
        width=left + right,
        height=HEIGHT,
        left=left,
        body=right - 3,
        name=name,
        says=says,
        colour=COLOURS[word],
        left_middle=left / 2,
        right_middle=left + right / 2,
        left_text=left - PADDING,
        right_text=right - PADDING,
    )


def _width(text: str) -> int:
    return round(len(text) * CHARACTER) + PADDING
