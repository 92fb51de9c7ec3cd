"""The functions people call: `tinygrad_lstm.sigmoid(x)`, `x.sigmoid()`, `x + y`.

Each checks what it was given, brings dtypes together, and records one op of the table. Names and
argument order are NumPy's. Most are methods of Tensor too: the same function, attached below.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .context import CONTEXT
from .errors import DTypeError, ShapeError
from .explain import matmul_reason
from .operands import (
    Axis,
    as_float,
    as_tensor,
    axes_of,
    axis_of,
    call_of,
    cast,
    float_pair,
    is_operand,
    pair,
    unique_axes,
)
from .ops import OPS
from .random import Rng, resolve_rng
from .tensor import (
    Array,
    Op,
    Tensor,
    TensorLike,
    _wrap,
    constant,
    record,
)
from .wording import describe_inputs

__all__ = [
    "abs",
    "add",
    "astype",
    "broadcast_to",
    "clip",
    "concatenate",
    "cos",
    "cumsum",
    "div",
    "dropout",
    "einsum",
    "embedding",
    "exp",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mul",
    "neg",
    "permute",
    "pow",
    "relu",
    "reshape",
    "sigmoid",
    "sin",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "swapaxes",
    "take",
    "tanh",
    "transpose",
    "unsqueeze",
    "unstack",
    "var",
    "where",
]

_ADD, _SUB, _MUL, _DIV, _POW, _NEG = (OPS[k] for k in ("add", "sub", "mul", "div", "pow", "neg"))
_MATMUL, _SIGMOID, _TANH, _GETITEM = (OPS[k] for k in ("matmul", "sigmoid", "tanh", "getitem"))


# -- arithmetic -------------------------------------------------------------------------------


def add(a: TensorLike, b: TensorLike) -> Tensor:
    """a + b, broadcast."""
    return record(_ADD, pair(a, b))


def sub(a: TensorLike, b: TensorLike) -> Tensor:
    """a - b, broadcast."""
    return record(_SUB, pair(a, b))


def mul(a: TensorLike, b: TensorLike) -> Tensor:
    """a ⊙ b, elementwise, broadcast."""
    return record(_MUL, pair(a, b))


def div(a: TensorLike, b: TensorLike) -> Tensor:
    """a / b, broadcast; integers become float32."""
    return record(_DIV, float_pair(a, b))


def pow(a: TensorLike, b: TensorLike) -> Tensor:
    """a ** b, broadcast. The gradient in b is a^b log a, and 0 at a = 0."""
    a, b = pair(a, b)
    if a._data.dtype.kind != "f" and (b._data < 0).any():
        a, b = as_float(a), as_float(b)
    return record(_POW, (a, b))


def neg(x: TensorLike) -> Tensor:
    """-x."""
    return record(_NEG, (as_tensor(x),))


# -- elementwise functions --------------------------------------------------------------------


def exp(x: TensorLike) -> Tensor:
    """e ** x."""
    return record(OPS["exp"], (as_float(x),))


def log(x: TensorLike) -> Tensor:
    """Natural logarithm."""
    return record(OPS["log"], (as_float(x),))


def sqrt(x: TensorLike) -> Tensor:
    """Square root."""
    return record(OPS["sqrt"], (as_float(x),))


def abs(x: TensorLike) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return record(OPS["abs"], (as_tensor(x),))


def sin(x: TensorLike) -> Tensor:
    """Sine of an angle in radians."""
    return record(OPS["sin"], (as_float(x),))


def cos(x: TensorLike) -> Tensor:
    """Cosine of an angle in radians."""
    return record(OPS["cos"], (as_float(x),))


def tanh(x: TensorLike) -> Tensor:
    """Hyperbolic tangent, in (-1, 1)."""
    return record(_TANH, (as_float(x),))


def sigmoid(x: TensorLike) -> Tensor:
    """1 / (1 + exp(-x)), in (0, 1)."""
    return record(_SIGMOID, (as_float(x),))


def relu(x: TensorLike) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return record(OPS["relu"], (as_tensor(x),))


def softplus(x: TensorLike) -> Tensor:
    """log(1 + exp(x))."""
    return record(OPS["softplus"], (as_float(x),))


def maximum(a: TensorLike, b: TensorLike) -> Tensor:
    """The larger of each pair, broadcast; where equal, each gets half of the gradient."""
    return record(OPS["maximum"], pair(a, b))


def minimum(a: TensorLike, b: TensorLike) -> Tensor:
    """The smaller of each pair, broadcast; where equal, each gets half of the gradient."""
    return record(OPS["minimum"], pair(a, b))


def clip(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """x limited to [min, max]; the gradient passes inside and at the borders.

    min, max: None for no limit, numbers, or tensors, which broadcast and get gradients as in
    `maximum` and `minimum`. Where min > max the result is max. Raises ValueError if both are None.
    """
    if min is None and max is None:
        raise ValueError("clip: needs min, max or both")
    if not (_number_or_none(min) and _number_or_none(max)):
        above = x if min is None else maximum(x, min)
        return as_tensor(above) if max is None else minimum(above, max)
    x = as_tensor(x)
    if builtins.any(isinstance(bound, float | np.floating) for bound in (min, max)):
        x = as_float(x)
    to: Any = float if x._data.dtype.kind == "f" else int
    low, high = (None if bound is None else to(bound) for bound in (min, max))
    return record(OPS["clip"], (x,), {"low": low, "high": high})


def _number_or_none(bound: object) -> bool:
    return bound is None or isinstance(bound, int | float | np.number)


def where(condition: TensorLike, a: TensorLike, b: TensorLike) -> Tensor:
    """a where the condition holds, else b; all three broadcast. condition: booleans."""
    if not isinstance(condition, Tensor):
        condition = Tensor(np.asarray(condition))
    if condition._data.dtype.kind != "b":
        raise DTypeError(
            f"{call_of('where', condition)}: condition must be boolean, got {condition.dtype}"
        )
    return record(OPS["where"], (condition, *pair(a, b)))


def astype(x: TensorLike, dtype: Any) -> Tensor:
    """x in another dtype; the gradient comes back in x's own."""
    x = as_tensor(x)
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{call_of('astype', x)}: expected a NumPy dtype, got {dtype!r}") from None
    if wanted.kind not in "fiub":
        raise DTypeError(f"{call_of('astype', x)}: expected a real or boolean dtype, got {wanted}")
    if wanted.kind != "f" and x._requires_grad:
        x = x.detach()
    return x if x._data.dtype == wanted else record(OPS["astype"], (x,), {"dtype": wanted})


