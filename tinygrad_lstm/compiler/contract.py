"""Sums over weights as products of two matrices, so that they are merged and hoisted as such.

`einsum("bi,ij->bj", x, W)` says the same as `x @ W`; and `einsum("bi,ijk,bk->bj", x, W, h)` begins
with a product of x and W. What is left, such as sums within each row of a batch, stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import NamedTuple

from ..ops import OPS
from .graph import Builder, Graph, Instruction, Spec

__all__ = ["products_of_einsums"]

_EINSUM, _MATMUL, _RESHAPE, _TRANSPOSE = (
    OPS[k] for k in ("einsum", "matmul", "reshape", "transpose")
)


class _Term(NamedTuple):
    """A factor: its value, and a letter for each of its axes."""

    value: int
    letters: str


class _Product(NamedTuple):
    """left @ right. rows, inner, columns: letters of the left alone, of both, of the right alone.

    result: its letters.
    """

    left: _Term
    right: _Term
    rows: str
    inner: str
    columns: str

    @property
    def result(self) -> str:
        return self.rows + self.columns


def products_of_einsums(graph: Graph, varying: set[int]) -> Graph:
    """The graph with products of matrices in place of Einstein sums wherever that is possible.

    varying: the values that depend on the step; right factors must not.
    """
    builder = Builder(graph)
    replaced: dict[int, int] = {}
    for i in graph.instructions:
        subscripts = _subscripts(i, graph)
        if subscripts is not None and i.out in varying:
            found = _Writer(builder, varying).rewritten(i, subscripts)
            if found is not None:
                replaced[i.out] = found
    return builder.replacing(replaced) if replaced else graph


def _subscripts(i: Instruction, graph: Graph) -> str | None:
    """Of an Einstein sum, or of rows times several matrices, one for each gate perhaps."""
    if i.op is _EINSUM:
        return i.attrs["subscripts"]
    if i.op is _MATMUL and [len(graph.spec(v).shape) for v in i.inputs] == [2, 3]:
        return "bk,gkn->gbn"
    return None


class _Writer:
    """Writes one sum anew."""

    def __init__(self, builder: Builder, varying: set[int]) -> None:
        self._builder = builder
        self._varying = set(varying)

    def rewritten(self, i: Instruction, subscripts: str) -> int | None:
        """The value that is the sum; None if no product of matrices is in it."""
        texts, result = subscripts.split("->")
        terms = [_Term(v, text) for v, text in zip(i.inputs, texts.split(","), strict=True)]
        while (product := self._find(terms, result)) is not None:
            terms = [t for t in terms if t is not product.left and t is not product.right]
            terms.insert(0, self._multiplied(product))
        if len(terms) == len(i.inputs):
            return None
        if len(terms) == 1 and set(terms[0].letters) == set(result):
            return self._in_order(terms[0], result)
        subscripts = ",".join(t.letters for t in terms) + "->" + result
        values = [t.value for t in terms]
        return self._builder.add(
            _EINSUM, values, {"subscripts": subscripts}, self._builder.specs[i.out]
        )

    def _find(self, terms: Sequence[_Term], result: str) -> _Product | None:
        """A product of two of the terms, if possible one with the axes of the result in order."""
        found: list[_Product] = []
        for left, right in permutations(terms, 2):
            if left.value in self._varying and right.value not in self._varying:
                others = [t for t in terms if t is not left and t is not right]
                product = self._product(left, right, result, others)
                if product is not None:
                    found.append(product)
        return min(found, key=lambda p: p.result != result, default=None)

    def _product(
        self, left: _Term, right: _Term, result: str, others: Iterable[_Term]
    ) -> _Product | None:
        wanted = "".join(dict.fromkeys(result + "".join(t.letters for t in others)))
        inner = _both(left.letters, right.letters)
        rows, columns = _both(wanted, left.letters), _both(wanted, right.letters)
        fits = (
            bool(inner and columns)
            and not _both(inner, wanted)
            and set(left.letters) == {*inner, *rows}
            and set(right.letters) == {*inner, *columns}
            and self._sizes(left, inner) == self._sizes(right, inner)
        )
        return _Product(left, right, rows, inner, columns) if fits else None

    def _multiplied(self, product: _Product) -> _Term:
        left, right, rows, inner, columns = product
        inside = math.prod(self._sizes(left, inner))
        outer, wide = self._sizes(left, rows), self._sizes(right, columns)
        a = self._in_order(left, rows + inner)
        b = self._in_order(right, inner + columns)
        a = self._reshaped(a, (*(outer or (1,)), inside))
        b = self._reshaped(b, (inside, math.prod(wide)))
        dtype = self._builder.specs[a].dtype
        shape = (*self._builder.specs[a].shape[:-1], math.prod(wide))
        made = self._builder.add(_MATMUL, (a, b), {}, Spec(shape, dtype))
        made = self._reshaped(made, (*outer, *wide))
        self._varying.add(made)
        return _Term(made, rows + columns)

    def _sizes(self, term: _Term, letters: str) -> tuple[int, ...]:
        shape = self._builder.specs[term.value].shape
        return tuple(shape[term.letters.index(k)] for k in letters)

    def _in_order(self, term: _Term, letters: str) -> int:
        if term.letters == letters:
            return term.value
        axes = tuple(term.letters.index(k) for k in letters)
        spec = Spec(self._sizes(term, letters), self._builder.specs[term.value].dtype)
        return self._builder.add(_TRANSPOSE, (term.value,), {"axes": axes}, spec)

    def _reshaped(self, value: int, shape: tuple[int, ...]) -> int:
        spec = self._builder.specs[value]
        if spec.shape == shape:
            return value
        return self._builder.add(_RESHAPE, (value,), {"shape": shape}, spec._replace(shape=shape))


def _both(one: str, other: str) -> str:
    return "".join(k for k in one if k in other)
