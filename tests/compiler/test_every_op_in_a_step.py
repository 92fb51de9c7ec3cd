"""Every op inside a step, on operands of every kind: compiled as unrolled.

An operand is a carry, an input, something computed from them, or captured; a number, a row, a
column or a matrix. The result is an output of the step, or flows into its carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same, may_fall_back

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor

T, B, H = 2, 3, 4

OF_ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": tg.exp,
    "tanh": tg.tanh,
    "sigmoid": tg.sigmoid,
    "sin": tg.sin,
    "cos": tg.cos,
    "abs": tg.abs,
    "relu": tg.relu,
    "softplus": tg.softplus,
    "neg": lambda a: -a,
    "sqrt": lambda a: tg.sqrt(a * a + 0.1),
    "log": lambda a: tg.log(a * a + 0.1),
    "clip": lambda a: tg.clip(a, -0.2, 0.3),
    "sum": lambda a: a.sum(-1, keepdims=True),
    "sum away": lambda a: a.sum(-1),
    "sum of the batch": lambda a: a.sum(0),
    "sum of all": lambda a: a.sum(),
    "mean": lambda a: a.mean(-1, keepdims=True),
    "max": lambda a: a.max(-1),
    "min": lambda a: a.min(-1, keepdims=True),
    "var": lambda a: a.var(-1),
    "logsumexp": lambda a: tg.logsumexp(a, -1),
    "softmax": lambda a: tg.softmax(a, -1),
    "log_softmax": lambda a: tg.log_softmax(a, -1),
    "cumsum": lambda a: tg.cumsum(a, -1),
    "transpose": lambda a: a.T,
    "reshape": lambda a: a.reshape(a.shape[0], 1, -1),
    "unsqueeze": lambda a: a.unsqueeze(-1),
    "squeeze": lambda a: a[:, :1].squeeze(1),
    "broadcast_to": lambda a: a.unsqueeze(-1).broadcast_to((*a.shape, 3)),
    "getitem": lambda a: a[:, ::2],
    "getitem of one": lambda a: a[:, 0],
    "getitem by indices": lambda a: a[:, [0, 0]],
    "take": lambda a: tg.take(a, np.array([0, 0]), axis=1),
    "concatenate": lambda a: tg.concatenate([a, a * 2.0], -1),
    "stack": lambda a: tg.stack([a, tg.sin(a)], 1),
    "einsum": lambda a: tg.einsum("bi,bj->bij", a, a),
    "detach": lambda a: a.detach(),
    "nothing": lambda a: a,
}
OF_TWO: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (b * b + 1.0),
    "pow": lambda a, b: (a * a + 0.5) ** b,
    "maximum": tg.maximum,
    "minimum": tg.minimum,
    "where": lambda a, b: tg.where(np.arange(B)[:, None] > 0, a, b),
    "dot": lambda a, b: (a * b).sum(-1, keepdims=True),
    "difference of softmax": lambda a, b: tg.softmax(a - b, -1),
}


def operands() -> dict[str, Tensor]:
    """What a step captures, h and x of all steps."""
    rng = np.random.default_rng(0)
    shapes = {
        "h": (B, H),
        "x": (T, B, H),
        "number": (),
        "row": (H,),
        "matrix": (B, H),
        "one row": (1, H),
        "column": (B, 1),
    }
    return {
        name: tg.tensor(rng.normal(size=shape) * 0.5, requires_grad=True)
        for name, shape in shapes.items()
    }


def inside(given: dict[str, Tensor], h: Tensor, x: Tensor) -> dict[str, Any]:
    """All operands in a step."""
    changing = {"h": h, "x": x, "computed": tg.tanh(h * x), "slice": h[:, :1], "turned": h[:, ::-1]}
    return {**given, **changing, "literal": 0.7}


def check(of: Callable[[dict[str, Any]], Tensor], flows_on: bool, backend: str) -> None:
    given = operands()

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        result = of(inside(given, h, x))
        if not flows_on:
            return tg.tanh(h + x), result
        if result.shape[:1] == (B,):
            return tg.tanh(h + x * tg.sin(result.reshape(B, -1)).sum(-1, keepdims=True)), x
        return tg.tanh(h + x * tg.sin(result).sum()), x

    assert_same(step, given["h"], given["x"], [*given.values()], backend=backend)
    with tg.no_grad():  # another plan
        assert_same(step, given["h"], given["x"], backend=backend)


def some_and_others(some: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Operands: those of every run, and those that wait for a run of slow tests."""
    slow = pytest.param(others, id="others", marks=pytest.mark.slow)
    return [pytest.param(some, id="some"), slow]


@may_fall_back
@pytest.mark.parametrize("flows_on", [False, True])
@pytest.mark.parametrize(
    "names", some_and_others(("h", "slice", "matrix"), ("x", "computed", "turned"))
)
@pytest.mark.parametrize("name", OF_ONE)
def test_an_op_of_one(backend, name, names, flows_on):
    for operand in names:
        check(lambda all_, k=operand: OF_ONE[name](all_[k]), flows_on, backend)


CAPTURED = ("number", "row", "matrix", "one row", "column")
PAIRS = [
    *((a, b) for a, b in product(CAPTURED, CAPTURED) if (a, b) != ("number", "number")),
    *(pair for a, b in product(("h", "computed"), CAPTURED) for pair in ((a, b), (b, a))),
    *(("slice", b) for b in (*CAPTURED, "literal", "h", "turned", "slice")),
    *(("literal", "matrix"), ("row", "literal"), ("literal", "x"), ("x", "literal")),
]


@may_fall_back
@pytest.mark.parametrize("pairs", some_and_others(PAIRS[::3], [*PAIRS[1::3], *PAIRS[2::3]]))
@pytest.mark.parametrize("name", OF_TWO)
def test_an_op_of_two(backend, name, pairs):
    for a, b in pairs:
        check(lambda all_, a=a, b=b: OF_TWO[name](all_[a], all_[b]), False, backend)
