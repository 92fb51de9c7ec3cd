"""Curves of a training run and of a gradient on its way back through time."""

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
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["gradient_through_time", "loss_curves"]


def loss_curves(
    curves: Mapping[str, Curve],
    *,
    log: bool | None = None,
    title: str = "Loss during training",
    x_label: str = "epoch",
    y_label: str = "loss",
    theme: str = "light",
    path: Path = None,
) -> Figure:
    """One line per name over epochs 1, 2, ...; the lowest point of the last line is marked.

    curves: such as {"train": [...], "validation": [...]}; NaN where there is no value. log:
    logarithmic losses; by default where they span more than two powers of ten. path: also save.
    Raises TypeError and ValueError naming the curve that cannot be drawn.
    """
    lines = checked_lines(curves, "curves")
    finite = np.concatenate([line[np.isfinite(line)] for line in lines.values()])
    if not finite.size:
        raise ValueError("curves: there is no finite value to draw")
    if log and finite.min() <= 0:
        raise ValueError(f"log: a loss of {finite.min():g} has no logarithm")
    if log is None:
        log = bool(finite.min() > 0 and finite.max() > 100 * finite.min())
    with figure_frame(title, theme, (WIDTH, 4.2), path) as (figure, colors):
        axes = axes_style(figure.add_subplot(), colors, x_label, y_label)
        for k, (name, line) in enumerate(lines.items()):
            alone = np.isfinite(line).sum() < 2
            axes.plot(
                np.arange(1, len(line) + 1)[np.isfinite(line)], line[np.isfinite(line)],
                label=plain_text(name), **pen(colors, k), marker="o" if alone else None,
            )  # fmt: skip
        if log:
            axes.set_yscale("log")
        _mark_lowest(axes, list(lines.items())[-1], colors)
        whole_ticks(axes.xaxis)
        legend_style(axes.legend(handlelength=3.2), colors)
    return figure


def _mark_lowest(axes: Axes, curve: tuple[str, Array], colors: Theme) -> None:
    """A dot on the lowest point, which the legend explains."""
    name, line = curve
    if np.isfinite(line).any():
        best = int(np.nanargmin(np.where(np.isfinite(line), line, np.nan)))
        label = f"lowest {plain_text(name)}: {line[best]:.4g} at {best + 1}"
        axes.plot(
            best + 1, line[best], "o", color=colors.text, markersize=5.5, zorder=5, label=label
        )


def gradient_through_time(
    norms: Mapping[str, Curve],
    *,
    title: str = "How much of the gradient reaches each time step",
    x_label: str = "time step",
    y_label: str | None = None,
    theme: str = "light",
    path: Path = None,
) -> Figure:
    """The size of a gradient at t = 0, 1, ..., on a logarithmic scale, one line per model.

    norms: such as {"LSTM": [...], "RNN": [...]}, not negative; NaN where there is none. Where a
    gradient is exactly zero, a triangle stands at the lower edge. y_label: by default the norm of
    the gradient of h_t. path: also save.
    Raises TypeError and ValueError naming the line that cannot be drawn.
    """
    lines = checked_lines(norms, "norms")
    for name, line in lines.items():
        if (line < 0).any():
            raise ValueError(f"norms: {name!r} has a negative norm, {np.nanmin(line):g}")
    positive = np.concatenate([line[(line > 0) & np.isfinite(line)] for line in lines.values()])
    if not positive.size:
        raise ValueError("norms: there is no positive value to draw on a logarithmic scale")
    with figure_frame(title, theme, (WIDTH, 4.4), path) as (figure, colors):
        axes = axes_style(figure.add_subplot(), colors, x_label, y_label or "")
        if y_label is None:
            axes.set_ylabel(r"$\|\,\partial L / \partial h_t\,\|$")
        axes.set_yscale("log")
        low, high = positive.min(), positive.max()
        low = min(low, high / 10)
        axes.set_ylim(low / (high / low) ** 0.08, high * (high / low) ** 0.08)
        for k, (name, line) in enumerate(lines.items()):
            stroke = pen(colors, k)
            shown = np.where(line > 0, line, np.nan)
            few = np.isfinite(shown).sum() <= 40
            dot = "o" if few else None
            axes.plot(shown, label=plain_text(name), marker=dot, markersize=3, **stroke)
            _mark_zeros(axes, np.flatnonzero(line == 0), f"{plain_text(name)}: zero", stroke)
        whole_ticks(axes.xaxis)
        legend_style(axes.legend(handlelength=3.2), colors)
    return figure


def _mark_zeros(axes: Axes, steps: Array, label: str, stroke: Mapping[str, object]) -> None:
    """What a logarithmic scale has no place for, above its lower edge: where a legend sees it."""
    if len(steps):
        low, high = axes.get_ylim()
        edge = np.full(len(steps), low * (high / low) ** 0.03)
        axes.plot(steps, edge, "v", color=stroke["color"], markersize=3.5, label=label)
