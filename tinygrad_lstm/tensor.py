"""Tensor, Node and Op: a value, how it was made, and what can make one.

Knows no particular op: the table is in `ops`, the functions over it in `functions`.
"""

from __future__ import annotations

import itertools
import operator
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy import ndarray

from .context import CONTEXT, Context, Place
from .errors import DTypeError, GraphError, ShapeError
from .wording import call_error, check_finite, describe, describe_place

__all__ = ["Array", "Node", "Op", "Parameter", "Tensor", "TensorLike", "tensor"]

Array = np.ndarray[Any, Any]
Rule = Callable[..., Any]
Attrs = Mapping[str, Any]

NO_ATTRS: dict[str, Any] = {}
DEFAULT_DTYPE = np.dtype(np.float32)
_DEEPEST = 64  # lists in lists that NumPy makes arrays of

_sequence = itertools.count(1).__next__
_new = object.__new__
_frame = sys._getframe
_data_of = operator.attrgetter("_data")
_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ENGINE = "tensor operands ops autodiff interop comparisons"
_FUNCTIONS = "elementwise indexing operators products reductions shapes"
_ENGINE_FILES = frozenset(
    f"{_PACKAGE}{folder}{name}.py"
    for folder, names in (("", _ENGINE), (f"functions{os.sep}", _FUNCTIONS))
    for name in names.split()
)


class Bundle(dict[int, Any]):
    """Cotangents of several results of one node, by position; OWN: of the node's own value."""

    __slots__ = ()

    def __add__(self, other: Any) -> Bundle:
        total = Bundle(self)
        for k, g in (other if isinstance(other, Bundle) else {OWN: other}).items():
            total[k] = total[k] + g if k in total else g
        return total


OWN = -1


class Rules(Protocol):
    """One backward rule per input, by the input's position; None where there is no gradient."""

    def __getitem__(self, position: int, /) -> Rule | None: ...


class Op:
    """A primitive: its forward on arrays, its backward rules, and how to write it down.

    name: key in the table. symbol: what a picture shows. latex: a template over the inputs
    ({0}, {1}, ...) and attributes. precedence: how tightly the template binds (9: as an atom).
    forward(*arrays, **attrs) -> array; of an op with several results forward(arrays, attrs) ->
    (arrays, what its pullback needs). vjps: `rule(g, out, *inputs, **attrs)` per input, which
    must run on arrays and on tensors alike; empty for an op without a gradient.
    elementwise: inputs broadcast against each other, so the sweep un-broadcasts gradients.
    adds_into: `adds_into(total, g, *inputs[1:], **attrs)` adds the first input's share in place,
    for ops that read a part of a large array: no array of zeros for each slice.
    collect: `collect([(g, first input), ...])` gives a matrix's share of all its uses at once, for
    a second input that is a weight used at every step: one large product for many small ones.
    pullback: `pullback(g, node, recorded)` gives all inputs' shares (or None) together, instead of
    vjps, for an op whose backward is one computation, or that has several results: g is a Bundle
    where others than the node's own value have cotangents. Recorded, all are tensors; else arrays,
    and the shares share memory with nothing.
    """

    __slots__ = (
        "adds_into",
        "collect",
        "differentiable",
        "elementwise",
        "forward",
        "is_gathered",
        "latex",
        "name",
        "precedence",
        "pullback",
        "symbol",
        "vjps",
    )

    def __init__(
        self,
        name: str,
        symbol: str,
        latex: str,
        forward: Callable[..., Any],
        vjps: Rules = (),
        *,
        elementwise: bool = False,
        precedence: int = 9,
        adds_into: Callable[..., None] | None = None,
        collect: Callable[[Sequence[tuple[Array, Array]]], Array] | None = None,
        pullback: Callable[..., Sequence[Any]] | None = None,
    ) -> None:
        self.name = name
        self.symbol = symbol
        self.latex = latex
        self.forward = forward
        self.vjps = vjps
        self.elementwise = elementwise
        self.precedence = precedence
        self.adds_into = adds_into
        self.collect = collect
        self.pullback = pullback
        self.differentiable = bool(vjps) or pullback is not None
        self.is_gathered = adds_into is not None or collect is not None

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        """Run on arrays as arrays, on tensors as a recorded op: what backward rules need."""
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        if not tensors:
            return self.forward(*inputs, **attrs)
        like = next((t for t in tensors if t._data.dtype.kind == "f"), tensors[0])
        return record(
            self,
            tuple(x if isinstance(x, Tensor) else constant(x, like) for x in inputs),
            attrs,
        )

    def __repr__(self) -> str:
        return f"Op({self.name!r})"


