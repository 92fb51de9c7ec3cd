"""Nested tuples, lists and dicts of tensors, taken apart into a flat list and put together again.

Knows nothing of what the leaves mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .tensor import Tensor, TensorLike

__all__ = ["Structure", "flatten", "unflatten"]


class Structure(NamedTuple):
    """The shape of a nest: its kind, the keys of a dict, and the structures inside."""

    kind: type | None  # None: a leaf; type(None): nothing at all
    keys: tuple[Any, ...] = ()
    parts: tuple[Structure, ...] = ()

    def __str__(self) -> str:
        if self.kind is None:
            return "tensor"
        if self.kind is type(None):
            return "None"
        if self.kind is dict:
            inside = (f"{k}: {p}" for k, p in zip(self.keys, self.parts, strict=True))
            return "{" + ", ".join(inside) + "}"
        inside = ", ".join(map(str, self.parts))
        if issubclass(self.kind, list):
            return f"[{inside}]"
        if hasattr(self.kind, "_fields"):
            return f"{self.kind.__name__}({inside})"
        return f"({inside},)" if len(self.parts) == 1 else f"({inside})"

    def keys_of_leaves(self) -> list[str | None]:
        """Of each leaf the last key of a dict on the way to it, if it is a string."""
        if self.kind is None:
            return [None]
        keys = self.keys if self.kind is dict else (None,) * len(self.parts)
        found: list[str | None] = []
        for key, part in zip(keys, self.parts, strict=True):
            own = " ".join(key.split()) if isinstance(key, str) else None
            found += [inner or own for inner in part.keys_of_leaves()]
        return found


_LEAF = Structure(None)


def flatten(
    nest: Any, make: Callable[[TensorLike], Tensor], argument: str
) -> tuple[list[Tensor], Structure]:
    """The leaves of `nest` from left to right (dicts by sorted key), and how they were nested.

    make: turns what is not a container into a tensor. Raises TypeError naming the argument.
    """
    leaves: list[Tensor] = []
    structure = _flatten_into(leaves, nest, make, argument)
    return leaves, structure


def _flatten_into(
    leaves: list[Tensor], part: Any, make: Callable[[TensorLike], Tensor], argument: str
) -> Structure:
    # functions of the module, not closures: one that calls itself would be a reference cycle
    if part is None:
        return Structure(type(None))
    if isinstance(part, dict):
        keys = _sorted(part, argument)
        inside = tuple(_flatten_into(leaves, part[k], make, argument) for k in keys)
        return Structure(dict, keys, inside)
    if isinstance(part, tuple | list):
        inside = tuple(_flatten_into(leaves, p, make, argument) for p in part)
        return Structure(type(part), (), inside)
    try:
        leaves.append(part if isinstance(part, Tensor) else make(part))
    except TypeError as error:
        raise TypeError(f"{argument}: {error}") from None
    return _LEAF


def _sorted(part: dict[Any, Any], argument: str) -> tuple[Any, ...]:
    """The keys in an order that does not depend on which was put in first."""
    try:
        return tuple(sorted(part))
    except TypeError:
        raise TypeError(
            f"{argument}: the keys of a dict must have an order, got {', '.join(map(repr, part))}"
        ) from None


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The leaves nested again as `structure` says."""
    return _build(structure, iter(leaves))


def _build(part: Structure, leaves: Iterator[Any]) -> Any:
    if part.kind is None:
        return next(leaves)
    if part.kind is type(None):
        return None
    if part.kind is dict:
        return {k: _build(p, leaves) for k, p in zip(part.keys, part.parts, strict=True)}
    values = [_build(p, leaves) for p in part.parts]
    if hasattr(part.kind, "_fields"):
        return part.kind(*values)
    return part.kind(values)
