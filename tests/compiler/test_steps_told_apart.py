"""Steps that look alike and do different things are not taken for each other.

The graphs and plans of earlier steps are looked up by what was recorded: each test runs one of two
such steps before the other, and compares with the unrolled run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same, may_fall_back

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.graph import frozen
from tinygrad_lstm.tensor import Op

ONES = [1, 1.0, True, np.True_, np.int64(1), np.float32(1.0), "1"]


def both_orders(step: Callable[[Any], Any], one: Any, other: Any, backend: str) -> None:
    h = tg.tensor(np.arange(6.0).reshape(2, 3) + 1, requires_grad=True)
    x = tg.tensor(np.arange(24.0).reshape(4, 2, 3) + 1, requires_grad=True)
    with np.errstate(divide="ignore"):
        for given in (one, other, one):
            assert_same(step(given), h, x, backend=backend)


@may_fall_back
@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False)])
def test_an_index_of_one_is_not_true(backend, one, other):
    both_orders(lambda k: lambda h, x: (h + 1.0, (x[k], x[..., k])), one, other, backend)


def test_the_sign_of_zero_counts(backend):
    def step(low: float) -> Any:
        return lambda h, x: (h, 1.0 / tg.clip(-x, low, 1.0))

    h, x = np.ones(3), np.ones((2, 3))
    with np.errstate(divide="ignore"):
        for low in (0.0, -0.0, 0.0):
            found = tg.scan(step(low), h, x, backend=backend)[1]
            np.testing.assert_array_equal(found.data, math.copysign(math.inf, low))


@may_fall_back
@pytest.mark.parametrize("read", [lambda k: k, lambda k: slice(k, None), lambda k: slice(None, k)])
@pytest.mark.parametrize("kind", [np.array, lambda n: tg.tensor(np.array(n))])
def test_an_index_that_changes_is_read_when_it_is_recorded(backend, kind, read):
    k = kind(1)
    h, x = np.zeros(4), tg.tensor(np.arange(12.0).reshape(3, 4))
    for now in (1, 2, 1):
        (k.data if isinstance(k, Tensor) else k)[...] = now

        def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return h + x[read(k)].sum(), x

        found = tg.scan(step, h, x, backend=backend)[0]
        np.testing.assert_array_equal(found.data, tg.scan(step, h, x, unroll=True)[0].data)


@may_fall_back
def test_attributes_of_ops_of_ones_own_are_told_apart(backend):
    scaled = Op(
        "scaled",
        "k",
        r"k {0}",
        lambda a, k: a * (k * 2 if isinstance(k, float) else k),
        (lambda g, out, a, k: g * (k * 2 if isinstance(k, float) else k),),
        elementwise=True,
    )
    both_orders(lambda k: lambda h, x: (h, scaled(x, k=k)), 1, 1.0, backend)


@may_fall_back
def test_an_array_among_attributes_may_change_between_calls(backend):
    scaled = Op(
        "scaled",
        "k",
        r"k {0}",
        lambda a, table: a * table,
        (lambda g, out, a, table: g * table,),
        elementwise=True,
    )
    def run(table: np.ndarray) -> None:
        def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return scaled(h, table=table) * 0.1, scaled(x, table=table)

        assert_same(step, h, x, backend=backend)

    h = tg.tensor(np.ones((2, 3)), requires_grad=True)
    x = tg.tensor(np.arange(24.0).reshape(4, 2, 3), requires_grad=True)
    table = np.array([1.0, 2.0, 3.0])
    run(table)
    table[:] = [4.0, 5.0, 6.0]
    run(table)
    run(np.array([1.0, 2.0, 3.0]))  # as the first one was then


def test_keys_are_equal_where_numpy_does_the_same():
    assert len({frozen(one) for one in ONES}) == len(ONES)
    assert frozen(0.0) != frozen(-0.0) and frozen(math.nan) == frozen(float("nan"))
    assert frozen((1, [2])) != frozen((1, (2,))) and frozen({"a": 1}) == frozen({"a": 1})
    assert frozen(slice(1, None)) != frozen(slice(True, None))
    assert frozen({1, 2.0}) == frozen({2.0, 1})
    large = np.arange(10_000)
    assert frozen(large) == frozen(large.copy()) != frozen(large[::-1])
    assert frozen(large) != frozen(large.reshape(100, 100)) != frozen(large.astype(np.int32))
    assert len(frozen(large)[-1]) < 100 and hash(frozen({"index": (large, ..., None)}))
