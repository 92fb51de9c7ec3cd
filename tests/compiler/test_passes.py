"""Each pass of the compiler on a small step: what it makes of it, and that the numbers stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from user_cells import CELLS, H, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Parameter, Tensor
from tinygrad_lstm.compiler.backends import Backend, backend_named
from tinygrad_lstm.compiler.differentiate import differentiate
from tinygrad_lstm.compiler.graph import Graph, Instruction, in_order
from tinygrad_lstm.compiler.merge import merge_products, merge_slices
from tinygrad_lstm.compiler.numpy_source import write
from tinygrad_lstm.compiler.partition import partition
from tinygrad_lstm.compiler.plan import Plan
from tinygrad_lstm.compiler.reassociate import reassociate
from tinygrad_lstm.compiler.runner import Runner
from tinygrad_lstm.compiler.tidy import join_slices, join_sums, split_slices, views_again
from tinygrad_lstm.compiler.trace import graph_of
from tinygrad_lstm.tensor import next_number
from tinygrad_lstm.tree import flatten, unflatten

T, B = 5, 3
NUMPY = backend_named("numpy")
STEPWISE = Backend("stepwise", Runner, over_time=False)  # as a native loop has it


def parameter(seed: int, *shape: int) -> Parameter:
    return Parameter(np.random.default_rng(seed).normal(size=shape))


def traced(
    f: Callable[..., Any], *shapes: tuple[int, ...], integers: tuple[int, ...] = ()
) -> tuple[Graph, list[np.ndarray]]:
    """The graph of f over new inputs of these shapes; arrays for these and what f captures.

    integers: which of the inputs are zeros to index by.
    """
    rng = np.random.default_rng(99)
    values: list[np.ndarray] = [rng.normal(size=shape) for shape in shapes]
    for k in integers:
        values[k] = np.zeros(shapes[k], np.int64)
    inputs = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in values]
    since = next_number()
    outputs = flatten(f(*inputs), Tensor, "outputs")[0]
    graph, captured = graph_of(outputs, inputs, since)
    return graph, [t.data for t in (*inputs, *captured)]


def run(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a graph."""
    values = dict(zip(graph.inputs, arrays, strict=True)) | dict(graph.constants)
    for i in graph.instructions:
        values[i.out] = np.asarray(i.op.forward(*(values[v] for v in i.inputs), **i.attrs))
        assert (values[i.out].shape, values[i.out].dtype) == graph.spec(i.out), i.op
    return [values[v] for v in graph.outputs]


def assert_same_numbers(
    before: Graph, after: Graph, arrays: Sequence[np.ndarray], exactly: bool = False
) -> None:
    for one, other in zip(run(before, arrays), run(after, arrays), strict=True):
        np.testing.assert_allclose(other, one, rtol=0 if exactly else 1e-12, atol=1e-14)


def ops(graph: Graph) -> Counter[str]:
    """How often each op stands in the graph."""
    return Counter(i.op.name for i in graph.instructions)


def the(name: str, graph: Graph) -> Instruction:
    """The only instruction of an op."""
    (found,) = (i for i in graph.instructions if i.op.name == name)
    return found


def varying(graph: Graph, inputs: int) -> set[int]:
    """The values that depend on the first few inputs."""
    return graph.depending_on(graph.inputs[:inputs])


def carried_last(graph: Graph, carries: int = 1) -> Callable[[int], int]:
    """A rank: what depends on the carry is added to what does not."""
    carried = varying(graph, carries)
    return lambda v: int(v in carried)


# -- products that share their left operand -------------------------------------------------------


def test_four_anns_on_one_stacked_parameter_are_one_product_with_its_transpose():
    w = parameter(0, 4 * H, I)
    parts = tg.split(w, 4)

    def textbook(x: Tensor) -> list[Tensor]:
        return [tg.tanh(x @ w[k * H : (k + 1) * H].T) for k in (2, 0, 3, 1)]

    graph, arrays = traced(textbook, (B, I))
    merged = merge_products(graph, varying(graph, 1))
    product = the("matmul", merged)
    transpose = the("transpose", merged)
    assert product.inputs == (merged.inputs[0], transpose.out)
    assert transpose.inputs == (merged.inputs[1],)  # the parameter itself: no copy of it
    assert merged.spec(product.out).shape == (B, 4 * H)
    assert ops(merged) == {"matmul": 1, "transpose": 1, "getitem": 4, "tanh": 4}
    assert_same_numbers(graph, merged, arrays)
    graph, arrays = traced(lambda x: [x @ part.T for part in parts], (B, I))
    merged = merge_products(graph, varying(graph, 1))
    assert ops(merged)["matmul"] == 1  # the slices made outside the step: side by side again
    assert_same_numbers(graph, merged, arrays)


