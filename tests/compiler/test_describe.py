"""What explain says of a step: against what is known of the cells, and against what runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import user_cells
from both_ways import leaves_of

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.backends import BACKENDS

T, B, I, H = 6, 5, 3, 4  # noqa: E741 - sizes by their textbook letters
X = np.zeros((T, B, I), np.float32)


def explanation(layer: Any, backend: str, **options: Any) -> Any:
    return layer.explain(X, backend=backend, **options)["layer 0"]


def products(stages: Any) -> list[tuple[Any, int]]:
    return [(stage.shapes, stage.number) for stage in stages if stage.kind == "product"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_all_gates_are_one_product_over_h_and_one_over_x(kind: str, gates: int, backend: str):
    e = explanation(getattr(tg.nn, kind)(I, H, rng=0), backend)
    over_h = ((B, H), (H, gates * H)), gates
    over_x = ((B, I), (I, gates * H)), gates
    if backend == "numpy":
        assert products(e.loop) == [over_h]
        assert products(e.at_once) == [(((T, B, I), (I, gates * H)), gates)]
    else:
        assert sorted(products(e.loop)) == sorted([over_h, over_x])
        assert not e.at_once


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_gates_are_one_fused_pass_in_native_code(kind: str):
    e = explanation(getattr(tg.nn, kind)(I, H, rng=0), "numba")
    (fused,) = [stage for stage in e.loop if stage.kind != "product"]
    assert fused.kind == "one pass"
    assert fused.shapes == ((B, H),)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gates_are_told_in_the_words_of_the_cell(backend: str):
    e = explanation(tg.nn.LSTM(I, H, rng=0), backend)
    formulas = [line for stage in e.loop for line in stage.formulas]
    assert "c_t = f_t * c_{t-1} + i_t * g_t" in formulas
    assert "h_t = o_t * tanh(c_t)" in formulas
    backward = [line for stage in e.backward for line in stage.formulas]
    assert "dc_{t-1} = d2 * f_t" in backward
    assert "dh_{t-1} = d3 @ weight_hh_l0" in backward


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "values"), [("LSTM", 7), ("GRU", 6), ("RNN", 1)])
def test_bytes_kept_are_those_of_the_gates_and_memories(kind: str, values: int, backend: str):
    e = explanation(getattr(tg.nn, kind)(I, H, rng=0), backend)
    assert e.nbytes == values * T * B * H * X.itemsize
    assert e.per_step == values * H * X.itemsize


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["lstm", "gru", "layer_norm_lstm", "two_chains"])
def test_bytes_kept_are_those_that_a_run_keeps(name: str, backend: str):
    step, carry, _ = user_cells.case(name)
    states, xs = user_cells.tensors(carry, B), user_cells.tensors(I, T, B)
    e = tg.scan.explain(step, states, xs, backend=backend)
    final, _ = tg.scan(step, states, xs, backend=backend)
    (last, *_), (first, *_) = (
        nest if isinstance(nest, tuple) else (nest,) for nest in (final, states)
    )
    run = last.node.inputs[0].node
    kept = run.attrs["plan"].runner.kept(run.saved)
    own = sum(a.nbytes for a in kept if not np.shares_memory(a, xs.data))
    initial = len(leaves_of(final)) * first.data.nbytes  # the states before the first step
    to_align = 64 * (len(e.kept) + 1)
    assert e.nbytes <= own <= e.nbytes + initial + to_align


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("before", [False, True])
def test_a_mask_of_dropout_is_told_and_counted(before: bool, backend: str):
    w = tg.tensor(np.eye(H, dtype=np.float32), requires_grad=True)
    xs = np.zeros((T, B, H), np.float32)

    def step(h: Any, x: Any) -> Any:
        if before:
            h = tg.tanh(h @ w + tg.dropout(x @ w, 0.5))
        else:
            h = tg.tanh(tg.dropout(h, 0.5) @ w + x)
        return h, h

    h = tg.tensor(np.zeros((B, H), np.float32))
    e = tg.scan.explain(step, h, xs, backend=backend)
    (mask,) = [i for i in e.inputs if i.role == "drawn per step"]
    assert mask.shape == (T, B, H) and mask.name == "mask1"
    assert [k.nbytes for k in e.kept if k.name == "mask1"] == [xs.nbytes]
    last, _ = tg.scan(step, h, xs, backend=backend)
    run = last.node.inputs[0].node
    kept = [*run.attrs["plan"].runner.kept(run.saved), run.inputs[2].data]
    own = {id(a): a.nbytes for a in kept if not np.shares_memory(a, xs)}
    assert e.nbytes <= sum(own.values()) <= e.nbytes + h.data.nbytes + 64 * (len(e.kept) + 1)


@pytest.mark.parametrize(
    ("carry", "xs", "told"),
    [
        (None, np.zeros((T, B)), "6 steps in float64, run by NumPy"),
        (None, np.zeros((T, B), np.float32), "6 steps in float32, run by NumPy"),
        (None, np.zeros((T, B), np.int64), "6 steps in int64, run by NumPy"),
        (np.zeros(B), np.zeros((T, B), np.float32), "6 steps in float64, run by NumPy"),
    ],
)
def test_the_dtype_is_told_without_a_carry_too(carry: Any, xs: Any, told: str):
    e = tg.scan.explain(lambda c, x: (c, -x), carry, xs, backend="numpy")
    assert str(e).splitlines()[0] == told


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_gradients_of_weights_are_one_product_each(kind: str, backend: str):
    e = explanation(getattr(tg.nn, kind)(I, H, rng=0), backend)
    found = {g.name: g for g in e.gradients}
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert {f"d{name}" for name in names} <= set(found)
    for name in names[:2]:
        assert (found[f"d{name}"].products, found[f"d{name}"].rows) == (1, T * B)
        assert not found[f"d{name}"].summed


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_that_several_weights_share_is_one_product(backend: str):
    step, carry, _ = user_cells.case("lstm", np.float32)
    states = user_cells.tensors(carry, B, dtype=np.float32)
    e = tg.scan.explain(step, states, X, backend=backend)
    assert sum(g.products for g in e.gradients) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_gradients_nothing_is_kept(backend: str):
    layer = tg.nn.LSTM(I, H, rng=0)
    for p in layer.parameters():
        p.requires_grad = False
    e = explanation(layer, backend)
    assert not e.kept and not e.backward and not e.gradients
    assert "nothing is kept" in str(e)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", user_cells.CELLS)
def test_every_cell_can_be_explained(name: str, backend: str):
    step, carry, _ = user_cells.case(name)
    states, xs = user_cells.tensors(carry, B), user_cells.tensors(I, T, B)
    e = tg.scan.explain(step, states, xs, backend=backend, reverse=True, lengths=[T] * B)
    assert all(len(line) <= 100 for line in str(e).splitlines())
    wanted = {f"d{i.name}" for i in e.inputs if i.role == "captured" and i.gradient}
    assert wanted and wanted <= {g.name for g in e.gradients}
    assert str(e) == str(
        tg.scan.explain(step, states, xs, backend=backend, reverse=True, lengths=[T] * B)
    )


def test_a_cell_without_a_native_form_says_that_numpy_runs_it_and_why():
    w = tg.tensor(np.eye(H), requires_grad=True, name="w")

    def step(h: Any, x: Any) -> Any:
        h = (h @ w + x)[:, np.arange(H)]
        return h, h

    carry = tg.tensor(np.zeros((B, H)))
    with pytest.warns(RuntimeWarning, match="getitem: an index by arrays"):
        e = tg.scan.explain(step, carry, np.zeros((T, B, H)), backend="numba")
    assert e.backend == "numpy"
    assert "numba has no form for this step (getitem: an index by arrays)" in str(e)


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("numpy", "other threads do beside the loop: what stands before it and gradients"),
        ("numba", "rows of the batch are shared out over threads"),
    ],
)
def test_what_other_threads_do_is_told_where_it_is_worth_it(backend: str, told: str):
    layer = tg.nn.LSTM(64, 64, rng=0)
    large = layer.explain(np.zeros((40, 32, 64), np.float32), backend=backend)["layer 0"]
    assert large.threads == told and told in str(large).splitlines()
    small = layer.explain(np.zeros((2, 1, 64), np.float32), backend=backend)["layer 0"]
    assert small.threads is None and "threads" not in str(small)


def test_layers_and_directions_have_their_own_weights():
    layer = tg.nn.GRU(I, H, num_layers=2, bidirectional=True, rng=0)
    found = layer.explain(X, lengths=[T, 3, 2, 1, T], backend="numpy")
    assert list(found) == ["layer 0", "layer 0 reverse", "layer 1", "layer 1 reverse"]
    assert "dweight_hh_l1_reverse" in {g.name for g in found["layer 1 reverse"].gradients}
    assert all(f"{name}: " in str(found) for name in found)


def test_nothing_is_run_and_nothing_recorded():
    calls: list[int] = []

    def step(h: Any, x: Any) -> Any:
        calls.append(1)
        return h + x, None

    tg.scan.explain(step, tg.tensor(np.zeros(H)), np.zeros((1000, H)), backend="numpy")
    assert len(calls) == 2  # recorded, and once more to see that it records the same


def test_explain_refuses_what_scan_refuses():
    with pytest.raises(ValueError, match="backend"):
        tg.scan.explain(lambda h, x: (h, h), tg.tensor(0.0), np.zeros(3), backend="cuda")
    with pytest.raises(tg.ShapeError, match="without xs"):
        tg.scan.explain(lambda h, x: (h, h), tg.tensor(0.0))


def test_leaves_of_dicts_are_called_by_their_keys():
    def step(state: dict[str, Any], given: dict[str, Tensor]) -> Any:
        level = tg.tanh(state["level"] + given["price"] * given["volume"]).named("level_t")
        return {"level": level, "pair": state["pair"][::-1]}, level

    zeros = np.zeros((2, 3))
    state = {"level": zeros, "pair": (zeros, zeros)}
    told = tg.scan.explain(
        step, state, {"price": np.ones((5, 2, 3)), "volume": np.ones((5, 2, 3))}, lengths=[5, 3]
    )
    names = [(one.name, one.role) for one in told.inputs]
    assert names == [
        ("level_{t-1}", "carried"),
        ("pair_{t-1}", "carried"),
        ("pair_{t-1}#2", "carried"),
        ("price_t", "per step"),
        ("volume_t", "per step"),
        ("running_t", "per step"),
    ]


def test_sums_that_are_spread_again_keep_their_axes():
    def step(h: Tensor, x: Tensor) -> Any:
        h = h - h.sum(axis=-1).reshape(2, 1) * x
        return h, h.sum(axis=-1)

    told = str(tg.scan.explain(step, np.ones((2, 3)), np.ones((5, 2, 3)), backend="numpy"))
    assert "sum(carry1, axis=1, keepdims=True)" in told
    assert told.count("keepdims") == 1


def test_names_that_the_step_gives_stay():
    def step(state: dict[str, Tensor], given: dict[str, Tensor]) -> Any:
        h = tg.tanh(state["h"] + given["h"]).named("h_t")
        return {"h": h}, h

    told = tg.scan.explain(step, {"h": np.ones((2, 3))}, {"h": np.ones((5, 2, 3))})
    assert [one.name for one in told.inputs] == ["h_{t-1}", "x_t"]
    assert "h_t = tanh(h_{t-1} + x_t)" in str(told)


def test_a_sum_that_is_read_without_its_axis_is_told_so():
    def step(h: Tensor, x: Tensor) -> Any:
        total = h.sum(axis=0)
        return h - total.reshape(1, 3) * x, total

    told = str(tg.scan.explain(step, np.ones((2, 3)), np.ones((5, 2, 3)), backend="numpy"))
    assert "keepdims" not in told.split("kept for")[0]
