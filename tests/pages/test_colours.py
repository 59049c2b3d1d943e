"""Colours that can be told apart and read, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

import pulse
from pulse.pages.badges import COLOURS

CSS = (Path(pulse.__file__).parent / "static/pulse/pulse.css").read_text()
TEXTS = [
    *((text, ground) for text in ("ink", "soft", "accent") for ground in ("page", "card")),
    *(
        (kind, ground)
        for kind in ("good", "slow", "bad", "calm", "none")
        for ground in ("page", "card")
    ),
    *((kind, f"{kind}-wash") for kind in ("good", "slow", "bad", "calm", "none")),
    *(("ink", f"{kind}-wash") for kind in ("good", "slow", "bad", "calm", "none")),
    *(("accent", f"{kind}-wash") for kind in ("slow", "bad")),
    ("on-accent", "accent"),
]


def themes() -> dict[str, dict[str, str]]:
    light, dark, chosen, _ = re.findall(r":root[^{]*\{(.*?)\}", CSS, re.DOTALL)
    # By the system or by the admin's switch, it is the same dark.
    assert dark.split() == chosen.replace("color-scheme: dark;", "").split()
    found = {}
    for name, block in (("light", light), ("dark", dark)):
        found[name] = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    found["dark"] = {**found["light"], **found["dark"]}
    return found


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_texts_can_be_read(theme, text, ground):
    colours = themes()[theme]
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("word", COLOURS)
def test_badges_can_be_read(word):
    assert contrast("#ffffff", COLOURS[word]) >= 4.5


def test_assets_keep_to_their_budget():
    """DESIGN.md 5: 30 KB of script at most; 20 KB of style."""
    static = Path(pulse.__file__).parent / "static/pulse"
    assert sum(path.stat().st_size for path in static.glob("*.js")) <= 30_000
    assert sum(path.stat().st_size for path in static.glob("*.css")) <= 20_000
