"""The errors a user can meet. Each says which op, where in the model, and what it saw."""

__all__ = ["DTypeError", "GraphError", "NonFiniteError", "ShapeError"]


class ShapeError(ValueError):
    """Shapes, axes or sizes that do not fit the operation."""


class DTypeError(TypeError):
    """A dtype the operation has no meaning for, such as the gradient of an integer."""


class GraphError(RuntimeError):
    """A question the recorded graph cannot answer, such as a gradient of an outsider."""


class NonFiniteError(FloatingPointError):
    """The first NaN or infinity found under `detect_anomaly`."""
