"""What all plots share: the frame of a figure, pens, labels, and the checks of what is drawn.

Knows themes and matplotlib; not what any plot means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..latex.notation import symbol
from ..saving import checked_path, save_figure, style
from ..theme import Theme, theme_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "WIDTH",
    "Array",
    "Curve",
    "Path",
    "axes_style",
    "checked_floats",
    "checked_lines",
    "figure_frame",
    "legend_style",
    "math_text",
    "pen",
    "plain_text",
    "whole_ticks",
]

Array = np.ndarray[Any, Any]
Curve = Sequence[float] | Array
Path = str | os.PathLike[str] | None

WIDTH = 9.0
"""Of every figure, in inches."""

_HUES = (
    "output gate", "forget gate", "input gate", "long-term memory", "candidate",
    "short-term memory",
)  # fmt: skip
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


@contextmanager
def figure_frame(
    title: str, theme: str, size: tuple[float, float], path: Path
) -> Iterator[tuple[Figure, Theme]]:
    """A figure in the style of a theme, saved at the end if there is a path."""
    colors = theme_named(theme)
    if path is not None:
        checked_path(path)
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, dpi=110, layout="constrained", facecolor=colors.background)
        figure.suptitle(plain_text(title), fontsize=12, color=colors.text, x=0.012, ha="left")
        yield figure, colors
    if path is not None:
        save_figure(figure, path, title=title)


def axes_style(axes: Axes, colors: Theme, x_label: str, y_label: str) -> Axes:
    axes.set_facecolor(colors.background)
    axes.set_xlabel(plain_text(x_label), color=colors.text)
    axes.set_ylabel(plain_text(y_label), color=colors.text)
    axes.tick_params(colors=colors.muted, labelsize=9)
    axes.grid(color=colors.frame, alpha=0.45, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(colors.frame)
    axes.margins(x=0.015)
    return axes


def pen(colors: Theme, k: int) -> dict[str, Any]:
    """Colour and dashes of line k: lines differ in both, so that colour is not needed."""
    return {
        "color": colors.accents[_HUES[k % len(_HUES)]].line,
        "linestyle": _DASHES[k % len(_DASHES)],
        "linewidth": 1.8,
    }


def whole_ticks(axis: Any, at_most: int | None = None) -> None:
    """Ticks of an axis at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    many = "auto" if at_most is None else at_most
    axis.set_major_locator(MaxNLocator(many, integer=True, min_n_ticks=1))


def legend_style(legend: Any, colors: Theme) -> None:
    """The colours and frame of a legend."""
    box = legend.get_frame()
    box.set(facecolor=colors.background, edgecolor=colors.frame, linewidth=0.6, alpha=0.9)
    for text in legend.get_texts():
        text.set(color=colors.text, fontsize=9)


def plain_text(text: str) -> str:
    """Text that matplotlib does not take for math."""
    return text.replace("$", r"\$")


def math_text(name: str) -> str:
    """A tensor's name as math where it is a symbol, else as it is."""
    text = symbol(name)
    return plain_text(name) if text.startswith(r"\mathrm") else f"${text}$"


def checked_lines(curves: Mapping[str, Curve], argument: str) -> dict[str, Array]:
    """The curves as one-dimensional float arrays."""
    if not isinstance(curves, Mapping) or not curves:
        raise TypeError(f"{argument}: expected a mapping of names to values, got {curves!r:.80}")
    lines: dict[str, Array] = {}
    for name, values in curves.items():
        line = checked_floats(values, str(name))
        if line.ndim != 1 or not line.size:
            raise ValueError(f"{name}: expected a sequence of numbers, got shape {line.shape}")
        lines[str(name)] = line
    return lines


def checked_floats(values: object, name: str) -> Array:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected numbers, got {values!r:.60} ({error})") from None
