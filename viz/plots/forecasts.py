"""What was measured against what was predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..theme import Theme
from .frame import (
    WIDTH,
    Array,
    Curve,
    Path,
    axes_style,
    checked_lines,
    figure_frame,
    legend_style,
    pen,
    plain_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["forecast"]


def forecast(
    years: Curve,
    truth: Curve,
    predictions: Mapping[str, Curve],
    *,
    split: float | None = None,
    title: str = "Forecast",
    x_label: str = "year",
    y_label: str = "value",
    theme: str = "light",
    path: Path = None,
) -> Figure:
    """What was measured and what was predicted; with `split`, the years after it also enlarged.

    years, truth: (N,). predictions: name -> (N,), NaN where there is none. split: the first year
    that was held out; the error of each prediction there (root of the mean square) stands in the
    legend. path: also save.
    Raises TypeError and ValueError naming what does not fit.
    """
    if not isinstance(predictions, Mapping):
        raise TypeError(f"predictions: expected a mapping of names, got {predictions!r:.80}")
    lines = checked_lines({"years": years, "truth": truth, **predictions}, "predictions")
    if len(lines) != len(predictions) + 2:
        raise ValueError("predictions: 'years' and 'truth' are taken, choose other names")
    at, measured = lines.pop("years"), lines.pop("truth")
    for name, line in {"truth": measured, **lines}.items():
        if len(line) != len(at):
            raise ValueError(f"{name}: {len(line)} values for {len(at)} years")
    if not np.isfinite(at).all() or (np.diff(at) <= 0).any():
        raise ValueError("years: must be finite and grow")
    held_out = np.full(len(at), True) if split is None else at >= split
    if split is not None and (held_out.all() or not held_out.any()):
        raise ValueError(f"split: {split:g} does not divide the years {at[0]:g} to {at[-1]:g}")
    height = 4.2 if split is None else 6.8
    with figure_frame(title, theme, (WIDTH, height), path) as (figure, colors):
        panels = figure.subplots(1 if split is None else 2, 1, squeeze=False)[:, 0]
        for axes in panels:
            axes_style(axes, colors, x_label, y_label)
        _forecast_lines(panels[-1], at, measured, lines, held_out, colors)
        if split is not None:
            _overview(panels[0], at, measured, lines, held_out, colors)
        letters = sum(len(text) for text in panels[-1].get_legend_handles_labels()[1])
        columns = min(4, 1 + len(lines)) if letters <= 56 else 2
        legend = figure.legend(loc="outside lower center", ncols=columns, handlelength=3.2)
        legend_style(legend, colors)
    return figure


def _forecast_lines(
    axes: Axes, at: Array, measured: Array, lines: Mapping[str, Array], part: Array, colors: Theme
) -> None:
    """The predictions of one part, with their errors in the legend."""
    few = part.sum() <= 80
    axes.plot(
        at[part], measured[part], color=colors.text, linewidth=1.6, label="measured",
        marker="o" if few else None, markersize=3.2,
    )  # fmt: skip
    for k, (name, line) in enumerate(lines.items()):
        both = part & np.isfinite(line) & np.isfinite(measured)
        error = float(np.sqrt(np.mean((line[both] - measured[both]) ** 2))) if both.any() else None
        label = plain_text(name) + ("" if error is None else f" (error {error:.3g})")
        axes.plot(at[part], line[part], label=label, **pen(colors, k))


def _overview(
    axes: Axes, at: Array, measured: Array, lines: Mapping[str, Array], part: Array, colors: Theme
) -> None:
    """All years, with what was held out shaded and the first prediction over it."""
    axes.plot(at, measured, color=colors.text, linewidth=1.1)
    for line in list(lines.values())[:1]:
        axes.plot(at, line, **{**pen(colors, 0), "linewidth": 1.3})
    first = at[part][0]
    edge = (at[~part][-1] + first) / 2
    axes.axvspan(edge, at[-1], color=colors.frame, alpha=0.25, linewidth=0)
    axes.set_xlim(at[0], at[-1])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.1 * (high - low))  # room for the words
    for gap, side, word in ((-6, "right", "trained on"), (6, "left", "held out")):
        axes.annotate(
            word, (edge, 0.97), xycoords=axes.get_xaxis_transform(), ha=side, va="top",
            xytext=(gap, 0), textcoords="offset points", color=colors.muted, fontsize=9,
        )  # fmt: skip
