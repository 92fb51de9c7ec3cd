"""Every visual constant: colours, fonts, sizes, distances; a light and a dark theme.

Knows nothing of graphs. Text has a contrast of at least 4.5 to what is behind it (WCAG AA).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["THEMES", "Accent", "Theme", "theme_named"]

FONTS = 'Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif'
FONTS_OF_GRAPHVIZ = "Helvetica,Arial,DejaVu Sans,sans-serif"

# -- sizes, in points of a picture at its natural size --------------------------------------------

SYMBOL = 17.0
WORD = 13.0
NAME = 15.0
SMALL = 11.0
TITLE = 12.5
LINE_HEIGHT = 1.28

PAD_X, PAD_Y = 10.0, 6.0
RADIUS = 7.0
CIRCLE = 36.0
MARGIN = 14.0

THIN, MEDIUM, THICK = 1.3, 1.9, 3.2
ARROW_LENGTH, ARROW_WIDTH = 8.0, 6.4


@dataclass(frozen=True, slots=True)
class Accent:
    """A colour in four strengths: lines and labels, the area of a cluster, a node, text on it."""

    line: str
    area: str
    node: str
    text: str


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by meaning. accents: by scope name or by the role of a value."""

    name: str
    background: str
    text: str
    muted: str
    edge: str
    frame: str
    frame_area: str
    neutral: Accent
    box: Accent
    parameter: Accent
    gradient: Accent
    accents: Mapping[str, Accent]

    def accent(self, *names: str | None) -> Accent:
        """The accent of the first name that has one, else the neutral one."""
        for name in names:
            if name is not None and name in self.accents:
                return self.accents[name]
        return self.neutral


def _accents(
    red: Accent, green: Accent, amber: Accent, blue: Accent, purple: Accent, teal: Accent,
    slate: Accent,
) -> dict[str, Accent]:  # fmt: skip
    return {
        "forget gate": red,
        "reset gate": red,
        "input gate": green,
        "update gate": green,
        "candidate": amber,
        "output gate": blue,
        "long-term memory": purple,
        "short-term memory": teal,
        "input feature": slate,
        "output": blue,
    }


_LIGHT_TEXT, _DARK_TEXT = "#1b1f24", "#f1f4f7"

LIGHT = Theme(
    name="light",
    background="#ffffff",
    text=_LIGHT_TEXT,
    muted="#525c68",
    edge="#4b5563",
    frame="#b6bec8",
    frame_area="#fafbfc",
    neutral=Accent("#4b5563", "#f4f6f8", "#e9edf1", _LIGHT_TEXT),
    box=Accent("#8a6100", "#fffaf0", "#ffefc7", _LIGHT_TEXT),
    parameter=Accent("#7a5b1e", "#fffaf0", "#fbf3df", _LIGHT_TEXT),
    gradient=Accent("#a3195b", "#fdf0f6", "#fbdcea", "#8f1450"),
    accents=_accents(
        red=Accent("#b3261e", "#fdf3f1", "#fbd9d4", _LIGHT_TEXT),
        green=Accent("#1a6b3a", "#f0f8f2", "#cdebd6", _LIGHT_TEXT),
        amber=Accent("#855400", "#fff8e8", "#fde5b4", _LIGHT_TEXT),
        blue=Accent("#1d5ba6", "#eff5fc", "#cfe2f8", _LIGHT_TEXT),
        purple=Accent("#6b2fa0", "#f7f1fc", "#e8d8f6", _LIGHT_TEXT),
        teal=Accent("#0b6570", "#edf8f8", "#c9eaec", _LIGHT_TEXT),
        slate=Accent("#3f4a57", "#f4f6f8", "#e4e8ed", _LIGHT_TEXT),
    ),
)

DARK = Theme(
    name="dark",
    background="#14171c",
    text=_DARK_TEXT,
    muted="#b8c2cd",
    edge="#a3aebb",
    frame="#4a5462",
    frame_area="#191d23",
    neutral=Accent("#a9b4c0", "#1d2229", "#2c333c", _DARK_TEXT),
    box=Accent("#e3b341", "#241f12", "#4a3a10", _DARK_TEXT),
    parameter=Accent("#d3b26b", "#241f12", "#332b18", _DARK_TEXT),
    gradient=Accent("#ff8fc2", "#2a1622", "#571c3c", "#ffc2de"),
    accents=_accents(
        red=Accent("#ff9b90", "#2b1a19", "#6b2a24", _DARK_TEXT),
        green=Accent("#7fd6a0", "#16261c", "#1f5434", _DARK_TEXT),
        amber=Accent("#f2c063", "#292011", "#5f4510", _DARK_TEXT),
        blue=Accent("#8fc1ff", "#172333", "#1f4a7d", _DARK_TEXT),
        purple=Accent("#cfa6ff", "#231a30", "#51307a", _DARK_TEXT),
        teal=Accent("#6fd3dc", "#142627", "#14525a", _DARK_TEXT),
        slate=Accent("#c0c9d3", "#1d2229", "#353d48", _DARK_TEXT),
    ),
)

THEMES = {"light": LIGHT, "dark": DARK}


def theme_named(name: object) -> Theme:
    """The theme of that name. Raises ValueError naming those there are."""
    if isinstance(name, str) and name in THEMES:
        return THEMES[name]
    raise ValueError(f"theme: expected one of {', '.join(map(repr, THEMES))}, got {name!r}")
