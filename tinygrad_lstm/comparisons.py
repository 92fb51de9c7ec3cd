"""Comparisons, and what combines their results: recorded ops that give tensors of booleans.

No gradient passes them. They are there to choose by, with `where`, to multiply by, or to be asked
for: `if (x > 0).all():`. Integers are compared exactly; beside floating-point tensors they are
taken for numbers of their dtype, as in sums. Like other results they hold on to what they were
computed from: what is counted over many training steps belongs in `no_grad()`, or into `.item()`.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .functions import add, mul
from .operands import as_tensor, is_operand, pair
from .ops import OPS
from .tensor import Tensor, TensorLike, constant, record
from .wording import describe

__all__ = ["are_flags", "compare"]


def compare(test: Callable[..., Any], *given: Any) -> Any:
    """What a test, a ufunc or an operator that gives booleans, says of tensors, arrays, numbers.

    A tensor; of what no tensor can hold, such as None or text, an array.
    """
    recorded = _RECORDED.get(test)
    if recorded is not None and builtins.all(map(_fits_a_tensor, given)):
        return recorded(*given)
    return test(*[x.numpy() if isinstance(x, Tensor) else x for x in given])


def _fits_a_tensor(x: object) -> bool:
    if isinstance(x, list | tuple | np.ndarray | np.generic):
        return np.asarray(x).dtype.kind in "fiub"
    return is_operand(x)


def _comparison(name: str) -> Callable[[Any, Any], Tensor]:
    op = OPS[name]

    def compared(a: Any, b: Any) -> Tensor:
        one = a if isinstance(a, Tensor) else _operand(a, b)
        other = b if isinstance(b, Tensor) else _operand(b, a)
        whole = _is_whole(one) and _is_whole(other)  # NumPy compares these exactly as they are
        return record(op, (one, other) if whole else pair(one, other))

    return compared


def _operand(x: Any, other: Tensor) -> Tensor:
    """What `other` is compared with, a number, list or array, as a tensor of the same value."""
    whole = _is_whole(other)
    if whole and isinstance(x, float) and x.is_integer():
        x = int(x)
    smallest, largest = _INTEGERS if whole else _FLOATS
    if type(x) is int and not smallest <= x <= largest:
        x = math.inf if x > 0 else -math.inf
    return Tensor(np.asarray(x)) if whole else constant(x, other)


def _is_whole(x: Tensor) -> bool:
    return x._data.dtype.kind != "f"


_INTEGERS = np.iinfo(np.int64).min, np.iinfo(np.uint64).max
_FLOATS = -int(np.finfo(np.float64).max), int(np.finfo(np.float64).max)

_greater, _greater_equal = _comparison("greater"), _comparison("greater_equal")
_equal, _not_equal = _comparison("equal"), _comparison("not_equal")


def _not(a: TensorLike) -> Tensor:
    return _equal(a, False)


def _flags(a: TensorLike) -> Tensor:
    """Whether each number is another one than zero."""
    t = as_tensor(a)
    return t if t._data.dtype.kind == "b" else _not_equal(t, 0)


def _or(a: TensorLike, b: TensorLike) -> Tensor:
    return add(_flags(a), _flags(b))


def _and(a: TensorLike, b: TensorLike) -> Tensor:
    return mul(_flags(a), _flags(b))


def _xor(a: TensorLike, b: TensorLike) -> Tensor:
    return _not_equal(_flags(a), _flags(b))


_FORMS: list[tuple[Callable[..., Tensor], tuple[Callable[..., Any], ...]]] = [
    (_equal, (np.equal, operator.eq)),
    (_not_equal, (np.not_equal, operator.ne)),
    (_greater, (np.greater, operator.gt)),
    (_greater_equal, (np.greater_equal, operator.ge)),
    (lambda a, b: _greater(b, a), (np.less, operator.lt)),
    (lambda a, b: _greater_equal(b, a), (np.less_equal, operator.le)),
    (_and, (np.logical_and, np.bitwise_and, operator.and_)),
    (_or, (np.logical_or, np.bitwise_or, operator.or_)),
    (_xor, (np.logical_xor, np.bitwise_xor, operator.xor)),
    (_not, (np.logical_not, np.invert, operator.invert)),
]
_RECORDED = {test: recorded for recorded, tests in _FORMS for test in tests}


# -- operators ------------------------------------------------------------------------------------


def __eq__(self: Tensor, other: object) -> Any:
    return compare(operator.eq, self, other)


def __ne__(self: Tensor, other: object) -> Any:
    return compare(operator.ne, self, other)


def __gt__(self: Tensor, other: object) -> Any:
    return compare(operator.gt, self, other)


def __ge__(self: Tensor, other: object) -> Any:
    return compare(operator.ge, self, other)


def __lt__(self: Tensor, other: object) -> Any:
    return compare(operator.lt, self, other)


def __le__(self: Tensor, other: object) -> Any:
    return compare(operator.le, self, other)


def __and__(self: Tensor, other: object) -> Any:
    return compare(operator.and_, self, other) if are_flags(self, other) else NotImplemented


def __or__(self: Tensor, other: object) -> Any:
    return compare(operator.or_, self, other) if are_flags(self, other) else NotImplemented


def __xor__(self: Tensor, other: object) -> Any:
    return compare(operator.xor, self, other) if are_flags(self, other) else NotImplemented


def __invert__(self: Tensor) -> Any:
    if not are_flags(self):
        raise TypeError(f"~ is for booleans, {describe(self)} is {self.dtype}")
    return compare(operator.invert, self)


__rand__, __ror__, __rxor__ = __and__, __or__, __xor__


def are_flags(*given: object) -> bool:
    """Whether all are booleans, or tensors or arrays of them."""
    return builtins.all(isinstance(x, bool) or getattr(x, "dtype", None) == np.bool_ for x in given)


def any(self: Tensor, axis: int | tuple[int, ...] | None = None) -> Any:
    """Whether some element is not zero: a plain boolean, or an array of them for an axis."""
    return self.numpy().any(axis)


def all(self: Tensor, axis: int | tuple[int, ...] | None = None) -> Any:
    """Whether no element is zero: a plain boolean, or an array of them for an axis."""
    return self.numpy().all(axis)


_METHODS = (
    "__eq__ __ne__ __gt__ __ge__ __lt__ __le__ __and__ __or__ __xor__ __invert__ "
    "__rand__ __ror__ __rxor__ any all"
)
for _name in _METHODS.split():
    setattr(Tensor, _name, globals()[_name])
