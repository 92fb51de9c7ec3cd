"""Products with Jacobians and Hessians against what paper and pencil give."""

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, ShapeError, Tensor

RNG = np.random.default_rng(7)
A = RNG.normal(size=(3, 4))
X = RNG.normal(size=4)
H = A.T @ A


def affine_tanh(x: Tensor) -> Tensor:
    return tg.tanh(A @ x)


SLOPE = (1 - np.tanh(A @ X) ** 2)[:, None] * A


def quadratic(x: Tensor) -> Tensor:
    return 0.5 * x @ (H @ x)


def test_vjp_is_the_cotangent_times_the_jacobian():
    v = RNG.normal(size=3)
    y, g = tg.vjp(affine_tanh, X, v)
    np.testing.assert_allclose(y.data, np.tanh(A @ X))
    np.testing.assert_allclose(g.data, v @ SLOPE)
    assert not y.requires_grad and g.node is None


def test_jvp_is_the_jacobian_times_the_tangent():
    v = RNG.normal(size=4)
    y, d = tg.jvp(affine_tanh, X, v)
    np.testing.assert_allclose(y.data, np.tanh(A @ X))
    np.testing.assert_allclose(d.data, SLOPE @ v)


def test_hvp_is_the_hessian_times_the_direction():
    v = RNG.normal(size=4)
    y, hv = tg.hvp(quadratic, X, v)
    np.testing.assert_allclose(y.data, 0.5 * X @ H @ X)
    np.testing.assert_allclose(hv.data, H @ v)


def test_jacobian_and_hessian_have_the_shapes_of_output_and_input():
    np.testing.assert_allclose(tg.jacobian(affine_tanh, X).data, SLOPE)
    np.testing.assert_allclose(tg.hessian(quadratic, X).data, H, rtol=1e-12)
    square = X.reshape(2, 2)
    whole = tg.jacobian(lambda m: tg.exp(m.T), square)
    assert whole.shape == (2, 2, 2, 2)
    expected = np.einsum("ij,il,jk->ijkl", np.exp(square.T), np.eye(2), np.eye(2))
    np.testing.assert_allclose(whole.data, expected)
    curved = tg.hessian(lambda m: tg.exp(m).sum(), square)
    np.testing.assert_allclose(curved.data.reshape(4, 4), np.diag(np.exp(X)))


def test_functions_of_several_inputs_take_tuples_or_lists():
    def f(a: Tensor, b: Tensor) -> Tensor:
        return (a * a * b).sum()

    a, b = RNG.normal(size=3), RNG.normal(size=3)
    u, w = RNG.normal(size=3), RNG.normal(size=3)
    for several in (tuple, list):
        point, direction = several([a, b]), several([u, w])
        _, (da, db) = tg.vjp(f, point)
        np.testing.assert_allclose(da.data, 2 * a * b)
        np.testing.assert_allclose(db.data, a * a)
        _, d = tg.jvp(f, point, direction)
        np.testing.assert_allclose(d.data, (2 * a * b * u + a * a * w).sum())
        _, (ha, hb) = tg.hvp(f, point, direction)
        np.testing.assert_allclose(ha.data, 2 * b * u + 2 * a * w)
        np.testing.assert_allclose(hb.data, 2 * a * u)


def test_a_list_of_numbers_is_one_input():
    y, g = tg.vjp(lambda x: (x * x).sum(), [1.0, 2.0])
    assert y.item() == 5.0 and g.data.tolist() == [2.0, 4.0] and g.dtype == np.float32


def test_what_a_function_does_not_depend_on_gets_zeros():
    _, (da, db) = tg.vjp(lambda a, b: (a * 2).sum(), (X, X))
    assert da.data.tolist() == [2.0] * 4 and db.data.tolist() == [0.0] * 4
    _, h = tg.hvp(lambda a: (a * 2).sum(), X, X)
    assert h.data.tolist() == [0.0] * 4
    assert tg.hessian(lambda a: (a * 2).sum(), X).data.tolist() == np.zeros((4, 4)).tolist()
    _, d = tg.jvp(lambda a, b: a * 2, (X, X), (X * 0, X))
    assert d.data.tolist() == [0.0] * 4


def test_linear_functions_have_constant_jacobians():
    np.testing.assert_array_equal(tg.jacobian(lambda x: A @ x, X).data, A)
    _, d = tg.jvp(lambda x: A @ x, X, np.eye(4)[1])
    np.testing.assert_array_equal(d.data, A[:, 1])


def test_inputs_are_left_alone():
    x = tg.tensor(X, requires_grad=True)
    y = x * 2
    tg.hvp(quadratic, y, X)
    assert x.grad is None
    np.testing.assert_array_equal(x.data, X)


def test_a_hessian_is_the_jacobian_of_the_gradient():
    def f(x: Tensor) -> Tensor:
        return tg.logsumexp(A @ x) + tg.sin(x).mean()

    def slope(x: Tensor) -> Tensor:
        return tg.grad(f(x), x, create_graph=True)

    whole = tg.hessian(f, X)
    np.testing.assert_allclose(whole.data, tg.jacobian(slope, X).data, rtol=1e-12)
    np.testing.assert_allclose(whole.data, whole.data.T, rtol=1e-10, atol=1e-14)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="hessian: f must give a scalar"):
        tg.hessian(affine_tanh, X)
    with pytest.raises(ShapeError, match=r"v: direction of shape \(3,\) for input \(4,\)"):
        tg.jvp(affine_tanh, X, np.ones(3))
    with pytest.raises(ShapeError, match="v: 1 directions for 2 inputs"):
        tg.jvp(lambda a, b: a * b, (X, X), X)
    with pytest.raises(ShapeError, match="cotangent"):
        tg.vjp(affine_tanh, X, np.ones(4))
    with pytest.raises(GraphError, match="not a scalar"):
        tg.vjp(affine_tanh, X)
    with pytest.raises(GraphError, match="not a scalar"):
        tg.hvp(affine_tanh, X, X)
    with pytest.raises(TypeError, match="must return a Tensor"):
        tg.vjp(lambda x: x.data, X)  # type: ignore[arg-type,return-value]
    with pytest.raises(GraphError, match="does not depend on its inputs"):
        tg.vjp(lambda x: x.detach() * 2, X)
    with pytest.raises(tg.DTypeError, match="only floating-point"):
        tg.vjp(quadratic, np.array([1, 2, 3, 4]))
