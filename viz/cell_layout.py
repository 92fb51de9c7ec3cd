"""Layouts of pictures made of known cells: time runs to the right, layers stand on each other.

The long-term memory is one straight line through all cells of a layer. A picture in which these
can't be arranged so, or with a cell that fits no template, is left to Graphviz.
"""

from __future__ import annotations

from dataclasses import replace

from . import theme as t
from .cell_grid import Grid
from .cell_match import fit_cells
from .cell_plan import Plan
from .cell_surroundings import surround
from .cell_wires import Wires
from .figures import Figure, beside, inside
from .geometry import Layout
from .model import Model
from .theme import Theme

__all__ = ["cell_layout"]


def cell_layout(
    model: Model, theme: Theme, timeout: float
) -> tuple[dict[str, Figure], Layout] | None:
    """Figures and positions for a model of known cells, or None for any other model.

    May raise LayoutTimeoutError and LayoutError where there is more than cells.
    """
    fits = fit_cells(model)
    plan = Plan(model, fits) if fits is not None else None
    if fits is None or plan is None or not plan.ok:
        return None
    boxes = {*plan.rest, *plan.below.values()}
    figures = beside(model, theme, (n for n in model.nodes if n.id not in boxes))
    for column in (plan.left, plan.right):
        widest = max((figures[ident].width for ident in column.values()), default=0.0)
        figures |= {i: replace(figures[i], width=widest) for i in column.values()}
    figures |= inside(model, theme, (n for n in model.nodes if n.id in boxes))
    grid = Grid(model, figures, fits, plan)
    wires = Wires(model, grid)
    grid.layout.dots = list(wires.junctions.values())
    if plan.rest:
        return grid.figures, surround(model, theme, grid.figures, grid, wires, timeout)
    grid.layout.edges = {number: wires.route(number) for number in wires.corners}
    area = grid.bounds
    layout = grid.layout.moved(
        t.MARGIN - area.x, t.MARGIN - area.y, area.width + 2 * t.MARGIN, area.height + 2 * t.MARGIN
    )
    return grid.figures, layout
