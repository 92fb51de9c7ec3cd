"""`to_sympy`: a recorded computation as an exact SymPy expression.

Knows the graph, and SymPy, which is imported when first asked for. Every tensor becomes an array
of expressions, built in the order of recording; ops that only move, add and multiply elements run
on such arrays as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import count
from typing import Any

import numpy as np

from tinygrad_lstm import GraphError, Node, Parameter, ShapeError, Tensor, toposort

from .compiled import refuse_compiled

__all__ = ["to_sympy"]

Array = np.ndarray[Any, Any]
SIMPLEST = 1000
"""The largest denominator of a fraction that a recorded number is taken for."""
LARGEST = 4096
"""Elements of a tensor that are still written out."""

_MOVES = frozenset(
    ("reshape", "transpose", "broadcast_to", "getitem", "scatter", "concatenate", "stack", "sum",
     "cumsum", "matmul", "einsum")
)  # fmt: skip
_INDEXED = frozenset(("take", "add_rows"))  # the second input is an array of integers


def to_sympy(tensor: Tensor, *, evaluate: bool = True) -> Any:
    """The recorded computation of a scalar as a SymPy expression of its leaves.

    tensor: of one element. Named leaves become real Symbols of that name, the elements of an array
    W the symbols W_0_0, W_0_1, ...; a leaf without a name is the numbers it holds, or x0, x1, ...
    in the order of use if it requires a gradient. A number is taken for the simplest fraction that
    its dtype cannot tell from it: 0.1 is 1/10. Integers, booleans and dropout masks are constants,
    casts between floats are left out, and nothing is rounded. Comparisons are relations, what
    combines them is And, Or and Not, and a truth value that is added or multiplied is 1 or 0.
    evaluate: let SymPy collect terms and work out what it can, as it does by itself; with False
    every op stays as recorded, which for deep graphs takes far less time.
    Raises TypeError for what is no tensor; ShapeError for more than one element, or a tensor of
    more than 4096 on the way; GraphError for an op that has no expression, for a compiled
    scan, for two leaves that would share a symbol, and for what SymPy, being recursive, cannot nest
    so deeply (Max and Min); ImportError where SymPy is not installed.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor: expected a Tensor, got {type(tensor).__name__}")
    if tensor.size != 1:
        raise ShapeError(
            f"to_sympy: needs one element, {tensor.name or 'the tensor'} has shape {tensor.shape}; "
            "index it, or reduce it with .sum()"
        )
    try:
        import sympy
    except ImportError:
        raise ImportError(
            "to_sympy: SymPy is not installed; pip install tinygrad_lstm[dev]"
        ) from None
    nodes = toposort([tensor])
    refuse_compiled("to_sympy", nodes)
    leaves = {id(t): t for node in nodes for t in node.inputs if t.node is None}
    if tensor.node is None:
        leaves[id(tensor)] = tensor
    exporter = _Exporter(sympy, list(leaves.values()), evaluate)
    for node in nodes:
        exporter.add(node)
    return exporter.of(tensor).reshape(-1)[0]


