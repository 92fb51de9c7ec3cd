"""Indexing: NumPy's values; the gradient goes back to exactly the elements it came from."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import FULL_SHAPES, SEEDS, SHAPES, examples

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor, grad


def check_index(index: Any, shape: tuple[int, ...], seed: int) -> None:
    """Values, gradient and second-order gradient of x[index], by counting element numbers."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    x = Tensor(a, requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.data, a[index])
    assert isinstance(y.data, np.ndarray)
    numbers = np.arange(a.size).reshape(shape)[index]
    g = np.asarray(rng.normal(size=y.shape))
    expected = np.bincount(np.ravel(numbers), np.ravel(g), minlength=a.size).reshape(shape)
    np.testing.assert_allclose(grad(y, x, g).data, expected, atol=1e-12)
    seed_tensor = Tensor(g, requires_grad=True)
    first = grad(y, x, seed_tensor, create_graph=True)
    np.testing.assert_allclose(first.data, expected, atol=1e-12)
    w = rng.normal(size=shape)
    np.testing.assert_array_equal(grad(first, seed_tensor, w).data, w[index])


@given(shape=SHAPES, data=st.data(), seed=SEEDS)
@examples(80)
def test_basic_indices(shape, data, seed):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    check_index(index, shape, seed)


@given(shape=FULL_SHAPES.filter(bool), data=st.data(), seed=SEEDS)
@examples(60)
def test_integer_array_indices_with_repeats_add_up(shape, data, seed):
    index = data.draw(hnp.integer_array_indices(shape))
    check_index(index, shape, seed)


@given(shape=SHAPES, data=st.data(), seed=SEEDS)
@examples(40)
def test_boolean_masks(shape, data, seed):
    covered = shape[: data.draw(st.integers(0, len(shape)))]
    mask = np.asarray(np.random.default_rng(seed).random(covered) < 0.5)
    check_index(mask, shape, seed)


ROWS = np.array([2, 0, 2])
ROW_MASK = np.array([True, False, True])


@pytest.mark.parametrize(
    "index",
    [
        (ROWS, slice(None, None, -1)),
        (slice(None), ROWS % 2, None),
        (ROWS, ..., ROWS),
        (ROWS[:, None], np.array([[0, 1]])),
        (None, ROWS, None, 1),
        (ROW_MASK, 1),
        (ROW_MASK, slice(0, 2)),
        (ROW_MASK, np.array([0, 0])),
        (ROW_MASK, ..., ROW_MASK),
        (np.array([True, True, False]), np.array([False, True]), 0),
        ([0, 0, 0], [1, 1, 0]),
        np.array(1),
        (np.int64(2), -1),
        True,
        False,
        np.array([], dtype=int),
        (slice(5, 2),),
        (slice(None, None, -2), slice(-1, 0, -1)),
        np.array([0, 2], np.uint64),
        np.array([-1, 0], np.int8),
    ],
    ids=repr,
)
def test_mixed_indices(index):
    check_index(index, (3, 2, 3), 0)


def test_a_tensor_of_integers_is_an_index():
    x = tg.tensor(np.arange(4.0) ** 2, requires_grad=True)
    order = tg.tensor(np.array([3, 1, 1]))
    assert x[order].data.tolist() == [9.0, 1.0, 1.0]
    assert grad(x[order].sum(), x).data.tolist() == [0.0, 2.0, 0.0, 1.0]
    assert x[order[1]].item() == 1.0


def test_a_comparison_is_an_index():
    x = tg.tensor([-1.0, 2.0, -3.0], requires_grad=True)
    assert x[x < 0].data.tolist() == [-1.0, -3.0]


def test_an_index_is_what_it_was_when_it_was_used():
    x, index = tg.tensor([1.0, 2.0, 3.0], requires_grad=True), np.array([0, 2])
    y = x[index]
    index[:] = 1
    assert tg.grad((y * y).sum(), x).tolist() == [2.0, 0.0, 6.0]


def test_slices_of_one_tensor_add_their_gradients_into_it():
    x = tg.tensor(np.arange(6.0), requires_grad=True)
    total = tg.stack([(k + 1) * x[k : k + 2].sum() for k in range(5)])
    assert grad(total.sum(), x).data.tolist() == [1.0, 3.0, 5.0, 7.0, 9.0, 5.0]


# -- take and embedding ---------------------------------------------------------------------------


@given(shape=FULL_SHAPES.filter(bool), data=st.data(), seed=SEEDS)
@examples(60)
def test_take_is_numpys_and_repeated_rows_accumulate(shape, data, seed):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    size = int(np.prod(shape)) if axis is None else shape[axis]
    picks = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)
    indices = data.draw(hnp.arrays(np.int64, picks, elements=st.integers(-size, size - 1)))
    rng = np.random.default_rng(seed)
    a = rng.normal(size=shape)
    x = Tensor(a, requires_grad=True)
    y = tg.take(x, indices, axis=axis)
    np.testing.assert_array_equal(y.data, np.take(a, indices, axis=axis))
    g = np.asarray(rng.normal(size=y.shape))
    numbers = np.take(np.arange(a.size).reshape(shape), indices, axis=axis)
    expected = np.bincount(np.ravel(numbers), np.ravel(g), minlength=a.size).reshape(shape)
    for create_graph in (False, True):
        found = grad(y, x, g, create_graph=create_graph)
        np.testing.assert_allclose(found.data, expected, atol=1e-12)


def test_embedding_gives_rows_and_accumulates_repeated_ones():
    weight = tg.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True, name="table")
    words = [[1, 3, 1], [0, 1, 1]]
    rows = tg.embedding(words, weight)
    assert rows.shape == (2, 3, 3)
    np.testing.assert_array_equal(rows.data, weight.data[np.array(words)])
    expected = np.repeat([[1.0], [4.0], [0.0], [1.0]], 3, axis=1)
    np.testing.assert_array_equal(grad(rows.sum(), weight).data, expected)


@pytest.mark.parametrize("columns", [0, 1])
def test_an_embedding_may_be_narrow_and_a_batch_empty(columns):
    weight = tg.tensor(np.ones((4, columns)), requires_grad=True)
    for words in ([], [2, 2]):
        rows = tg.embedding(words, weight)
        assert rows.shape == (len(words), columns)
        assert grad(rows.sum(), weight).shape == (4, columns)


def test_indices_out_of_range_or_not_integers_are_refused_by_name():
    weight = tg.tensor(np.ones((4, 3)), name="table")
    with tg.scope("decoder"):
        with pytest.raises(IndexError, match=r"embedding in decoder: table \(4, 3\).*0 to 4"):
            tg.embedding([0, 4], weight)
        with pytest.raises(IndexError, match=r"take in decoder: table \(4, 3\).*-4 to -4 into 3"):
            tg.take(weight, [-4], axis=1)
        with pytest.raises(IndexError, match=r"getitem in decoder: table \(4, 3\), index=7"):
            weight[7]
    with pytest.raises(tg.DTypeError, match=r"embedding: table .*must be integers.*float"):
        tg.embedding([0.5], weight)
    with pytest.raises(tg.DTypeError, match=r"must be integers"):
        weight[np.array([0.5])]
    with pytest.raises(tg.DTypeError, match=r"must be integers"):
        weight[1.0]
    with pytest.raises(tg.ShapeError, match=r"embedding: row \(3,\): weight must have two axes"):
        tg.embedding([0], weight[0].named("row"))


def test_a_tensor_cannot_be_assigned_into():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(TypeError):
        x[0] = 5.0  # type: ignore[index]
