"""Gates laid out in planes by the NumPy backend: which sums, in what order, written over what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from both_ways import assert_same
from graphs import traced
from user_cells import CELLS, I, _Weights, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler import overlap
from tinygrad_lstm.compiler.backends import backend_named
from tinygrad_lstm.compiler.gates import FEWEST_ROWS
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.planes import Loops, loops_of
from tinygrad_lstm.tree import flatten, unflatten

T, B, H = 5, FEWEST_ROWS + 1, 4
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reverse": True},
    {"lengths": np.array([5, 1, 3, 2, 5, 4, 1, 5, 2])},
]


def loops(step: Any, carry: Any, rows: int = B, needing: bool = True) -> tuple[Plan, Loops]:
    leaves, form = flatten(tensors(carry, rows), Tensor, "carry")
    shapes = [*(t.shape for t in leaves), (rows, I)]
    graph, _ = traced(lambda *t: step(unflatten(form, t[:-1]), t[-1]), *shapes)
    needs = [needing] * len(graph.inputs)
    plan = Plan(graph, len(leaves), 1, T, needs, backend_named("numpy"))
    return plan, loops_of(plan)


def loops_of_lstm() -> tuple[Plan, Loops]:
    y, _ = tg.nn.LSTM(I, H)(tensors(I, T, B, dtype=np.float32), backend="numpy")
    assert y.node is not None
    plan = y.node.attrs["plan"]
    return plan, loops_of(plan)


def gated(*parts: str, width: int = H) -> tuple[Any, Any, list[tg.Parameter]]:
    """A cell whose sum of products has parts of this width that go through these functions."""
    p = _Weights(np.float64, 3)
    u, w, b = p(I, len(parts) * width), p(width, len(parts) * width), p(len(parts) * width)

    def step(h: Tensor, x: Tensor) -> Any:
        z = x @ u + h @ w + b
        found = [
            getattr(tg, name)(z[:, k * width : (k + 1) * width]) for k, name in enumerate(parts)
        ]
        total = found[0]
        for more in found[1:]:
            total = total * 0.5 + more * h
        return total, total

    return step, width, p.all


# -- the same numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "reverse", "lengths"])
@pytest.mark.parametrize("name", CELLS)
def test_cells_with_many_rows_give_what_they_give_unrolled(name, options):
    step, sizes, weights = case(name)
    assert_same(step, tensors(sizes, B), tensors(I, T, B), weights, backend="numpy", **options)


@pytest.mark.parametrize("name", ["lstm", "peephole_projection_lstm", "gru"])
def test_single_precision_is_kept(name):
    f4 = np.float32
    step, sizes, weights = case(name, f4)
    carry, xs = tensors(sizes, B, dtype=f4), tensors(I, T, B, dtype=f4)
    assert_same(step, carry, xs, weights, backend="numpy")


@pytest.mark.parametrize(
    "parts",
    [
        ("sigmoid", "tanh"),
        ("tanh", "sigmoid", "tanh", "sigmoid", "tanh"),
        ("exp", "sigmoid", "sin", "sigmoid"),
        ("relu", "tanh", "relu"),
        ("abs", "sin", "sin", "abs"),
    ],
    ids="-".join,
)
def test_gates_of_any_functions_in_any_order_give_the_same(parts):
    step, sizes, weights = gated(*parts)
    assert_same(step, tensors(sizes, B), tensors(I, T, B), weights, backend="numpy")


def test_gates_that_are_outputs_or_are_read_in_other_ways_too_give_the_same():
    p = _Weights(np.float64, 4)
    u, w = p(I, 4 * H), p(H, 4 * H)

    def step(state: Any, x: Tensor) -> Any:
        h, c = state
        z = x @ u + h @ w
        both = tg.sigmoid(z[:, : 2 * H])  # of two gates, read as a whole as well
        g, o = tg.tanh(z[:, 2 * H : 3 * H]), tg.sigmoid(z[:, 3 * H :])
        c = both[:, :H] * c + both[:, H:] * g
        h = o * tg.tanh(c)
        return (h, c), {"gates": both, "o": o, "g": g, "sum": both.sum(axis=1)}

    assert_same(step, tensors((H, H), B), tensors(I, T, B), p.all, backend="numpy")


def test_a_gate_may_be_a_carry_and_an_output():
    p = _Weights(np.float64, 12)
    u, w = p(I, 3 * H), p(H, 3 * H)

    def step(state: Any, x: Tensor) -> Any:
        h, c = state
        z = x @ u + h @ w
        h, c = tg.tanh(z[:, :H]), tg.sigmoid(z[:, H : 2 * H]) + c
        return (h, c), (h, tg.tanh(z[:, 2 * H :]))

    assert_same(step, tensors((H, H), B), tensors(I, T, B), p.all, backend="numpy")
    _, found = loops(step, (H, H))
    assert found.homes
    assert not {*found.forward.graph.outputs}.intersection(found.homes)  # they outlive the run


PARTS: dict[str, Any] = {
    "columns": lambda gate: gate[:, 1:3],
    "all columns": lambda gate: gate[:, 0:H],
    "rows": lambda gate: gate[1:3],
    "a row": lambda gate: gate[0],
    "a column": lambda gate: gate[..., 0:1],
    "backwards": lambda gate: gate[::-1],
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_gate_with_a_bias_of_its_own_may_be_taken(name):
    p = _Weights(np.float64, 3)
    u, w, b = p(I, 2 * H), p(H, 2 * H), p(H)

    def step(h: Tensor, x: Tensor) -> Any:
        z = x @ u + h @ w
        gate = z[:, H:] + b
        part = PARTS[name](gate)
        new = tg.sigmoid(1.0 - z[:, :H]) * h + tg.tanh(gate) * 0.3 + tg.tanh(part).sum() * 0.1
        return new, (new, tg.exp(part * 0.1) * part)

    assert_same(step, tensors(H, B), tensors(I, T, B), p.all, backend="numpy")


def test_slices_that_overlap_or_leave_columns_out_give_the_same():
    p = _Weights(np.float64, 5)
    u, w = p(I, 4 * H), p(H, 4 * H)

    def overlapping(h: Tensor, x: Tensor) -> Any:
        z = x @ u + h @ w
        h = tg.tanh(z[:, :H]) * tg.sigmoid(z[:, H : 2 * H])
        return h, tg.exp(z[:, : 2 * H]) + z[:, H : 3 * H].sum(axis=1, keepdims=True)

    def gap(h: Tensor, x: Tensor) -> Any:
        z = x @ u + h @ w
        h = tg.tanh(z[:, :H]) * tg.sigmoid(z[:, 3 * H :])
        return h, h

    for step in (overlapping, gap):
        assert_same(step, tensors(H, B), tensors(I, T, B), p.all, backend="numpy")


def test_what_stands_before_the_loop_may_be_any_sum():
    p = _Weights(np.float64, 6)
    u, w, each, rows = p(I, 3 * H), p(H, 3 * H), p(1, 3 * H), p(B, 3 * H)
    scale = tg.Parameter(np.array(0.7))

    def step(h: Tensor, x: Tensor) -> Any:
        first = x.mean(axis=1, keepdims=True) + scale  # (B, 1), added to all columns
        known = tg.exp(x) @ u + (x @ u) * 0.5 + first + each + rows
        z = known + h @ w
        h = tg.sigmoid(z[:, :H]) * tg.tanh(z[:, H : 2 * H]) + tg.sigmoid(z[:, 2 * H :])
        return h, h

    assert_same(step, tensors(H, B), tensors(I, T, B), [*p.all, scale], backend="numpy")
    _, found = loops(step, H)
    assert found.homes


@pytest.mark.parametrize(("steps", "hidden"), [(1, H), (2, 1)])
def test_there_may_be_little_to_do(steps, hidden):
    p = _Weights(np.float64, 10)
    u, w = p(I, 2 * hidden), p(hidden, 2 * hidden)

    def step(h: Tensor, x: Tensor) -> Any:
        z = x @ u + h @ w
        h = tg.sigmoid(z[:, :hidden]) * tg.tanh(z[:, hidden:])
        return h, h

    assert_same(step, tensors(hidden, B), tensors(I, steps, B), p.all, backend="numpy")


def test_what_stands_before_the_loop_may_be_no_product_or_one_that_is_read_elsewhere():
    p = _Weights(np.float64, 11)
    u, w = p(I, 2 * H), p(H, 2 * H)

    def step(h: Tensor, x: Any) -> Any:
        small, wide = x
        product = small @ u
        z = tg.tanh(wide) + product + h @ w
        h = tg.sigmoid(z[:, :H]) * tg.tanh(z[:, H:])
        return h, h + product[:, :H]

    xs = tensors((I, 2 * H), T, B)
    assert_same(step, tensors(H, B), xs, p.all, backend="numpy")


def test_gradients_can_be_taken_twice_from_one_run():
    layer = tg.nn.LSTM(I, H, dtype=np.float64)
    x = tensors(I, T, B)
    y, _ = layer(x, backend="numpy")
    loss = (y * y).sum()
    wanted = [x, *layer.parameters()]
    first = [g.numpy().copy() for g in tg.grad(loss, wanted)]
    layer(tensors(I, T, B, seed=8), backend="numpy")  # another run in between
    for one, again in zip(first, tg.grad(loss, wanted), strict=True):
        np.testing.assert_array_equal(again.numpy(), one)


def test_inputs_and_weights_are_never_written_over():
    p = _Weights(np.float64, 7)
    w = p(H, 2 * H)
    xs = tensors(2 * H, T, B)  # x_t is the sum's known term, as it is

    def step(h: Tensor, x: Tensor) -> Any:
        z = x + h @ w
        h = tg.sigmoid(z[:, :H]) * tg.tanh(z[:, H:])
        return h, h

    before = [xs.numpy().copy(), w.numpy().copy()]
    assert_same(step, tensors(H, B), xs, p.all, backend="numpy")
    np.testing.assert_array_equal(xs.numpy(), before[0])
    np.testing.assert_array_equal(w.numpy(), before[1])


@pytest.mark.parametrize("threads", ["beside", "alone"])
def test_larger_layers_give_the_same_with_and_without_help(threads, monkeypatch):
    if threads == "beside":
        monkeypatch.setattr(overlap, "WORTH_SHARING", 0)
    else:
        monkeypatch.setattr("tinygrad_lstm.compiler.runner.helpers_now", lambda: 0)
    step, sizes, weights = gated("sigmoid", "sigmoid", "tanh", "sigmoid", width=24)
    assert_same(step, tensors(sizes, 16), tensors(I, 40, 16), weights, backend="numpy")


# -- what is laid out, and how ---------------------------------------------------------------------


def test_an_lstm_has_a_plane_for_each_gate_and_the_sigmoids_are_one_call():
    plan, found = loops_of_lstm()
    graph = found.forward.graph
    (product,) = (i for i in graph.instructions if i.op.name == "matmul")
    assert graph.spec(product.out).shape == (4, B, H)
    sigmoids = [graph.spec(i.out).shape for i in graph.instructions if i.op.name == "sigmoid"]
    assert sigmoids == [(3, B, H)]
    assert found.before.spec(found.before.outputs[0]).shape == (T, 4, B, H)
    assert plan.parts.before.spec(plan.parts.before.outputs[0]).shape == (T, B, 4 * H)


def test_all_gates_of_an_lstm_are_written_over_the_sum_that_was_there():
    _, found = loops_of_lstm()
    (given,) = found.forward.timed
    taken: list[int] = []
    for v in found.forward.stacks:
        if v in found.homes:
            assert found.homes[v].timed == given
            planes = found.homes[v].planes
            taken += [planes] if isinstance(planes, int) else range(planes.start, planes.stop)
    assert sorted(taken) == [0, 1, 2, 3]  # each kept once, none over another


def test_what_is_done_to_a_gate_alone_is_written_over_it_step_by_step():
    step, sizes, _ = gated("sigmoid", "tanh", "exp")
    _, found = loops(step, sizes)
    graph = found.forward.graph
    (given,) = found.forward.timed
    of = {i.out: i.op.name for i in graph.instructions}
    homes = [(found.homes[v].planes, of[v]) for v in found.homes if of[v] not in ("getitem", "add")]
    assert sorted(homes) == [(0, "sigmoid"), (1, "tanh"), (2, "exp")]
    assert {home.timed for home in found.homes.values()} == {given}


def test_gates_with_biases_of_their_own_are_laid_out_as_those_with_one():
    _, found = loops(*case("lstm")[:2])
    sizes = [found.forward.graph.spec(v).shape for v in found.homes]
    assert (4, B, H) in sizes  # the sum, with all biases in it
    sigmoids = [i for i in found.forward.graph.instructions if i.op.name == "sigmoid"]
    assert [found.forward.graph.spec(i.out).shape for i in sigmoids] == [(3, B, H)]


def test_the_loop_back_reads_planes():
    _, found = loops_of_lstm()
    assert found.backward is not None
    shapes = {found.backward.graph.spec(v).shape for v in found.backward.timed}
    assert shapes == {(B, H), (2, B, H)}


@pytest.mark.parametrize(
    ("step", "rows"),
    [
        (gated("sigmoid", "tanh")[0], FEWEST_ROWS - 1),  # slices of few rows are fast
        (lambda h, x: (tg.tanh(h * x.sum(axis=1, keepdims=True)),) * 2, B),  # no product
    ],
    ids=["few rows", "no product"],
)
def test_other_loops_stay_as_they_are(step, rows):
    plan, found = loops(step, H, rows)
    assert not found.homes
    assert found.before is plan.parts.before


def test_a_sum_that_something_else_reads_stays_as_it_is():
    p = _Weights(np.float64, 9)
    u, w = p(I, 2 * H), p(H, 2 * H)

    def step(h: Tensor, x: Tensor) -> Any:
        z = x @ u + h @ w
        return tg.sigmoid(z[:, :H]) * tg.tanh(z[:, H:]), z

    _, found = loops(step, H)
    assert not found.homes
    assert_same(step, tensors(H, B), tensors(I, T, B), p.all, backend="numpy")


def test_without_gradients_the_gates_are_in_planes_too():
    _, found = loops(*case("lstm")[:2], needing=False)
    assert found.homes and found.backward is None
