"""grad and backward: which paths, how often, into what, and of which order."""

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, Tensor, grad
from tinygrad_lstm.sweep import key_of, sweep


def leaf(*values: float, name: str | None = None) -> Tensor:
    return tg.tensor(np.array(values), requires_grad=True, name=name)


def scalar(value: float) -> Tensor:
    return tg.tensor(np.array(value), requires_grad=True)


def slope(of: Tensor) -> list[float]:
    assert of.grad is not None
    return of.grad.data.tolist()


# -- paths ----------------------------------------------------------------------------------------


def test_a_diamond_counts_each_path_once():
    x = scalar(3.0)
    left, right = x * 2, x * 5
    assert grad(left * right, x).item() == 2 * 10 * 3.0


def test_ten_diamonds_in_a_row_have_a_thousand_paths_and_cost_ten_ops():
    x = scalar(1.0)
    y = x
    for _ in range(10):
        y = y + y
    assert grad(y, x).item() == 1024.0


def test_a_hundred_diamonds_are_not_walked_path_by_path():
    x = scalar(1.0)
    y = x
    for _ in range(100):
        y = y + y
    assert grad(y, x).item() == 2.0**100
    assert grad(y, x, create_graph=True).item() == 2.0**100


def test_a_tensor_used_by_every_op_gets_every_share():
    x = leaf(2.0)
    total = x * x + x * 3 + x / x + tg.stack([x, x]).sum() + x[0] + (x @ x)
    assert grad(total.sum(), x).data.tolist() == [4.0 + 3.0 + 0.0 + 2.0 + 1.0 + 4.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_weight_used_at_every_step_gets_the_sum_over_the_steps(create_graph):
    rng = np.random.default_rng(0)
    w, b = Tensor(rng.normal(size=(3, 3)), requires_grad=True), leaf(0.1, -0.2, 0.3)
    xs = rng.normal(size=(4, 2, 3))
    total = tg.stack([tg.tanh(x @ w + b) for x in xs]).sum()
    at_once = tg.tanh(xs.reshape(-1, 3) @ w + b).sum()
    for one, other in zip(
        grad(total, [w, b], create_graph=create_graph), grad(at_once, [w, b]), strict=True
    ):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-12)


def test_a_matrix_that_is_both_weight_and_result_gets_both_shares():
    rng = np.random.default_rng(1)
    a, b = (Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(2))

    def f(p: Tensor, q: Tensor) -> Tensor:
        w = tg.sin(p) + q
        return (p @ w) @ w + q @ (w.T @ w)

    assert tg.gradcheck(f, [a, b], order=2)


# -- grad -----------------------------------------------------------------------------------------


def test_grad_gives_a_tensor_for_a_tensor_and_a_tuple_for_a_sequence():
    x, y = scalar(2.0), scalar(3.0)
    assert isinstance(grad(x * y, x), Tensor)
    for inputs in ([x, y], (x, y)):
        found = grad(x * y, inputs)
        assert isinstance(found, tuple) and [g.item() for g in found] == [3.0, 2.0]
    assert grad(x * y, []) == ()
    assert x.grad is None and y.grad is None


def test_grad_reaches_tensors_inside_the_graph():
    x = scalar(2.0)
    y = x * x
    z = y * y * x
    dy, dx = grad(z, [y, x])
    assert (dy.item(), dx.item()) == (2 * 4.0 * 2.0, 5 * 2.0**4)


def test_an_input_above_another_input_has_its_full_gradient():
    x = scalar(2.0)
    y = tg.exp(x)
    z = tg.sin(y)
    dz, dy, dx = grad(z * 3, [z, y, x])
    cos = math.cos(math.exp(2.0))
    np.testing.assert_allclose([dz.item(), dy.item()], [3.0, 3 * cos])
    np.testing.assert_allclose(dx.item(), 3 * cos * math.exp(2.0))


def test_an_output_may_itself_be_an_input():
    x = scalar(2.0)
    y = x * x
    assert grad(x, x).item() == 1.0 and grad(y, y).item() == 1.0
    dy, dx = grad([y, y * 3], [y, x])
    assert (dy.item(), dx.item()) == (4.0, 16.0)


def test_an_output_given_twice_counts_twice():
    x = scalar(2.0)
    y = x * 3
    assert grad([y, y], x).item() == 6.0
    assert grad([y, y], x, create_graph=True).item() == 6.0


def test_the_same_input_twice_gets_gradients_that_share_nothing():
    x = leaf(1.0, 2.0)
    one, other = grad((x * x).sum(), [x, x])
    assert not np.shares_memory(one.data, other.data)
    assert one.data.tolist() == other.data.tolist() == [2.0, 4.0]


