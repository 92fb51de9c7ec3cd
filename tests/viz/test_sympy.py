"""Recorded computations as SymPy expressions: their values, and SymPy's own derivatives."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, Parameter, ShapeError, Tensor, nn
from tinygrad_lstm.samples import SAMPLES
from tinygrad_lstm.tensor import Op, record
from viz.sympy_export import to_sympy

DIGITS = 50


def leaf(value: Any, name: str) -> Tensor:
    return tg.tensor(np.asarray(value, float), requires_grad=True, name=name)


def symbol(name: str) -> Any:
    return sympy.Symbol(name, real=True)


def exact(leaves: list[Tensor]) -> dict[Any, Any]:
    """The recorded values of the leaves' symbols, as exact fractions."""
    return {
        symbol("_".join([str(t.name), *map(str, index)])): sympy.Rational(float(t.data[index]))
        for t in leaves
        for index in np.ndindex(t.shape)
    }


def value(expression: Any, leaves: list[Tensor]) -> float:
    """An expression at the leaves' values, in 50 digits."""
    return float(expression.subs(exact(leaves)).doit().evalf(DIGITS))


X, Y = symbol("x"), symbol("y")


# -- exact expressions ----------------------------------------------------------------------------


def test_named_scalars_become_real_symbols() -> None:
    x, y = leaf(2.0, "x"), leaf(3.0, "y")
    assert to_sympy(x * y + tg.tanh(x) ** 2) == X * Y + sympy.tanh(X) ** 2
    assert to_sympy(tg.sigmoid(x) - tg.softplus(-y)) == (
        1 / (1 + sympy.exp(-X)) - sympy.log(1 + sympy.exp(-Y))
    )
    assert to_sympy(tg.sqrt(x) / tg.exp(y) - tg.log(x)) == (
        sympy.sqrt(X) * sympy.exp(-Y) - sympy.log(X)
    )
    assert to_sympy(x) == X


def test_numbers_become_the_simplest_fraction_that_fits() -> None:
    x = leaf(2.0, "x")
    assert to_sympy(x * 0.1 + 1 / 3) == X / 10 + sympy.Rational(1, 3)
    single = tg.tensor(2.0, name="x", requires_grad=True)
    assert single.dtype == np.float32
    assert to_sympy(single * 0.1) == X / 10
    assert to_sympy(x * np.pi) == X * sympy.Rational(float(np.pi))  # no fraction is near enough
    assert to_sympy(x + np.inf) == sympy.oo


def test_kinks_are_written_with_max_min_and_piecewise() -> None:
    x, y = leaf(2.0, "x"), leaf(3.0, "y")
    assert to_sympy(tg.relu(x) + tg.maximum(x, y)) == sympy.Max(X, 0) + sympy.Max(X, Y)
    assert to_sympy(x.clip(-1.0, 0.5)) == sympy.Min(sympy.Max(X, -1), sympy.Rational(1, 2))
    assert to_sympy(x.clip(max=1.0)) == sympy.Min(X, 1)
    assert to_sympy(tg.abs(x)) == sympy.Abs(X)
    assert to_sympy(tg.where(np.array(True), x, y)) == X


def test_elements_of_arrays_have_symbols_of_their_own() -> None:
    w = leaf([[1.0, 2.0], [3.0, 4.0]], "W")
    v = leaf([5.0, 6.0], "v")
    w00, w01, w10, w11 = (symbol(f"W_{i}_{j}") for i in (0, 1) for j in (0, 1))
    v0, v1 = symbol("v_0"), symbol("v_1")
    assert to_sympy((w @ v)[1]) == w10 * v0 + w11 * v1
    assert to_sympy((w * w.T)[0, 1]) == w01 * w10
    assert to_sympy(w.mean()) == sympy.expand((w00 + w01 + w10 + w11) / 4)
    assert to_sympy(v.logsumexp()) == sympy.log(sympy.exp(v0) + sympy.exp(v1))