class _Exporter:
    """The expressions of the tensors met so far."""

    def __init__(self, sympy: Any, leaves: Sequence[Tensor], evaluate: bool) -> None:
        self._sympy = sympy
        self._evaluate = evaluate
        self._functions = {**_elementwise(sympy), **_reductions(sympy)}
        self._of_flags = _of_flags(sympy)
        self._owners: dict[str, Tensor] = {}
        names = {t.name for t in leaves}
        unused = (name for k in count() if (name := f"x{k}") not in names)
        self._known: dict[Node | int, Array] = {id(t): self._leaf(t, unused) for t in leaves}

    def of(self, t: Tensor) -> Array:
        """The expressions of a tensor that was met."""
        return self._known[id(t) if t.node is None else t.node]

    def add(self, node: Node) -> None:
        """Work out a node from its inputs; unevaluated where SymPy's own recursion is too deep."""
        _check_size(node.value, f"{node.op.name}{_where(node)}")
        try:
            with self._sympy.evaluate(self._evaluate):
                result = self._result(node)
        except RecursionError:
            self._evaluate = False  # what follows is deeper still
            result = self._unevaluated(node)
        self._known[node] = _objects(result, node.shape)

    def _unevaluated(self, node: Node) -> Any:
        try:
            with self._sympy.evaluate(False):
                return self._result(node)
        except RecursionError:
            raise GraphError(
                f"to_sympy: the expression of {node.op.name}{_where(node)} is nested too deeply "
                "for SymPy, which is recursive"
            ) from None

    def _result(self, node: Node) -> Any:
        name, attrs = node.op.name, node.attrs
        inputs = [self.of(t) for t in node.inputs]
        flags = [t.dtype.kind == "b" for t in node.inputs]
        if all(flags) and name in self._of_flags and node.dtype.kind == "b":
            return self._of_flags[name](*inputs, **attrs)
        if any(flags) and (node.dtype.kind != "b" or not all(flags)):
            numbers = range(1 if name == "where" else 0, len(inputs))
            for k in numbers:
                inputs[k] = _each(self._as_number, [inputs[k]])
        if name in _INDEXED:
            inputs[1] = node.inputs[1].data
        if name in _MOVES or name in _INDEXED:
            moved = node.op.forward(*inputs, **attrs)
            return _each(self._sympy.sympify, [moved])  # NumPy's own zeros are no expressions
        if name == "astype" and (attrs["dtype"].kind == "f" or node.inputs[0].dtype.kind in "iub"):
            return inputs[0]
        if name not in self._functions:
            raise GraphError(f"to_sympy: no expression for {name}{_where(node)}")
        function = self._functions[name]
        if node.op.elementwise:
            limits = {key: self._limit(value) for key, value in attrs.items()}
            return _each(lambda *x: function(*x, **limits), inputs)
        return function(inputs[0], **attrs)

    # -- leaves -----------------------------------------------------------------------------------

    def _leaf(self, leaf: Tensor, unused: Iterator[str]) -> Array:
        kind = leaf.dtype.kind
        variable = isinstance(leaf, Parameter) or leaf.requires_grad
        if kind in "iu" and leaf.size > LARGEST:
            return leaf.data  # the indices of a large embedding
        _check_size(leaf.data, leaf.name or "a leaf")
        if kind == "f" and (leaf.name or variable):
            name = leaf.name or next(unused)
            made = [self._symbol(leaf, name, index) for index in np.ndindex(leaf.shape)]
        elif kind == "b":
            made = [self._sympy.true if x else self._sympy.false for x in leaf.data.flat]
        else:
            made = [self._number(x, leaf.dtype) for x in leaf.data.flat]
        return _objects(made, leaf.shape)

    def _symbol(self, leaf: Tensor, name: str, index: tuple[int, ...]) -> Any:
        text = "_".join([name, *map(str, index)])
        if self._owners.setdefault(text, leaf) is not leaf:
            raise GraphError(
                f"to_sympy: two leaves would share the symbol {text!r}; name them apart"
            )
        return self._sympy.Symbol(text, real=True)

    def _number(self, value: Any, dtype: np.dtype[Any]) -> Any:
        if not np.isfinite(value):
            return self._sympy.nan if np.isnan(value) else self._sympy.oo * int(np.sign(value))
        exact = Fraction(float(value))
        simple = exact.limit_denominator(SIMPLEST)
        if dtype.type(simple.numerator / simple.denominator) != value:
            simple = exact
        return self._sympy.Rational(simple.numerator, simple.denominator)

    def _limit(self, value: Any) -> Any:
        """An attribute of an elementwise op: a bound, or None for no bound."""
        return None if value is None else self._number(value, np.dtype(np.float64))

    def _as_number(self, x: Any) -> Any:
        """A truth value as 1 or 0; anything else as it is."""
        if not isinstance(x, self._sympy.Expr):
            return self._sympy.Piecewise((1, x), (0, True))
        return x


def _elementwise(sp: Any) -> Mapping[str, Callable[..., Any]]:
    """What each elementwise op is in SymPy."""

    def clip(a: Any, low: Any, high: Any) -> Any:
        above = a if low is None else sp.Max(a, low)
        return above if high is None else sp.Min(above, high)

    def within(a: Any, low: Any, high: Any) -> Any:
        above = sp.true if low is None else sp.Ge(a, low)
        return above if high is None else sp.And(above, sp.Le(a, high))

    return {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "neg": lambda a: -a,
        "pow": sp.Pow,
        "exp": sp.exp,
        "log": sp.log,
        "sqrt": sp.sqrt,
        "abs": sp.Abs,
        "sign": sp.sign,
        "sin": sp.sin,
        "cos": sp.cos,
        "tanh": sp.tanh,
        "sigmoid": lambda a: 1 / (1 + sp.exp(-a)),
        "softplus": lambda a: sp.log(1 + sp.exp(a)),
        "relu": lambda a: sp.Max(a, 0),
        "maximum": sp.Max,
        "minimum": sp.Min,
        "clip": clip,
        "within": within,
        "greater": sp.Gt,
        "greater_equal": sp.Ge,
        "equal": sp.Eq,
        "not_equal": sp.Ne,
        "where": lambda c, a, b: sp.Piecewise((a, c), (b, True)),
        "dropout": lambda a, mask: a * mask,
    }