def test_several_outputs_are_weighted_by_their_cotangents():
    x = leaf(1.0, 2.0)
    y, z = x * x, tg.exp(x)
    found = grad([y, z], x, [np.array([1.0, 10.0]), tg.tensor(np.array([0.0, 1.0]))])
    np.testing.assert_allclose(found.data, [2.0, 40.0 + np.exp(2.0)])
    mixed = grad([y.sum(), z], x, [None, np.array([1.0, 0.0])])
    np.testing.assert_allclose(mixed.data, [2.0 + np.e, 4.0])


@pytest.mark.parametrize("seed", [2.0, [[1.0, 2.0]], np.ones((1, 2)), tg.tensor([[1.0, 2.0]])])
def test_a_cotangent_may_be_a_tensor_an_array_a_list_or_a_number(seed: Any):
    x = tg.tensor([[3.0, 4.0]], requires_grad=True)
    output = x.sum() if isinstance(seed, float) else x * 1
    expected = np.broadcast_to(np.asarray(seed), (1, 2))
    np.testing.assert_array_equal(grad(output, x, seed).data, expected)


def test_a_cotangent_is_cast_to_the_outputs_dtype():
    x = tg.tensor([1.0], requires_grad=True)
    assert grad(x * 2, x, tg.tensor(np.ones(1))).dtype == np.float32


def test_unused_inputs_are_an_error_or_none():
    x, other = scalar(1.0), tg.tensor(np.array(1.0), requires_grad=True, name="other")
    with pytest.raises(GraphError, match=r"inputs\[1\], other \(\), is not part of the graph"):
        grad(x * 2, [x, other])
    found = grad(x * 2, [x, other], allow_unused=True)
    assert found[0].item() == 2.0 and found[1] is None
    downstream = x * 2
    assert grad(x * 3, downstream, allow_unused=True) is None


def test_gradients_share_memory_with_nothing():
    x, y, z = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0, 6.0)
    seed = np.array([1.0, 1.0])
    output = x + y + z.reshape(2)
    output.backward(seed)
    arrays = [t.grad.data for t in (x, y, z) if t.grad is not None]
    arrays += [seed, x.data, y.data, z.data, output.data]
    for k, one in enumerate(arrays):
        assert one.flags.writeable
        for other in arrays[k + 1 :]:
            assert not np.shares_memory(one, other)
    x.backward(seed)
    assert slope(x) == [2.0, 2.0] and seed.tolist() == [1.0, 1.0]


def test_a_gradient_of_one_element_is_an_array_too():
    x = scalar(2.0)
    for _ in range(3):
        (x * x).backward()
    assert x.grad is not None and type(x.grad.data) is np.ndarray and x.grad.item() == 12.0
    x.grad.data *= 2
    assert x.grad.item() == 24.0


# -- backward -------------------------------------------------------------------------------------


def test_backward_is_grad_for_every_leaf():
    x, y, c = leaf(1.0, 2.0), leaf(3.0, 4.0), tg.tensor(np.ones(2))
    loss = (tg.exp(x) * y + c).sum()
    dx, dy = grad(loss, [x, y])
    loss.backward()
    assert slope(x) == dx.data.tolist() and slope(y) == dy.data.tolist() and c.grad is None


def test_two_backwards_accumulate():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert slope(x) == [5.0, 7.0]
    assert first is not None and first.data.tolist() == [2.0, 4.0]
    x.grad = None
    x.sum().backward()
    assert slope(x) == [1.0, 1.0]


def test_one_graph_can_be_swept_twice():
    x = leaf(1.0, 2.0)
    loss = (x * x * x).sum()
    loss.backward()
    loss.backward()
    assert slope(x) == [6.0, 24.0]


def test_backward_of_an_interior_tensor_takes_a_cotangent():
    x = leaf(1.0, 2.0)
    y = x * x
    y.backward(np.array([1.0, 10.0]))
    assert slope(x) == [2.0, 40.0] and y.grad is None
    tg.backward([y.sum(), (x * 5).sum()])
    assert slope(x) == [2.0 + 7.0, 40.0 + 9.0]


def test_backward_on_a_leaf_gives_it_the_cotangent():
    x = scalar(2.0)
    x.backward()
    assert x.grad is not None and x.grad.item() == 1.0


def test_gradients_stop_at_detach_at_no_grad_and_at_constants():
    x = leaf(2.0)
    with tg.no_grad():
        frozen = x * 10
    y = (x * x.detach() * frozen).sum()
    assert grad(y, x).data.tolist() == [2.0 * 20.0]


def test_a_leaf_that_stopped_requiring_a_gradient_is_a_constant():
    x, y = leaf(2.0), leaf(3.0)
    x.requires_grad = False
    (x * y).sum().backward()
    assert x.grad is None and slope(y) == [2.0]


# -- what cannot be answered ----------------------------------------------------------------------


