"""`[h | x] @ W` as `h @ W[:n] + x @ W[n:]`: what x_t alone decides can then be done beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import groupby

from ..ops import OPS
from .graph import Builder, Graph, Spec

__all__ = ["split_products"]

_ADD, _MATMUL, _GETITEM, _CONCATENATE = (
    OPS[k] for k in ("add", "matmul", "getitem", "concatenate")
)


def split_products(graph: Graph, carried: set[int], varying: set[int]) -> Graph:
    """Products of parts put side by side, of which some depend on a carry and some do not.

    varying: the values that depend on the step; right factors must not.
    """
    made = graph.producers()
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        if i.op is not _MATMUL:
            continue
        left, right = i.inputs
        whole = made.get(left)
        if whole is None or whole.op is not _CONCATENATE or right in varying:
            continue
        shape = graph.spec(whole.out).shape
        if whole.attrs["axis"] != len(shape) - 1 or len(graph.spec(right).shape) != 2:
            continue
        runs = [[*run] for _, run in groupby(whole.inputs, lambda v: v in carried)]
        if len(runs) > 1:
            replaced[i.out] = _sum(builder, runs, right, graph.spec(i.out))
    return builder.replacing(replaced) if replaced else graph


def _sum(builder: Builder, runs: Sequence[Sequence[int]], right: int, spec: Spec) -> int:
    """Each run of parts times its rows of the right factor, added up."""
    products: list[int] = []
    start = 0
    for run in runs:
        stop = start + sum(builder.specs[v].shape[-1] for v in run)
        shape, dtype = builder.specs[right]
        rows = Spec((stop - start, shape[1]), dtype)
        part = builder.add(_GETITEM, [right], {"index": (slice(start, stop),)}, rows)
        left = run[0]
        if len(run) > 1:
            first, kind = builder.specs[left]
            wide = Spec((*first[:-1], stop - start), kind)
            left = builder.add(_CONCATENATE, run, {"axis": len(first) - 1}, wide)
        products.append(builder.add(_MATMUL, [left, part], {}, spec))
        start = stop
    return reduce(lambda a, b: builder.add(_ADD, [a, b], {}, spec), products)
