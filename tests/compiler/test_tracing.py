"""What a compiled step may not do is an error that says so, and never a wrong number."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import DTypeError, GraphError, ShapeError, Tensor

T, B, H = 4, 3, 2
W = tg.tensor(np.random.default_rng(0).normal(size=(H, H)), requires_grad=True, name="W")
B_VECTOR = tg.tensor(np.ones(H), requires_grad=True, name="b")


def scan(step: Any, carry: Any = None, xs: Any = None, **options: Any) -> Any:
    carry = tg.tensor(np.ones((B, H)), requires_grad=True) if carry is None else carry
    xs = np.ones((T, B, H)) if xs is None else xs
    return tg.scan(step, carry, xs, unroll=False, **options)


def using(look: Callable[[Tensor], object], value: str) -> Callable[..., Any]:
    """A step that looks at the carry, at x_t, or at what is made of them."""

    def step(h: Tensor, x: Tensor) -> Any:
        made = tg.tanh(h @ W).sum().named("score")
        look({"carry": h.sum(), "x_t": x[0, 0], "made": made, "h": h, "x": x}[value])
        return h + made, x

    return step


# -- values that a step has not -------------------------------------------------------------------

SCALAR_LOOKS = {
    "bool": bool,
    "float": float,
    "int": int,
    "item": Tensor.item,
    "format": lambda t: f"{t:.2f}",
    "if": lambda t: 1 if t > 0 else 2,
    "while": lambda t: [None for _ in range(2) if t < 1],
    "equal": lambda t: 1 if t == 0.0 else 2,
    "round": lambda t: round(float(t)),
}
ARRAY_LOOKS = {
    "numpy": lambda t: t.numpy(),
    "data": lambda t: t.data,
    "asarray": np.asarray,
    "tensor": lambda t: tg.tensor(t),
    "isnan": np.isnan,
    "if": lambda t: 1 if t >= 0.0 else 2,
    "any": lambda t: (t > 0.0).any(),
    "all": lambda t: np.all(t > 0.0),
    "numpy's where": lambda t: np.where(t > 0.0),
    "argmax": np.argmax,
    "contains": lambda t: 3.0 in t,
    "index": lambda t: np.arange(9)[t.astype(np.int64)],
    "ufunc": lambda t: np.add(np.ones(1), t, out=np.zeros(t.shape)),
}


@pytest.mark.parametrize("value", ["carry", "x_t", "made"])
@pytest.mark.parametrize("look", SCALAR_LOOKS)
def test_a_number_that_changes_from_step_to_step_has_no_value(look, value):
    with pytest.raises(GraphError, match=r"scan: .* depends on the carry or on x_t.*unroll=True"):
        scan(using(SCALAR_LOOKS[look], value))
    tg.scan(using(SCALAR_LOOKS[look], value), np.ones((B, H)), np.ones((T, B, H)), unroll=True)


@pytest.mark.parametrize("value", ["h", "x"])
@pytest.mark.parametrize("look", ARRAY_LOOKS)
def test_an_array_that_changes_from_step_to_step_has_no_value(look, value):
    with pytest.raises(GraphError, match=r"scan: .* depends on the carry or on x_t"):
        scan(using(ARRAY_LOOKS[look], value))


@pytest.mark.parametrize("find", [lambda n: n.node, lambda n: tg.toposort([n])[0]])
def test_nodes_of_a_step_have_no_values(find):
    def step(h: Tensor, x: Tensor) -> Any:
        new = tg.tanh(h @ W + x).named("new")
        return new * find(new).value.max(), new

    with pytest.raises(GraphError, match=r"depends on the carry or on x_t.*value of its own"):
        scan(step)
    scan(lambda h, x: (h, find(tg.exp(W)).value.max() * x))  # the same at all steps


def test_a_refusal_that_the_step_catches_is_told_all_the_same():
    def step(h: Tensor, x: Tensor) -> Any:
        try:
            size = float(h.sum())
        except GraphError:
            size = 1.0
        return h * size, x

    with pytest.raises(GraphError, match=r"scan: a result of sum \(\) depends on the carry"):
        scan(step)


def test_the_error_names_the_tensor():
    with pytest.raises(GraphError, match=r"scan: score \(\) depends"):
        scan(using(float, "made"))
    with pytest.raises(GraphError, match=r"scan: a result of add \(3, 2\) depends"):
        scan(lambda h, x: (h, (h + x).numpy()))
    with pytest.raises(GraphError, match=r"scan: x_t \(3, 2\) depends"):
        scan(lambda h, x: (h, x.numpy()))
    h = tg.tensor(np.ones((B, H)), name="memory")
    with pytest.raises(GraphError, match=r"scan: memory \(3, 2\) depends"):
        scan(lambda h, x: (h, h.numpy()), h)
    with pytest.raises(GraphError, match=r"scan: leaf 1 of the carry \(3, 2\) depends"):
        scan(lambda c, x: ((c[0], c[1].numpy()), x), (np.ones((B, H)), np.ones((B, H))))


def line_of(mark: str) -> str:
    """`file:line` of the only line of this file that ends in a mark."""
    lines = Path(__file__).read_text().splitlines()
    (k,) = (k for k, line in enumerate(lines) if line.endswith(f"# {mark}"))
    return rf"{re.escape(__file__)}:{k + 1}"


def test_the_error_names_the_line_of_the_step():
    def asks(h: Tensor, x: Tensor) -> Any:
        score = (h * x).sum()
        return (h if score else x), x  # asked for

    def grows(h: Tensor, x: Tensor) -> Any:
        longer = tg.concatenate([h, x])  # longer
        return longer, x

    def pairs(h: Tensor, x: Tensor) -> Any:  # a pair
        return (h, x), x

    for step, kind, mark in (
        (asks, GraphError, "asked for"),
        (grows, ShapeError, "longer"),
        (pairs, ShapeError, "a pair"),
        (lambda h, x: h, TypeError, "no pair"),  # no pair
    ):
        with pytest.raises(kind, match=line_of(mark)):
            scan(step)


def test_a_comparison_was_recorded_at_the_users_line():
    found: list[str] = []

    def step(h: Tensor, x: Tensor) -> Any:
        above = (h > x) & (h > 0.0)  # compared
        found.append(above.node.where)
        return tg.where(above, h, x), x

    scan(step)
    assert all(re.fullmatch(line_of("compared"), where) for where in found)


def test_the_value_of_what_is_captured_may_be_asked_for():
    def step(h: Tensor, x: Tensor) -> Any:
        scale = float(B_VECTOR.sum()) if B_VECTOR[0] > 0.0 else -1.0
        made_here = tg.tensor(np.eye(H)) @ W
        return h * (scale + made_here.numpy()[0, 0]), x

    last, _ = scan(step)
    np.testing.assert_allclose(last.data, (2.0 + W.data[0, 0]) ** T, rtol=1e-13)


def test_a_look_at_a_shape_is_no_look_at_a_value():
    def step(h: Tensor, x: Tensor) -> Any:
        assert (h.shape, x.ndim, len(x), h.dtype, np.shape(h), np.ndim(x), h.size) == (
            (B, H), 2, B, np.float64, (B, H), 2, B * H,
        )  # fmt: skip
        assert repr(h).startswith("tensor(")
        rows = [row * 2.0 for row in x]
        return tg.stack(rows), x

    assert (scan(step)[0].data == 2.0).all()


def set_data(t: Tensor) -> None:
    t.data = np.ones(t.shape)


def set_requires_grad(t: Tensor) -> None:
    t.requires_grad = False


@pytest.mark.parametrize("what", ["h", "x"])
@pytest.mark.parametrize(
    "look",
    [copy.copy, lambda t: pickle.loads(pickle.dumps(t)), set_data, set_requires_grad],
    ids=["copy", "pickle", "data", "requires_grad"],
)
def test_what_stands_for_every_step_is_neither_copied_nor_changed(look, what):
    with pytest.raises(GraphError, match="no copy of it"):
        scan(using(look, what))


def test_copies_of_what_the_step_makes_and_of_what_it_closes_over():
    def step(h: Tensor, x: Tensor) -> Any:
        h.requires_grad = True  # as it is
        h = tg.tanh(copy.copy(h @ W) + copy.copy(B_VECTOR) + x)
        return h, h

    carry = tg.tensor(np.ones((B, H)), requires_grad=True)
    wanted = tg.scan(step, carry, np.ones((T, B, H)), unroll=True)[1].data
    np.testing.assert_allclose(scan(step)[1].data, wanted, rtol=1e-13)


def test_work_without_gradients_inside_the_step():
    def step(h: Tensor, x: Tensor) -> Any:
        with tg.no_grad():
            scale = h.sum()
        return h * scale, x

    with pytest.raises(GraphError, match="nor no_grad"):
        scan(step)

    def harmless(h: Tensor, x: Tensor) -> Any:
        with tg.no_grad():
            scale = W.sum()
        return h * scale, x

    last, _ = scan(harmless)
    np.testing.assert_allclose(last.data, W.data.sum() ** T, rtol=1e-13)


def test_a_gradient_that_is_not_recorded_inside_the_step():
    def step(h: Tensor, x: Tensor) -> Any:
        return h - tg.grad((h * h).sum(), h), x

    with pytest.raises(GraphError, match="nor grad without create_graph"):
        scan(step)

    def other(h: Tensor, x: Tensor) -> Any:
        (h @ W).sum().backward()
        return h, x

    with pytest.raises(GraphError, match="depends on the carry"):
        scan(other)
    assert W.grad is None


# -- a step that is not the same twice ------------------------------------------------------------


def test_numbers_drawn_in_the_step_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(GraphError, match=r"a leaf \(3, 2\), read by mul \(.*test_tracing.py:\d+\)"):
        scan(lambda h, x: (h * tg.tensor(rng.normal(size=(B, H))), x))
    twice = r"called again: mul: .* with 0\.\d+ \(.*test_tracing.py:\d+\); then mul: .* with 0\.\d+"
    with pytest.raises(GraphError, match=twice):
        scan(lambda h, x: (h * float(rng.uniform()), x))


def test_a_step_that_does_something_else_the_second_time_is_refused():
    seen: list[int] = []

    def step(h: Tensor, x: Tensor) -> Any:
        seen.append(1)
        return (h * 2.0 if len(seen) % 2 else tg.tanh(h)), x

    with pytest.raises(GraphError, match=r"called again: mul: .* with 2.0 \(.*\); then tanh: "):
        scan(step)


# -- the carry keeps its form, and other errors ---------------------------------------------------

BAD: dict[str, tuple[Callable[..., Any], type[Exception]]] = {
    "shape": (lambda h, x: (h[:1], x), ShapeError),
    "dtype": (lambda h, x: (h.astype(np.float32), x), ShapeError),
    "structure": (lambda h, x: ((h, h), x), ShapeError),
    "nothing": (lambda h, x: (None, x), ShapeError),
    "no pair": (lambda h, x: h, TypeError),
    "no tensor": (lambda h, x: (h, "y"), TypeError),
    "shapes that do not fit": (lambda h, x: (h @ tg.tensor(np.ones((5, 5))), x), ShapeError),
    "axis": (lambda h, x: (h.sum(5), x), ShapeError),
    "index": (lambda h, x: (h, x[7]), IndexError),
    "row": (lambda h, x: (h, W.take(np.array([9]), 0)), IndexError),
    "index dtype": (lambda h, x: (h, W.take(h, 0)), DTypeError),
    "own": (lambda h, x: 1 / 0, ZeroDivisionError),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_is_of_the_same_kind_compiled_and_unrolled(name):
    step, kind = BAD[name]
    messages: list[str] = []
    for unroll in (True, False):
        with pytest.raises(kind) as caught, tg.scope("model"):
            tg.scan(step, np.ones((B, H)), np.ones((T, B, H)), unroll=unroll)
        assert caught.type is kind
        messages.append(str(caught.value).replace("model/t=0", "model"))
    assert messages[0] == messages[1]


def test_a_carry_that_changes_is_refused_before_anything_runs():
    calls: list[int] = []

    def step(state: Any, x: Tensor) -> Any:
        calls.append(1)
        h, n = state
        return (h, tg.concatenate([n, x[:, :1]], axis=1).named("memory")), x

    with pytest.raises(ShapeError, match=r"leaf 1 of the carry, memory, was \(3, 1\) .* \(3, 2\)"):
        scan(step, (np.ones((B, H)), np.ones((B, 1))))
    assert len(calls) == 1


def test_a_row_that_is_not_there_is_told_at_whatever_step():
    table = tg.tensor(np.ones((5, H)), requires_grad=True)
    words = np.zeros((T, B), np.int64)
    words[2, 1] = 5
    for unroll, place in ((True, "t=2"), (False, "step 2")):
        told = rf"in outer/{place}: .*(index 5|from 0 to 5)"
        with pytest.raises(IndexError, match=told), tg.scope("outer"):
            tg.scan(
                lambda h, i: (h + tg.embedding(i, table), h), np.ones((B, H)), words, unroll=unroll
            )


def test_an_integer_to_a_power_that_becomes_negative_is_told():
    with pytest.raises(ShapeError, match=r"pow in step 2: .*negative power are no integers"):
        tg.scan(lambda k, _: (k - 1, 2**k), np.array([1, 1]), steps=4, backend="numpy")


@pytest.mark.parametrize("unroll", [False, True])
def test_lengths_need_outputs_with_a_batch(unroll):
    for of in (lambda h: h.sum(), lambda h: h[:1], lambda h: h.T):
        for lengths in ([3, 2, 1], [T] * B):
            with pytest.raises(ShapeError, match=r"y_t must be \(3, \.\.\.\); leaf 1 of"):
                tg.scan(
                    lambda h, x, of=of: (h, (x, of(h))), np.ones((B, H)), np.ones((T, B, H)),
                    lengths=lengths, unroll=unroll,
                )  # fmt: skip


def test_results_that_no_gradient_flows_back_from():
    h, x = (tg.tensor(np.ones(s), requires_grad=True) for s in ((B, H), (T, B, H)))

    def step(h: Tensor, x: Tensor) -> Any:
        return h + x, (h.astype(bool), h.astype(int), h.detach(), h)

    def needing(**how: Any) -> list[bool]:
        found: list[bool] = []
        last, ys = tg.scan(step, h, x, **how)
        found += [t.requires_grad for t in (last, *ys)]
        (a, b), y = tg.scan(
            lambda c, x: ((c[0] * 2.0, c[0] + x), c[1]), (h.detach(), h.detach()), x, **how
        )  # a gradient comes to y a step later
        found += [t.requires_grad for t in (a, b, y)]
        y = tg.scan(lambda c, x: (c, x.detach() * h.detach()), (), x, **how)[1]
        with pytest.raises(GraphError, match="does not depend on anything that requires"):
            tg.grad(y.sum(), [x])
        return [*found, y.requires_grad]

    assert needing(backend="numpy") == needing(unroll=True)
    assert needing(unroll=True) == [True, False, False, False, True, False, True, True, False]


def test_weights_changed_before_the_backward_pass_are_told():
    w = tg.Parameter(np.eye(H), name="w")
    last, _ = scan(lambda h, x: (tg.tanh(h @ w), x))
    w.data = np.eye(H) * 2.0
    with pytest.raises(GraphError, match=r"data of w \(2, 2\) changed after it was used in scan"):
        last.sum().backward()


def test_names_go_in_and_come_out_as_in_the_unrolled():
    for unroll in (True, False):
        names: list[str | None] = []

        def step(c: Tensor, x: Any, names: list[str | None] = names) -> Any:
            names += [c.name, *(t.name for t in x)]
            return (c + x[0]).named("c_t"), x[1]

        xs = np.ones((T, B)), tg.tensor(np.ones((T, B)), name="noise")
        c_0 = tg.tensor(np.ones(B), name="c_0")
        last, ys = tg.scan(step, c_0, xs, lengths=[1, 2, 3], unroll=unroll)
        assert last.name == "c_t" and ys.name is None
        assert names[:3] == ["c_0", "x_t", "x_t"]


def test_after_an_error_nothing_is_left_behind():
    with pytest.raises(GraphError):
        scan(using(float, "made"))
    h = tg.tensor(np.ones((B, H)), requires_grad=True)
    assert float((h * 2.0).sum()) == 2.0 * B * H
    with tg.scope("outside"):
        made = h * 2.0
    assert made.node is not None and made.node.scope == ("outside",)


def test_a_result_taken_from_a_node_of_the_step_is_nobodys():
    kept: list[Tensor] = []

    def step(h: Tensor, x: Tensor) -> Any:
        new = tg.tanh(h @ W + x)
        assert new.node is not None and new.node.shape == (B, H) and new.node.dtype == h.dtype
        kept.append(new.node.output())
        return new, x

    scan(step)
    with pytest.raises(GraphError, match="made inside step"):
        kept[0].numpy()
    assert repr(kept[0].node).startswith("Node(tanh")


# -- generators and lists -----------------------------------------------------------------------


def test_a_generator_made_in_the_step_is_an_error():
    with pytest.raises(GraphError, match="dropout in step has another generator or seed"):
        scan(lambda h, x: (tg.dropout(h, 0.5, rng=np.random.default_rng(0)), x))
    for rng in (0, np.random.default_rng(0), None):
        scan(lambda h, x, rng=rng: (tg.dropout(h, 0.5, rng=rng), x))


@pytest.mark.parametrize("unroll", [False, True])
def test_a_list_of_tensors_is_no_tensor(unroll):
    xs = [tg.tensor(np.ones((T, H)), requires_grad=True)] * B  # of each step, it was meant to be
    with pytest.raises(TypeError, match=r"a list of 3 with a tensor in it, .* stack"):
        tg.scan(lambda h, x: (h + x, h), np.ones((B, H)), xs, unroll=unroll)


@pytest.mark.parametrize("unroll", [False, True])
def test_a_cell_is_no_step(unroll):
    cell, state = tg.nn.LSTMCell(H, H, dtype=np.float64), (np.ones((B, H)), np.ones((B, H)))
    with pytest.raises(TypeError, match=r"LSTMCell: x must be a tensor, got a tuple of 2.*state"):
        tg.scan(cell, state, np.ones((T, B, H)), unroll=unroll)