class Node:
    """One recorded application of an op.

    Holds its input tensors and the array it produced, never its output tensor: so a graph has no
    reference cycles. `seq` grows with time, which makes sorting by it a topological order. `saved`:
    what an op with several results keeps for its pullback.
    """

    __slots__ = ("_value", "attrs", "context", "inputs", "name", "op", "place", "saved", "seq")

    op: Op
    inputs: tuple[Tensor, ...]
    attrs: Attrs
    _value: Array
    context: Context
    place: Place
    saved: Any
    seq: int
    name: str | None

    @property
    def scope(self) -> tuple[str, ...]:
        """Names of the scopes this was recorded in, from the outermost in."""
        return self.context.names()

    @property
    def is_backward(self) -> bool:
        """Whether a backward rule recorded this."""
        return self.context.is_backward

    @property
    def where(self) -> str:
        """`file:line` of the user's code that recorded this."""
        place = self.place
        if self.context.site is not None and place[0].co_filename.startswith(_PACKAGE):
            place = self.context.site
        return describe_place(place)

    @property
    def value(self) -> Array:
        """The array it produced. Raises GraphError where that stands for those of every step."""
        return self.output().data

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its value."""
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its value."""
        return self._value.dtype

    def output(self) -> Tensor:
        """A tensor for this node's value, connected to the graph."""
        made = _wrap(self._value, self, any(t._requires_grad for t in self.inputs))
        if (tracer := CONTEXT.get().tracer) is not None:
            tracer.made(made)
        return made

    def __repr__(self) -> str:
        label = f" {self.name}" if self.name else ""
        shape = f" {self.shape}" if isinstance(self._value, ndarray) else ""
        return f"Node({self.op.name}{label}{shape} in {'/'.join(self.scope) or '-'})"


