"""What can go wrong with a picture."""

__all__ = ["GraphvizNotFoundError", "LayoutError", "LayoutTimeoutError", "PictureTooLargeError"]


class PictureTooLargeError(ValueError):
    """More nodes than a picture can show; says how many and what to do."""


class GraphvizNotFoundError(RuntimeError):
    """Neither the pygraphviz wheel nor a `dot` on PATH; says what to install."""


class LayoutError(RuntimeError):
    """Graphviz failed; carries what it said."""


class LayoutTimeoutError(TimeoutError):
    """Graphviz took longer than allowed; says where the DOT was saved."""
