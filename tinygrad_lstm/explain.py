"""Why NumPy refused a call, in words about the user's shapes.

Knows op names and shapes only, and is asked only after a call has failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["broadcast_reason", "matmul_reason", "reason"]

Shape = tuple[int, ...]


def reason(op: str, arrays: Sequence[Any], attrs: Mapping[str, Any]) -> str | None:
    """One clause on what does not fit, or None where NumPy's own words say it best."""
    shapes = [a.shape for a in arrays]
    if op == "matmul":
        return matmul_reason(*shapes)
    if op == "concatenate":
        return _concatenate_reason(shapes, attrs["axis"])
    if op == "stack":
        other = next((k for k, s in enumerate(shapes) if s != shapes[0]), 0)
        return f"tensors[{other}] has another shape than tensors[0]" if other else None
    if op == "broadcast_to":
        return broadcast_reason(shapes[0], attrs["shape"], one_way=True)
    if op == "einsum":
        return _einsum_reason(shapes, attrs["subscripts"])
    if op == "pow" and all(a.dtype.kind in "iub" for a in arrays) and (arrays[1] < 0).any():
        return "integers to a negative power are no integers; make one of them float"
    if op in ("getitem", "scatter", "take", "add_rows", "reshape", "transpose", "scan"):
        return None
    return next((why for s in shapes[1:] if (why := broadcast_reason(shapes[0], s))), None)


def broadcast_reason(one: Shape, other: Shape, *, one_way: bool = False) -> str | None:
    """Which axis keeps two shapes from broadcasting; one_way: `one` must become `other`."""
    if one_way and len(one) > len(other):
        return f"{len(one)} axes cannot become {len(other)}"
    for k in range(1, min(len(one), len(other)) + 1):
        m, n = one[-k], other[-k]
        if m != n and m != 1 and (one_way or n != 1):
            return f"axis -{k} of size {m} cannot become {n}" if one_way else (
                f"sizes {m} and {n} of axis -{k} differ"
            )
    return None


def matmul_reason(a: Shape, b: Shape) -> str | None:
    """What keeps two shapes from being multiplied as matrices."""
    if not a or not b:
        return "each needs at least one axis"
    inner = b[max(len(b) - 2, 0)]
    if a[-1] != inner:
        return f"inner sizes {a[-1]} and {inner} differ"
    why = broadcast_reason(a[:-2], b[:-2])
    return why and f"of the leading axes {a[:-2]} and {b[:-2]}, {why}"


def _concatenate_reason(shapes: Sequence[Shape], axis: int) -> str | None:
    first = shapes[0]
    for k, shape in enumerate(shapes):
        if len(shape) != len(first):
            return f"tensors[{k}] has {len(shape)} axes, tensors[0] has {len(first)}"
        for j, (m, n) in enumerate(zip(first, shape, strict=True)):
            if m != n and j != axis:
                return f"along axis {j}, tensors[{k}] has size {n}, tensors[0] has {m}"
    return None


def _einsum_reason(shapes: Sequence[Shape], subscripts: str) -> str | None:
    sizes: dict[str, int] = {}
    for term, shape in zip(subscripts.split("->")[0].split(","), shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            known = sizes.setdefault(letter, size)
            if known == 1:
                sizes[letter] = size
            elif size not in (known, 1):
                return f"index {letter!r} has sizes {known} and {size}"
    return None