class Tensor:
    """An array that remembers how it was made.

    data: anything NumPy takes. Lists and numbers become float32 unless `dtype` says otherwise;
    arrays keep their dtype. Raises DTypeError for complex, object and text data, and for an
    integer tensor that requires a gradient.
    """

    __slots__ = ("__weakref__", "_changed", "_data", "_grad", "_name", "_requires_grad", "node")

    _data: Array
    _requires_grad: bool
    _name: str | None
    _changed: int
    _grad: Tensor | None
    node: Node | None
    last_change: ClassVar[int] = 0
    """When any tensor's data was last replaced, on the clock that numbers the nodes."""

    def __init__(
        self,
        data: object,
        *,
        dtype: object = None,
        requires_grad: bool = False,
        name: str | None = None,
    ) -> None:
        _check_history(data)
        self._data = as_array(data, dtype)
        self._grad = None
        self.node = None
        self._name = _checked_name(name)
        self._changed = 0
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True
        if (tracer := CONTEXT.get().tracer) is not None:
            tracer.born(self)

    # -- what it is ---------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The values, as the NumPy array itself (not a copy)."""
        self._check_concrete()
        if not isinstance(self._data, ndarray):
            return np.asarray(self._data)  # which refuses: see compiler.leftovers
        return self._data

    @data.setter
    def data(self, values: object) -> None:
        if self.node is not None:
            raise GraphError(
                f"data: {describe(self)} was computed by {self.node.op.name}; only a leaf's data "
                "can be replaced. Use .detach() for a leaf with the same values"
            )
        self._check_concrete()
        array = as_array(values, None if isinstance(values, ndarray | Tensor) else self.dtype)
        if array.shape != self._data.shape:
            raise ShapeError(f"data: {describe(self)} got an array of shape {array.shape}")
        if array.dtype != self._data.dtype:
            raise DTypeError(f"data: {describe(self)} holds {self.dtype}, got {array.dtype}")
        self._data = array
        self._changed = Tensor.last_change = _sequence()

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.node is not None and value != self._requires_grad:
            raise GraphError(
                f"requires_grad: {describe(self)} was computed by {self.node.op.name}; it can "
                "only be set on a leaf. Use .detach() for a leaf with the same values"
            )
        if value and self._data.dtype.kind != "f":
            raise DTypeError(
                f"requires_grad: only floating-point tensors can require a gradient, "
                f"{describe(self)} is {self._data.dtype}"
            )
        if value != self._requires_grad:
            self._check_concrete()
        self._requires_grad = bool(value)

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has added up; None before it, and after `t.grad = None`."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and not isinstance(value, Tensor):
            value = _wrap(np.array(as_array(value, self.dtype)), None, False)
        if value is not None and value.shape != self.shape:
            raise ShapeError(f"grad: {describe(self)} got a gradient of shape {value.shape}")
        if value is not None and value.dtype != self.dtype:
            raise DTypeError(f"grad: {describe(self)} is {self.dtype}, got {value.dtype}")
        self._grad = value

    @property
    def name(self) -> str | None:
        """The label that pictures, equations and errors use."""
        return self._name if self.node is None else self.node.name

    @name.setter
    def name(self, name: str | None) -> None:
        if self.node is None:
            self._name = _checked_name(name)
        else:
            self.node.name = _checked_name(name)

    def named(self, name: str) -> Self:
        """Label this tensor and return it: `f_t = sigmoid(a).named("f_t")`."""
        self.name = name
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._data.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return self.transpose()

    # -- out of the graph ---------------------------------------------------------------------

    def item(self) -> float | int | bool:
        """The only element as a Python number. Raises ShapeError if there is not exactly one."""
        if self._data.size != 1:
            raise ShapeError(f"item: needs exactly one element, {describe(self)} has {self.size}")
        return self.numpy().item()

    def numpy(self) -> Array:
        """The values as a NumPy array (shared, not copied)."""
        return self.data

    def tolist(self) -> Any:
        """The values as (nested lists of) Python numbers."""
        return self.numpy().tolist()

    def detach(self) -> Tensor:
        """A leaf with the same values and name, which no gradient passes."""
        tracer = CONTEXT.get().tracer
        if tracer is not None:
            return tracer.detached(self)
        leaf = _wrap(self._data, None, False)
        leaf._name = self.name
        return leaf

    # -- Python and NumPy protocols -----------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from .interop import call_ufunc

        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        from .interop import call_function

        return call_function(function, args, kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.node is None:  # a copy would be a leaf with the first step's values
            self._check_concrete()
        return super().__reduce_ex__(protocol)

    def _check_concrete(self) -> None:
        """Raise GraphError if the tensor stands for every step's, while a step is compiled."""
        if (tracer := CONTEXT.get().tracer) is not None:
            tracer.check_concrete(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self.node is not None and self._requires_grad:
            raise GraphError(
                f"deepcopy: {describe(self)} was computed by {self.node.op.name}; only a leaf, or "
                "what needs no gradient, can be copied. Use .detach() for a leaf with the same "
                "values"
            )
        twin = type(self).__new__(type(self))
        twin._data, twin._name, twin.node, twin._changed = self.data.copy(), self.name, None, 0
        twin._requires_grad = self._requires_grad
        twin._grad = None if self._grad is None else self._grad.detach().__deepcopy__(memo)
        return twin

    def __len__(self) -> int:
        if self._data.ndim == 0:
            raise TypeError("len() of a tensor without axes")
        return self._data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self._data.ndim == 0:
            raise TypeError("iteration over a tensor without axes")
        return (self[k] for k in range(self._data.shape[0]))

    def __contains__(self, value: object) -> bool:
        return bool(np.any(self == value))

    def __bool__(self) -> bool:
        values = self.numpy()
        if values.size != 1:
            raise ShapeError(
                f"bool: the truth value of {describe(self)} with {self.size} elements is "
                "ambiguous; compare and use .any() or .all()"
            )
        return bool(values)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            raise TypeError(f"only integer tensors can be an index, {describe(self)} is not")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        tracer = CONTEXT.get().tracer
        if not isinstance(self._data, ndarray):  # see compiler.leftovers
            parts = ["of a step that was compiled"]
        elif tracer is not None and tracer.stands_for_every_step(self):
            parts = [f"of every step, shape={self._data.shape}, dtype={self._data.dtype}"]
        else:
            parts = self._shown()
        if self.name is not None:
            parts.append(f"name={self.name!r}")
        if self.node is not None:
            parts.append(f"op={self.node.op.name}")
        if self._requires_grad:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(parts)})"

    def _shown(self) -> list[str]:
        parts = [np.array2string(self._data, separator=", ", prefix="tensor(", threshold=100)]
        if self._data.dtype != DEFAULT_DTYPE:
            parts.append(f"dtype={self._data.dtype}")
        return parts

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """What a notebook shows: the picture of how this tensor was made."""
        if self.node is None:
            return {"text/plain": repr(self)}
        import viz

        try:
            return {"text/plain": repr(self), "image/svg+xml": viz.draw(self).svg}
        except viz.PictureTooLargeError as error:
            return {"text/plain": f"{self!r}\n({error})"}

    if TYPE_CHECKING:  # attached by `autodiff`, and by those that know the ops
        from .autodiff import backward
        from .comparisons import (
            __and__,
            __ge__,
            __gt__,
            __invert__,
            __le__,
            __lt__,
            __or__,
            __rand__,
            __ror__,
            __rxor__,
            __xor__,
            all,
            any,
        )
        from .functions import (
            abs,
            astype,
            broadcast_to,
            clip,
            cos,
            cumsum,
            dropout,
            exp,
            log,
            log_softmax,
            logsumexp,
            max,
            mean,
            min,
            permute,
            relu,
            reshape,
            sigmoid,
            sin,
            softmax,
            softplus,
            split,
            sqrt,
            squeeze,
            sum,
            swapaxes,
            take,
            tanh,
            transpose,
            unsqueeze,
            unstack,
            var,
        )
        from .functions.indexing import __getitem__
        from .functions.operators import (
            __abs__,
            __add__,
            __matmul__,
            __mul__,
            __neg__,
            __pow__,
            __radd__,
            __rmatmul__,
            __rmul__,
            __rpow__,
            __rsub__,
            __rtruediv__,
            __sub__,
            __truediv__,
        )

        def __eq__(self, other: object) -> Any: ...  # an import would be taken for object's own
        def __ne__(self, other: object) -> Any: ...


