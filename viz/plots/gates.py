"""Heat maps of gates and states over time and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..theme import Theme
from .frame import (
    WIDTH,
    Array,
    Path,
    checked_floats,
    figure_frame,
    math_text,
    plain_text,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["gate_heatmaps"]

_MEANING = {
    "f_t": "forget gate",
    "i_t": "input gate",
    "g_t": "candidate",
    "o_t": "output gate",
    "c_t": "long-term memory",
    "h_t": "short-term memory",
    "r_t": "reset gate",
    "z_t": "update gate",
    "n_t": "candidate",
}
_GATES = frozenset(("f", "i", "o", "r", "z"))
_SIGNED = frozenset(("g", "n", "c", "h"))


def gate_heatmaps(
    gates: Mapping[str, Array],
    *,
    steps: Sequence[str] | None = None,
    title: str = "Gates over time",
    x_label: str = "time step",
    theme: str = "light",
    path: Path = None,
) -> Figure:
    """A heat map of each gate over time (across) and units (down), on one time axis.

    gates: name -> (T, H), such as from `gate_traces`. Gates (f_t, i_t, o_t, r_t, z_t) are drawn
    from 0, closed, to 1, open; states and candidates (g_t, n_t, c_t, h_t), and anything negative,
    from blue to red around 0, to ±1 or beyond where they reach. steps: a label for each time step,
    such as the characters of a text. x_label: what time is counted in. path: also save.
    Raises TypeError and ValueError naming the gate that does not fit.
    """
    maps = _maps(gates)
    count = next(iter(maps.values())).shape[0]
    if steps is not None and len(steps) != count:
        raise ValueError(f"steps: {len(steps)} labels for {count} time steps")
    heights = [float(np.clip(0.055 * m.shape[1], 0.75, 2.0)) for m in maps.values()]
    size = (WIDTH, sum(heights) + 0.42 * len(maps) + 1.1)
    with figure_frame(title, theme, size, path) as (figure, colors):
        panels = figure.subplots(
            len(maps), 2, squeeze=False, sharex="col",
            gridspec_kw={"height_ratios": heights, "width_ratios": (1, 0.014)},
        )  # fmt: skip
        for (name, values), (axes, bar) in zip(maps.items(), panels, strict=True):
            _heat_map(axes, bar, name, values, colors)
        last = panels[-1][0]
        last.set_xlabel(x_label, color=colors.text)
        if steps is not None and count <= 80:
            last.set_xticks(range(count), [plain_text(step) for step in steps])
        else:
            last.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _heat_map(axes: Axes, bar: Axes, name: str, values: Array, colors: Theme) -> None:
    signed = _is_signed(name, values)
    reach = max(1.0, float(np.nanmax(np.abs(values))))
    image = axes.imshow(
        values.T, aspect="auto", interpolation="nearest",
        cmap="RdBu_r" if signed else "viridis", vmin=-reach if signed else 0.0, vmax=reach,
    )  # fmt: skip
    meaning = _MEANING.get(name)
    label = math_text(name) if meaning is None else f"{meaning}  {math_text(name)}"
    axes.set_title(label, loc="left", fontsize=10, color=colors.text, pad=4)
    axes.set_ylabel("unit", color=colors.muted, fontsize=9)
    whole_ticks(axes.yaxis, at_most=4)
    axes.tick_params(colors=colors.muted, labelsize=8)
    ticks = [-reach, 0.0, reach] if signed else [0.0, 0.5, reach]
    scale = axes.figure.colorbar(image, cax=bar, ticks=ticks)
    scale.ax.set_yticklabels([f"{t:.3g}".replace("-", "\N{MINUS SIGN}") for t in ticks])
    scale.ax.tick_params(colors=colors.muted, labelsize=8, length=2)
    for edge in (*axes.spines.values(), scale.outline):
        edge.set_edgecolor(colors.frame)


def _is_signed(name: str, values: Array) -> bool:
    if (values < 0).any():
        return True
    base = name.partition("_")[0]
    return base not in _GATES and (base in _SIGNED or bool((values > 1).any()))



def _maps(gates: Mapping[str, Array]) -> dict[str, Array]:
    """The gates as (T, H) float arrays with one T."""
    if not isinstance(gates, Mapping) or not gates:
        raise TypeError(f"gates: expected a mapping of names to arrays, got {gates!r:.80}")
    maps = {str(name): checked_floats(values, str(name)) for name, values in gates.items()}
    count = next(iter(maps.values())).shape[:1]
    for name, values in maps.items():
        if values.ndim != 2 or not values.size:
            raise ValueError(f"{name}: expected (time, units), got shape {values.shape}")
        if values.shape[:1] != count:
            raise ValueError(f"{name}: {len(values)} time steps where the first has {count[0]}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: has values that are not finite")
    return maps
