"""Matplotlib figures without pyplot: one style, and files that are the same in every process.

Knows no graphs. A figure is made and saved inside `style()`, so neither a user's matplotlibrc nor
a display matters.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["checked_path", "save_figure", "style"]

_STYLE: dict[str, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it along
    "font.size": 10.0,
    "mathtext.fontset": "dejavusans",
    "svg.hashsalt": "tinygrad_lstm",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "path.sketch": None,
    "axes.unicode_minus": True,
}
_NO_DATE: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None},
    "png": {},
}


@contextmanager
def style(**changes: Any) -> Iterator[None]:
    """The settings in force while a figure is made or saved."""
    import matplotlib

    settings: Any = {**_STYLE, **{k.replace("_", "."): v for k, v in changes.items()}}
    with matplotlib.rc_context(settings):
        yield


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Without fontTools' remarks about the dates inside the fonts it embeds in a PDF."""
    logger = logging.getLogger("fontTools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def checked_path(path: str | os.PathLike[str], more: tuple[str, ...] = ()) -> Path:
    """`path` with a suffix that can be written. Raises TypeError and ValueError."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path: expected a file name, got {path!r}")
    known = [*_NO_DATE, *more]
    where = Path(path)
    if where.suffix.lower().lstrip(".") not in known:
        names = ", ".join("." + suffix for suffix in known)
        raise ValueError(f"path: expected a name that ends in one of {names}, got {str(path)!r}")
    return where


def save_figure(
    figure: Figure, path: str | os.PathLike[str], *, title: str = "", **changes: Any
) -> None:
    """Write a figure as SVG, PNG or PDF, by the suffix; the same figure gives the same bytes.

    title: what an SVG or PDF says it is. changes: settings of matplotlib, with underscores for
    dots. Text in an SVG stays text.
    """
    where = checked_path(path)
    kind = where.suffix.lower().lstrip(".")
    with style(**changes), _quiet_fonts():
        metadata = {**_NO_DATE[kind], **({"Title": title} if title else {})}
        figure.savefig(where, format=kind, metadata=metadata)
