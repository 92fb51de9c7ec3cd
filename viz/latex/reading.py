r"""How recorded arrays are read as the vectors and matrices of a text.

Knows the graph and shapes, nothing of LaTeX. A layer computes `x @ W.T` on rows, a textbook writes
`W x` on columns. So the text as a whole is read one way:

- Where data is multiplied by transposed weights (every layer here), the symbols of data stand for
  the transposes of the recorded arrays: a row of a batch is a column vector. `x @ W.T` is `W x`,
  `x @ V` is `V^\top x`, and the gradient of W, recorded as `(x.T @ g).T`, is `g x^\top`.
- Elsewhere symbols stand for the arrays themselves, and products are in the order recorded.

Weights always stand for themselves: they are the Parameters, in a graph without any the leaves
that require a gradient, and what is computed from these alone. A tensor of one axis is a vector.
Axes and indices count as in the recorded arrays. Broadcasting, casts and reshapes that only add or
drop axes of size 1 are not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from tinygrad_lstm import Node, Parameter, Tensor

__all__ = ["Form", "Key", "Reading", "constant_of", "key_of"]

Key = Node | Tensor


class Kind(Enum):
    """What the last two axes of a tensor mean."""

    NEUTRAL = "a constant, the same either way round"
    WEIGHT = "a matrix of its own"
    ROWS = "data, one vector per row"
    COLUMNS = "data transposed, one vector per column"


class Form(NamedTuple):
    """How a node is written, as it is or transposed.

    operands: each with whether it is to be written transposed. marked: with a ^T of its own.
    through: nothing is written for the node itself.
    """

    operands: tuple[tuple[Tensor, bool], ...]
    marked: bool = False
    through: bool = False


def key_of(t: Tensor) -> Key:
    """What stands for `t` in the graph: its node, or the leaf itself."""
    return t if t.node is None else t.node


def constant_of(t: Tensor) -> float | bool | None:
    """The one value of an unnamed leaf that no gradient reaches; None for anything else."""
    if t.node is not None or t.name or t.requires_grad or isinstance(t, Parameter) or not t.size:
        return None
    values = t.data
    first = values.flat[0]
    if t.size > 1 and (values.dtype.kind in "iu" or not (values == first).all()):
        return None
    return first.item()


class Reading:
    """The kinds of all tensors of a graph, and whether data is read as columns.

    nodes: in the order of recording. columns: None to decide by the products.
    """

    def __init__(self, nodes: Sequence[Node], columns: bool | None = None) -> None:
        leaves = {id(t): t for node in nodes for t in node.inputs if t.node is None}
        has_parameters = any(isinstance(t, Parameter) for t in leaves.values())
        self._kinds: dict[Node | int, Kind] = {
            key: _leaf_kind(t, has_parameters) for key, t in leaves.items()
        }
        self._asked: dict[Node, bool] = {}
        for node in nodes:
            self._kinds[node] = self._node_kind(node)
        self.columns = self._has_layers(nodes) if columns is None else columns

    def kind(self, t: Tensor) -> Kind:
        """The kind of a tensor of the graph; data for a stranger."""
        return self._kinds.get(id(t) if t.node is None else t.node, Kind.ROWS)

    def transposed(self, t: Tensor) -> bool:
        """Whether the symbol of `t` stands for the transpose of the recorded array."""
        if t.node is not None:
            return self.node_transposed(t.node)
        return self.columns and t.ndim >= 2 and self.kind(t) is Kind.ROWS

    def node_transposed(self, node: Node) -> bool:
        """The same for the tensor that `node` made."""
        if node in self._asked:
            return self._asked[node]
        return self.columns and len(node.shape) >= 2 and self._kinds[node] is Kind.ROWS

    def ask(self, node: Node, transposed: bool) -> None:
        """Let the symbol of `node` stand for its transpose or not, whatever its kind says."""
        self._asked[node] = transposed and len(node.shape) >= 2

    # -- kinds ----------------------------------------------------------------------------------

    def _node_kind(self, node: Node) -> Kind:
        kinds = [self.kind(t) for t in node.inputs]
        if node.op.name == "matmul":
            return _product_kind(*kinds)
        if node.op.name == "add_rows":
            return Kind.WEIGHT  # the gradient of a table of rows
        if _swaps_last_axes(node):
            flipped = {Kind.ROWS: Kind.COLUMNS, Kind.COLUMNS: Kind.ROWS}
            return flipped.get(kinds[0], kinds[0])
        if _column_of_vector(node):
            return Kind.COLUMNS
        return next(
            (k for k in (Kind.ROWS, Kind.COLUMNS, Kind.WEIGHT) if k in kinds), Kind.NEUTRAL
        )

    def _has_layers(self, nodes: Sequence[Node]) -> bool:
        """Whether data is multiplied by transposed weights: forward, where there is a forward."""
        products = [node for node in nodes if node.op.name == "matmul"]
        forward = [node for node in products if not node.is_backward]
        return any(map(self._multiplies_by_transpose, forward or products))

    def _multiplies_by_transpose(self, node: Node) -> bool:
        left, right = node.inputs
        return (
            self.kind(left) is not Kind.WEIGHT
            and self.kind(right) is Kind.WEIGHT
            and right.node is not None
            and not right.name
            and _swaps_last_axes(right.node)
        )

    # -- forms ----------------------------------------------------------------------------------

    def form(self, node: Node, transposed: bool) -> Form:
        """How `node` is written where the text needs it as recorded, or transposed."""
        inputs = node.inputs
        if node.op.name == "matmul":
            left, right = ((t, transposed) for t in inputs)
            return Form((right, left) if transposed else (left, right))
        if _swaps_last_axes(node):
            return Form(((inputs[0], not transposed),), through=True)
        if node.op.latex == "{0}" or _changes_only_ones(node):
            return self._see_through(inputs[0], node.shape, transposed)
        if node.op.elementwise:
            return Form(tuple((t, transposed and t.ndim >= 2) for t in inputs))
        operands = tuple((t, self.transposed(t)) for t in inputs)
        return Form(operands, marked=transposed != self.node_transposed(node))

    def _see_through(self, t: Tensor, shape: tuple[int, ...], transposed: bool) -> Form:
        """A reshape that is not written: vectors become rows or columns, and the reverse."""
        marked = False
        if len(shape) < 2:
            row = t.ndim == 2 and t.shape[1] > 1 and shape == t.shape[1:]
            inner = row if t.ndim == 2 and t.size > 1 else self.transposed(t)
        elif t.ndim < 2:
            inner = False
            if t.ndim == 1 and t.size > 1 and len(shape) == 2 and 1 in shape:
                marked = transposed == (shape[1] == 1)
        elif t.ndim == len(shape) == 2 and t.shape == shape[::-1] != shape:
            inner = not transposed
        else:
            inner = transposed
        return Form(((t, inner),), marked=marked, through=True)


def _leaf_kind(t: Tensor, has_parameters: bool) -> Kind:
    if isinstance(t, Parameter) or (t.requires_grad and not has_parameters):
        return Kind.WEIGHT
    return Kind.ROWS if constant_of(t) is None else Kind.NEUTRAL


def _product_kind(left: Kind, right: Kind) -> Kind:
    if left is Kind.COLUMNS and right is Kind.ROWS:
        return Kind.WEIGHT  # summed over the vectors: the gradient of a weight
    if right is Kind.COLUMNS and left is not Kind.ROWS:
        return Kind.COLUMNS
    for kind in (Kind.ROWS, Kind.COLUMNS, Kind.WEIGHT):
        if kind in (left, right):
            return kind
    return Kind.NEUTRAL


def _swaps_last_axes(node: Node) -> bool:
    if node.op.name != "transpose":
        return False
    axes = tuple(node.attrs["axes"])
    n = len(axes)
    return n >= 2 and axes == (*range(n - 2), n - 1, n - 2)


def _changes_only_ones(node: Node) -> bool:
    """Whether a reshape only adds or drops axes of size 1."""
    if node.op.name != "reshape":
        return False
    before, after = node.inputs[0].shape, node.shape
    return [n for n in before if n != 1] == [n for n in after if n != 1]


def _column_of_vector(node: Node) -> bool:
    given = node.inputs[0]
    return (
        _changes_only_ones(node)
        and given.ndim == 1
        and given.size > 1
        and node.shape == (given.size, 1)
    )
