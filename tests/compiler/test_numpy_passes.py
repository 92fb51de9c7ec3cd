"""How the NumPy backend runs a loop: products regrouped, blocks of steps, memory used again."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same
from graphs import NUMPY, B, T, ops, parameter, plan_of, run, traced
from user_cells import CELLS, H, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler import memory
from tinygrad_lstm.compiler.ahead import ahead_of, block_length
from tinygrad_lstm.compiler.graph import Graph, Instruction, Spec
from tinygrad_lstm.compiler.into import IN_PLACE, into
from tinygrad_lstm.compiler.once import run_once
from tinygrad_lstm.compiler.program import Program
from tinygrad_lstm.compiler.recent import Recent
from tinygrad_lstm.compiler.regroup import known_first
from tinygrad_lstm.compiler.reuse import Slots, last_uses, roots_of, slots_of
from tinygrad_lstm.ops import OPS

F8 = np.dtype(np.float64)


def looped(graph: Graph) -> Program:
    """A loop whose first input is carried and whose first output is the new carry; x is timed."""
    carry, x, *rest = graph.inputs
    return Program(graph, (carry,), graph.outputs[:1], (x,), tuple(rest), graph.outputs[1:])


def names_of(instructions: Sequence[Instruction]) -> list[str]:
    return [i.op.name for i in instructions]


# -- known factors first --------------------------------------------------------------------------


def test_of_a_product_one_factor_is_left_for_the_loop():
    graph, arrays = traced(lambda h, x: (h * x * tg.exp(x) * tg.tanh(x), x), (B, H), (B, H))
    program = looped(graph)
    after = known_first(program)
    assert sorted(names_of(ahead_of(program))) == ["exp", "tanh"]
    assert sorted(names_of(ahead_of(after))) == ["exp", "mul", "mul", "tanh"]
    for one, other in zip(run(graph, arrays), run(after.graph, arrays), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-14)


def test_a_product_that_is_read_twice_is_left_alone():
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        part = h * x
        return part * tg.exp(x), part

    graph, _ = traced(step, (B, H), (B, H))
    assert known_first(looped(graph)).graph.instructions == graph.instructions


def test_a_concatenation_is_multiplied_part_by_part_where_that_leaves_less_to_do():
    def step(h: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        both = tg.concatenate([h * x, h * tg.exp(x)], axis=1) * y
        return h * 2.0, tg.concatenate([both, h], axis=1)

    graph, arrays = traced(step, (B, H), (B, H), (B, 2 * H))
    program = looped(graph)
    after = known_first(Program(**{**vars(program), "timed": graph.inputs[1:], "invariants": ()}))
    assert ops(after.graph)["concatenate"] == 1  # h y x, h y exp x and h are joined at once
    in_blocks = {i.out for i in ahead_of(after)}
    left = [i for i in after.graph.instructions if i.out not in in_blocks]
    assert names_of(left).count("mul") == 3  # the new carry, and one for each half
    for one, other in zip(run(graph, arrays), run(after.graph, arrays), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-14)


def test_the_way_back_through_an_lstm_has_one_product_for_each_gate():
    program = known_first(plan_of("lstm", NUMPY).backward)
    in_blocks = {i.out for i in ahead_of(program)}
    left = [i for i in program.graph.instructions if i.out not in in_blocks]
    found = names_of(left)
    # dh into c and the output gate; dc into f, i, g and the c before
    assert found.count("mul") == 6 and found.count("add") == 2 and "sub" not in found


@pytest.mark.parametrize("name", CELLS)
def test_regrouped_programs_of_a_cell_give_the_same_numbers(name):
    plan = plan_of(name, NUMPY)
    for program in (plan.forward, plan.backward):
        rng = np.random.default_rng(5)
        inputs = [*program.carried, *program.timed, *program.invariants]
        given = {v: rng.random(program.graph.spec(v).shape) for v in inputs}
        with np.errstate(all="ignore"):  # random numbers in place of saved ones
            lists = [
                run(outputs_of(p), [given[v].astype(p.graph.spec(v).dtype) for v in p.graph.inputs])
                for p in (program, known_first(program))
            ]
        for one, other in zip(*lists, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-14)


def outputs_of(program: Program) -> Graph:
    """The program's graph, with all that leaves a step as its outputs."""
    pairs = [v for pair in program.products for v in pair]
    wanted = (*program.carry_out, *program.stacks, *program.sums, *pairs)
    graph = program.graph
    return Graph(graph.inputs, wanted, graph.instructions, graph.specs, graph.constants)