def test_a_tensor_that_is_no_scalar_needs_a_cotangent():
    y = (leaf(1.0, 2.0) * 2).named("y")
    with pytest.raises(GraphError, match=r"backward: y \(2,\) is not a scalar.*\.sum\(\)"):
        y.backward()
    with pytest.raises(GraphError, match=r"grad: y \(2,\) is not a scalar"):
        grad(y, y)


def test_an_output_without_history_is_refused():
    c = tg.tensor([1.0], name="c")
    with pytest.raises(GraphError, match=r"backward: output 0, c \(1,\), does not depend"):
        c.backward()
    x = leaf(1.0)
    with pytest.raises(GraphError, match="grad: output 1"):
        grad([x.sum(), c.sum()], x)


def test_an_input_that_requires_no_gradient_is_refused():
    x, c = leaf(1.0), tg.tensor(np.ones(1), name="c")
    with pytest.raises(GraphError, match=r"inputs\[1\], c \(1,\), does not require a gradient"):
        grad((x * c).sum(), [x, c])


def test_cotangents_that_do_not_fit_are_refused():
    x = leaf(1.0, 2.0)
    y = (x * x).named("y")
    with pytest.raises(tg.ShapeError, match=r"cotangent of y \(2,\) has shape \(3,\)"):
        grad(y, x, np.ones(3))
    with pytest.raises(tg.DTypeError, match="grad_outputs"):
        grad(y, x, tg.tensor(np.array([1, 2])))
    with pytest.raises(GraphError, match="3 given for 2 outputs"):
        grad([y, y], x, [np.ones(2)] * 3)
    with pytest.raises(TypeError, match="expected a list of 2"):
        grad([y, y], x, 1.0)
    with pytest.raises(TypeError, match="outputs: expected a Tensor"):
        grad(3.0, x)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="inputs: expected a Tensor"):
        grad(y.sum(), {"x": x})  # type: ignore[call-overload]


# -- higher orders --------------------------------------------------------------------------------


def test_the_third_derivative_of_a_polynomial():
    x = scalar(2.0)
    y = x**5
    for factor in (5, 4 * 5, 3 * 4 * 5):
        y = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(factor * 2.0 ** (4 - [5, 20, 60].index(factor)))


def test_derivatives_of_sine_go_round_in_four():
    x = scalar(0.7)
    y = tg.sin(x)
    for expected in (math.cos, lambda t: -math.sin(t), lambda t: -math.cos(t), math.sin):
        y = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected(0.7))


def test_the_gradient_of_a_gradients_norm():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    x = leaf(1.0, -1.0)
    g = grad(0.5 * x @ (a @ x), x, create_graph=True)
    np.testing.assert_allclose(g.data, a @ x.data)
    np.testing.assert_allclose(grad((g * g).sum(), x).data, 2 * a @ (a @ x.data))


def test_backward_with_create_graph_leaves_gradients_that_can_be_differentiated():
    x = leaf(2.0, 3.0)
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad is not None and x.grad.requires_grad
    np.testing.assert_array_equal(grad(x.grad.sum(), x).data, [12.0, 18.0])
    (x * x).sum().backward(create_graph=True)
    np.testing.assert_array_equal(grad(x.grad.sum(), x).data, [14.0, 20.0])
    x.grad = None


def test_without_create_graph_gradients_have_no_history():
    x = leaf(2.0)
    assert grad((x * x).sum(), x).node is None
    (x * x).sum().backward()
    assert x.grad is not None and x.grad.node is None and not x.grad.requires_grad


# -- the observer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_observer_is_told_each_edges_share(create_graph):
    x, b = tg.tensor(np.array([[1.0, 2.0]] * 3), requires_grad=True), leaf(0.5, 0.5)
    w = tg.tensor(np.eye(2) * 2, requires_grad=True)
    y = (x @ w + b) * (x @ w)
    loss = y[0].sum() + y[1].sum()
    shares: dict[tuple[str, int], list[Any]] = {}
    totals: dict[Any, np.ndarray] = {}

    def observe(node: Any, position: int, part: Any) -> None:
        values = np.array(part.data if isinstance(part, Tensor) else part)
        assert values.shape == node.inputs[position].shape
        shares.setdefault((node.op.name, position), []).append(values)
        key = key_of(node.inputs[position])
        totals[key] = totals.get(key, 0) + values

    seeds = [np.ones(())]
    found = sweep([loss], seeds, None, create_graph=create_graph, observer=observe)
    assert len(shares["matmul", 0]) == len(shares["matmul", 1]) == 2
    assert len(shares["getitem", 0]) == 2 and len(shares["add", 1]) == 2
    plain = dict(zip((x, w, b), grad(loss, [x, w, b]), strict=True))
    for t, g in plain.items():
        np.testing.assert_allclose(totals[t], g.data, rtol=1e-12)
        np.testing.assert_allclose(np.asarray(found[t]), g.data, rtol=1e-12)
