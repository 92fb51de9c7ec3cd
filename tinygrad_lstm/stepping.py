"""A step of scan's for inputs as they come: compiled once, without gradients, on plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import DTypeError, ShapeError
from .parallel.forks import lock_of
from .scan import _results, check_backend
from .tensor import Array, Tensor
from .tree import Structure, flatten, unflatten

__all__ = ["CompiledStep", "compiled_step"]

Step = Callable[[Any, Any], tuple[Any, Any]]


def compiled_step(
    step: Step, carry: Any, x_t: Any = None, *, backend: str | None = None
) -> CompiledStep:
    """`step(carry, x_t) -> (carry, y_t)` for inference: one input at a time, on plain arrays.

        run = tg.compiled_step(step, carry, x_t)
        carry, y_t = run(carry, x_t)

    step: as `scan` takes it. carry, x_t: examples, of which only structure, shapes and dtypes
    count. run takes nests like them, of arrays or tensors, and gives new NumPy arrays, microseconds
    after the kernel is done. What step closes over is read now, and again by `run.refresh()`.
    backend: as in `scan`. run may be shared by threads, which take turns.
    Raises scan's errors here, and GraphError for a step that draws random numbers; in a call
    ShapeError, DTypeError and TypeError for what is not like the examples.
    """
    if not callable(step):
        raise TypeError(f"compiled_step: step must be callable, got {type(step).__name__}")
    check_backend(backend, False)
    return CompiledStep(step, carry, x_t, backend)


class CompiledStep:
    """What `compiled_step` gives: (carry, x_t) -> (carry, y_t)."""

    def __init__(self, step: Step, carry: Any, x_t: Any, backend: str | None) -> None:
        from .compiler.single import SingleStep

        states, self._carry_form = flatten(carry, Tensor, "carry")
        inputs, self._input_form = flatten(x_t, Tensor, "x_t")
        forms: list[Structure] = []

        def flat_step(
            before: Sequence[Tensor], x: Sequence[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            result = step(unflatten(self._carry_form, before), unflatten(self._input_form, x))
            new, ys, form = _results(step, result, before, self._carry_form)
            forms[:] = [form]
            return new, ys

        self._compiled = lambda: SingleStep(flat_step, states, inputs, backend)
        self._forms = forms  # of what step returned the last time
        self._now = self._compiled(), forms[0]
        self._lock = lock_of(self)

    def __call__(self, carry: Any, x_t: Any = None) -> tuple[Any, Any]:
        """The carry after x_t, and y_t."""
        given = _leaves(self._carry_form, carry, "carry")
        inputs = _leaves(self._input_form, x_t, "x_t")
        with self._lock:
            step, form = self._now
            for buffer, a in zip(step.before, given, strict=True):
                buffer[...] = _fitting("carry", a, buffer)
            for buffer, a in zip(step.inputs, inputs, strict=True):
                buffer[...] = _fitting("x_t", a, buffer)
            step.run()
            after = [a.copy() for a in step.after]
            outputs = [a.copy() for a in step.outputs]
        return unflatten(self._carry_form, after), unflatten(form, outputs)

    def refresh(self) -> None:
        """Read what step closes over again, as it is now."""
        with self._lock:
            step, _ = self._now
            if not step.refresh():
                step = self._compiled()
            self._now = step, self._forms[0]


def _leaves(form: Structure, nest: Any, argument: str) -> list[Any]:
    """The leaves of a nest that must be as `form` says."""
    leaves: list[Any] = []
    if not _collect(form, nest, leaves):
        _, found = flatten(nest, Tensor, argument)
        raise ShapeError(f"{argument}: expected {form}, got {found}")
    return leaves


def _collect(form: Structure, nest: Any, leaves: list[Any]) -> bool:
    """Add the leaves from left to right, as `flatten` does; False for a nest of another form."""
    kind = form.kind
    if kind is None:
        leaves.append(nest)
        return not isinstance(nest, tuple | list | dict | None)
    if type(nest) is not kind:
        return False
    if kind is type(None):
        return True
    if kind is dict:
        if nest.keys() != set(form.keys):
            return False
        nest = [nest[k] for k in form.keys]
    if len(nest) != len(form.parts):
        return False
    for part, inside in zip(form.parts, nest, strict=True):
        if not _collect(part, inside, leaves):
            return False
    return True


def _fitting(argument: str, given: Any, buffer: Array) -> Array:
    """An array like the buffer; Python's numbers and lists in the buffer's dtype."""
    if type(given) is np.ndarray and given.dtype is buffer.dtype and given.shape == buffer.shape:
        return given
    if isinstance(given, Tensor):
        given = given.numpy()
    array = given if isinstance(given, np.ndarray) else np.asarray(given)
    if array.shape != buffer.shape:
        raise ShapeError(f"{argument}: expected {buffer.shape}, got {array.shape}")
    same = array.dtype == buffer.dtype
    fits = array is not given and np.can_cast(array.dtype, buffer.dtype, "same_kind")
    if not same and not fits:
        raise DTypeError(f"{argument}: expected {buffer.dtype}, got {array.dtype}")
    return array