# -- blocks of steps ------------------------------------------------------------------------------


def test_a_block_takes_what_no_carry_reaches_and_has_a_form_for_several_steps():
    w = parameter(0, H)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        known = tg.exp(x) * w  # both go
        index = x[:, [0, 2]]  # an index by an array has no such form
        return h * known + 1.0, index.sum(-1)

    graph, _ = traced(step, (B, H), (B, H))
    assert names_of(ahead_of(looped(graph))) == ["exp", "mul"]


def test_what_is_to_be_carried_is_left_to_the_loop():
    graph, _ = traced(lambda h, x: (tg.exp(x), h * x), (B, H), (B, H))
    assert ahead_of(looped(graph)) == []


def test_a_block_is_as_long_as_its_results_are_small():
    def length(*shape: int) -> int:
        return block_length(Slots([Spec(shape, F8)], {}))

    assert length(32, 128) < length(4, 16) < length(1)
    assert length(10000, 10000) == 1


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("longest", [1, 2, 3])
def test_blocks_that_do_not_divide_the_steps_give_the_same_numbers(name, longest, monkeypatch):
    monkeypatch.setattr("tinygrad_lstm.compiler.numpy_source.block_length", lambda slots: longest)
    monkeypatch.setattr("tinygrad_lstm.compiler.plans._plans", Recent())
    step, carry, weights = case(name, seed=longest)
    x = tg.tensor(np.random.default_rng(0).normal(size=(7, B, I)), requires_grad=True)
    assert_same(step, tensors(carry, B), x, weights, backend="numpy", lengths=[7, 3, 5])


def test_far_out_a_sigmoid_is_0_and_1_without_a_warning():
    x = tg.tensor([[-1e4], [-80.0], [0.0], [80.0], [1e4]])
    for dtype in (np.float32, np.float64):
        _, ys = tg.scan(lambda h, x: (h, tg.sigmoid(x + h)), Tensor(np.zeros(1, dtype)),
                        x.astype(dtype), backend="numpy")  # fmt: skip
        assert isinstance(ys, Tensor)
        expected = [0.0, np.exp(-80.0), 0.5, 1.0, 1.0]
        np.testing.assert_allclose(ys.data[:, 0], expected, rtol=1e-6)


# -- memory used again ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_nothing_is_written_over_before_it_was_read(name):
    plan = plan_of(name, NUMPY)
    for program in (plan.forward, plan.backward):
        graph = program.graph
        kept, elsewhere = set(program.sums), {*program.stacks, *program.carry_out}
        slots = slots_of(graph, graph.instructions, kept, elsewhere)
        roots, holds = roots_of(graph.instructions), dict[int, int]()
        for i in graph.instructions:
            for v in i.inputs:
                root = roots.get(v, v)
                assert root not in slots.of or holds[slots.of[root]] == root
            if i.out in slots.of:
                assert slots.specs[slots.of[i.out]] == graph.spec(i.out)
                holds[slots.of[i.out]] = i.out
        assert all(holds[slots.of[v]] == v for v in kept if v in slots.of)


def test_a_chain_of_elementwise_ops_stands_in_one_slot():
    graph, _ = traced(lambda x: tg.tanh(tg.exp(x) * 2.0) + 1.0, (B, H))
    slots = slots_of(graph, graph.instructions, set(graph.outputs), set())
    assert len(slots.specs) == 1 and len(slots.of) == 4


def test_a_product_is_not_written_over_its_factor():
    w = parameter(0, H, H)
    graph, _ = traced(lambda x: tg.exp(x) @ w, (B, H))
    slots = slots_of(graph, graph.instructions, set(graph.outputs), set())
    assert len(slots.specs) == 2


