"""grad and backward: what is asked of the sweep, checked, and its answer handed out."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, overload

import numpy as np

from .errors import DTypeError, GraphError, ShapeError
from .sweep import Key, key_of, sweep
from .tensor import Array, Parameter, Tensor, TensorLike, _wrap, as_array
from .wording import describe

__all__ = ["backward", "grad"]


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor,
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Tensor: ...
@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]: ...


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: TensorLike | Sequence[TensorLike | None] | None = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """Gradients of the sum of `outputs`, weighted by `grad_outputs`, with respect to `inputs`.

    outputs, inputs: a tensor or a sequence of them. grad_outputs: the cotangents, one of each
    output's shape; may be None for scalars. create_graph: record the backward pass, so that its
    results can be differentiated again. allow_unused: None for an input the outputs do not
    depend on, instead of an error. `.grad` is left alone.
    Returns a tensor for a tensor, a tuple for a sequence.
    Raises GraphError for an output without history, an input outside the graph, or a missing
    seed; ShapeError and DTypeError for a cotangent that does not fit.
    """
    results = _tensors(outputs, "outputs")
    wanted = _tensors(inputs, "inputs")
    if not all(map(_needs_grad, wanted)):
        k = next(k for k, t in enumerate(wanted) if not t._requires_grad)
        raise GraphError(
            f"grad: inputs[{k}], {describe(wanted[k])}, does not require a gradient; create it "
            "with requires_grad=True"
        )
    seeds = _seeds(results, grad_outputs, "grad")
    keys: Sequence[Key] = wanted
    if any(map(_node_of, wanted)):
        keys = [key_of(t) for t in wanted]
    gradients = sweep(results, seeds, keys, create_graph=create_graph)
    answers: list[Tensor | None] = []
    if len(gradients) < len(keys):  # some lead nowhere, or are the same
        answers = _spread_out(gradients, wanted, keys, allow_unused, create_graph)
    elif create_graph:
        answers += map(gradients.__getitem__, keys)
    else:
        for key in keys:  # a comprehension is a call, and this is hot
            answers.append(_wrap(gradients[key], None, False))
    return answers[0] if isinstance(inputs, Tensor) else tuple(answers)


def _spread_out(
    gradients: dict[Key, Any],
    wanted: Sequence[Tensor],
    keys: Sequence[Key],
    allow_unused: bool,
    create_graph: bool,
) -> list[Tensor | None]:
    """A gradient of its own for each that was wanted; None for what leads nowhere, if allowed."""
    answers: list[Tensor | None] = []
    given_out: set[Key] = set()
    for k, key in enumerate(keys):
        found = gradients.get(key)
        if found is None and not allow_unused:
            raise GraphError(
                f"grad: inputs[{k}], {describe(wanted[k])}, is not part of the graph of the "
                "outputs; pass allow_unused=True to get None for it"
            )
        if found is None or create_graph:
            answers.append(found)
        else:
            answers.append(_wrap(found.copy() if key in given_out else found, None, False))
        given_out.add(key)
    return answers


def backward(
    output: Tensor | Sequence[Tensor],
    gradient: TensorLike | Sequence[TensorLike | None] | None = None,
    *,
    create_graph: bool = False,
) -> None:
    """Add the gradient of the output to `.grad` of every leaf that requires one.

    output: a tensor (this is its method too), or a sequence whose sum is meant. gradient: the
    cotangent, of the output's shape; may be left out for a scalar. create_graph: record the
    backward pass too, for gradients of gradients. A leaf's `.grad` then refers to the graph and
    the graph to the leaf: a cycle, until `.grad` is cleared. `grad` makes none.
    Raises GraphError without a gradient to compute, or without a seed for a non-scalar;
    ShapeError and DTypeError for a cotangent that does not fit.
    """
    results = _tensors(output, "output")
    seeds = _seeds(results, gradient, "backward")
    gradients = sweep(results, seeds, None, create_graph=create_graph)
    for leaf, found in gradients.items():
        if isinstance(leaf, Tensor):
            new, present = found if create_graph else _wrap(found, None, False), leaf._grad
            if present is not None:
                new = present + new if create_graph else _wrap(
                    np.asarray(present._data + new._data), None, False
                )
            leaf._grad = new  # of the leaf's shape and dtype


Tensor.backward = backward


def _tensors(given: object, argument: str) -> tuple[Tensor, ...]:
    if isinstance(given, Tensor):
        return (given,)
    if isinstance(given, _MANY) and (
        _KINDS.issuperset(map(type, given)) or all(isinstance(t, Tensor) for t in given)
    ):
        return tuple(given)
    raise TypeError(f"{argument}: expected a Tensor or a sequence of them, got {given!r:.80}")


_MANY = list, tuple, Sequence  # a union of them would be made anew at each call
_KINDS = {Tensor, Parameter}
_needs_grad, _node_of = operator.attrgetter("_requires_grad"), operator.attrgetter("node")


def _seeds(results: tuple[Tensor, ...], given: Any, caller: str) -> list[Any]:
    """The cotangents, checked against the outputs they belong to."""
    if given is None and len(results) == 1:
        return [_seed(results[0], None, 0, caller)]
    if given is None:
        return [_seed(t, None, k, caller) for k, t in enumerate(results)]
    many: Sequence[Any]
    if len(results) == 1 and (
        not isinstance(given, list | tuple) or not any(_is_array(x) or x is None for x in given)
    ):
        many = [given]
    elif isinstance(given, list | tuple):
        many = given
    else:
        raise TypeError(
            f"grad_outputs: expected a list of {len(results)}, one for each output, "
            f"got {type(given).__name__}"
        )
    if len(many) != len(results):
        raise GraphError(f"grad_outputs: {len(many)} given for {len(results)} outputs")
    return [_seed(t, g, k, caller) for k, (t, g) in enumerate(zip(results, many, strict=True))]


@lru_cache(maxsize=64)
def _one(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The seed of a scalar, which the sweep only reads."""
    one = np.ones(shape, dtype)
    one.flags.writeable = False
    return one


def _is_array(x: object) -> bool:
    return isinstance(x, Tensor | np.ndarray)


def _seed(output: Tensor, given: Any, position: int, caller: str) -> Any:
    if not output._requires_grad:
        raise GraphError(
            f"{caller}: output {position}, {describe(output)}, does not depend on anything that "
            "requires a gradient"
        )
    if given is None:
        if output._data.size != 1:
            raise GraphError(
                f"{caller}: {describe(output)} is not a scalar; give the cotangent to start from "
                f"as a tensor of shape {output.shape}, or reduce it with .sum() or .mean()"
            )
        return _one(output._data.shape, output._data.dtype)
    if not isinstance(given, Tensor):
        given = as_array(given, output.dtype)
    if given.shape != output.shape:
        raise ShapeError(
            f"grad_outputs: the cotangent of {describe(output)} has shape {given.shape}"
        )
    if given.dtype != output.dtype:
        if given.dtype.kind != "f":
            raise DTypeError(f"grad_outputs: expected {output.dtype}, got {given.dtype}")
        given = given.astype(output.dtype)
    return given