def test_weights_of_their_own_are_put_side_by_side():
    weights = [parameter(k, I, n) for k, n in enumerate((2, 5, 1))]
    graph, arrays = traced(lambda x: [x @ w for w in weights], (B, I))
    merged = merge_products(graph, varying(graph, 1))
    assert ops(merged) == {"concatenate": 1, "matmul": 1, "getitem": 3}
    assert the("concatenate", merged).inputs == graph.inputs[1:]
    assert_same_numbers(graph, merged, arrays)


def test_products_of_different_operands_stay_apart():
    w, v = parameter(0, I, I), parameter(1, I, I)
    for step in (
        lambda x, h: (x @ w, h @ w),
        lambda x, h: (x @ w, w @ x.T),
        lambda x, h: (x @ h.T, x @ w),  # one right operand changes from step to step
        lambda x, h: (x @ w, (x @ w) @ v),
    ):
        graph, arrays = traced(step, (B, I), (B, I))
        merged = merge_products(graph, varying(graph, 2))
        distinct = len({i.inputs for i in graph.instructions if i.op.name == "matmul"})
        assert ops(merged)["matmul"] >= min(distinct, 2)
        assert_same_numbers(graph, merged, arrays)


def test_gaps_and_overlaps_of_a_stacked_parameter_are_no_whole():
    w = parameter(0, 4 * H, I)
    twice = [(0, 8), (8, 16), (0, 8)]
    for cuts in ([(0, 4), (8, 12)], [(0, 8), (4, 16)], [(0, 4), (4, 12)], twice):
        graph, arrays = traced(lambda x, c=cuts: [x @ w[a:b].T for a, b in c], (B, I))
        merged = merge_products(graph, varying(graph, 1))
        assert ops(merged)["matmul"] == 1 and ops(merged)["concatenate"] == 1
        assert_same_numbers(graph, merged, arrays)


def test_slices_turned_around_and_not_are_told_apart():
    w = parameter(0, 2 * H, H)
    for axes in ((0, 1), (1, 0)):
        graph, arrays = traced(
            lambda x, axes=axes: [x @ w[:H].transpose(axes), x @ w[H : 2 * H].transpose(axes)],
            (B, H),
        )
        merged = merge_products(graph, varying(graph, 1))
        assert ops(merged)["matmul"] == 1
        assert ops(merged)["concatenate"] == (axes == (0, 1))
        assert_same_numbers(graph, merged, arrays)


# -- elementwise ops on neighbouring slices -------------------------------------------------------


def test_neighbouring_slices_treated_alike_are_treated_once():
    def step(z: Tensor) -> list[Tensor]:
        i, f, g, o = tg.split(z, 4, axis=1)
        return [tg.sigmoid(i), tg.sigmoid(f), tg.tanh(g), tg.sigmoid(o)]

    graph, arrays = traced(step, (B, 4 * H))
    merged = merge_slices(graph)
    assert ops(merged)["sigmoid"] == 2 and ops(merged)["tanh"] == 1
    widest = max(merged.spec(i.out).shape for i in merged.instructions if i.op.name == "sigmoid")
    assert widest == (B, 2 * H)
    assert_same_numbers(graph, merged, arrays, exactly=True)


def test_what_is_done_to_all_slices_is_done_to_the_whole():
    def step(z: Tensor, y: Tensor) -> list[Tensor]:
        pairs = zip(tg.split(z, 4, axis=1), tg.split(y, 4, axis=1), strict=True)
        return [tg.tanh(a + b) for a, b in pairs]

    graph, arrays = traced(step, (B, 4 * H), (B, 4 * H))
    merged = merge_slices(graph)
    assert ops(merged) == {"add": 1, "tanh": 1, "getitem": 4}
    assert the("add", merged).inputs == merged.inputs
    assert_same_numbers(graph, merged, arrays, exactly=True)


