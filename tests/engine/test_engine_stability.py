"""Far from zero nothing overflows, nothing warns (warnings are errors), and values are exact."""

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor, grad

FLOATS = [np.float32, np.float64]
FAR = [-1e4, -750.0, -100.0, -88.8, -20.0, 0.0, 20.0, 88.8, 100.0, 750.0, 1e4]


def far(dtype: type) -> Tensor:
    return Tensor(np.array(FAR, dtype), requires_grad=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["sigmoid", "softplus", "tanh", "relu", "abs"])
def test_functions_hold_far_from_zero_with_gradients_to_order_two(name, dtype):
    x = far(dtype)
    y = getattr(tg, name)(x)
    first = grad(y.sum(), x, create_graph=True)
    assert np.isfinite(y.data).all() and np.isfinite(first.data).all()
    assert y.dtype == first.dtype == dtype
    if first.requires_grad:
        assert np.isfinite(grad(first.sum(), x).data).all()


def test_sigmoid_is_exact_in_its_tails():
    x = far(np.float64)
    exact = np.array([1 / (1 + np.exp(-np.longdouble(v))) for v in FAR[2:]], float)
    np.testing.assert_allclose(tg.sigmoid(x).data[2:], exact, rtol=1e-14)
    for dtype in FLOATS:
        ends = tg.sigmoid(Tensor(np.array([-1e4, 1e4, -np.inf, np.inf], dtype)))
        assert ends.data.tolist() == [0.0, 1.0, 0.0, 1.0]


def test_the_slope_of_sigmoid_survives_in_the_tail():
    x = Tensor(np.array([-80.0], np.float32), requires_grad=True)
    np.testing.assert_allclose(grad(tg.sigmoid(x).sum(), x).data, np.exp(-80.0), rtol=1e-5)


def test_softplus_is_zero_on_the_left_and_the_identity_on_the_right():
    y = tg.softplus(far(np.float64)).data
    assert y[0] == 0.0 and y[-1] == 1e4
    np.testing.assert_allclose(y[4], np.exp(-20.0), rtol=1e-8)
    assert grad(tg.softplus(x := far(np.float64)).sum(), x).data[[0, -1]].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [-1e4, 0.0, 1e4])
def test_softmax_and_logsumexp_do_not_mind_an_offset(offset, dtype):
    logits = np.array([[0.0, 1.0, 2.0], [2.0, 2.0, 2.0]], dtype)
    x = Tensor(logits + dtype(offset), requires_grad=True)
    s, ls, total = tg.softmax(x), tg.log_softmax(x), tg.logsumexp(x, axis=-1)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    tolerance = 1e-6 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(s.data, expected, rtol=tolerance)
    np.testing.assert_allclose(ls.data, np.log(expected), rtol=tolerance)
    np.testing.assert_allclose(total.data, np.log(np.exp(logits).sum(-1)) + offset, rtol=1e-6)
    np.testing.assert_allclose(grad(total.sum(), x).data, expected, rtol=1e-2)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_winner_by_ten_thousand_takes_it_all(dtype):
    x = Tensor(np.array([-1e4, 1e4], dtype), requires_grad=True)
    assert tg.softmax(x).data.tolist() == [0.0, 1.0]
    assert tg.log_softmax(x).data.tolist() == [-2e4, 0.0]
    assert tg.logsumexp(x).item() == 1e4
    for f in (tg.softmax, tg.log_softmax):
        g = grad(f(x), x, np.ones(2, dtype), create_graph=True)
        assert np.isfinite(g.data).all() and np.isfinite(grad(g.sum(), x).data).all()
    assert grad(tg.logsumexp(x), x).data.tolist() == [0.0, 1.0]


def test_the_logsumexp_of_nothing_but_minus_infinity_is_minus_infinity_without_gradient():
    rows = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    x = Tensor(rows, requires_grad=True)
    total = tg.logsumexp(x, axis=1)
    assert total.data.tolist() == [-np.inf, 0.0]
    first = grad(total, x, np.ones(2), create_graph=True)
    assert first.data.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert np.isfinite(grad(first.sum(), x).data).all()
    assert tg.logsumexp(Tensor(np.array([1.0, np.inf]))).item() == np.inf


def test_softmax_gives_masked_entries_nothing():
    x = Tensor(np.array([1.0, -np.inf, 1.0]), requires_grad=True)
    assert tg.softmax(x).data.tolist() == [0.5, 0.0, 0.5]
    assert np.isfinite(grad(tg.softmax(x)[0], x).data).all()


def test_float16_sigmoid_does_not_overflow():
    x = Tensor(np.array([-60000.0, 60000.0], np.float16))
    assert tg.sigmoid(x).data.tolist() == [0.0, 1.0] and tg.sigmoid(x).dtype == np.float16