def dropout(
    x: TensorLike,
    p: float = 0.5,
    *,
    training: bool = True,
    rng: Rng = None,
) -> Tensor:
    """Zero each element with probability p and scale the others by 1 / (1 - p).

    rng: a NumPy generator, a seed, or None for the one `manual_seed` sets. Outside training, x
    itself. Raises ValueError unless 0 <= p < 1. Source: Srivastava et al., "Dropout", JMLR 2014.
    """
    x = as_float(x)
    if not 0.0 <= p < 1.0:
        raise ValueError(f"dropout: p must be in [0, 1), got {p}")
    if not training or p == 0.0:
        return x
    shape, dtype = x.shape, x.dtype

    def draw() -> Array:
        return (resolve_rng(rng).random(shape) >= p).astype(dtype) / dtype.type(1.0 - p)

    tracer = CONTEXT.get().tracer
    mask = constant(draw(), x) if tracer is None else tracer.drawn(draw, x)
    return record(OPS["dropout"], (x, mask))


# -- shapes -----------------------------------------------------------------------------------


def reshape(x: TensorLike, *sizes: Any, shape: int | Sequence[int] | None = None) -> Tensor:
    """x with its elements in another shape, given as sizes or as one sequence.

    One size may be -1. Raises ShapeError where the elements do not fill the shape.
    """
    x = as_tensor(x)
    sizes = _sizes(sizes if shape is None else (shape,))
    unknown = sizes.count(-1)
    known = int(np.prod([n for n in sizes if n != -1]))
    fits = x.size == known if unknown == 0 else known > 0 and x.size % known == 0
    if unknown > 1 or not fits or builtins.min(sizes, default=0) < -1:
        raise ShapeError(f"{call_of('reshape', x)}: cannot make {sizes} of {x.size} elements")
    sizes = tuple(x.size // known if n == -1 else n for n in sizes)
    return record(OPS["reshape"], (x,), {"shape": sizes})


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """`reshape(2, 3)` and `reshape((2, 3))` alike."""
    if len(shape) == 1 and isinstance(shape[0], tuple | list | np.ndarray):
        shape = tuple(shape[0])
    return _integers(shape, "shape")


def _integers(given: Any, argument: str) -> tuple[int, ...]:
    many = tuple(given) if isinstance(given, Iterable) else (given,)
    if not builtins.all(isinstance(n, int | np.integer) for n in many):
        raise TypeError(f"{argument}: expected integers, got {given!r}")
    return tuple(int(n) for n in many)


def transpose(x: TensorLike, *order: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, given one by one or as one sequence; without any, reversed."""
    x = as_tensor(x)
    given = order if axes is None else (axes,)
    if not given or given == (None,):
        order = tuple(reversed(range(x.ndim)))
    else:
        order = unique_axes(_sizes(given), x, "transpose")
    if len(order) != x.ndim:
        raise ShapeError(f"{call_of('transpose', x)}: {len(order)} axes given for {x.ndim}")
    return record(OPS["transpose"], (x,), {"axes": order})


permute = transpose


def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """x with two axes exchanged."""
    x = as_tensor(x)
    one, other = axis_of(axis1, x, "swapaxes"), axis_of(axis2, x, "swapaxes")
    order = list(range(x.ndim))
    order[one], order[other] = order[other], order[one]
    return record(OPS["transpose"], (x,), {"axes": tuple(order)})


def broadcast_to(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """x repeated along new axes and axes of size 1 until it has `shape`."""
    return record(OPS["broadcast_to"], (as_tensor(x),), {"shape": _sizes((shape,))})


def squeeze(x: TensorLike, axis: Axis = None) -> Tensor:
    """x without axes of size 1: all of them, or those named."""
    x = as_tensor(x)
    if axis is None:
        gone = tuple(k for k, n in enumerate(x.shape) if n == 1)
    else:
        gone = axes_of(axis, x, "squeeze")
        if builtins.any(x.shape[k] != 1 for k in gone):
            raise ShapeError(f"{call_of('squeeze', x)}: axis {axis} is not of size 1")
    sizes = tuple(n for k, n in enumerate(x.shape) if k not in gone)
    return record(OPS["reshape"], (x,), {"shape": sizes})


def unsqueeze(x: TensorLike, axis: int) -> Tensor:
    """x with a new axis of size 1 at `axis`."""
    x = as_tensor(x)
    at = axis_of(axis, x, "unsqueeze", 1)
    return record(OPS["reshape"], (x,), {"shape": (*x.shape[:at], 1, *x.shape[at:])})


def concatenate(tensors: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """The tensors one after another along an existing axis (laid flat if axis is None)."""
    parts = _same_dtype(tensors, "concatenate")
    if axis is None:
        parts, axis = tuple(reshape(part, -1) for part in parts), 0
    at = axis_of(axis, parts[0], "concatenate")
    return record(OPS["concatenate"], parts, {"axis": at})


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new axis."""
    parts = _same_dtype(tensors, "stack")
    return record(OPS["stack"], parts, {"axis": axis_of(axis, parts[0], "stack", 1)})


def _same_dtype(tensors: Sequence[TensorLike], op: str) -> tuple[Tensor, ...]:
    if not isinstance(tensors, Iterable):
        raise TypeError(f"{op}: expected a sequence of tensors, got {type(tensors).__name__}")
    parts = [as_tensor(x, f"{op}: tensors[{k}]") for k, x in enumerate(tensors)]
    if not parts:
        raise ShapeError(f"{op}: needs at least one tensor")
    kinds = [p.dtype for p in parts if p.dtype.kind == "f"] or [p.dtype for p in parts]
    common = np.result_type(*kinds)
    return tuple(cast(p, common) for p in parts)


def split(x: TensorLike, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """x in pieces along an axis: a number of equal ones, or cut before the given indices.

    Raises ShapeError where the axis does not divide evenly.
    """
    x = as_tensor(x)
    at = axis_of(axis, x, "split")
    size = x.shape[at]
    if isinstance(sections, int | np.integer):
        if sections < 1 or size % sections:
            raise ShapeError(
                f"{call_of('split', x)}: axis {axis} of size {size} does not make {sections} equal "
                "pieces"
            )
        cuts = [k * (size // sections) for k in range(sections + 1)]
    else:
        cuts = [0, *_integers(sections, "split: sections"), size]
    before = (slice(None),) * at
    return tuple(
        record(_GETITEM, (x,), {"index": (*before, slice(start, stop))})
        for start, stop in pairwise(cuts)
    )


def unstack(x: TensorLike, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along an axis, without that axis."""
    x = as_tensor(x)
    at = axis_of(axis, x, "unstack")
    before = (slice(None),) * at
    return tuple(
        record(_GETITEM, (x,), {"index": (*before, k)}) for k in range(x.shape[at])
    )


def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """The entries of x at integer indices along an axis (of x laid flat if axis is None).

    Raises DTypeError for indices that are not integers, IndexError for one out of range.
    """
    x = as_tensor(x)
    if axis is None:
        where_to = _indices(indices, x, x.size, "take")
        return record(OPS["take"], (reshape(x, -1), where_to), {"axis": 0})
    at = axis_of(axis, x, "take")
    where_to = _indices(indices, x, x.shape[at], "take")
    return record(OPS["take"], (x, where_to), {"axis": at})


def embedding(indices: TensorLike, weight: TensorLike) -> Tensor:
    """Rows of weight (V, D) at integer indices (...): result (..., D)."""
    weight = as_tensor(weight, "weight")
    if weight.ndim != 2:
        raise ShapeError(f"{call_of('embedding', weight)}: weight must have two axes, (V, D)")
    rows = _indices(indices, weight, weight.shape[0], "embedding")
    return record(OPS["take"], (weight, rows), {"axis": 0})


def _indices(indices: TensorLike, x: Tensor, size: int, op: str) -> Tensor:
    if not isinstance(indices, Tensor):
        array = np.asarray(indices)
        indices = Tensor(array if array.size else array.astype(np.intp))
    if indices._data.dtype.kind not in "iu":
        call = call_of(op, x, indices)
        raise DTypeError(f"{call}: indices must be integers, not {indices.dtype}")
    values = indices._data
    if values.size and not (-size <= values.min() and values.max() < size):
        raise IndexError(
            f"{call_of(op, x, indices)}: indices from {values.min()} to {values.max()} into {size} "
            "entries"
        )
    return indices


# -- reductions -------------------------------------------------------------------------------


def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over an axis, several, or all."""
    return _reduce("sum", x, axis, keepdims)


def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over an axis, several, or all. Raises ShapeError over no elements."""
    return _reduce("mean", as_float(x), axis, keepdims, empty=False)


def var(x: TensorLike, axis: Axis = None, *, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Variance: mean squared deviation, divided by n - ddof. Raises ShapeError if n <= ddof."""
    x = as_float(x)
    axes = axes_of(axis, x, "var")
    count = int(np.prod([x.shape[k] for k in axes]))
    if count <= ddof:
        raise ShapeError(f"{call_of('var', x)}: {count} elements along axis {axis} at ddof={ddof}")
    return record(OPS["var"], (x,), {"axis": axes, "ddof": ddof, "keepdims": bool(keepdims)})


def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element; elements that tie share the gradient evenly."""
    return _reduce("max", x, axis, keepdims, empty=False)


def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element; elements that tie share the gradient evenly."""
    return _reduce("min", x, axis, keepdims, empty=False)


def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))), without overflow; -inf over no elements."""
    return _reduce("logsumexp", as_float(x), axis, keepdims)


_ALL_AXES = [tuple(range(ndim)) for ndim in range(65)]  # NumPy's arrays have up to 64


def _reduce(op: str, x: TensorLike, axis: Axis, keepdims: bool, empty: bool = True) -> Tensor:
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    axes = _ALL_AXES[x._data.ndim] if axis is None else axes_of(axis, x, op)
    if not empty and not builtins.all(x.shape[k] for k in axes):
        raise ShapeError(f"{call_of(op, x)}: no elements along axis {axis}")
    return record(OPS[op], (x,), {"axis": axes, "keepdims": bool(keepdims)})


def softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis."""
    return _along("softmax", x, axis)


def log_softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """log(softmax(x)) along an axis."""
    return _along("log_softmax", x, axis)


def _along(op: str, x: TensorLike, axis: Axis) -> Tensor:
    x = as_float(x)
    axes = axes_of(axis, x, op)
    if not builtins.all(x.shape[k] for k in axes):
        raise ShapeError(f"{call_of(op, x)}: no elements along axis {axis}")
    return record(OPS[op], (x,), {"axis": axes})


def cumsum(x: TensorLike, axis: int | None = None) -> Tensor:
    """Running sum along an axis (of x laid flat if axis is None)."""
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return record(OPS["cumsum"], (x,), {"axis": axis_of(axis, x, "cumsum")})


# -- products ---------------------------------------------------------------------------------


def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """Matrix product over the last two axes; leading axes broadcast, vectors as in NumPy."""
    a, b = pair(a, b)
    if a._data.ndim >= 2 and b._data.ndim >= 2:
        return record(_MATMUL, (a, b))
    if why := matmul_reason(a.shape, b.shape):
        raise ShapeError(f"{describe_inputs('matmul', (a, b), CONTEXT.get(), ' @ ')}: {why}")
    row = unsqueeze(a, 0) if a.ndim == 1 else a
    column = unsqueeze(b, 1) if b.ndim == 1 else b
    product = record(_MATMUL, (row, column))
    gone = ([product.ndim - 2] if a.ndim == 1 else []) + ([product.ndim - 1] if b.ndim == 1 else [])
    return squeeze(product, gone)


def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Einstein summation in NumPy's notation, with ellipses and repeated indices.

    Raises ShapeError for subscripts that do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, got {subscripts!r:.80}")
    tensors = list(_same_dtype(operands, "einsum"))
    terms, result = _explicit(subscripts, tensors)
    for k, term in enumerate(list(terms)):  # "ii" is "ij" times the identity
        for position, letter in enumerate(term):
            if letter in term[:position]:
                fresh = _fresh_letter("".join(terms) + result)
                terms[k] = terms[k][:position] + fresh + terms[k][position + 1 :]
                terms.append(letter + fresh)
                tensors.append(Tensor(np.eye(tensors[k].shape[position], dtype=tensors[k].dtype)))
    return record(
        OPS["einsum"], tuple(tensors), {"subscripts": ",".join(terms) + "->" + result}
    )


def _explicit(subscripts: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """Subscripts with letters for ellipses and with the output spelled out."""
    call = call_of("einsum", *tensors)
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise ShapeError(f"{call}: {subscripts!r} names {len(terms)} operands, got {len(tensors)}")
    used, wild = left + result, ""
    widths = [t.ndim - len(term.replace("...", "")) for term, t in zip(terms, tensors, strict=True)]
    for term, t, width in zip(terms, tensors, widths, strict=True):
        if width < 0 or (width and "..." not in term):
            raise ShapeError(f"{call}: {term!r} in {subscripts!r} does not fit {t.shape}")
    for _ in range(builtins.max(widths)):
        wild += _fresh_letter(used + wild)
    terms = [
        term.replace("...", wild[len(wild) - width :])
        for term, width in zip(terms, widths, strict=True)
    ]
    if arrow:
        result = result.replace("...", wild)
    else:
        once = sorted(k for k in set(left) - set(".,") if left.count(k) == 1)
        result = wild + "".join(once)
    known = set("".join(terms))
    if not set(result) <= known or len(set(result)) != len(result):
        raise ShapeError(f"{call}: output {result!r} of {subscripts!r} does not fit its operands")
    return terms, result


def _fresh_letter(used: str) -> str:
    letters = (chr(k) for k in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1)))
    for letter in letters:
        if letter not in used:
            return letter
    raise ShapeError("einsum: more than 52 different indices")


# -- indexing and operators -------------------------------------------------------------------


def __getitem__(x: Tensor, index: Any) -> Tensor:
    """Basic and integer or boolean array indexing; repeated indices add up their gradients.

    x[k] for a tensor k of integers is `take`: k may then be another at every step of a scan.
    """
    if isinstance(index, Tensor) and index._data.dtype.kind in "iu" and x._data.ndim:
        return take(x, index, 0)
    return record(_GETITEM, (x,), {"index": _plain_index(index)})


def _plain_index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    if isinstance(index, Tensor):
        index = index.numpy()
    elif isinstance(index, list):
        index = np.asarray(index, dtype=None if index else np.intp)
    if isinstance(index, np.ndarray) and index.dtype.kind not in "iub":
        raise DTypeError(f"index: must be integers or booleans, got {index.dtype}")
    if isinstance(index, float):
        raise DTypeError(f"index: must be integers, slices or arrays, got {index!r}")
    return index


def _binary(op: Op, promote: Callable[[Any, Any], tuple[Tensor, Tensor]]) -> tuple[Any, Any]:
    def forward(self: Tensor, other: TensorLike) -> Tensor:
        if isinstance(other, Tensor):
            if other._data.dtype is self._data.dtype:
                return record(op, (self, other))
        elif type(other) is np.ndarray and other.dtype is self._data.dtype:
            return record(op, (self, _wrap(other, None, False)))
        return record(op, promote(self, other)) if is_operand(other) else NotImplemented

    def reflected(self: Tensor, other: TensorLike) -> Tensor:
        return record(op, promote(other, self)) if is_operand(other) else NotImplemented

    return forward, reflected


__add__, __radd__ = _binary(_ADD, pair)
__sub__, __rsub__ = _binary(_SUB, pair)
__mul__, __rmul__ = _binary(_MUL, pair)


def __truediv__(self: Tensor, other: TensorLike) -> Tensor:
    return div(self, other) if is_operand(other) else NotImplemented


def __rtruediv__(self: Tensor, other: TensorLike) -> Tensor:
    return div(other, self) if is_operand(other) else NotImplemented


def __pow__(self: Tensor, other: TensorLike) -> Tensor:
    return pow(self, other) if is_operand(other) else NotImplemented


def __rpow__(self: Tensor, other: TensorLike) -> Tensor:
    return pow(other, self) if is_operand(other) else NotImplemented


def __matmul__(self: Tensor, other: TensorLike) -> Tensor:
    if isinstance(other, Tensor):
        one, weight = self._data, other._data
        if one.dtype is weight.dtype and one.ndim >= 2 and weight.ndim >= 2:
            return record(_MATMUL, (self, other))
    return matmul(self, other) if is_operand(other) else NotImplemented


def __rmatmul__(self: Tensor, other: TensorLike) -> Tensor:
    return matmul(other, self) if is_operand(other) else NotImplemented


__neg__ = neg
__abs__ = abs

_METHODS = (
    "abs astype broadcast_to clip cos cumsum dropout exp log log_softmax logsumexp max mean min "
    "permute relu reshape sigmoid sin softmax softplus split sqrt squeeze sum swapaxes take tanh "
    "transpose unsqueeze unstack var __abs__ __add__ __getitem__ __matmul__ __mul__ __neg__ "
    "__pow__ __radd__ __rmatmul__ __rmul__ __rpow__ __rsub__ __rtruediv__ __sub__ __truediv__"
)
for _name in _METHODS.split():
    setattr(Tensor, _name, globals()[_name])
