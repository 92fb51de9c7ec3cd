"""Pictures of recorded computations: `viz.draw(tensor)`, `viz.equations(tensor)`, `viz.plots`.

Imports the engine and is never imported by it. Everything here loads when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plots
    from .drawing import Drawing, draw
    from .errors import (
        GraphvizNotFoundError,
        LayoutError,
        LayoutTimeoutError,
        PictureTooLargeError,
    )
    from .latex import Equations, equations
    from .model import Model
    from .sympy_export import to_sympy

_HOME = {
    "Drawing": "drawing",
    "draw": "drawing",
    "GraphvizNotFoundError": "errors",
    "LayoutError": "errors",
    "LayoutTimeoutError": "errors",
    "PictureTooLargeError": "errors",
    "Model": "model",
    "Equations": "latex",
    "equations": "latex",
    "to_sympy": "sympy_export",
}

__all__ = [
    "Drawing",
    "Equations",
    "GraphvizNotFoundError",
    "LayoutError",
    "LayoutTimeoutError",
    "Model",
    "PictureTooLargeError",
    "draw",
    "equations",
    "plots",
    "to_sympy",
]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module(".plots", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