def test_a_view_keeps_what_it_looks_at():
    graph, _ = traced(lambda x: (tg.exp(x)[:, 1:], tg.tanh(x)), (B, H))
    last = last_uses(graph.instructions, set(graph.outputs))
    (made,) = (i.out for i in graph.instructions if i.op.name == "exp")
    assert last[made] == len(graph.instructions)


def test_large_results_of_a_graph_run_once_stand_in_kept_memory_and_over_each_other(monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", 0)
    made: list[Any] = []
    make = memory.maker
    monkeypatch.setattr(memory, "maker", lambda *spec: made.append(spec) or make(*spec))
    w = parameter(0, I, H)
    graph, arrays = traced(lambda x: tg.tanh(x @ w + 1.0), (T, B, I))
    (found,) = run_once(graph, [graph.outputs])(arrays)
    assert len(made) == 1  # one array for the product, the sum and its tanh
    np.testing.assert_allclose(found[0], np.tanh(arrays[0] @ w.data + 1.0), rtol=1e-14)


def test_a_graph_run_once_leaves_its_inputs_and_what_is_asked_for(monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", 0)
    graph, arrays = traced(lambda x: (tg.exp(x), tg.exp(x) * 2.0 + 1.0, x * 2.0), (T, B, H))
    before = [a.copy() for a in arrays]
    (found,) = run_once(graph, [graph.outputs])(arrays)
    for one, other in zip(run(graph, before), found, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(arrays[0], before[0])


def test_stacked_transposed_matrices_are_laid_out_row_by_row():
    def f(a: Tensor, b: Tensor) -> Tensor:
        return tg.stack([a.T, b.T])

    graph, arrays = traced(f, (5, 3), (5, 3))
    (found,) = run_once(graph, [graph.outputs])(arrays)
    np.testing.assert_array_equal(found[0], run(graph, arrays)[0])
    assert found[0].flags.c_contiguous
    assert not np.stack([a.T for a in arrays]).flags.c_contiguous  # or nothing is tested here


_OF_TWO = {"add", "sub", "mul", "div", "maximum", "minimum", "dropout"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(IN_PLACE - _OF_TWO))
def test_columns_are_written_into_columns(name: str, dtype: Any):
    """Parts of rows, one number wide: NumPy's negative reads others then, in some releases."""
    for rows in (1, 2, 3, 8, 17):
        wide = np.linspace(0.1, 0.9, rows * 8).reshape(rows, 8).astype(dtype)
        out = np.zeros((rows, 6), dtype)
        spec = Spec((rows, 1), np.dtype(dtype))
        graph = Graph((0,), (1,), (Instruction(OPS[name], (0,), {}, 1),), (spec, spec))
        function = into(graph.instructions[0], graph)
        assert function is not None
        function(wide[:, 3:4], out[:, 1:2])
        expected = OPS[name].forward(np.ascontiguousarray(wide[:, 3:4]))
        np.testing.assert_allclose(out[:, 1:2], expected, rtol=1e-6)


def test_a_cell_of_one_unit_is_differentiated_by_columns():
    w = tg.tensor(np.full((1, 3), 0.5), requires_grad=True)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        z = tg.concatenate([h, 1.0 - x, 1.0 - h * 2.0, x, 1.0 - h], axis=1) * 0.5
        h = tg.tanh((z[:, 2:] * w).sum(1, keepdims=True) - z[:, :1] * z[:, 4:])
        return h, h

    for rows in (2, 3, 9):
        assert_same(step, tensors(1, rows), tensors(1, 4, rows), [w], backend="numpy")


def test_idle_memory_is_used_again_until_it_is_released():
    memory.release()
    tracemalloc.start()
    try:
        spec = (1 << 16,), np.dtype(np.float64)
        array = memory.array(*spec)
        address, alive = array.ctypes.data, tracemalloc.get_traced_memory()[0]
        assert alive >= array.nbytes
        del array
        assert tracemalloc.get_traced_memory()[0] > alive // 2
        array = memory.array(*spec)
        assert array.ctypes.data == address
        memory.release()  # of this one nothing
        array.fill(1.0)
        del array
        memory.release()
        assert tracemalloc.get_traced_memory()[0] < alive // 2
    finally:
        tracemalloc.stop()