def test_slices_that_do_not_match_are_left():
    def step(z: Tensor, y: Tensor) -> list[Tensor]:
        return [
            tg.tanh(z[:, 0:2]),
            tg.tanh(z[:, 3:5]),  # a gap
            z[:, 0:2] + y[:, 2:4],  # other ranges
            z[:, 2:4] + y[:, 4:6],
            tg.exp(z[:, 0:4:2]),  # with a step
            tg.exp(z[:, 4:8:2]),
            tg.sin(z[0:1]),  # of another axis
            tg.sin(z[1:2]),
            tg.cos(z[np.array([0, 2]), 0:2]),  # not of all rows
            tg.cos(z[np.array([0, 2]), 2:4]),
        ]

    graph, arrays = traced(step, (B, 8), (B, 8))
    merged = merge_slices(graph)
    assert ops(merged) == ops(graph)
    assert_same_numbers(graph, merged, arrays, exactly=True)


# -- sums regrouped -------------------------------------------------------------------------------


def test_what_does_not_depend_on_the_carry_is_added_first():
    u, w, b, b2 = parameter(0, I, H), parameter(1, H, H), parameter(2, H), parameter(3, H)
    graph, arrays = traced(lambda h, x: tg.tanh(x @ u + h @ w + b + b2), (B, H), (B, I))
    carried = varying(graph, 1)
    regrouped = reassociate(graph, carried_last(graph))
    after = varying(regrouped, 1)
    sums = [i for i in regrouped.instructions if i.op.name == "add"]
    assert len(sums) == 3 and sum(i.out in after for i in sums) == 1
    assert sum(i.op.name == "add" and i.out in carried for i in graph.instructions) == 3
    assert_same_numbers(graph, regrouped, arrays)


def test_a_sum_that_somebody_else_reads_stays_a_sum():
    b, c = parameter(0, H), parameter(1, H)

    def step(h: Tensor, x: Tensor) -> list[Tensor]:
        first = h + b
        return [first + x + c, first * 2.0, h + (h + h) + x + c + b]

    graph, arrays = traced(step, (B, H), (B, H))
    regrouped = reassociate(graph, carried_last(graph))
    assert_same_numbers(graph, regrouped, arrays)
    (reader,) = (i for i in regrouped.instructions if i.op.name == "mul")
    assert regrouped.producers()[reader.inputs[0]].inputs == (graph.inputs[0], graph.inputs[2])


def test_a_sum_that_is_needed_anyway_is_not_done_twice():
    b, c = parameter(0, H), parameter(1, H)

    def step(h: Tensor, x: Tensor) -> list[Tensor]:
        first = h + b
        return [first + x + c, first * 2.0]

    for shared in (step, lambda h, x: (h + b, h + b + x + c), lambda h, x: step(h, x)[:1]):
        graph, arrays = traced(shared, (B, H), (B, H))
        regrouped = reassociate(graph, carried_last(graph))
        assert ops(regrouped)["add"] <= ops(graph)["add"]
        assert_same_numbers(graph, regrouped, arrays)


def test_terms_of_one_rank_are_added_together_and_the_lowest_first():
    u, w, b, b2 = parameter(0, I, H), parameter(1, H, H), parameter(2, H), parameter(3, H)
    graph, arrays = traced(lambda h, x: tg.tanh(b + x @ u + b2 + h @ w), (B, H), (B, I))
    products = {i.out for i in graph.instructions if i.op.name == "matmul"}
    for first in (True, False):
        regrouped = reassociate(graph, lambda v, first=first: (v in products) != first)
        made = regrouped.producers()
        total = made[the("tanh", regrouped).inputs[0]]
        kinds = [
            {made[v].op.name if v in made else "" for v in made[part].inputs}
            for part in total.inputs
        ]
        assert kinds == ([{"matmul"}, {""}] if first else [{""}, {"matmul"}])
        assert_same_numbers(graph, regrouped, arrays)


# -- in the loop or not ---------------------------------------------------------------------------