TensorLike = Tensor | Array | float | int | Sequence[Any]
"""What the functions take where they take a tensor."""


class Parameter(Tensor):
    """A leaf tensor that requires a gradient and that a Module registers as its own.

    It holds a copy of `data`, so that training changes nobody else's array.
    """

    __slots__ = ()

    def __init__(
        self,
        data: object,
        *,
        dtype: object = None,
        requires_grad: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            np.array(as_array(data, dtype)), requires_grad=requires_grad, name=name
        )


def tensor(
    data: object,
    *,
    dtype: object = None,
    requires_grad: bool = False,
    name: str | None = None,
) -> Tensor:
    """A leaf tensor with a copy of `data`.

    Lists and numbers become float32 unless `dtype` says otherwise; arrays keep their dtype.
    Raises DTypeError for complex, object and text data, or an integer tensor with requires_grad.
    """
    _check_history(data)
    array = as_array(data, dtype)
    return Tensor(np.array(array), requires_grad=requires_grad, name=name)


def next_number() -> int:
    """A number larger than that of every op recorded so far, and smaller than all to come."""
    return _sequence()


def record(op: Op, inputs: tuple[Tensor, ...], attrs: Attrs = NO_ATTRS) -> Tensor:
    """Run `op` on the inputs' arrays and remember that it was done.

    Raises ShapeError, naming op, scope, inputs and shapes, where the arrays do not fit.
    """
    context = CONTEXT.get()
    value: Any
    try:
        count = len(inputs)
        if count == 1:
            value = op.forward(inputs[0]._data, **attrs)
        elif count == 2 and not attrs:
            value = op.forward(inputs[0]._data, inputs[1]._data)
        else:
            value = op.forward(*[t._data for t in inputs], **attrs)
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise call_error(error, op, inputs, attrs, context) from None
    if value.__class__ is not ndarray:  # NumPy's scalars
        value = np.asarray(value)
    result = _new(Tensor)
    result._data = value
    result._grad = None
    if not context.recording:
        if context.tracer is not None:
            for given in inputs:
                context.tracer.check_concrete(given)
        result.node = result._name = None
        result._requires_grad = False
        result._changed = 0
        return result
    place = context.place
    if place is None:
        frame = _frame(2)
        while frame.f_code.co_filename in _ENGINE_FILES and frame.f_back is not None:
            frame = frame.f_back
        place = (frame.f_code, frame.f_lasti)
    node = _new(Node)  # field by field: an __init__ would be a tenth of the cost of recording
    node.op = op
    node.inputs = inputs
    node.attrs = attrs
    node._value = value
    node.context = context
    node.place = place
    node.seq = _sequence()
    node.name = None
    result.node = node
    result._requires_grad = False
    for given in inputs:
        if given._requires_grad:
            result._requires_grad = op.differentiable
            break
    if context.anomaly:
        check_finite(node, value)
    if context.tracer is not None:
        context.tracer.made(result)
    return result


