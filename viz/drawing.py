"""draw: tensors -> Drawing, which shows itself in notebooks and saves itself as a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygrad_lstm import Tensor

from . import theme as t
from .cell_layout import cell_layout
from .dot import layout_source, pinned_source, source
from .figures import Figure, heading_line, inside
from .geometry import Label, Layout
from .layout import positions, render, require_graphviz
from .model import Model
from .overlays import Backward, Overlays, backward_graph
from .scopes import VIEWS, Scopes, default_view, patterns
from .svg import svg
from .theme import Theme, theme_named
from .titles import clear_titles
from .trace import Trace, tensors_in
from .views import build

__all__ = ["Drawing", "draw"]

LARGEST_PNG = 12_000
"""Pixels on the longer side: more is slow, and few programs can show it."""

Tensors = Tensor | Sequence[Any]


def draw(
    tensors: Tensors,
    *,
    view: str | None = None,
    fold: str | Sequence[str] = (),
    open: str | Sequence[str] = (),
    values: bool = False,
    grads: bool = False,
    backward: bool = False,
    grad_outputs: Any = None,
    theme: str = "light",
    title: str | None = None,
    timeout: float = 60.0,
    max_nodes: int = 5000,
) -> Drawing:
    """Draw how tensors were computed.

    tensors: a Tensor, or nested lists and tuples of them.
    view: "gates" folds every ANN into a box and shows a cell as textbooks do (the default for
    graphs with gates); "ops" shows all that was recorded; "cells" folds each time step. A compiled
    scan is one box in all of them: run it with unroll=True to see its gates.
    fold, open: scopes to fold or open besides, by name ("ANN"), path ("LSTM/t=3/forget gate") or
    pattern ("*/forget gate"); what is opened shows, so the scopes around it are opened too.
    values: write each value on its node, or its mean, min and max. grads: likewise the gradients
    of the tensors drawn, computed here (`.grad` is neither read nor changed); what is not a scalar
    is seeded with ones, or with grad_outputs, one cotangent per tensor.
    backward: draw the backward graph too, dashed, in the same scopes.
    theme: "light" or "dark". timeout: seconds for Graphviz. max_nodes: refuse larger pictures.

    Raises TypeError for what is no tensor; ValueError for an unknown view or theme and for a
    pattern that matches no scope; PictureTooLargeError; GraphvizNotFoundError; GraphError if
    there is no gradient to draw. Laying out may raise LayoutTimeoutError and LayoutError.
    """
    outputs = tensors_in(tensors)
    if view is not None and view not in VIEWS:
        raise ValueError(f"view: expected one of {', '.join(map(repr, VIEWS))}, got {view!r}")
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title: expected a string, got {type(title).__name__}")
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(f"timeout: expected a positive number of seconds, got {timeout!r}")
    style = theme_named(theme)
    require_graphviz()
    trace = Trace(outputs)
    view = view or default_view(trace)
    overlays = Overlays(trace, values=values, grads=grads, grad_outputs=grad_outputs)
    back = Backward([], {}, set())
    if backward:
        back = backward_graph(trace, view, grad_outputs)
        trace = Trace([*outputs, *back.results])
    scopes = Scopes(trace, view, patterns(fold), patterns(open))
    model = build(
        trace,
        scopes,
        view,
        title=title,
        names=back.names,
        ends=back.ends,
        value=overlays.value if values else None,
        grad=overlays.grad if grads else None,
        max_nodes=max_nodes,
    )
    return Drawing(model, style, timeout)


class Drawing:
    """A picture: `.model` as data, `.dot` and `.svg` as text, and `.save()`.

    Positions are computed when they are first needed.
    """

    def __init__(self, model: Model, theme: Theme, timeout: float = 60.0) -> None:
        self.model = model
        self._theme = theme
        self._timeout = timeout

    @cached_property
    def _cells(self) -> tuple[dict[str, Figure], Layout] | None:
        """Figures and positions if this is a picture of known cells."""
        return cell_layout(self.model, self._theme, self._timeout)

    @cached_property
    def _figures(self) -> dict[str, Figure]:
        if self._cells is not None:
            return self._cells[0]
        return inside(self.model, self._theme, self.model.nodes)

    @property
    def _size(self) -> str:
        return f" for {len(self.model.nodes):,} nodes and {len(self.model.edges):,} edges"

    @cached_property
    def layout(self) -> Layout:
        """Where everything is."""
        if self._cells is not None:
            return self._with_heading(self._cells[1])
        layout = positions(
            layout_source(self.model, self._theme, self._figures),
            self._timeout,
            margin=t.MARGIN,
            size=self._size,
        )
        clear_titles(self.model, layout)
        return self._with_heading(layout)

    def _with_heading(self, layout: Layout) -> Layout:
        """Room for a title above everything; a lone cell has it in its frame."""
        if self.model.heading is None or layout.frames:
            return layout
        text = heading_line(self.model.heading)
        width = max(layout.width, text.width + 2 * t.MARGIN)
        layout = layout.moved(0.0, text.height + 4, width, layout.height + text.height + 4)
        layout.heading = Label(t.MARGIN, t.MARGIN / 2, "start")
        return layout

    @cached_property
    def dot(self) -> str:
        """The picture in Graphviz's language, for `dot` to lay out."""
        return source(self.model, self._theme, inside(self.model, self._theme, self.model.nodes))

    @cached_property
    def svg(self) -> str:
        """The picture as SVG: one document, with no references to anything else."""
        return svg(self.model, self._theme, self._figures, self.layout)

    def png(self, scale: float = 2.0) -> bytes:
        """The picture as PNG, `scale` pixels per point, fewer if it would be very large."""
        if not scale > 0:
            raise ValueError(f"scale: expected a positive number, got {scale!r}")
        longest = max(self.layout.width, self.layout.height)
        return self._rendered("png", dpi=72.0 * min(scale, LARGEST_PNG / longest))

    def pdf(self) -> bytes:
        """The picture as PDF."""
        return self._rendered("pdf", dpi=72.0)

    def _rendered(self, form: str, dpi: float) -> bytes:
        text = pinned_source(self.model, self._theme, self._figures, self.layout, dpi)
        return render(text, "nop2", form, self._timeout, size=self._size)

    def json(self) -> str:
        """The model as JSON."""
        text = json.dumps(self.model.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)
        return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"  # half surrogates

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture; the suffix says how: .svg, .png, .pdf, .dot or .json.

        The file is written whole or not at all. Returns its path. Raises ValueError for another
        suffix, FileNotFoundError if the folder does not exist.
        """
        target = Path(path)
        writers = {
            ".svg": lambda: self.svg.encode("utf-8"),
            ".png": self.png,
            ".pdf": self.pdf,
            ".dot": lambda: self.dot.encode("utf-8"),
            ".json": lambda: self.json().encode("utf-8"),
        }
        writer = writers.get(target.suffix.lower())
        if writer is None:
            known = ", ".join(writers)
            raise ValueError(f"save: the file name must end in one of {known}; got {target.name!r}")
        if not target.parent.is_dir():
            raise FileNotFoundError(f"save: there is no folder {str(target.parent)!r}")
        _write(target, writer())
        return target

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """What a notebook shows."""
        return {"text/plain": repr(self), "image/svg+xml": self.svg}

    def __repr__(self) -> str:
        model = self.model
        return (
            f"Drawing({model.title!r}, {model.view} view, {len(model.nodes)} nodes, "
            f"{len(model.edges)} edges)"
        )


def _write(target: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
