"""Recorded graphs as LaTeX: read back by an independent reader, and what they look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_reader import Reader
from matplotlib.mathtext import MathTextParser

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, Parameter, Tensor, nn
from tinygrad_lstm.samples import SAMPLES
from viz.latex import Equations, equations

EXACT = 17
LSTM_LINES = [
    r"f_t = \sigma(W_{if} x_t + W_{hf} h_{t-1} + b_f)",
    r"i_t = \sigma(W_{ii} x_t + W_{hi} h_{t-1} + b_i)",
    r"g_t = \tanh(W_{ig} x_t + W_{hg} h_{t-1} + b_g)",
    r"c_t = f_t \odot c_{t-1} + i_t \odot g_t",
    r"o_t = \sigma(W_{io} x_t + W_{ho} h_{t-1} + b_o)",
    r"h_t = o_t \odot \tanh(c_t)",
]


def leaf(value: Any, name: str, requires_grad: bool = True) -> Tensor:
    return tg.tensor(np.asarray(value, float), requires_grad=requires_grad, name=name)


def cell_and_input(batch: int = 4, **options: Any) -> tuple[nn.LSTMCell, Tensor]:
    cell = nn.LSTMCell(2, 3, dtype=np.float64, rng=1, **options)
    return cell, leaf(np.random.default_rng(2).normal(size=(batch, 2)), "x_t", False)


def right_sides(text: Equations) -> list[str]:
    return [right for _, right in text.definitions]


def of(expression: Tensor) -> str:
    """The right side of the only line."""
    (line,) = equations(expression).definitions
    return line.right


# -- what it looks like ---------------------------------------------------------------------------


def test_an_lstm_cell_reads_as_in_the_textbook() -> None:
    cell, x = cell_and_input()
    assert list(equations(list(cell(x)))) == LSTM_LINES


def test_a_single_vector_reads_like_a_batch() -> None:
    cell, x = cell_and_input()
    assert list(equations(list(cell(x[0].detach())))) == LSTM_LINES


def test_a_gru_cell_and_an_rnn_cell_read_as_in_the_textbook() -> None:
    x = leaf(np.ones((4, 2)), "x_t", False)
    assert list(equations(nn.GRUCell(2, 3, dtype=np.float64)(x))) == [
        r"r_t = \sigma(W_{ir} x_t + W_{hr} h_{t-1} + b_r)",
        r"z_t = \sigma(W_{iz} x_t + W_{hz} h_{t-1} + b_z)",
        r"n_t = \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{t-1} + b_{hn}))",
        r"h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}",
    ]
    (line,) = equations(nn.RNNCell(2, 3, dtype=np.float64)(x))
    assert line.startswith(r"h_t = \tanh(") and "h_{t-1}" in line


def test_a_relation_of_relations_has_parentheses() -> None:
    x, h = leaf(1.0, "x"), leaf(0.5, "h")
    assert of((h > 0) != (x > 0)) == r"[(h > 0) \neq (x > 0)]"
    assert of(~(h >= x)) == r"[(h \geq x) = \mathrm{false}]"
    assert of((h > 0) & (x > h)) == r"(h > 0) \cdot (x > h)"


def test_peepholes_and_projections_have_the_names_of_the_pictures() -> None:
    cell, x = cell_and_input(peephole=True)
    assert equations(cell(x)[1]).lines[0] == (
        r"f_t = \sigma(W_{if} x_t + W_{hf} h_{t-1} + b_f + w_{cf} \odot c_{t-1})"
    )
    lstm = nn.LSTM(2, 3, proj_size=2, dtype=np.float64)
    y, _ = lstm(leaf(np.ones((1, 1, 2)), "x", False), unroll=True)
    assert r"h_0 = W_{hr} (o_0 \odot \tanh(c_0))" in list(equations(y))


def test_gradients_of_a_cell_are_the_chain_rule() -> None:
    cell, x = cell_and_input()
    h, _ = cell(x)
    lines = dict(equations(((h - 1.0) ** 2).mean(), gradients=True).definitions)
    assert lines[r"\frac{\partial L}{\partial h_t}"] == r"0.1667 \cdot (h_t - 1)"
    of_c = r"\frac{\partial L}{\partial c_t}"
    assert lines[r"\frac{\partial L}{\partial f_t}"] == of_c + r" \odot c_{t-1}"
    assert lines[r"\frac{\partial L}{\partial i_t}"] == of_c + r" \odot g_t"
    assert lines[of_c] == (
        r"\frac{\partial L}{\partial h_t} \odot o_t \odot (1 - \tanh(c_t) \odot \tanh(c_t))"
    )
    of_forget_weights = lines[r"\frac{\partial L}{\partial W_{if}}"]
    delta, _, rest = of_forget_weights.partition(" ")
    assert rest == r"x_t^\top"
    assert lines[delta] == r"\frac{\partial L}{\partial f_t} \odot f_t \odot (1 - f_t)"
    assert lines[r"\frac{\partial L}{\partial b_f}"] == rf"\sum_{{\mathrm{{axis}}\,0}} {delta}"


def test_a_recorded_gradient_is_written_like_any_other_tensor() -> None:
    x = leaf(np.ones((5, 2)), "x", False)
    w = Parameter(np.ones((3, 2)), name="W")
    loss = (tg.tanh(x @ w.T).named("y") ** 2).sum()
    (gradient,) = tg.grad(loss, [w], create_graph=True)
    assert equations(gradient).lines == (
        r"y = \tanh(W x)",
        r"g = (2 \cdot y \odot (1 - y \odot y)) x^\top",
    )
    assert equations(gradient.named("∂L/∂W")).definitions[-1].left == (
        r"\frac{\partial L}{\partial W}"
    )


def test_a_recorded_gradient_of_a_weight_is_read_like_the_weight() -> None:
    x = leaf(np.ones((5, 2)), "x", False)
    w, v = Parameter(np.ones((3, 2)), name="W"), Parameter(np.ones((3, 4)), name="V")
    loss = tg.exp(x @ w.T @ v).named("y").sum()
    (gradient,) = tg.grad(loss, [v], create_graph=True)
    lines = equations(gradient).lines
    assert lines[0] == "a_1 = W x"
    assert lines[-1] == r"g = a_1 y^\top"  # V is (3, 4), and so is g


def test_gradients_of_gradients_can_be_written() -> None:
    x = leaf(0.5, "x")
    first = tg.grad(tg.sin(x), x, create_graph=True).named("v")
    text = equations(first * x, gradients=[x, first], digits=EXACT)
    reader = Reader({"x": 0.5})
    for line in text:
        reader.define(line)
    expected = np.cos(0.5) - 0.5 * np.sin(0.5)
    assert reader.values[r"\frac{\partial L}{\partial x}"] == pytest.approx(expected, rel=1e-12)
    assert reader.values[r"\frac{\partial L}{\partial v}"] == 0.5


def test_gradients_through_time_add_up_over_the_steps() -> None:
    w = Parameter(np.ones((2, 2)), name="W")
    h = leaf(np.zeros((1, 2)), "h", False)
    for t in range(2):
        with tg.scope(f"t={t}"):
            h = tg.tanh(h @ w.T + 1.0).named("h_t")
    lines = dict(equations(h.sum(), gradients=[w]).definitions)
    assert lines[r"\frac{\partial L}{\partial W}"].count(r"h_0^\top") == 1
    assert lines[r"\frac{\partial L}{\partial W}"].count(r"h^\top") == 1


def test_a_gradient_that_is_another_tensor_is_said_to_be_it() -> None:
    a, b = leaf(2.0, "a"), leaf(3.0, "b")
    s = (a + b).named("s")
    lines = dict(equations(tg.exp(s), gradients=[s, a, b]).definitions)
    assert lines[r"\frac{\partial L}{\partial s}"] == "L"
    assert lines[r"\frac{\partial L}{\partial a}"] == r"\frac{\partial L}{\partial s}"
    assert lines[r"\frac{\partial L}{\partial b}"] == r"\frac{\partial L}{\partial s}"


def test_slices_of_parameters_are_shown_on_request() -> None:
    cell, x = cell_and_input()
    lines = list(equations(list(cell(x)), parameters=True))
    assert lines[-6:] == LSTM_LINES
    assert r"W_{if} = W_{ih}[3{:}6]" in lines
    assert r"b_f = b_{if} + b_{hf}" in lines


def test_steps_of_time_are_told_apart() -> None:
    lstm = nn.LSTM(2, 3, dtype=np.float64, rng=0)
    y, _ = lstm(leaf(np.ones((3, 1, 2)), "x", False), unroll=True)
    lines = list(equations(y))
    assert r"x_2 = x[2]" in lines
    assert r"c_2 = f_2 \odot c_1 + i_2 \odot g_2" in lines
    assert r"f_0 = \sigma(W_{if} x_0 + W_{hf} h_{-1} + b_f)" in lines
    assert r"h_{-1} = \mathrm{h\_0}[0]" in lines  # the argument h_0 is not h_t at t=0
    assert lines[-1] == r"y = \operatorname{stack}_{\mathrm{axis}\,0}(h_0, h_1, h_2)"


def test_layers_and_directions_are_told_apart() -> None:
    lstm = nn.LSTM(2, 3, num_layers=2, bidirectional=True, dtype=np.float64, rng=0)
    y, _ = lstm(leaf(np.ones((2, 2, 2)), "x", False), lengths=[2, 1], unroll=True)
    lines = dict(equations(y).definitions)
    assert lines["c_0^{(1)}"] == (
        r"f_0^{(1)} \odot c_{-1}^{(1)} + i_0^{(1)} \odot g_0^{(1)}"
    )
    assert r"h_1^{(0,\mathrm{reverse})}" in lines
    assert len(lines) == len(equations(y))  # no symbol is defined twice


def test_cells_called_in_a_loop_of_ones_own_are_counted() -> None:
    cell, x = cell_and_input()
    state = cell(x, cell(x))
    assert r"h_t^{(2)} = o_t^{(2)} \odot \tanh(c_t^{(2)})" in list(equations(state[0]))


def test_parentheses_are_as_few_as_precedence_allows() -> None:
    a, b, c = leaf(2.0, "a"), leaf(3.0, "b"), leaf(4.0, "c")
    assert of(a - (b + c)) == "a - (b + c)"
    assert of(a - b + c) == "a - b + c"
    assert of(a + (b - c)) == "a + b - c"
    assert of((a + b) * c) == r"(a + b) \cdot c"
    assert of(a * (b * c)) == r"a \cdot b \cdot c"
    assert of(1.0 - a) == "1 - a"
    assert of(-(a + b)) == "-(a + b)"
    assert of(-a + b) == "-a + b"
    assert of(b + -a) == "b + (-a)"
    assert of(tg.neg(-a)) == "-(-a)"
    assert of((-a) ** 2) == "(-a)^{2}"
    assert of(-(a**2)) == "-a^{2}"
    assert of((a**b) ** c) == "(a^{b})^{c}"
    assert of(a ** (b**c)) == "a^{b^{c}}"
    assert of((a / b) ** 2) == r"\left(\frac{a}{b}\right)^{2}"
    assert of(tg.tanh(a) ** 2) == r"\tanh(a)^{2}"
    assert of(a * -2.0) == r"a \cdot (-2)"
    assert of(tg.exp(a / b)) == r"\exp\left(\frac{a}{b}\right)"


def test_operators_before_their_operand_catch_no_more_than_they_should() -> None:
    x, y = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "y")
    assert of((x * y).sum()) == r"\sum x \odot y"
    assert of(x.sum() * y) == r"(\sum x) \cdot y"
    assert of(y * x.sum() * x) == r"(y \cdot \sum x) \odot x"
    assert of(x.sum() + y) == r"\sum x + y"
    assert of((x + y).sum()) == r"\sum (x + y)"
    assert of(x.logsumexp() * y) == r"(\log \sum \exp(x)) \cdot y"


def test_products_with_weights_are_read_as_columns() -> None:
    x = leaf(np.ones((5, 2)), "x", False)
    w, v = Parameter(np.ones((3, 2)), name="W"), Parameter(np.ones((3, 4)), name="V")
    assert of(x @ w.T) == "W x"
    assert of((x @ w.T) @ v) == r"V^\top W x"
    assert of(x @ w.T @ v @ v.T) == r"V V^\top W x"
    assert equations(x @ w.T).columns
    assert equations(x @ w.T, columns=False).lines == (r"y = x W^\top",)
    assert not equations(x @ leaf(np.ones((2, 2)), "A", False)).columns


def test_products_without_weights_are_in_the_order_recorded() -> None:
    a, b = leaf(np.eye(2), "A", False), leaf(np.eye(2), "B", False)
    v = leaf([1.0, 2.0], "v", False)
    assert of(a @ b) == "A B"
    assert of(a @ b.T) == r"A B^\top"
    assert of((a @ b).T) == r"B^\top A^\top"
    assert of(a @ v) == "A v"
    assert of(v @ v) == r"v^\top v"
    assert of(a @ np.ones((2, 2))) == r"A \mathbf{1}"


def test_attributes_that_templates_leave_out_are_written() -> None:
    x = leaf(np.ones((2, 3, 4)), "x")
    assert of(x.sum(axis=1)) == r"\sum_{\mathrm{axis}\,1} x"
    assert of(x.mean(axis=(0, 2))) == r"\operatorname{mean}_{\mathrm{axes}\,0,2}(x)"
    assert of(x.var(axis=0, ddof=1)) == (
        r"\operatorname{var}_{\mathrm{axis}\,0,\,\mathrm{ddof}\,1}(x)"
    )
    assert of(x.softmax(axis=-1)) == r"\operatorname{softmax}(x)"
    assert of(x.softmax(axis=0)) == r"\operatorname{softmax}_{\mathrm{axis}\,0}(x)"
    assert of(x.logsumexp(axis=1)) == r"\log \sum_{\mathrm{axis}\,1} \exp(x)"
    assert of(x[1, :, ::2]) == "x[1, {:}, {:}{:}2]"
    assert of(x[..., None, 0]) == r"x[\ldots, \mathrm{new}, 0]"
    assert of(x.reshape(6, 4)) == r"\operatorname{reshape}_{6{\times}4}(x)"
    assert of(x.transpose(2, 0, 1)) == r"\operatorname{transpose}_{2,0,1}(x)"
    assert of(x.clip(max=1.0)) == r"\operatorname{clip}(x, -\infty, 1)"
    assert of(tg.einsum("ijk,ljk->il", x, x)) == (
        r"\operatorname{einsum}_{\mathrm{ijk,ljk{\to}il}}(x, x)"
    )
    assert of(x.take(np.array([1, 0]), axis=1)) == "x[{:}, k_1]"
    assert of(tg.maximum(x, 0.0)) == r"\max(x, 0)"
    assert of(tg.abs(x)) == r"\left|x\right|"
    (first,) = tg.grad(x[0].max(), [x], create_graph=True)
    assert r"\delta_1 = [x[0] = \max x[0]]" in equations(first).lines


def test_axes_of_size_one_and_casts_are_not_written() -> None:
    x = leaf(np.ones((2, 3)), "x")
    assert of(tg.tanh(x.unsqueeze(0)).squeeze(0)) == r"\tanh(x)"
    assert of(x.astype(np.float32) + 1.0) == "x + 1"


def test_numbers_are_short_and_do_not_lie() -> None:
    a = leaf(1.0, "a")
    assert of(a + 1 / 3) == "a + 0.3333"
    assert of(a + 1e-8) == "a + 10^{-8}"
    assert of(a * 2.5e-7) == r"a \cdot 2.5 \cdot 10^{-7}"
    assert of(a + 0.99999) == "a + 0.99999"  # never rounded to a whole number
    assert of(a + 123456.0) == "a + 123456"
    assert equations(a + 1 / 3, digits=2).lines == ("y = a + 0.33",)


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("W_hf", "W_{hf}"),
        ("h_{t-1}", "h_{t-1}"),
        ("x1", "x_1"),
        ("σ_t", r"\sigma_t"),
        ("beta", r"\beta"),
        (r"\hat{y}", r"\hat{y}"),
        ("x'", "x'"),
        ("loss", r"\mathrm{loss}"),
        ("weight_ih", r"\mathrm{weight\_ih}"),
        ("a b", r"\mathrm{a\ b}"),
        ("∂L/∂f_t", r"\frac{\partial L}{\partial f_t}"),
        ("}$", r"\mathrm{\}\$}"),
        (r"\input{x}", r"\mathrm{\backslash{}input\{x\}}"),
        ("h_i_j", r"\mathrm{h\_i\_j}"),
        ("x^", r"\mathrm{x{\wedge}}"),
        ("1%", r"\mathrm{1{\%}}"),
        ("ö", r"\mathrm{\text{ö}}"),
        ("a\nb", r"\mathrm{a\ b}"),
    ],
)
def test_names_become_symbols_or_upright_letters(name: str, latex: str) -> None:
    assert of(leaf(1.0, name) + 1.0) == f"{latex} + 1"


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=12))
def test_any_name_is_valid_math(name: str) -> None:
    right = of(tg.tanh(leaf(1.0, name)) ** 2)
    MathTextParser("path").parse("$" + right.replace(r"\&", "&") + "$")
    for escaped in (r"\$", r"\{", r"\}"):
        right = right.replace(escaped, "")
    assert "$" not in right and right.count("{") == right.count("}")


def test_two_tensors_of_one_name_have_two_symbols() -> None:
    one, other = leaf(1.0, "a"), leaf(2.0, "a")
    assert of(one - other) == "a^{(1)} - a^{(2)}"
    assert of((leaf(1.0, "a^2") + leaf(2.0, "a^2")) ** 2) == (
        "({a^2}^{(1)} + {a^2}^{(2)})^{2}"
    )


def test_made_up_symbols_avoid_the_names_that_are_there() -> None:
    a_1, y = leaf(1.5, "a_1"), leaf(2.0, "y")
    shared = a_1 * y
    lines = equations(shared * tg.exp(shared)).lines
    assert lines == (r"a_2 = a_1 \cdot y", r"y^{(2)} = a_2 \cdot \exp(a_2)")


def test_leaves_without_a_name_are_numbers_or_symbols() -> None:
    constant = tg.tensor(np.full((2, 2), 0.5))
    array = tg.tensor(np.arange(4.0).reshape(2, 2))
    weight = Parameter(np.ones((2, 2)))
    assert of(array * constant + weight) == r"X_1 \cdot 0.5 + \theta_1"


# -- size -----------------------------------------------------------------------------------------


def test_a_chain_of_diamonds_stays_as_long_as_it_is() -> None:
    x = leaf(1e-9, "x")
    y = x
    for _ in range(200):
        y = y * y + y
    text = equations(y)
    assert len(text) == 200
    assert max(map(len, text)) < 60


def test_one_op_on_a_symbol_needs_no_name_of_its_own() -> None:
    x = leaf(0.5, "x")
    t = tg.tanh(x)
    assert of(t * (1.0 - t)) == r"\tanh(x) \cdot (1 - \tanh(x))"


def test_long_expressions_are_broken_into_lines() -> None:
    terms = [leaf(1.0, f"x_{k}") for k in range(30)]
    total = terms[0]
    for term in terms[1:]:
        total = total + tg.tanh(term)
    text = equations(total, width=40)
    assert 2 < len(text) < 15
    reader = Reader({f"x_{k}" if k < 10 else f"x_{{{k}}}": 1.0 for k in range(30)})
    value = [reader.define(line) for line in text][-1]
    assert value == pytest.approx(total.item())


def test_a_chain_of_12_000_ops_needs_no_stack() -> None:
    x = leaf(1.0, "x")
    y = x
    for _ in range(12_000):
        y = y + 1.0
    text = equations(y)
    assert text.lines[-1].startswith("y = ")
    assert max(map(len, text)) < 400


def test_gradients_of_a_deep_chain_need_no_stack() -> None:
    y = x = leaf(0.5, "x")
    for _ in range(2_000):
        y = tg.sin(y)
    lines = equations(y, gradients=[x]).lines
    assert lines[-1].startswith(r"\frac{\partial L}{\partial x} = ")


# -- read back ------------------------------------------------------------------------------------

UNARY = [tg.tanh, tg.sigmoid, tg.sin, tg.cos, tg.softplus, tg.abs, tg.relu, lambda a: -a,
         lambda a: tg.exp(a * 0.25), lambda a: tg.log(a * a + 1.0), lambda a: tg.sqrt(a * a + 0.5),
         lambda a: a**2, lambda a: (a * a + 0.5) ** -0.5, lambda a: 1.0 - a,
         lambda a: a.clip(-0.5, 0.5)]  # fmt: skip
BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, tg.maximum, tg.minimum,
          lambda a, b: a / (b * b + 0.7), lambda a, b: (a * a + 0.3) ** (b / (b * b + 1.0)),
          lambda a, b: tg.where(a.numpy() > b.numpy(), a, -b)]  # fmt: skip


@st.composite
def programs(draw: Any, unary: int, binary: int) -> list[tuple[int, int, int]]:
    """Steps of a straight-line program: (op, first operand, second operand)."""
    step = st.tuples(st.integers(0, unary + binary - 1), st.integers(0, 99), st.integers(0, 99))
    return draw(st.lists(step, min_size=1, max_size=9))


def run(program: list[tuple[int, int, int]], leaves: list[Tensor], named: bool) -> Tensor:
    """Run a program; every third result has a name if wished."""
    values = list(leaves)
    for k, (op, i, j) in enumerate(program):
        a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
        new = UNARY[op](a) if op < len(UNARY) else BINARY[op - len(UNARY)](a, b)
        if named and k % 3 == 2:
            new = new.named(f"v_{k}")
        values.append(new)
    return values[-1]


SCALAR_PROGRAMS = programs(len(UNARY), len(BINARY))


@settings(max_examples=120, deadline=None)
@given(SCALAR_PROGRAMS, st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.booleans())
def test_what_is_written_has_the_value_that_was_recorded(
    program: list[tuple[int, int, int]], values: list[float], named: bool
) -> None:
    leaves = [leaf(v, name) for v, name in zip(values, "xyz", strict=True)]
    result = run(program, leaves, named)
    reader = Reader({str(t.name): t.data for t in leaves})
    read = [reader.define(line) for line in equations(result, digits=EXACT)][-1]
    np.testing.assert_allclose(read, result.data, rtol=1e-9, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(SCALAR_PROGRAMS, st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_gradients_that_are_written_have_the_value_of_the_gradient(
    program: list[tuple[int, int, int]], values: list[float]
) -> None:
    leaves = [leaf(v, name) for v, name in zip(values, "xyz", strict=True)]
    result = run(program, leaves, named=True)
    found = tg.grad(result, leaves, allow_unused=True)
    used = [(t, g) for t, g in zip(leaves, found, strict=True) if g is not None]
    text = equations(result, gradients=[t for t, _ in used], digits=EXACT)
    reader = Reader({str(t.name): t.data for t in leaves})
    for line in text:
        reader.define(line)
    symbol = "L" if result.name is None else result.name
    for t, g in used:
        read = reader.values[rf"\frac{{\partial {symbol}}}{{\partial {t.name}}}"]
        np.testing.assert_allclose(read, g.data, rtol=1e-8, atol=1e-10)


MATRIX = [
    lambda a, b: a @ b, lambda a, b: a @ b.T, lambda a, b: a.T @ b, lambda a, b: (a @ b).T,
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a * b.sum(),
    lambda a, b: (a - b) * a.sum(axis=0, keepdims=True), lambda a, b: -(a @ b), lambda a, b: -a @ b,
    lambda a, b: a @ (b + a), lambda a, b: a.T, lambda a, b: tg.tanh(a) @ b,
    lambda a, b: a * (a * b).sum() * b, lambda a, b: a * (a + b).logsumexp(), lambda a, b: a / 3.0,
    lambda a, b: (a @ a[0]).sum() * b, lambda a, b: a @ (b * b.max()), lambda a, b: a.max() * b,
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(programs(0, len(MATRIX)), st.integers(0, 10**6))
def test_products_as_recorded_have_the_value_that_was_recorded(
    program: list[tuple[int, int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = [leaf(rng.uniform(-0.5, 0.5, (3, 3)), name, False) for name in "ABC"]
    reader = Reader({str(t.name): t.data for t in values})
    for op, i, j in program[:6]:
        values.append(MATRIX[op](values[-1 - i % len(values)], values[-1 - j % len(values)]))
    result = values[-1]
    if result.node is None:
        return
    text = equations(result, digits=EXACT, columns=False)
    assert not text.columns
    read = [reader.define(line) for line in text][-1]
    np.testing.assert_allclose(read, result.data, rtol=1e-9, atol=1e-12)


def test_a_cell_and_its_gradients_read_as_columns_have_the_recorded_values() -> None:
    cell, x = cell_and_input(bias=True)
    rng = np.random.default_rng(4)
    before = [leaf(rng.normal(size=(4, 3)), f"{name}_{{t-1}}", False) for name in "hc"]
    h, c = cell(x, (before[0], before[1]))
    loss = ((h * c - 0.3) ** 2).mean().named("L")
    text = equations(loss, gradients=True, digits=EXACT)
    assert text.columns
    nodes = {node.name: node.value for node in tg.toposort([h, c]) if node.name}
    known = {name: v for name, v in nodes.items() if name[0] in "Wb"}
    known = {name: v[:, None] if v.ndim == 1 else v for name, v in known.items()}
    reader = Reader(known | {str(t.name): t.data.T for t in (x, *before)}, columns=True)
    for line in text:
        reader.define(line)
    assert reader.values["L"] == pytest.approx(loss.item(), abs=1e-12)
    for name in ("f_t", "c_t", "h_t"):
        np.testing.assert_allclose(reader.values[name], nodes[name].T, atol=1e-12)
    of_slices = {
        node.name: tg.grad(loss, node.output()).data
        for node in tg.toposort([loss])
        if node.name and (node.name[0] == "W" or node.name in ("b_i", "b_f", "b_g", "b_o"))
    }
    assert len(of_slices) == 12
    for name, expected in of_slices.items():
        read = reader.values[rf"\frac{{\partial L}}{{\partial {name}}}"]
        shaped = expected[:, None] if expected.ndim == 1 else expected
        np.testing.assert_allclose(read, shaped, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 10**6))
def test_layers_read_as_columns_have_the_recorded_values(kinds: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = leaf(rng.normal(size=(5, 3)), "x", False)
    reader = Reader({"x": x.data.T}, columns=True)
    value = x @ Parameter(np.eye(3), name="I").T
    reader.values["I"] = np.eye(3)
    for k, kind in enumerate(kinds):
        w = Parameter(rng.normal(size=(3, 3)), name=f"W_{k}")
        b = Parameter(rng.normal(size=3), name=f"b_{k}")
        reader.values |= {f"W_{k}": w.data, f"b_{k}": b.data[:, None]}
        value = [
            lambda v, w, b: tg.tanh(v @ w.T + b),
            lambda v, w, b: v @ w - v * b,
            lambda v, w, b: v * (v @ (w @ w).T),
            lambda v, w, b: -v @ (w + w.T),
            lambda v, w, b: (w @ v.T).T + v.sum(axis=0),
        ][kind](value, w, b)
    read = [reader.define(line) for line in equations(value, digits=EXACT)][-1]
    np.testing.assert_allclose(read, value.data.T, rtol=1e-9, atol=1e-9)


def test_every_op_of_the_table_can_be_written_and_typeset() -> None:
    parser = MathTextParser("path")
    written: set[str] = set()
    for sample in SAMPLES:
        tensors = [t.named(f"x_{k}") for k, t in enumerate(sample.tensors())]
        result = sample.f(*tensors)
        written |= {node.op.name for node in tg.toposort([result])}
        lines = equations(result).lines
        parser.parse("$" + lines[-1].replace(r"\le ", r"\leq ") + "$")
    assert written == set(tg.OPS)


# -- the object, files, errors --------------------------------------------------------------------


def test_the_text_is_lines_latex_and_a_notebook_display() -> None:
    a, b = leaf(1.0, "a"), leaf(2.0, "b")
    text = equations([(a + b).named("s"), (a * b).named("p")])
    assert str(text) == "s = a + b\np = a \\cdot b"
    assert len(text) == 2 and list(text) == list(text.lines)
    assert text.latex == (
        "\\begin{aligned}\ns &= a + b \\\\\np &= a \\cdot b\n\\end{aligned}"
    )
    assert text.latex in text._repr_latex_()


def test_equations_are_saved_as_a_picture_or_a_document(tmp_path: Any) -> None:
    a = leaf(2.0, "a")
    text = equations([(a / 3.0).named("b"), tg.tanh(a).sum()])
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "tex": b"\\documentclass"}
    for suffix, start in starts.items():
        first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
        text.save(first)
        text.save(second)
        assert first.read_bytes().startswith(start)
        assert first.read_bytes() == second.read_bytes()
    with pytest.raises(ValueError, match=r"path: .*\.svg.*'x\.gif'"):
        text.save("x.gif")


def test_layers_of_one_kind_are_told_apart_in_a_loss() -> None:
    x = leaf(np.random.default_rng(0).normal(size=(4, 3)), "x", False)
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3))
    model.double()
    loss = nn.cross_entropy(model(x), np.array([0, 2, 1, 0]), label_smoothing=0.1)
    text = equations(loss, gradients=list(model.parameters()))
    lefts = [left for left, _ in text.definitions]
    assert len(set(lefts)) == len(lefts)
    weights = [left for left in lefts if r"\partial \mathrm{weight}^{(" in left]
    assert len(weights) == 3


def test_other_arguments_are_refused_by_name() -> None:
    a = leaf([1.0, 2.0], "a")
    b = a * 2.0
    with pytest.raises(TypeError, match=r"tensors: expected a Tensor .* got 3"):
        equations(3)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="no op was recorded for a:"):
        equations(a)
    with pytest.raises(GraphError, match="no op was recorded for nothing"):
        equations([])
    with pytest.raises(GraphError, match="not a scalar"):
        equations(b, gradients=True)
    with pytest.raises(ValueError, match="one scalar, got 2 tensors"):
        equations([b, b], gradients=True)
    with pytest.raises(GraphError, match="not part of the graph"):
        equations(b.sum(), gradients=[leaf(1.0, "other")])
    with pytest.raises(TypeError, match="gradients: expected a Tensor"):
        equations(b.sum(), gradients=["a"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="digits: must be at least 1, got 0"):
        equations(b, digits=0)
    with pytest.raises(TypeError, match="width: expected an integer"):
        equations(b, width=40.0)  # type: ignore[arg-type]


def test_writing_a_graph_changes_nothing_in_it() -> None:
    cell, x = cell_and_input()
    loss = cell(x)[0].sum()
    before = [(node, node.name) for node in tg.toposort([loss])]
    with tg.no_grad(), tg.scope("elsewhere"):
        first = equations(loss, gradients=True)
    assert [(node, node.name) for node in tg.toposort([loss])] == before
    assert loss.name is None and cell.weight_ih.grad is None
    assert first == equations(loss, gradients=True)