def test_leaves_without_a_name_are_numbers_or_counted_symbols() -> None:
    x = leaf(2.0, "x0")
    unnamed = Parameter(np.array(1.5))
    fixed = tg.tensor(np.array(0.75))
    assert to_sympy(x * unnamed + fixed) == symbol("x0") * symbol("x1") + sympy.Rational(3, 4)


def test_the_gradient_of_an_lstm_cell_is_the_one_sympy_finds() -> None:
    cell = nn.LSTMCell(1, 1, dtype=np.float64, rng=3)
    x = leaf([[0.3]], "x_t")
    state = leaf([[0.2]], "h_{t-1}"), leaf([[-0.4]], "c_{t-1}")
    h, _ = cell(x, state)
    leaves = [*cell.parameters(), x, *state]
    expression = to_sympy(h)
    assert value(expression, leaves) == pytest.approx(h.item(), rel=1e-14)
    gradients = tg.grad(h.sum(), leaves)
    for t, g in zip(leaves, gradients, strict=True):
        first = symbol(f"{t.name}_" + "_".join("0" * t.ndim))
        derivative = expression.diff(first)
        assert value(derivative, leaves) == pytest.approx(g.data.reshape(-1)[0], rel=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: tg.tanh(x * y) / (1.0 + y * y),
        lambda x, y: tg.sigmoid(x - y) * tg.sin(x),
        lambda x, y: x**3 * y**-2 + tg.exp(x / y),
        lambda x, y: tg.softplus(x) - tg.log(y * y + 1.0),
        lambda x, y: tg.stack([x, y, x * y]).softmax()[1],
        lambda x, y: tg.stack([x, y, x * y]).var(),
    ],
)
def test_the_recorded_gradient_simplifies_to_sympys_derivative(f: Any) -> None:
    x, y = leaf(0.7, "x"), leaf(1.3, "y")
    result = f(x, y)
    recorded = tg.grad(result, [x, y], create_graph=True)
    for t, g in zip((X, Y), recorded, strict=True):
        assert sympy.simplify(to_sympy(g) - to_sympy(result).diff(t)) == 0


# -- every op, random expressions -----------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_op_has_an_exact_expression_and_the_right_derivative(sample: Any) -> None:
    leaves = [t.named("xyzuvw"[k]) for k, t in enumerate(sample.tensors())]
    result = sample.f(*leaves)
    if result.dtype.kind == "b":
        result = tg.where(result.numpy(), 1.0, 0.0)
    weighted = (result * np.cos(np.arange(result.size)).reshape(result.shape)).sum()
    expression = to_sympy(weighted)
    assert value(expression, leaves) == pytest.approx(weighted.item(), rel=1e-12, abs=1e-12)
    if sample.differentiable:
        for t, g in zip(leaves, tg.grad(weighted, leaves), strict=True):
            index = next(np.ndindex(t.shape))
            name = "_".join([str(t.name), *map(str, index)])
            derivative = expression.diff(symbol(name))
            expected = pytest.approx(float(g.data[index]), rel=1e-11, abs=1e-11)
            assert value(derivative, leaves) == expected


def test_the_samples_reach_every_op_with_an_expression() -> None:
    assert {sample.op for sample in SAMPLES} == set(tg.OPS)


UNARY = [tg.tanh, tg.sigmoid, tg.sin, tg.cos, tg.softplus, lambda a: -a, lambda a: a * a,
         lambda a: tg.exp(a * 0.25), lambda a: tg.log(a * a + 1.0), lambda a: 1.0 - a,
         lambda a: tg.sqrt(a * a + 0.5), lambda a: (a * a + 0.5) ** -1.5]  # fmt: skip
BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b,
          lambda a, b: a / (b * b + 0.7)]  # fmt: skip
