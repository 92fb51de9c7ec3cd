"""Reshaping, joining and cutting: NumPy's values and shapes, gradients to their places."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import FULL_SHAPES, SEEDS, SHAPES, check_direction, examples

import tinygrad_lstm as tg
from tinygrad_lstm import ShapeError, Tensor, grad


def numbers(*shape: int) -> np.ndarray:
    return np.arange(float(np.prod(shape))).reshape(shape)


@given(shape=SHAPES, data=st.data(), seed=SEEDS)
@examples(40)
def test_transpose_is_numpys(shape, data, seed):
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    a = np.asarray(np.random.default_rng(seed).normal(size=shape))
    x = Tensor(a)
    forms = (tg.transpose(x, order), tg.permute(x, axes=order), x.transpose(*order))
    for found in (*forms, tg.transpose(x, axes=order)):
        np.testing.assert_array_equal(found.data, a.transpose(order))
    np.testing.assert_array_equal(x.T.data, a.T)
    check_direction(lambda t: t.transpose(order), [a], seed)


@given(shape=FULL_SHAPES, target=FULL_SHAPES, seed=SEEDS)
@examples(40)
def test_broadcast_to_is_numpys(shape, target, seed):
    try:
        result = np.broadcast_shapes(shape, target)
    except ValueError:
        with pytest.raises(ShapeError, match="broadcast_to"):
            tg.broadcast_to(Tensor(np.ones(shape)), target)
        return
    a = np.asarray(np.random.default_rng(seed).normal(size=shape))
    np.testing.assert_array_equal(Tensor(a).broadcast_to(result).data, np.broadcast_to(a, result))
    check_direction(lambda t: t.broadcast_to(result), [a], seed)


@given(shape=SHAPES, data=st.data(), seed=SEEDS)
@examples(40)
def test_unsqueeze_and_squeeze_undo_each_other(shape, data, seed):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    a = np.asarray(np.random.default_rng(seed).normal(size=shape))
    wider = tg.unsqueeze(Tensor(a), axis)
    np.testing.assert_array_equal(wider.data, np.expand_dims(a, axis))
    np.testing.assert_array_equal(wider.squeeze(axis).data, a)
    np.testing.assert_array_equal(wider.squeeze().data, np.squeeze(a))


def test_reshape_takes_sizes_or_a_tuple_and_one_unknown():
    x = Tensor(numbers(2, 6))
    for y in (x.reshape(3, 4), x.reshape((3, 4)), tg.reshape(x, (3, -1)), x.reshape([-1, 4])):
        np.testing.assert_array_equal(y.data, numbers(3, 4))
    assert x.reshape(-1).shape == tg.reshape(x, shape=12).shape == (12,)
    assert tg.reshape(x, shape=(4, 3)).shape == (4, 3)
    assert Tensor(np.zeros((0, 3))).reshape(-1).shape == (0,)
    assert Tensor(np.zeros((0, 3))).reshape(3, -1).shape == (3, 0)
    assert Tensor(np.ones(1)).reshape(()).shape == ()


def test_squeeze_takes_several_axes():
    x = Tensor(numbers(1, 3, 1, 2))
    assert tg.squeeze(x).shape == (3, 2)
    assert tg.squeeze(x, (0, -2)).shape == (3, 2)
    assert x.squeeze(axis=0).shape == (3, 1, 2)


@given(seed=SEEDS, ndim=st.integers(1, 3), count=st.integers(1, 4), data=st.data())
@examples(40)
def test_concatenate_is_numpys(seed, ndim, count, data):
    axis = data.draw(st.integers(-ndim, ndim - 1))
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 4, ndim)
    parts = []
    for _ in range(count):
        shape = sizes.copy()
        shape[axis] = rng.integers(0, 4)
        parts.append(rng.normal(size=shape))
    joined = tg.concatenate([Tensor(p) for p in parts], axis=axis)
    np.testing.assert_array_equal(joined.data, np.concatenate(parts, axis=axis))
    check_direction(lambda *ts: tg.concatenate(ts, axis), parts, seed)


@given(seed=SEEDS, shape=SHAPES, count=st.integers(1, 3), data=st.data())
@examples(40)
def test_stack_is_numpys_and_unstack_undoes_it(seed, shape, count, data):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    rng = np.random.default_rng(seed)
    parts = [np.asarray(rng.normal(size=shape)) for _ in range(count)]
    stacked = tg.stack([Tensor(p) for p in parts], axis=axis)
    np.testing.assert_array_equal(stacked.data, np.stack(parts, axis=axis))
    for part, back in zip(parts, tg.unstack(stacked, axis=axis), strict=True):
        np.testing.assert_array_equal(back.data, part)
    check_direction(lambda *ts: tg.stack(ts, axis), parts, seed)


@pytest.mark.parametrize("cuts", [1, 2, 3, 6, [2], [1, 4], [0, 9], [4, 2], [-2], []], ids=str)
def test_split_is_numpys(cuts: Any):
    a = numbers(2, 6)
    x = Tensor(a, requires_grad=True)
    pieces, expected = tg.split(x, cuts, axis=1), np.split(a, cuts, axis=1)
    assert isinstance(pieces, tuple)
    for piece, wanted in zip(pieces, expected, strict=True):
        np.testing.assert_array_equal(piece.data, wanted)
    total = tg.stack([(k + 1.0) * piece.sum() for k, piece in enumerate(pieces)]).sum()
    marks = np.split(np.arange(6), cuts)
    share = [sum(k + 1.0 for k, mark in enumerate(marks) if j in mark) for j in range(6)]
    np.testing.assert_array_equal(grad(total, x).data, [share, share])


def test_split_of_an_empty_axis_gives_empty_pieces():
    assert [p.shape for p in tg.split(Tensor(np.zeros((0, 2))), 3)] == [(0, 2)] * 3


def test_pieces_used_in_part_leave_the_rest_without_gradient():
    x = tg.tensor(numbers(4), requires_grad=True)
    first, _, third, _ = tg.unstack(x)
    assert grad(first * third, x).data.tolist() == [2.0, 0.0, 0.0, 0.0]


def test_concatenate_and_stack_bring_dtypes_together():
    single, double = tg.tensor([1.0]), tg.tensor(np.ones(1))
    whole = tg.tensor(np.ones(1, int))
    assert tg.concatenate([single, double]).dtype == np.float64
    assert tg.concatenate([single, whole]).dtype == np.float32
    assert tg.stack([single, [2.0]]).dtype == np.float32
    assert tg.stack([whole, whole]).dtype == np.int64


def test_concatenate_without_an_axis_lays_flat():
    joined = tg.concatenate([numbers(2, 2), numbers(3)], axis=None)
    assert joined.data.tolist() == [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0]


def test_tensors_without_axes_and_without_elements_pass_through_everything():
    scalar, empty = tg.tensor(2.0, requires_grad=True), Tensor(np.zeros((0, 3)), requires_grad=True)
    for f in (tg.exp, tg.sum, tg.mean, tg.max, tg.logsumexp, tg.squeeze, tg.transpose):
        assert f(scalar).shape == () and grad(f(scalar), scalar).shape == ()
    for f in (tg.exp, tg.sum, tg.transpose, tg.sigmoid, tg.relu, lambda t: t @ np.ones((3, 2))):
        out = f(empty)
        assert grad(out, empty, np.ones(out.shape)).shape == (0, 3)
