"""A call like an earlier one goes straight to its plan; whatever is different must be noticed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn, optim

X = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)
KINDS = [nn.LSTM, nn.GRU, nn.RNN]


def results(layer: Any, x: Any = X, **options: Any) -> list[np.ndarray]:
    """y, the last states, and the gradients of all parameters that want one."""
    y, states = layer(x, **options)
    states = states if isinstance(states, tuple) else (states,)
    loss = (y * y).sum() + sum((s * s * s).sum() for s in states)
    wanted = [p for p in layer.parameters() if p.requires_grad]
    return [t.data for t in (y, *states, *tg.grad(loss, wanted))]


def assert_as_unrolled(layer: Any, x: Any = X, **options: Any) -> None:
    for found, wanted in zip(
        results(layer, x, **options), results(layer, x, unroll=True, **options), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def layer(request: pytest.FixtureRequest) -> Any:
    """A layer that was called twice already."""
    made = request.param(2, 4, rng=0)
    results(made)
    results(made)
    return made


def by_an_optimizer(layer: Any) -> None:
    for p in layer.parameters():
        p.grad = tg.tensor(np.ones(p.shape, np.float32))
    optim.SGD(layer.parameters(), lr=0.1).step()


def by_loading(layer: Any) -> None:
    layer.load_state_dict({name: 2 * a for name, a in layer.state_dict().items()})


def by_another_parameter(layer: Any) -> None:
    layer.weight_hh_l0 = tg.Parameter(np.full(layer.weight_hh_l0.shape, 0.1, np.float32))


def by_other_data(layer: Any) -> None:
    layer.bias_ih_l0.data = np.full(layer.bias_ih_l0.shape, 0.5, np.float32)


def by_freezing(layer: Any) -> None:
    layer.weight_ih_l0.requires_grad = False


@pytest.mark.parametrize(
    "change", [by_an_optimizer, by_loading, by_another_parameter, by_other_data, by_freezing]
)
def test_changed_parameters_are_seen(layer: Any, change: Callable[[Any], None]) -> None:
    before = results(layer)[0]
    change(layer)
    assert_as_unrolled(layer)
    if change is not by_freezing:
        assert np.abs(results(layer)[0] - before).max() > 1e-3


def test_parameters_that_were_one_may_be_two_again() -> None:
    layer: Any = nn.RNN(4, 4, rng=0, dtype=np.float64)
    layer.weight_hh_l0 = layer.weight_ih_l0
    x = np.random.default_rng(0).normal(size=(5, 3, 4))
    assert_as_unrolled(layer, x)
    layer.weight_hh_l0 = tg.Parameter(np.eye(4))
    assert_as_unrolled(layer, x)


def test_options_that_are_set_later_are_seen() -> None:
    layer = nn.LSTM(2, 4, peephole=True, rng=0)
    for option in "peephole", "bias":
        before = layer(X)[0].data
        setattr(layer, option, False)
        y = layer(X)[0].data
        assert np.abs(y - before).max() > 1e-3
        np.testing.assert_allclose(y, layer(X, unroll=True)[0].data, rtol=1e-4, atol=1e-5)


def test_a_number_that_a_step_of_ones_own_reads() -> None:
    class Scaled(nn.RNN):
        scale = 1.0

        def _advance(self, state: Any, x_t: Any, weights: Any) -> Any:
            return tuple(h * self.scale for h in super()._advance(state, x_t, weights))

    layer = Scaled(2, 4, rng=0)
    assert_as_unrolled(layer)
    layer.scale = 0.5
    assert_as_unrolled(layer)


def test_another_dtype_is_seen(layer: Any) -> None:
    layer.double()
    assert_as_unrolled(layer, X.astype(np.float64))
    assert results(layer, X.astype(np.float64))[0].dtype == np.float64
    with pytest.raises(tg.DTypeError, match="x is float32, the parameters are float64"):
        layer(tg.tensor(X))


def test_other_inputs_are_run_as_they_are(layer: Any) -> None:
    for x in (X[:2], X[:, :1], 2 * X, tg.tensor(X), X[::-1], X.tolist(), X[:, 0]):
        assert_as_unrolled(layer, x)
    x = tg.tensor(X, requires_grad=True)
    (slope,) = tg.grad(layer(x)[0].sum(), [x])
    (wanted,) = tg.grad(layer(x, unroll=True)[0].sum(), [x])
    np.testing.assert_allclose(slope.data, wanted.data, rtol=1e-4, atol=1e-6)
    with pytest.raises(tg.ShapeError, match="x must be"):
        layer(X[..., :1])


def test_other_arguments_are_not_overlooked(layer: Any) -> None:
    assert_as_unrolled(layer, lengths=[5, 2, 0])
    ones = tg.tensor(np.ones((1, 3, 4), np.float32))
    state = (ones, ones) if isinstance(layer, nn.LSTM) else ones
    assert_as_unrolled(layer, state=state)
    assert_as_unrolled(layer)
    with pytest.raises(ValueError, match="backend: expected None or one of"):
        layer(X, backend="abacus")
    assert "scan" not in {n.op.name for n in tg.toposort([layer(X, unroll=True)[0]])}


def test_without_recording_nothing_is_recorded_and_with_it_again_all(layer: Any) -> None:
    with tg.no_grad():
        y, _ = layer(X)
        again, _ = layer(X)
    assert y.node is None and again.node is None and y.name == "y"
    np.testing.assert_array_equal(again.data, layer(X)[0].data)
    assert layer(X)[0].requires_grad
    assert_as_unrolled(layer)


def test_gates_can_still_be_recorded(layer: Any) -> None:
    with layer.record() as seen:
        y, _ = layer(X)
    np.testing.assert_allclose(seen["h_t"], y.data, rtol=1e-6)


def test_inside_a_compiled_step_its_ops_are_part_of_the_step(layer: Any) -> None:
    def step(total: tg.Tensor, x_t: tg.Tensor) -> Any:
        y, _ = layer(x_t.reshape(1, 3, 2))
        total = total + y.sum()
        return total, total

    start = tg.tensor(np.float32(0.0))
    compiled, _ = tg.scan(step, start, tg.tensor(X), backend="numpy")
    unrolled, _ = tg.scan(step, start, tg.tensor(X), unroll=True)
    assert compiled.item() == pytest.approx(unrolled.item(), rel=1e-4)


def test_each_call_has_a_graph_and_values_of_its_own(layer: Any) -> None:
    one, _ = layer(X)
    other, _ = layer(2 * X)
    kept = one.data.copy()
    wanted = [g.data for g in tg.grad(layer(X)[0].sum(), list(layer.parameters()))]
    found = [g.data for g in tg.grad(one.sum(), list(layer.parameters()))]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.data, kept)
    assert not np.shares_memory(one.data, other.data)
    assert one.node is not other.node and one.node.scope == (type(layer).__name__,)


def test_results_are_called_as_ever(layer: Any) -> None:
    y, states = layer(X)
    states = states if isinstance(states, tuple) else (states,)
    assert [t.name for t in (y, *states)] == ["y", *("h_n", "c_n")[: len(states)]]
    assert all(s.shape == (1, 3, 4) for s in states)
    assert y.node is not None and y.node.where.rpartition(":")[0] == __file__


def test_a_copy_has_a_life_of_its_own(layer: Any) -> None:
    other = copy.deepcopy(layer)
    by_loading(other)
    assert np.abs(results(other)[0] - results(layer)[0]).max() > 1e-3
    assert_as_unrolled(other)
    assert_as_unrolled(layer)


def test_a_shallow_copy_goes_its_own_way_when_something_is_set(layer: Any) -> None:
    before = results(layer)
    other = copy.copy(layer)
    assert other.weight_hh_l0 is layer.weight_hh_l0
    other.weight_hh_l0 = nn.Linear(4, len(layer.weight_hh_l0), rng=9).weight
    for found, wanted in zip(results(layer), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert_as_unrolled(other)
    assert_as_unrolled(layer)
    assert dict(layer.named_parameters())["weight_hh_l0"] is layer.weight_hh_l0
    assert dict(other.named_parameters())["weight_hh_l0"] is other.weight_hh_l0
    assert np.abs(results(other)[0] - before[0]).max() > 1e-3


def test_threads_may_call_one_layer(layer: Any) -> None:
    inputs = [k * X for k in range(4)]
    wanted = [results(layer, x) for x in inputs]
    wrong: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for _ in range(20):
                for a, b in zip(results(layer, inputs[k]), wanted[k], strict=True):
                    np.testing.assert_array_equal(a, b)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_what_is_remembered_is_limited(layer: Any) -> None:
    for steps in range(1, 40):
        layer(np.ones((steps, 1, 2), np.float32))
    (memo,) = layer._memos.values()
    assert len(memo._repeats) <= 16
    assert_as_unrolled(layer)
