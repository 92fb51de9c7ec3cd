"""`lstm.record`: gates, states and their gradients over time, compiled and unrolled alike."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, Tensor, nn

T, B, I, H = 6, 3, 2, 4  # noqa: E741 - the equations' name

KINDS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "LSTM": (nn.LSTM, {}, ["f_t", "i_t", "g_t", "c_t", "o_t", "h_t"]),
    "deep LSTM": (
        nn.LSTM,
        {"num_layers": 2, "bidirectional": True},
        ["f_t", "i_t", "g_t", "c_t", "o_t", "h_t"],
    ),
    "peephole and projection": (
        nn.LSTM,
        {"peephole": True, "proj_size": 2, "batch_first": True},
        ["f_t", "i_t", "g_t", "c_t", "o_t", "h_t"],
    ),
    "GRU": (nn.GRU, {"bidirectional": True}, ["r_t", "z_t", "n_t", "h_t"]),
    "RNN": (nn.RNN, {"nonlinearity": "relu", "num_layers": 2}, ["h_t"]),
}


def made(name: str = "LSTM") -> Any:
    kind, options, _ = KINDS[name]
    return kind(I, H, dtype=np.float64, rng=0, **options)


def inputs(layer: Any = None) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(T, B, I))
    return x.swapaxes(0, 1) if layer is not None and layer.batch_first else x


def loss_of(results: Any) -> Tensor:
    """A sum that weights every output and final state differently."""
    y, states = results
    states = states if isinstance(states, tuple) else (states,)
    rng = np.random.default_rng(2)
    return sum(((t * rng.normal(size=t.shape)).sum() for t in (y, *states)), tg.tensor(0.0))


def recorded(layer: Any, *names: str, **options: Any) -> tuple[dict[Any, np.ndarray], ...]:
    """What one call and backward pass left: values and gradients."""
    with layer.record(*names, grads=True) as seen:
        loss_of(layer(inputs(layer), **options)).backward()
    return dict(seen), dict(seen.grad)


def assert_same(found: Mapping[Any, np.ndarray], expected: Mapping[Any, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lengths", [None, [T, 0, 3]])
@pytest.mark.parametrize("name", KINDS)
def test_compiled_and_unrolled_runs_show_the_same(name: str, lengths: list[int] | None) -> None:
    layer = made(name)
    compiled = recorded(layer, lengths=lengths, unroll=False)
    unrolled = recorded(layer, lengths=lengths, unroll=True)
    for one, other in zip(compiled, unrolled, strict=True):
        assert_same(one, other)
    names = KINDS[name][2]
    with layer.record() as seen:
        layer(inputs(layer))
    assert [key[0] if isinstance(key, tuple) else key for key in seen] == names * len(seen.layers)
    assert all(values.any() for values in compiled[1].values())


def by_hand(cell: nn.LSTMCell, x: np.ndarray) -> list[dict[str, Tensor]]:
    """The named tensors of every step of a cell called in a loop."""
    state, steps = None, []
    for x_t in x:
        state = cell(x_t, state)
        nodes = {n.name: n.output() for n in tg.toposort(state) if n.name}  # of each the latest
        steps.append({name: nodes[name] for name in KINDS["LSTM"][2]})
    return steps


@pytest.mark.parametrize("unroll", [False, True])
def test_values_and_gradients_are_those_of_a_cell_called_step_by_step(unroll: bool) -> None:
    lstm = made()
    cell = nn.LSTMCell(I, H, dtype=np.float64)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in lstm.state_dict().items()})
    steps = by_hand(cell, inputs())
    y = tg.stack([step["h_t"] for step in steps])
    last = steps[-1]["h_t"][None], steps[-1]["c_t"][None]
    wanted = [step[name] for name in KINDS["LSTM"][2] for step in steps]
    found = tg.grad(loss_of((y, last)), wanted)
    values, gradients = recorded(lstm, unroll=unroll)
    for k, name in enumerate(KINDS["LSTM"][2]):
        np.testing.assert_allclose(values[name], [step[name].data for step in steps], rtol=1e-12)
        expected = [g.data for g in found[k * T : (k + 1) * T]]
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-11, atol=1e-14)


def test_gradients_of_gates_make_up_those_of_their_weights() -> None:
    lstm, x = made(), inputs()
    with lstm.record(grads=True) as seen:
        loss_of(lstm(x)).backward()
    f, g = seen["f_t"], seen["g_t"]
    before = np.concatenate([np.zeros((1, B, H)), seen["c_t"][:-1]])
    np.testing.assert_allclose(seen.grad["f_t"], seen.grad["c_t"] * before, atol=1e-14)
    np.testing.assert_allclose(
        seen.grad["o_t"], seen.grad["h_t"] * np.tanh(seen["c_t"]), atol=1e-14
    )
    b, w = lstm.bias_ih_l0.grad, lstm.weight_ih_l0.grad
    assert b is not None and w is not None
    for name, slope, rows in (("f_t", f * (1 - f), 1), ("g_t", 1 - g * g, 2)):
        share = seen.grad[name] * slope
        gate = slice(rows * H, (rows + 1) * H)
        np.testing.assert_allclose(share.sum((0, 1)), b.data[gate])
        of_weight = np.einsum("tbh,tbi->hi", share, x)
        np.testing.assert_allclose(of_weight, w.data[gate])


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_recording_changes_no_number(name: str, unroll: bool) -> None:
    found = []
    for record in (False, True):
        layer = made(name)
        x = tg.tensor(inputs(layer), requires_grad=True)
        if record:
            with layer.record(grads=True):
                results = layer(x, lengths=[T, 1, 3], unroll=unroll)
        else:
            results = layer(x, lengths=[T, 1, 3], unroll=unroll)
        loss_of(results).backward()
        gradients = [p.grad for p in (x, *layer.parameters())]
        found.append([results[0].data, *(g.data for g in gradients if g is not None)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_the_run_stays_one_op() -> None:
    lstm = made()
    with lstm.record(grads=True):
        y, _ = lstm(inputs(), unroll=False)
    ops = [node.op.name for node in tg.toposort([y])]
    assert ops.count("scan") == 1 and len(ops) < 20


# -- layers, directions, axes ---------------------------------------------------------------------


def test_several_layers_are_told_apart_by_name() -> None:
    layer = made("deep LSTM")
    with layer.record("h_t", grads=True) as seen:
        y, (h_n, _) = layer(inputs())
        h_n[2].sum().backward()
    assert seen.layers == ("layer 0", "layer 0 reverse", "layer 1", "layer 1 reverse")
    assert list(seen) == [("h_t", name) for name in seen.layers] == list(seen.grad)
    np.testing.assert_array_equal(seen["h_t", "layer 1"], y.data[..., :H])
    np.testing.assert_array_equal(seen["h_t", "layer 1 reverse"], y.data[..., H:])
    np.testing.assert_array_equal(seen["h_t", "layer 0"][-1], h_n.data[0])
    np.testing.assert_array_equal(seen["h_t", "layer 0 reverse"][0], h_n.data[1])
    np.testing.assert_array_equal(seen.grad["h_t", "layer 1"][-1], np.ones((B, H)))
    assert seen.grad["h_t", "layer 0 reverse"].any()
    assert not seen.grad["h_t", "layer 1 reverse"].any()  # the loss does not look at it
    for key, message in {
        "h_t": "several layers; add one of 'layer 0', ",
        ("h_t", "layer 2"): "there is no layer 2; there are 'layer 0', ",
        ("c_t", "layer 1"): "c_t was not recorded; there are h_t",
    }.items():
        assert key not in seen
        with pytest.raises(KeyError, match=message):
            seen[key]  # type: ignore[index]


@pytest.mark.parametrize("unroll", [False, True])
def test_time_comes_first_whatever_the_layer_takes(unroll: bool) -> None:
    lstm = nn.LSTM(I, H, batch_first=True, rng=0)
    with lstm.record() as seen:
        y, _ = lstm(np.ones((B, T, I), np.float32), unroll=unroll)
        np.testing.assert_array_equal(seen["h_t"], y.data.swapaxes(0, 1))
        y, _ = lstm(np.ones((T, I), np.float32), unroll=unroll)
    np.testing.assert_array_equal(seen["h_t"][:, 0], y.data)
    assert all(values.shape == (T, 1, H) for values in seen.values())
    assert all(values.dtype == np.float32 for values in seen.values())


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_beyond_the_end_of_a_sequence_all_is_zero(name: str, unroll: bool) -> None:
    for found in recorded(made(name), lengths=[T, 0, 3], unroll=unroll):
        for values in found.values():
            assert not values[:, 1].any() and not values[3:, 2].any()
            assert values[:3, 2].any() and values[3:, 0].any()


def test_names_come_in_the_order_asked_for() -> None:
    lstm = made()
    with lstm.record("o_t", "f_t", "o_t") as seen:
        lstm(inputs())
    assert list(seen) == ["o_t", "f_t"]
    assert repr(seen) == "Seen(o_t (6, 3, 4), f_t (6, 3, 4))"


# -- when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unroll", [False, True])
def test_the_last_call_and_the_last_backward_pass_count(unroll: bool) -> None:
    lstm, x = made(), inputs()
    with lstm.record("h_t", grads=True) as seen:
        first, _ = lstm(x, unroll=unroll)
        first[0].sum().backward()
        second, _ = lstm(2 * x, unroll=unroll)
        np.testing.assert_array_equal(seen["h_t"], second.data)
        with pytest.raises(GraphError, match=r"no gradients; call backward\(\) on a loss"):
            _ = seen.grad
        first[1].sum().backward()  # of a call that is over
        with pytest.raises(GraphError, match="no gradients"):
            _ = seen.grad
        second[-1].sum().backward()
    np.testing.assert_array_equal(seen.grad["h_t"][-1], np.ones((B, H)))
    second[0].sum().backward()  # after the block
    np.testing.assert_array_equal(seen.grad["h_t"][0], np.ones((B, H)))
    assert not seen.grad["h_t"][1:].any()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("unroll", [False, True])
def test_grad_of_anything_brings_the_gradients_too(unroll: bool, create_graph: bool) -> None:
    lstm = made()
    _, expected = recorded(lstm, "c_t")
    with lstm.record("c_t", grads=True) as seen:
        loss = loss_of(lstm(inputs(), unroll=unroll))
    tg.grad(loss, lstm.weight_hh_l0, create_graph=create_graph)
    assert_same(seen.grad, expected)
    assert lstm.weight_ih_l0.grad is not None  # of `recorded`; grad leaves it alone


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("frozen", ["all", "all but a bias"])
def test_gradients_flow_through_frozen_weights(unroll: bool, frozen: str) -> None:
    _, expected = recorded(made())
    lstm = made().requires_grad_(False)
    lstm.bias_hh_l0.requires_grad = frozen != "all"
    _, found = recorded(lstm, unroll=unroll)
    assert_same(found, expected)
    assert lstm.weight_ih_l0.grad is None


@pytest.mark.parametrize("unroll", [False, True])
def test_values_are_there_without_gradients(unroll: bool) -> None:
    lstm = made()
    expected, _ = recorded(lstm)
    with tg.no_grad(), lstm.record(grads=True) as seen:
        y, (h_n, _) = lstm(inputs(), unroll=unroll)
    assert_same(seen, expected)
    assert y.node is None and not h_n.requires_grad
    with pytest.raises(GraphError, match="the run was inside no_grad"):
        _ = seen.grad
    with lstm.record() as seen:
        loss_of(lstm(inputs(), unroll=unroll)).backward()
    with pytest.raises(GraphError, match="ask for it with grads=True"):
        _ = seen.grad


def test_what_was_recorded_is_a_copy() -> None:
    lstm = made()
    with lstm.record("h_t") as seen:
        y, _ = lstm(inputs(), unroll=False)
    seen["h_t"][:] = 7.0
    assert not (y.data == 7.0).any()


# -- who ------------------------------------------------------------------------------------------


def test_only_the_layer_asked_is_recorded() -> None:
    one, other = made(), made()
    with one.record("f_t") as seen:
        other(inputs())
    assert len(seen) == 0 and "f_t" not in seen
    with pytest.raises(KeyError, match="f_t: the layer was not called"):
        seen["f_t"]
    with one.record("f_t") as outer, other.record("f_t") as inner:
        one(inputs())
        other(2 * inputs())
    assert (outer["f_t"] != inner["f_t"]).all()


def test_another_thread_does_not_disturb() -> None:
    lstm = made()
    with lstm.record("h_t") as seen:
        y, _ = lstm(inputs())
        thread = threading.Thread(target=lambda: lstm(np.ones((2, 1, I))))
        thread.start()
        thread.join()
    np.testing.assert_array_equal(seen["h_t"], y.data)


@pytest.mark.parametrize("unroll", [False, True])
def test_an_unknown_name_is_told_with_those_there_are(unroll: bool) -> None:
    gru = made("GRU")
    message = r"no tensor named c_t from .*; there are r_t, z_t, n_t, h_t"
    with gru.record("z_t", "c_t"), pytest.raises(ValueError, match=message):
        gru(inputs(), unroll=unroll)


def test_names_must_be_strings() -> None:
    with pytest.raises(TypeError, match=r"names: expected strings, got \(1,\)"), made().record(1):
        pass


def test_a_layer_inside_a_compiled_step_cannot_be_recorded() -> None:
    lstm = made()

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        y, _ = lstm(x)
        return h + y.sum(), y

    with lstm.record("f_t"), pytest.raises(GraphError, match="inside a step that is compiled"):
        tg.scan(step, np.zeros(()), np.ones((2, T, B, I)), unroll=False)


@pytest.mark.parametrize("unroll", [False, True])
def test_nothing_is_left_behind(unroll: bool) -> None:
    def once() -> None:
        lstm = made("deep LSTM")
        with lstm.record(grads=True) as seen:
            loss_of(lstm(inputs(), unroll=unroll)).backward()
        assert len(dict(seen.grad)) == 24

    once()
    gc.collect()
    gc.disable()
    try:
        once()
        assert gc.collect() == 0
    finally:
        gc.enable()
