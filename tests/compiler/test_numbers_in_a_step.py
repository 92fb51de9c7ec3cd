"""Numbers that need no gradient, wherever a step gets them from: what they are counts on the way
back as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same, may_fall_back

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor

T, B, H = 3, 3, 2
_rng = np.random.default_rng(0)
FROZEN = tg.tensor(_rng.normal(size=4))
NUMBER, NAMED = tg.tensor(np.float64(0.6)), tg.tensor(np.float64(0.6), name="rate")
COUNT = tg.tensor(np.int64(3))
SUMMED = FROZEN.sum()  # computed before the step

GIVEN: dict[str, Callable[[Tensor], Any]] = {
    "Python's": lambda x: 0.6,
    "an integer": lambda x: 3,
    "NumPy's": lambda x: np.float64(0.6),
    "NumPy's shorter": lambda x: np.float32(0.6),
    "NumPy's integer": lambda x: np.int64(3),
    "a tensor": lambda x: NUMBER,
    "a named tensor": lambda x: NAMED,
    "a tensor of an integer": lambda x: COUNT,
    "computed": lambda x: FROZEN.sum(),
    "computed before": lambda x: SUMMED,
    "looked up": lambda x: FROZEN[1],
    "the largest": lambda x: FROZEN.max(),
    "a step's": lambda x: x,
    "computed from a step's": lambda x: tg.sin(x) * 2.0,
}
OPS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "add": lambda h, s: h + s,
    "sub": lambda h, s: s - h,
    "mul": lambda h, s: h * s,
    "div": lambda h, s: h / s,
    "div by": lambda h, s: s / (h * h + 1.0),
    "pow": lambda h, s: (h * h + 1.0) ** s,
    "power of": lambda h, s: (s * s + 1.0) ** h,
    "maximum": lambda h, s: tg.maximum(h, s),
    "minimum": lambda h, s: tg.minimum(s, h),
    "where": lambda h, s: tg.where(np.arange(B)[:, None] > 0, h * h, s),
    "scaled sum": lambda h, s: (h * s).sum(-1),
}


def carry() -> Tensor:
    return tg.tensor(np.random.default_rng(1).normal(size=(B, H)), requires_grad=True)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", GIVEN)
def test_a_number(backend, name, requires_grad):
    series = tg.tensor(np.array([0.7, -1.2, 0.4]), requires_grad=requires_grad)
    number = GIVEN[name]

    for op in OPS.values():

        def step(h: Tensor, x: Tensor, op: Any = op) -> tuple[Tensor, Tensor]:
            return tg.tanh(h * number(x)), op(h, number(x))

        assert_same(step, carry(), series, backend=backend)


@may_fall_back
@pytest.mark.parametrize("series", [np.array([2, 1, 3]), np.array([True, False, True])])
def test_a_series_of_integers_or_of_truths(backend, series):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        powers = (h * h + 1.0) ** x
        return tg.tanh(h * x + 0.5), powers / (x + 1)

    assert_same(step, carry(), series, backend=backend)


def test_a_series_of_truths_chooses(assert_same):
    assert_same(
        lambda h, x: (tg.where(x, h * h, tg.sin(h)), h), carry(), np.array([True, False, True])
    )


@may_fall_back
def test_a_series_of_indices_looks_up(backend):
    table = tg.tensor(np.random.default_rng(2).normal(size=(4, H)), requires_grad=True)

    def step(h: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return tg.tanh(h * table.take(k, 0)), h.take(k, 1)

    assert_same(step, carry(), np.array([1, 0, 1]), [table], backend=backend)


def test_gradients_of_gradients_see_the_number(backend):
    h0 = carry()

    def slope(**how: Any) -> np.ndarray:
        last, _ = tg.scan(lambda h, x: (h * h * x, None), h0, np.array([2.0, 3.0]), **how)
        (first,) = tg.grad(last.sum(), [h0], create_graph=True)
        return tg.grad((first * first).sum(), h0).data

    np.testing.assert_allclose(slope(backend=backend), slope(unroll=True), rtol=1e-12)


def test_recorded_gradients_see_the_number(backend):
    found: dict[str, np.ndarray] = {}
    ways: list[dict[str, Any]] = [{"backend": backend}, {"unroll": True}]
    for how in ways:
        seen = tg.Recording("s", grads=True)
        last, _ = tg.scan(
            lambda h, x: ((h * NAMED).named("s") * x, None),
            carry(), np.array([2.0, 3.0]), record=seen, **how,
        )  # fmt: skip
        last.sum().backward()
        found[str(how)] = seen.grad["s"]
    one, other = found.values()
    np.testing.assert_allclose(one, other, rtol=1e-12)
