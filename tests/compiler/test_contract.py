"""Einstein sums that are products of matrices become such, and those that are none stay."""

from __future__ import annotations

import numpy as np
import pytest
from both_ways import assert_same as same_both_ways
from graphs import B, assert_same_numbers, ops, parameter, the, traced, varying
from user_cells import H, I, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.contract import products_of_einsums
from tinygrad_lstm.compiler.merge import merge_products

SIZES = dict(zip("bijklm", (3, 4, 5, 2, 6, 7), strict=True))

PRODUCTS = {  # subscripts of what varies, of the weights, of the result
    "plain": ("bi,ij->bj", {"matmul": 1}),
    "transposed": ("bi,ji->bj", {"matmul": 1, "transpose": 1}),
    "turned around": ("bi,ij->jb", {"matmul": 1, "transpose": 1}),
    "several rows": ("bki,ij->bkj", {"matmul": 1}),
    "rows apart": ("bik,ij->bkj", {"matmul": 1, "transpose": 1}),
    "two sums": ("bik,ikj->bj", {"matmul": 1, "reshape": 2}),
    "two columns": ("bi,ijk->bjk", {"matmul": 1, "reshape": 2}),
    "columns between rows": ("bki,ij->bjk", {"matmul": 1, "transpose": 1}),
    "a vector": ("i,ij->j", {"matmul": 1, "reshape": 2}),
}

def test_rows_times_several_matrices_are_one_product(assert_same):
    u, w = parameter(0, 4, I, H), parameter(1, 4, H, H)

    def step(h: Tensor, x: Tensor) -> Tensor:
        z = x @ u + h @ w  # (4, B, H)
        return tg.sigmoid(z[0]) * h + tg.sigmoid(z[1]) * tg.tanh(z[2] + z[3])

    graph, arrays = traced(step, (B, H), (B, I))
    found = products_of_einsums(graph, varying(graph, 2))
    products = [i for i in found.instructions if i.op.name == "matmul"]
    assert [found.spec(i.out).shape for i in products] == [(B, 4 * H)] * 2
    assert_same_numbers(graph, found, arrays)
    assert_same(lambda h, x: (step(h, x),) * 2, tensors(H, B), tensors(I, 5, B), [u, w])


NONE = {
    "each row its own": "bi,bij->bj",
    "no sum": "bi,ij->bij",
    "nothing in common": "bi,jk->bijk",
    "a sum of the left alone": "bik,ij->bj",
    "a sum of the right alone": "bi,ijk->bj",
    "of weights only": "ij,jk->ik",
}


def shape(term: str) -> tuple[int, ...]:
    return tuple(SIZES[k] for k in term)


@pytest.mark.parametrize("turned", [False, True], ids=["weights last", "weights first"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_with_weights_is_one(name, turned):
    subscripts, expected = PRODUCTS[name]
    terms, result = subscripts.split("->")
    left, right = terms.split(",")
    w = parameter(0, *shape(right))

    def step(x: Tensor) -> Tensor:
        if turned:
            return tg.einsum(f"{right},{left}->{result}", w, x)
        return tg.einsum(subscripts, x, w)

    graph, arrays = traced(step, shape(left))
    found = products_of_einsums(graph, varying(graph, 1))
    assert ops(found) == expected
    assert_same_numbers(graph, found, arrays)


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_product_of_matrices_stays(name):
    terms, _ = NONE[name].split("->")
    left, right = terms.split(",")
    w, v = parameter(0, *shape(right)), parameter(1, *shape(left))
    alone = name == "of weights only"
    graph, arrays = traced(
        lambda x: tg.einsum(NONE[name], v if alone else x, w), shape(left)
    )
    found = products_of_einsums(graph, varying(graph, 1))
    assert ops(found)["einsum"] == 1 and "matmul" not in ops(found)
    assert_same_numbers(graph, found, arrays)


def test_a_factor_that_is_spread_is_not_multiplied_as_if_it_were_whole():
    w = parameter(0, 1, H)
    graph, arrays = traced(lambda x: tg.einsum("bi,ij->bj", x, w), (B, I))
    assert ops(products_of_einsums(graph, varying(graph, 1))) == {"einsum": 1}
    assert_same_numbers(graph, products_of_einsums(graph, varying(graph, 1)), arrays)


def test_longer_sums_begin_with_products():
    w, v = parameter(0, I, I, H), parameter(1, H, I)
    graph, arrays = traced(lambda x, h: tg.einsum("bi,ijk,bj->bk", x, w, h), (B, I), (B, I))
    found = products_of_einsums(graph, varying(graph, 2))
    assert ops(found)["matmul"] == ops(found)["einsum"] == 1
    assert the("einsum", found).attrs["subscripts"] == "bkj,bj->bk"
    assert_same_numbers(graph, found, arrays)
    graph, arrays = traced(lambda x: tg.einsum("bi,ijk,kl->bjl", x, w, v), (B, I))
    found = products_of_einsums(graph, varying(graph, 1))
    assert ops(found)["matmul"] == 2 and "einsum" not in ops(found)
    assert_same_numbers(graph, found, arrays)


def test_they_are_merged_with_the_products_beside_them():
    w, v = parameter(0, I, H), parameter(1, I, H)
    graph, arrays = traced(lambda x: (tg.einsum("bi,ij->bj", x, w), x @ v), (B, I))
    found = products_of_einsums(graph, varying(graph, 1))
    merged = merge_products(found, varying(found, 1))
    assert ops(merged)["matmul"] == 1
    assert_same_numbers(graph, merged, arrays)


def test_a_cell_written_with_einsum_has_the_plan_of_one_written_with_products(backend):
    u, w, b = parameter(0, I, 2 * H), parameter(1, H, 2 * H), parameter(2, 2 * H)

    def gates(z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        f, n = tg.split(z + b, 2, axis=-1)
        h = tg.sigmoid(f) * h + tg.tanh(n)
        return h, h

    def by_einsum(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return gates(tg.einsum("bi,ij->bj", x, u) + tg.einsum("ij,bi->bj", w, h), h)

    def by_products(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return gates(x @ u + h @ w, h)

    h, x = tg.tensor(np.zeros((B, H))), tg.tensor(np.ones((4, B, I)))
    plans = [
        str(tg.scan.explain(step, h, x, backend=backend)) for step in (by_einsum, by_products)
    ]
    assert plans[0] == plans[1]
    same_both_ways(by_einsum, h, x, [u, w, b], backend=backend)