STEP = st.tuples(
    st.integers(0, len(UNARY) + len(BINARY) - 1), st.integers(0, 99), st.integers(0, 99)
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(STEP, min_size=1, max_size=6),
    st.lists(st.floats(-2, 2), min_size=2, max_size=2),
)
def test_values_and_derivatives_of_random_expressions_agree(
    program: list[tuple[int, int, int]], points: list[float]
) -> None:
    leaves = [leaf(p, name) for p, name in zip(points, "xy", strict=True)]
    values = list(leaves)
    for op, i, j in program:
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        values.append(UNARY[op](a) if op < len(UNARY) else BINARY[op - len(UNARY)](a, b))
    result = values[-1]
    expression = to_sympy(result)
    assert value(expression, leaves) == pytest.approx(result.item(), rel=1e-11, abs=1e-12)
    found = tg.grad(result, leaves, allow_unused=True)
    for t, g in zip(leaves, found, strict=True):
        derivative = value(expression.diff(symbol(str(t.name))), leaves)
        expected = 0.0 if g is None else g.item()
        assert derivative == pytest.approx(expected, rel=1e-9, abs=1e-10)


# -- depth and errors -----------------------------------------------------------------------------


def test_a_deep_chain_needs_no_recursion() -> None:
    y = leaf(0.5, "x")
    for _ in range(1_200):
        y = tg.tanh(y) * 0.5
    expression = to_sympy(y, evaluate=False)
    for _ in range(1_200):
        half, inner = sorted(expression.args, key=lambda a: not a.is_Rational)
        assert half == sympy.Rational(1, 2) and inner.func is sympy.tanh
        expression = inner.args[0]
    assert expression == X


def test_truth_values_are_combined_chosen_by_and_counted() -> None:
    x, y = leaf(0.5, "x"), leaf(-0.25, "y")
    positive, above = x > 0, y > x
    one = sympy.Piecewise((1, X > 0), (0, True))
    assert to_sympy(positive & above) == sympy.And(X > 0, Y > X)
    assert to_sympy(positive | above) == sympy.Or(X > 0, Y > X)
    assert to_sympy(~positive) == (X <= 0)
    assert to_sympy(positive ^ above) == sympy.Xor(X > 0, Y > X)
    assert to_sympy(positive == above) == sympy.Equivalent(X > 0, Y > X)
    assert to_sympy(positive > above) == sympy.And(X > 0, Y <= X)
    assert to_sympy(positive * x) == one * X and to_sympy(positive + 1) == one + 1
    assert to_sympy(tg.where(positive & above, x, y)) == sympy.Piecewise(
        (X, sympy.And(X > 0, Y > X)), (Y, True)
    )
    both = tg.stack([positive, above])
    assert to_sympy(both.sum()) == one + sympy.Piecewise((1, Y > X), (0, True))
    assert to_sympy(both.max()) == sympy.Or(X > 0, Y > X)
    assert to_sympy(both.min()) == sympy.And(X > 0, Y > X)
    leaves = [x, y]
    assert value(to_sympy((both.mean() + positive) * x), leaves) == pytest.approx(0.75)


def test_where_sympy_recurses_too_deeply_it_gets_the_unevaluated_form() -> None:
    y = leaf(0.5, "x")
    for _ in range(400):
        y = tg.sin(y)
    assert to_sympy(y).func is sympy.sin
    for _ in range(350):
        y = tg.relu(tg.sin(y))
    with pytest.raises(GraphError, match="nested too deeply for SymPy"):
        to_sympy(y, evaluate=False)


def test_what_has_no_expression_is_refused_by_name() -> None:
    x = leaf([1.0, 2.0], "x")
    with pytest.raises(ShapeError, match=r"needs one element, x has shape \(2,\)"):
        to_sympy(x)
    with pytest.raises(TypeError, match="tensor: expected a Tensor, got float"):
        to_sympy(2.0)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"two leaves would share the symbol 'x'"):
        to_sympy(leaf(1.0, "x") + leaf(2.0, "x"))
    with pytest.raises(ShapeError, match="at most 4096 are written out"):
        to_sympy(leaf(np.ones(5000), "x").sum())
    foreign = Op("gamma", "Γ", r"\Gamma({0})", np.copy, elementwise=True)
    with tg.scope("layer"), pytest.raises(GraphError, match="no expression for gamma in layer"):
        to_sympy(record(foreign, (x[0],)))


def test_without_sympy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(ImportError, match=r"pip install tinygrad_lstm\[dev\]"):
        to_sympy(leaf(1.0, "x") + 1.0)