def test_the_product_with_x_is_done_for_all_steps_and_invariants_once():
    u, w, b = parameter(0, I, H), parameter(1, H, H), parameter(2, H)
    graph, _ = traced(lambda h, x: tg.tanh(tg.relu(x) @ u + h @ tg.exp(w) + b * b), (B, H), (B, I))
    graph = reassociate(graph, carried_last(graph))
    parts = partition(graph, 1, 1, T)
    assert ops(parts.before) == {"relu": 1, "matmul": 1, "exp": 1, "mul": 1, "add": 1}
    assert ops(parts.loop) == {"matmul": 1, "add": 1, "tanh": 1}
    assert parts.before.spec(the("matmul", parts.before).out).shape == (T, B, H)
    assert parts.before.spec(the("exp", parts.before).out).shape == (H, H)
    assert len(parts.timed) == 1 and len(parts.invariants) == 1
    assert parts.loop.spec(parts.timed[0]).shape == (B, H)  # one step's, inside the loop


TIMED = {
    "elementwise": lambda x: tg.tanh(x) * 2.0 + x,
    "reductions": lambda x: (x.sum(0), x.mean(1, keepdims=True), x.max(-1), x.var(0)),
    "softmax": lambda x: (tg.softmax(x, 0), tg.log_softmax(x, 1), tg.logsumexp(x, 0)),
    "shapes": lambda x: (x.T, x.reshape(I, B), x[None, 1:, ::-1], x[..., 0], x[-1, 2]),
    "joins": lambda x: (tg.concatenate([x, x * 2.0]), tg.stack([x, x], 1), x.cumsum(0)),
    "products": lambda x: (x @ x.T, x.T @ x),
    "casts": lambda x: x.astype(np.float32),
}
STAYS = {
    "other rows": lambda x: x[np.array([0, 0, 1])],
    "a higher rank": lambda x: x + np.ones((2, B, I)),
    "a batch of weights": lambda x: np.ones((2, I, I)) @ x.T,
    "spread out": lambda x: tg.broadcast_to(x, (2, B, I)),
}


@pytest.mark.parametrize("name", TIMED | STAYS)
def test_an_op_on_x_alone_is_done_for_all_steps_where_it_has_such_a_form(name):
    step = (TIMED | STAYS)[name]

    def whole(h: Tensor, x: Tensor) -> Tensor:
        rng, total = np.random.default_rng(5), h
        for t in flatten(step(x), Tensor, "found")[0]:
            weighted = t.astype(np.float64) * rng.normal(size=t.shape)
            total = total + weighted.sum()
        return total

    graph, arrays = traced(whole, (B, 1), (B, I))
    graph = reassociate(graph, carried_last(graph))
    parts = partition(graph, 1, 1, T)
    assert (ops(parts.loop) == {"add": 1}) == (name in TIMED)
    series = np.random.default_rng(3).normal(size=(T, B, I))
    outputs = run(parts.before, [series, *arrays[2:]])
    for t in range(T):
        one_step = run(graph, [arrays[0], series[t], *arrays[2:]])
        timed = [array[t] for array in outputs[: len(parts.timed)]]
        again = run(parts.loop, [arrays[0], *timed, *outputs[len(parts.timed) :]])
        np.testing.assert_allclose(again[0], one_step[0], rtol=1e-6 if name == "casts" else 1e-12)


def test_step_by_step_only_what_is_no_arithmetic_of_floats_is_done_before_the_loop():
    table, u, w = parameter(0, 9, I), parameter(1, I, H), parameter(2, H, H)
    b, b2 = parameter(3, H), parameter(4, H)

    def step(h: Tensor, word: Tensor) -> Tensor:
        return tg.tanh(tg.take(table, word, 0) @ u + b + h @ w + b2)

    graph, _ = traced(step, (B, H), (B,), integers=(1,))
    parts = partition(graph, 1, 1, T, over_time=False)
    assert ops(parts.before) == {"take": 1}
    plan = Plan(graph, 1, 1, T, [True, False, True, True, True, True, True], STEPWISE)
    assert ops(plan.parts.before) == {"take": 1, "add": 1}  # the biases are one
    assert ops(plan.parts.loop) == {"matmul": 2, "add": 2, "tanh": 1}


# -- backward graphs ------------------------------------------------------------------------------


