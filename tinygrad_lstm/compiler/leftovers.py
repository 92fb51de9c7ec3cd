"""What a step leaves behind when it was recorded: tensors that stood for those of every step.

A step may put them where they outlive it, into a list or a global variable. Their numbers are those
of stand-ins, so nobody may compute with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn, cast

from ..errors import GraphError
from ..tensor import Array, Tensor

__all__ = ["empty"]


def empty(tensors: Iterable[Tensor]) -> None:
    """Take the numbers away: from now on their use is a GraphError."""
    for t in tensors:
        t._data = _NOTHING
        if t.node is not None:
            t.node._value = _NOTHING


def _refuse(*given: Any, **options: Any) -> NoReturn:
    raise GraphError(
        "scan: this tensor was made inside step while that was compiled, where it stood for those "
        "of all steps; it has no value outside. Let step return it as y_t, keep it by its name "
        "with record, or pass unroll=True"
    )


class _Nothing:
    """In place of an array."""

    __array__ = __array_ufunc__ = __array_function__ = _refuse
    __getitem__ = __len__ = __iter__ = __bool__ = __float__ = __int__ = __index__ = _refuse

    def __getattr__(self, name: str) -> NoReturn:
        _refuse()


_NOTHING = cast(Array, _Nothing())
