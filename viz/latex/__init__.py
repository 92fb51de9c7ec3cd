"""Recorded graphs as LaTeX: `equations`."""

from .document import Equations, equations

__all__ = ["Equations", "equations"]