def test_the_backward_graph_of_a_graph_is_its_transposed_jacobian():
    w = parameter(0, H, H)
    graph, arrays = traced(lambda h, x: (tg.tanh(h @ w) * x, x.sum(0)), (B, H), (B, H))
    derived = differentiate(graph, set(graph.inputs), graph.inputs)
    assert derived.seeded == (0, 1) and derived.reached == (0, 1, 2)
    values = dict(zip(graph.inputs, arrays, strict=True))
    for i in graph.instructions:
        values[i.out] = i.op.forward(*(values[v] for v in i.inputs), **i.attrs)
    rng = np.random.default_rng(1)
    seeds = [rng.normal(size=graph.spec(v).shape) for v in graph.outputs]
    found = run(derived.graph, [*seeds, *(values[v] for v in derived.reads)])
    eps = 1e-6
    for k, (array, gradient) in enumerate(zip(arrays, found, strict=True)):
        direction = rng.normal(size=array.shape)
        ends = []
        for sign in (1, -1):
            moved = [a + sign * eps * direction if j == k else a for j, a in enumerate(arrays)]
            ends.append(sum((s * y).sum() for s, y in zip(seeds, run(graph, moved), strict=True)))
        slope = (ends[0] - ends[1]) / (2 * eps)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-7)


def test_what_nobody_asks_for_is_not_derived():
    graph, _ = traced(lambda h, x: (tg.tanh(h), x * 2.0), (B, H), (B, H))
    h, x = graph.inputs
    derived = differentiate(graph, {h}, [h, x])
    assert derived.seeded == (0,) and derived.reached == (0,)
    assert ops(derived.graph)["mul"] == 2  # tanh's rule, and nothing of the other product
    assert len(derived.reads) == 1


def test_gradients_of_slices_are_joined_and_not_scattered():
    def step(z: Tensor) -> list[Tensor]:
        i, f, g = tg.split(z, 3, axis=1)
        return [tg.sigmoid(i), tg.tanh(f), tg.exp(g)]

    graph, _ = traced(step, (B, 3 * H))
    derived = differentiate(graph, set(graph.inputs), graph.inputs).graph
    joined = join_slices(derived)
    assert ops(derived)["scatter"] == 3
    assert ops(joined)["scatter"] == 0 and ops(joined)["concatenate"] == 1
    assert joined.outputs == (the("concatenate", joined).out,)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=derived.spec(v).shape) for v in derived.inputs]
    assert_same_numbers(derived, joined, arrays)


def test_slices_that_overlap_or_leave_gaps_are_not_joined():
    for cuts in ([(0, 2), (1, 4)], [(0, 2), (3, 4)], [(0, 1), (1, 3)], [(0, 4)] * 2):
        graph, _ = traced(lambda z, c=cuts: [tg.tanh(z[:, a:b]) for a, b in c], (B, H))
        derived = differentiate(graph, set(graph.inputs), graph.inputs).graph
        joined = join_slices(derived)
        assert ops(joined) == ops(derived)
        rng = np.random.default_rng(0)
        arrays = [rng.normal(size=derived.spec(v).shape) for v in derived.inputs]
        assert_same_numbers(derived, joined, arrays)


def test_a_view_is_taken_again_instead_of_kept():
    def step(h: Tensor) -> Tensor:
        z = tg.tanh(h)
        return z[:, :2] * z[:, 2:] * z.T.reshape(H, B).T[:, :2]

    graph, _ = traced(step, (B, H))
    derived = differentiate(graph, set(graph.inputs), graph.inputs)
    again, reads = views_again(derived.graph, derived.reads, graph)
    made = graph.producers()
    z = next(i.out for i in graph.instructions if i.op.name == "tanh")
    assert z in reads and not [v for v in reads if v in made and made[v].op.name == "getitem"]
    assert len(reads) < len(derived.reads)
    assert len(again.inputs) == len(derived.seeded) + len(reads)


def test_bias_gradients_are_one_sum_over_the_concatenation_that_is_there_anyway():
    def step(*parts: Tensor) -> list[Tensor]:
        return [tg.concatenate(parts, axis=1), tg.concatenate([p.sum(0) for p in parts], axis=0)]

    graph, arrays = traced(step, (B, 2), (B, 3), (B, 1))
    joined = join_sums(graph)
    assert ops(joined) == {"concatenate": 1, "sum": 1}
    assert the("sum", joined).inputs == (the("concatenate", joined).out,)
    assert_same_numbers(graph, joined, arrays)
    for odd in (
        lambda a, b, c: tg.concatenate([a.sum(0), b.sum(0), c.sum(1)]),  # one over features
        lambda a, b, c: tg.concatenate([a.sum(0, keepdims=True), b.sum(0, keepdims=True)], axis=1),
        lambda a, b, c: tg.concatenate([a.sum(0), b[0]]),
    ):
        graph, _ = traced(odd, (B, 2), (B, 3), (B, 1))
        assert ops(join_sums(graph)) == ops(graph)