def record_results(
    op: Op,
    part: Op,
    inputs: tuple[Tensor, ...],
    attrs: Attrs,
    positions: Sequence[Attrs],
    needing: Sequence[bool],
    names: Sequence[str | None],
) -> list[Tensor]:
    """Run an op that gives several arrays, and what its pullback needs: a tensor for each array.

    The last is the value of the op's own node; `part` takes the others out. positions: the
    attributes of each part; needing, names: of all results, whether they require a gradient. All at
    once, which takes a fraction of what `record` would take for each.
    """
    context = CONTEXT.get()
    values, saved = op.forward([*map(_data_of, inputs)], attrs)
    if not context.recording or not values:
        if context.tracer is not None:
            for given in inputs:
                context.tracer.check_concrete(given)
        return [_leaf(value, name) for value, name in zip(values, names, strict=True)]
    value, needed, place = values[-1], needing[-1], context.place
    node = _new(Node)
    node.op = op
    node.inputs = inputs
    node.attrs = attrs
    node._value = value
    node.saved = saved
    node.name = names[-1]
    node.context = context
    node.seq = _sequence()
    node.place = place or _RUN
    if context.anomaly:
        for each in reversed(values):  # those over time come last: their index tells when
            check_finite(node, each)
    own = _wrap(value, node, needed)
    taken = (own if needed else _wrap(value, node, True in needing),)
    place = place or _PARTS
    results: list[Tensor] = []
    for position, value, needed, name in zip(positions, values, needing, names, strict=False):
        result = _new(Tensor)
        result.node = node = _new(Node)
        result._data = node._value = value
        result._requires_grad = needed
        result._grad = None
        node.op = part
        node.inputs = taken
        node.attrs = position
        node.name = name
        node.context = context
        node.seq = _sequence()
        node.place = place
        results.append(result)
    results.append(own)
    return results


_RUN, _PARTS = (record_results.__code__, 0), (record_results.__code__, 2)
"""The places of every run and every part: the context's site tells whose call it was."""


def constant(value: object, like: Tensor) -> Tensor:
    """A leaf for a plain number or array; numbers take the dtype of `like` (they are weak)."""
    if isinstance(value, Tensor):
        return value
    _check_history(value)
    dtype = None
    if isinstance(value, bool | int | float):
        dtype = like._data.dtype
        if dtype.kind != "f" and isinstance(value, float):
            dtype = DEFAULT_DTYPE
        elif dtype.kind == "b" and not isinstance(value, bool):
            dtype = np.dtype(np.int64)
    elif not isinstance(value, ndarray | np.generic) and like._data.dtype.kind == "f":
        dtype = like._data.dtype
    return _wrap(as_array(value, dtype), None, False)


def as_array(data: object, dtype: object = None) -> Array:
    """`data` as an array a tensor can hold; lists and numbers as float32 by default."""
    if type(data) is ndarray and dtype is None and data.dtype.kind in "fiub":
        return data
    if isinstance(data, Tensor):
        data = data.numpy()
    try:
        wanted: Any = None if dtype is None else np.dtype(dtype)  # pyright: ignore
    except TypeError:
        raise DTypeError(f"dtype: expected a NumPy dtype, got {dtype!r}") from None
    if isinstance(data, ndarray | np.generic) and data.dtype.kind == "c":
        raise DTypeError(f"data: expected numbers or booleans, got dtype {data.dtype}")
    try:
        array: Array = np.asarray(data, dtype=wanted)
    except (ValueError, TypeError, OverflowError) as error:
        kind = ShapeError if "inhomogeneous" in str(error) else DTypeError
        raise kind(f"data: cannot make an array of {type(data).__name__}: {error}") from None
    if wanted is None and not isinstance(data, ndarray | np.generic) and array.dtype.kind in "iuf":
        array = array.astype(DEFAULT_DTYPE)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"data: expected numbers or booleans, got dtype {array.dtype}")
    if type(array) is not ndarray:
        array = np.array(array, subok=False)
    return array


def _check_history(data: object, depth: int = 0) -> None:
    """Raise TypeError for a list of tensors of which, recorded, only the numbers would be left."""
    if not isinstance(data, list | tuple) or not CONTEXT.get().recording:
        return
    kinds = set(map(type, data))
    if depth < _DEEPEST and any(issubclass(kind, list | tuple) for kind in kinds):
        for part in data:
            _check_history(part, depth + 1)
    if not any(issubclass(kind, Tensor) for kind in kinds):
        return
    for t in data:
        if isinstance(t, Tensor) and t._requires_grad:
            raise TypeError(
                f"data: expected a tensor, an array or numbers, got a {type(data).__name__} of "
                f"{len(data)} with a tensor in it, {describe(t)}, whose history would be lost: "
                "join tensors with stack or concatenate"
            )


def _wrap(data: Array, node: Node | None, requires_grad: bool) -> Tensor:
    result = _new(Tensor)
    result._data = data
    result._requires_grad = requires_grad
    result._grad = None
    result.node = node
    if node is None:
        result._name = None
        result._changed = 0
    return result


def _leaf(data: Array, name: str | None) -> Tensor:
    leaf = _wrap(data, None, False)
    leaf._name = name
    return leaf


def _checked_name(name: str | None) -> str | None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name: expected a string or None, got {name!r}")
    return name
