"""Where a step has no native form, the warning names the op, the carry or the result at fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same
from graphs import traced

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler.backends import NotNative

pytest.importorskip("llvmlite")

from tinygrad_lstm.compiler.native.layout import Layout
from tinygrad_lstm.compiler.program import Program

T, B, H = 4, 5, 3
X = np.random.default_rng(0).normal(size=(T, B, H))
V = tg.tensor(np.random.default_rng(1).normal(size=(H, H)), requires_grad=True)
W = tg.tensor(np.random.default_rng(2).normal(size=(7, H)), requires_grad=True)
SHORT = tg.tensor(np.ones((B, H), np.float32))


def carry(dtype: Any = np.float64, name: str = "h") -> Tensor:
    return tg.tensor(np.ones((B, H), dtype), name=name, requires_grad=True)


MIXED: dict[str, tuple[Callable[[Any, Tensor], Any], Any, str]] = {
    "an op": (
        lambda h, x: (h + x, h.astype(np.float32) * 2.0),
        carry(),
        "astype: a value of float32 in a step of float64",
    ),
    "a named value": (
        lambda h, x: (h + x, h.astype(np.float32).named("g") * 3.0),
        carry(),
        "astype: the value 'g' of float32 in a step of float64",
    ),
    "a carry": (
        lambda s, x: ((s[0] + x, s[1] * 0.5), None),
        (carry(), carry(np.float32, "c")),
        "the carry 'c' of float32 in a step of float64",
    ),
    "a result": (
        lambda h, x: (h + x, SHORT),
        carry(),
        "a result of float32 in a step of float64",
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_where_two_dtypes_meet_is_told(name):
    step, start, told = MIXED[name]
    with pytest.warns(RuntimeWarning, match="no form for this step") as caught:
        tg.scan(step, start, X, backend="numba")
    assert told in str(caught[0].message)


def test_the_op_that_reads_other_rows_is_told():
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return tg.tanh(h @ V + x), W @ h.T

    with pytest.warns(RuntimeWarning, match=r"\(\w+: a value of 7 rows beside 5\)"):
        tg.scan(step, carry(), X, backend="numba")


def test_carries_of_other_rows_are_told():
    graph, _ = traced(lambda h, c: (h * 2.0, c * 2.0), (B, H), (H, B))
    graph = replace(graph, names={graph.inputs[1]: "c"})
    program = Program(graph, graph.inputs, graph.outputs, (), ())
    with pytest.raises(NotNative, match="the carry 'c' of 3 rows beside 5"):
        Layout(program, B, 64)


@pytest.mark.parametrize("number", [1.0, 1, 0.5, np.int64(3), True])
def test_a_number_beside_the_results_keeps_a_step_native(assert_same, number):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Any]:
        h = tg.tanh(h @ V + x)
        return h, (h, number)

    assert_same(step, carry(), X, [V])


@pytest.mark.filterwarnings("ignore:scan. the numba backend has no form for this step")
def test_a_number_that_a_shorter_dtype_does_not_have_stays_itself():
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Any]:
        return tg.tanh(h + x), np.float64(0.1)

    assert_same(step, carry(np.float32), X.astype(np.float32), backend="numba")