def test_what_only_slices_are_read_of_is_done_on_the_slices():
    b = parameter(0, 3 * H)

    def step(z: Tensor, y: Tensor) -> list[Tensor]:
        i, f, g = tg.split(tg.tanh(z * y + b) * 2.0, 3, axis=1)
        return [i * f, g + 1.0]

    graph, arrays = traced(step, (B, 3 * H), (B, 3 * H))
    split = split_slices(graph)
    assert ops(split) == {"getitem": 9, "mul": 7, "add": 4, "tanh": 3}
    widths = {split.spec(i.out).shape for i in split.instructions}
    assert widths == {(B, H), (H,)}
    assert_same_numbers(graph, split, arrays, exactly=True)


def test_sums_of_products_and_what_is_read_whole_are_not_split():
    w, v = parameter(0, H, 2 * H), parameter(1, H, 2 * H)

    def products(h: Tensor, x: Tensor) -> list[Tensor]:
        return list(tg.split(h @ w + x @ v, 2, axis=1))

    def whole(h: Tensor, x: Tensor) -> list[Tensor]:
        z = tg.tanh(tg.concatenate([h, x], axis=1))
        return [*tg.split(z, 2, axis=1), z.sum(-1)]

    def output(h: Tensor, x: Tensor) -> list[Tensor]:
        z = tg.tanh(tg.concatenate([h, x], axis=1))
        return [z, *tg.split(z, 2, axis=1)]

    for step in (products, whole, output):
        graph, _ = traced(step, (B, H), (B, H))
        assert ops(split_slices(graph)) == ops(graph)


# -- whole plans ----------------------------------------------------------------------------------


def plan_of(name: str, backend: Backend) -> Plan:
    step, carry, _ = case(name)
    leaves, form = flatten(tensors(carry, B), Tensor, "carry")
    shapes = [*(t.shape for t in leaves), (B, I)]
    graph, _ = traced(lambda *t: step(unflatten(form, t[:-1]), t[-1]), *shapes)
    return Plan(graph, len(leaves), 1, T, [True] * len(graph.inputs), backend)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "two_chains"])
def test_over_time_the_loop_holds_only_the_products_with_the_state(name):
    plan, chain = plan_of(name, NUMPY), 3 if name == "two_chains" else 1
    assert ops(plan.parts.before)["matmul"] == 1  # x @ U of all gates and all steps
    assert ops(plan.forward.graph)["matmul"] == chain
    assert ops(plan.backward.graph)["matmul"] == chain  # back to the state; no weight's gradient
    assert ops(plan.backward.graph)["scatter"] == 0


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "two_chains"])
def test_step_by_step_the_loop_holds_all_but_the_sum_of_biases(name):
    plan, chain = plan_of(name, STEPWISE), 3 if name == "two_chains" else 1
    biases = {"lstm": 1, "rnn": 1, "gru": 2, "two_chains": 0}[name]
    found = ops(plan.parts.before)
    assert found["add"] <= biases and not found["matmul"] and not found["tanh"]
    assert plan.parts.timed == plan.parts.before.inputs[:1]  # x as it is
    assert ops(plan.forward.graph)["matmul"] == chain + 1  # x @ U of all gates
    assert ops(plan.backward.graph)["matmul"] == chain + 1  # and back to x
    assert ops(plan.backward.graph)["scatter"] == 0


def test_step_by_step_the_gates_of_an_lstm_are_apart_between_two_products():
    graph = plan_of("lstm", STEPWISE).forward.graph
    assert ops(graph)["sigmoid"] == 3 and ops(graph)["tanh"] == 2
    wide = [i for i in graph.instructions if graph.spec(i.out).shape == (B, 4 * H)]
    assert [i.op.name for i in wide] == ["matmul", "matmul", "add"]  # no bias, no gate
    assert set(wide[2].inputs) == {wide[0].out, wide[1].out}