def _of_flags(sp: Any) -> Mapping[str, Callable[..., Any]]:
    """What ops say of truth values, from arrays of expressions to arrays of expressions."""

    def each(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs: _each(function, inputs)

    return {
        "add": each(sp.Or),
        "mul": each(sp.And),
        "maximum": each(sp.Or),
        "minimum": each(sp.And),
        "equal": each(sp.Equivalent),
        "not_equal": each(sp.Xor),
        "greater": each(lambda a, b: sp.And(a, sp.Not(b))),
        "greater_equal": each(lambda a, b: sp.Or(a, sp.Not(b))),
        "where": each(sp.ITE),
        "max": lambda a, axis, keepdims: _extreme(sp.Or, a, axis),
        "min": lambda a, axis, keepdims: _extreme(sp.And, a, axis),
    }


def _reductions(sp: Any) -> Mapping[str, Callable[..., Any]]:
    """What each op along axes is, from arrays of expressions to arrays of expressions."""
    exp, log = np.frompyfunc(sp.exp, 1, 1), np.frompyfunc(sp.log, 1, 1)

    def mean(a: Array, axis: Any, keepdims: bool) -> Any:
        total = np.add.reduce(a, axis=axis, keepdims=keepdims)
        return total / sp.Integer(_count(a, axis))

    def var(a: Array, axis: Any, ddof: int, keepdims: bool) -> Any:
        squares = (a - mean(a, axis, True)) ** 2
        return np.add.reduce(squares, axis=axis, keepdims=keepdims) / sp.Integer(
            _count(a, axis) - ddof
        )

    def log_sum_exp(a: Array, axis: Any, keepdims: bool) -> Any:
        return log(np.add.reduce(exp(a), axis=axis, keepdims=keepdims))

    return {
        "mean": mean,
        "var": var,
        "max": lambda a, axis, keepdims: _extreme(sp.Max, a, axis),
        "min": lambda a, axis, keepdims: _extreme(sp.Min, a, axis),
        "logsumexp": log_sum_exp,
        "softmax": lambda a, axis: exp(a) / np.add.reduce(exp(a), axis=axis, keepdims=True),
        "log_softmax": lambda a, axis: a - log_sum_exp(a, axis, True),
    }


def _extreme(of: Callable[..., Any], a: Array, axis: tuple[int, ...]) -> Array:
    """Max or Min over axes; the caller gives the result its shape."""
    rest = [k for k in range(a.ndim) if k not in axis]
    moved = a.transpose([*rest, *axis]).reshape(*[a.shape[k] for k in rest], -1)
    rows = moved.reshape(-1, moved.shape[-1])
    return _objects([of(*row) for row in rows], moved.shape[:-1])


def _count(a: Array, axis: tuple[int, ...]) -> int:
    return int(np.prod([a.shape[k] for k in axis]))


def _each(function: Callable[..., Any], inputs: Sequence[Array]) -> Any:
    """`function` of the elements, broadcast."""
    return np.frompyfunc(function, len(inputs), 1)(*inputs)


def _objects(values: Any, shape: tuple[int, ...]) -> Array:
    """Expressions as an array of objects: NumPy must not look into them."""
    result = np.empty(shape, dtype=object)
    if isinstance(values, np.ndarray):
        result[...] = values.reshape(shape)
    elif isinstance(values, list):
        for k, value in enumerate(values):
            result.flat[k] = value
    else:
        result[...] = values
    return result


def _check_size(values: Array, what: str) -> None:
    if values.size > LARGEST:
        raise ShapeError(
            f"to_sympy: {what} has {values.size} elements; at most {LARGEST} are written out"
        )


def _where(node: Node) -> str:
    return f" in {'/'.join(node.scope)}" if node.scope else ""
