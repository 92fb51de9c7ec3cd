"""Reductions over an axis, several, negative or none at all: NumPy's values and shapes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import FULL_SHAPES, SEEDS, SHAPES, check_direction, examples

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor, grad

REDUCTIONS: dict[str, Any] = {
    "sum": np.sum,
    "mean": np.mean,
    "var": np.var,
    "max": np.max,
    "min": np.min,
    "logsumexp": lambda a, axis, keepdims: np.log(np.sum(np.exp(a), axis=axis, keepdims=keepdims)),
}


@st.composite
def shapes_and_axes(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape and an axis argument for it: None, an int, or a tuple, negative or not."""
    shape = draw(FULL_SHAPES)
    if not shape:
        return shape, draw(st.sampled_from([None, ()]))
    one = st.integers(-len(shape), len(shape) - 1)
    many = st.lists(one, unique_by=lambda k: k % len(shape), max_size=len(shape)).map(tuple)
    return shape, draw(st.none() | one | many)


@pytest.mark.parametrize("name", REDUCTIONS)
@given(case=shapes_and_axes(), keepdims=st.booleans(), seed=SEEDS)
@examples(30)
def test_reductions_are_numpys(name, case, keepdims, seed):
    shape, axis = case
    a = np.asarray(np.random.default_rng(seed).normal(size=shape))
    expected = np.asarray(REDUCTIONS[name](a, axis=axis, keepdims=keepdims))
    for found in (
        getattr(tg, name)(Tensor(a), axis=axis, keepdims=keepdims),
        getattr(Tensor(a), name)(axis=axis, keepdims=keepdims),
    ):
        assert found.shape == expected.shape and found.dtype == np.float64
        np.testing.assert_allclose(found.data, expected, rtol=1e-12, atol=1e-12)
    single = getattr(tg, name)(Tensor(a.astype(np.float32)), axis=axis, keepdims=keepdims)
    assert single.dtype == np.float32


@pytest.mark.parametrize("name", [*REDUCTIONS, "softmax", "log_softmax"])
@given(case=shapes_and_axes(), keepdims=st.booleans(), seed=SEEDS)
@examples(20)
def test_gradients_of_reductions_hold_along_any_axes(name, case, keepdims, seed):
    shape, axis = case
    options = {"axis": axis} if "softmax" in name else {"axis": axis, "keepdims": keepdims}
    a = np.asarray(np.random.default_rng(seed).normal(size=shape))
    check_direction(lambda x: getattr(tg, name)(x, **options), [a], seed)


@given(case=shapes_and_axes(), seed=SEEDS)
@examples(40)
def test_softmax_sums_to_one_and_log_softmax_is_its_logarithm(case, seed):
    shape, axis = case
    x = Tensor(np.asarray(np.random.default_rng(seed).normal(size=shape)))
    s = tg.softmax(x, axis=axis)
    np.testing.assert_allclose(s.sum(axis=axis).data, 1.0, rtol=1e-12)
    np.testing.assert_allclose(tg.log_softmax(x, axis=axis).data, np.log(s.data), rtol=1e-10)


@given(shape=FULL_SHAPES.filter(bool), seed=SEEDS, data=st.data())
@examples(40)
def test_cumsum_is_numpys(shape, seed, data):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    a = np.random.default_rng(seed).normal(size=shape)
    np.testing.assert_allclose(tg.cumsum(Tensor(a), axis=axis).data, np.cumsum(a, axis=axis))
    check_direction(lambda x: tg.cumsum(x, axis=axis), [a], seed)


@given(shape=SHAPES)
@examples(30)
def test_sums_of_nothing_are_zero_with_zero_gradients(shape):
    x = Tensor(np.ones((*shape, 0)), requires_grad=True)
    total = x.sum(axis=-1)
    assert total.shape == shape and not total.data.any()
    assert grad(total, x, np.ones(shape)).shape == (*shape, 0)


def test_ties_for_the_maximum_share_the_gradient_evenly():
    x = Tensor(np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]]), requires_grad=True)
    expected = [[0.5, 0.0, 0.5], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(grad(x.max(axis=1).sum(), x).data, expected)
    assert grad(x.max(), x).data.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


def test_the_unbiased_variance_divides_by_one_less():
    a = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(tg.var(Tensor(a), axis=0, ddof=1).data, np.var(a, axis=0, ddof=1))


def test_means_of_integers_are_float32_and_sums_stay_integers():
    n = tg.tensor(np.arange(6).reshape(2, 3))
    assert n.mean().dtype == np.float32 and n.mean().item() == 2.5
    assert n.sum(axis=0).dtype == np.int64 and n.max().item() == 5
    assert tg.tensor(np.array([True, True, False])).sum().item() == 2


def test_cumsum_of_booleans_counts():
    counted = tg.cumsum(tg.tensor(np.array([True, False, True])))
    assert counted.data.tolist() == [1, 1, 2]