@pytest.mark.parametrize("backend", [NUMPY, STEPWISE], ids=lambda b: b.name)
@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_a_matrix_is_one_product_after_the_loop(name, backend):
    plan = plan_of(name, backend)
    loop = plan.parts.loop
    matrices = [v for v in plan.products if len(loop.spec(v).shape) == 2]
    assert matrices
    for v in matrices:
        assert len(plan.products[v]) == 1 and not plan.rest[v]
    rows = plan.backward.specs(plan.backward.sums)
    assert all(len(spec.shape) < 2 for spec in rows)  # only vectors are summed step by step


@pytest.mark.parametrize("backend", [NUMPY, STEPWISE], ids=lambda b: b.name)
def test_one_ann_per_gate_is_the_stacked_cell(backend):
    stacked_u, stacked_w = parameter(0, 3 * H, I), parameter(1, 3 * H, H)
    single = [(parameter(k, I, H), parameter(9 + k, H, H)) for k in range(3)]

    def stacked(h: Tensor, x: Tensor) -> Any:
        z = x @ stacked_u.T + h @ stacked_w.T
        r, u, n = tg.split(z, 3, axis=1)
        h = tg.sigmoid(r) * h + tg.sigmoid(u) * tg.tanh(n)
        return h, h

    def textbook(h: Tensor, x: Tensor) -> Any:
        r, u, n = (x @ w_x + h @ w_h for w_x, w_h in single)
        h = tg.sigmoid(r) * h + tg.sigmoid(u) * tg.tanh(n)
        return h, h

    plans = []
    for step in (stacked, textbook):
        graph, _ = traced(step, (B, H), (B, I))
        plans.append(Plan(graph, 1, 1, T, [True] * len(graph.inputs), backend))
    one, other = plans
    for graph, again in (one.forward, other.forward), (one.backward, other.backward):
        found, same = ops(graph.graph), ops(again.graph)
        found["transpose"] = same["transpose"]  # which costs nothing
        assert found == same
    done_before = {"concatenate": 2, "matmul": 1} if backend.over_time else {"concatenate": 2}
    assert ops(other.parts.before) == done_before


def test_a_plan_without_gradients_keeps_only_states_and_outputs():
    step, _, _ = case("lstm")
    graph, _ = traced(lambda h, c, x: step((h, c), x), (B, H), (B, H), (B, I))
    plan = Plan(graph, 2, 1, T, [False] * len(graph.inputs), NUMPY)
    assert not plan.differentiable and len(plan.forward.stacks) == 2
    trained = Plan(graph, 2, 1, T, [True] * len(graph.inputs), NUMPY)
    assert len(trained.forward.stacks) == 7  # h, c, the four gates and tanh c


def test_the_loop_is_a_function_that_can_be_read():
    source, function = write(plan_of("rnn", NUMPY).forward)
    assert source.startswith("def run(T, spans, C, Z, V, S, A):")
    assert "for first, end in spans:" in source
    known = function.__globals__.values()
    assert any(f is np.tanh for f in known) and any(f is np.matmul for f in known)


# -- graphs ---------------------------------------------------------------------------------------


def test_instructions_are_put_after_what_they_read():
    graph, arrays = traced(lambda x: tg.tanh(x * 2.0 + x) * x, (B, H))
    mixed = Graph(
        graph.inputs, graph.outputs, graph.instructions[::-1], graph.specs, graph.constants
    )
    assert_same_numbers(graph, in_order(mixed), arrays, exactly=True)


def test_what_no_output_needs_is_pruned():
    graph, arrays = traced(lambda x: (tg.tanh(x * 2.0), tg.exp(x * 3.0)), (B, H))
    half = Graph(
        graph.inputs, graph.outputs[:1], graph.instructions, graph.specs, graph.constants
    ).pruned()
    assert ops(half) == {"mul": 1, "tanh": 1} and len(half.constants) == 1
    assert_same_numbers(half, half, arrays)


@pytest.mark.parametrize("name", CELLS)
def test_every_pass_leaves_the_numbers_of_a_cell(name):
    step, carry, _ = case(name)
    leaves, form = flatten(tensors(carry, B), Tensor, "carry")
    count = len(leaves)
    shapes = [t.shape for t in leaves]
    graph, arrays = traced(lambda *t: step(unflatten(form, t[:-1]), t[-1]), *shapes, (B, I))
    products = merge_products(graph, varying(graph, count + 1))
    slices = merge_slices(products)
    regrouped = reassociate(slices, carried_last(slices, count))
    for after in (products, slices, regrouped):
        assert_same_numbers(graph, after, arrays)
