"""NaNs and changed data: found where they arise, and told by op, scope, name, file and line."""

import inspect

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, NonFiniteError, Parameter, Tensor, detect_anomaly, grad


def here(lines_up: int = 1) -> str:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno - lines_up}"


def leaf(*values: float, name: str | None = None) -> Tensor:
    return tg.tensor(np.array(values), requires_grad=True, name=name)


# -- detect_anomaly -------------------------------------------------------------------------------


def test_the_first_infinity_of_a_forward_pass_is_named():
    p = leaf(0.5, 0.0, name="p")
    with detect_anomaly(), tg.scope("loss"), pytest.raises(NonFiniteError) as caught:
        tg.log(p * 1)
    where = here()
    assert str(caught.value) == f"infinity at index (1,) from log in loss: (2,) ({where})"


def test_the_first_nan_of_a_forward_pass_is_named_with_its_inputs():
    a, b = leaf(0.0, 1.0, name="a"), leaf(0.0, 1.0, name="b")
    with detect_anomaly(), tg.scope("cell"), tg.scope("ratio"), pytest.raises(
        NonFiniteError, match=r"NaN at index \(0,\) from div in cell/ratio: a \(2,\) ÷ b \(2,\)"
    ):
        tg.div(a, b)


def test_without_the_block_nothing_is_checked():
    with np.errstate(all="ignore"):
        assert np.isinf(tg.log(leaf(0.0)).data).all()
    with detect_anomaly():
        tg.exp(leaf(1.0))
    with np.errstate(all="ignore"):
        assert np.isinf(tg.exp(leaf(1e4)).data).all()


def test_data_that_was_never_finite_is_told_apart_from_the_op():
    bad = leaf(1.0, float("nan"), name="x")
    with detect_anomaly(), pytest.raises(
        NonFiniteError, match=r"from add: x \(2,\) \+ \(\).*not finite already: x"
    ):
        tg.add(bad, 1)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("sweep_inside", [False, True])
def test_a_bad_gradient_is_named_by_its_forward_op(create_graph, sweep_inside):
    w = leaf(4.0, 0.0, name="w")
    with detect_anomaly(), tg.scope("norm"):
        y = tg.sqrt(w).sum()
    where = here()
    message = r"infinity at index \(1,\) from backward of sqrt in norm: w \(2,\)"
    with pytest.raises(NonFiniteError, match=message) as caught:
        if sweep_inside:
            with detect_anomaly():
                grad(y, w, create_graph=create_graph)
        else:
            grad(y, w, create_graph=create_graph)
    assert where in str(caught.value)


def test_a_forward_pass_outside_the_block_is_checked_on_its_way_back():
    w = leaf(0.0)
    y = tg.sqrt(w).sum()
    with detect_anomaly(), pytest.raises(NonFiniteError, match="backward of sqrt"):
        y.backward()
    assert w.grad is None


def test_a_nan_made_on_the_way_back_alone_is_found():
    x = leaf(0.0, name="x")
    y = tg.sqrt(x * x)
    with detect_anomaly(), pytest.raises(NonFiniteError, match="backward of sqrt"):
        grad(y.sum(), x)


def test_integers_and_booleans_are_never_anomalies():
    n = tg.tensor(np.array([1, 2]))
    with detect_anomaly():
        assert (n + 1).data.tolist() == [2, 3]


def test_the_forward_and_backward_of_healthy_numbers_pass():
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        (tg.log(x) * tg.exp(x)).sum().backward()
    assert x.grad is not None and np.isfinite(x.grad.data).all()


# -- data that changed ----------------------------------------------------------------------------


def minus_in_place(p: Parameter) -> None:
    p.data -= 0.1 * p.data


def new_array(p: Parameter) -> None:
    p.data = p.data * 0.9


def by_an_optimizer(p: Parameter) -> None:
    p.grad = tg.tensor(np.ones(p.shape), dtype=p.dtype)
    with tg.no_grad():
        for each in [p]:
            assert each.grad is not None
            each.data = each.data - 0.1 * each.grad.data


CHANGES = pytest.mark.parametrize("change", [minus_in_place, new_array, by_an_optimizer])


@CHANGES
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_parameter_changed_between_forward_and_backward_is_named(change, create_graph):
    w = Parameter(np.array([1.0, 2.0]), name="W_hf")
    with tg.scope("lstm"), tg.scope("forget gate"):
        loss = (w * w).sum()
    where = here()
    change(w)
    with pytest.raises(GraphError) as caught:
        loss.backward(create_graph=create_graph)
    message = str(caught.value)
    assert "the data of W_hf (2,) changed after it was used in mul in lstm/forget gate" in message
    assert where in message and "forward pass again" in message


@CHANGES
def test_a_new_forward_pass_after_the_change_is_fine(change):
    w = Parameter(np.array([1.0, 2.0]))
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        assert w.grad is not None
        np.testing.assert_allclose(w.grad.data, 2 * w.data)
        change(w)


def test_changing_another_parameter_does_no_harm():
    w, other = Parameter(np.ones(2)), Parameter(np.ones(2))
    unrelated = (other * other).sum()
    loss = (w * w).sum()
    other.data -= 1.0
    assert grad(loss, w).data.tolist() == [2.0, 2.0]
    with pytest.raises(GraphError, match="changed"):
        grad(unrelated, other)


def test_a_changed_constant_is_noticed_too():
    w, x = Parameter(np.ones(2)), tg.tensor(np.ones(2), name="x")
    loss = (w * x).sum()
    x.data = np.zeros(2)
    with pytest.raises(GraphError, match=r"the data of x \(2,\) changed"):
        loss.backward()


def test_a_view_of_a_changed_parameter_is_noticed_though_it_is_not_swept():
    w, v = Parameter(np.ones((2, 1)), name="w"), Parameter(np.ones(2))
    loss = (w.reshape(2) * v).sum()
    w.data -= 0.5
    with pytest.raises(GraphError, match=r"the data of w"):
        grad(loss, v)


def test_a_changed_parameter_off_the_path_does_no_harm():
    w, v = Parameter(np.ones(2)), Parameter(np.full(2, 3.0))
    loss = (tg.exp(w) * v).sum()
    w.data = np.zeros(2)
    np.testing.assert_allclose(grad(loss, v).data, np.exp([1.0, 1.0]))
    with pytest.raises(GraphError, match="changed"):
        grad(loss, w)
