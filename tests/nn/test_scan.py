"""scan: what goes in and out, ends and directions, names recorded, what is refused; both ways.

What only a compiled scan does is tested in tests/compiler.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lstm as tg
from tinygrad_lstm import DTypeError, ShapeError, Tensor
from tinygrad_lstm.tree import flatten, unflatten

T, B, H = 4, 3, 2

unrolled: Any = partial(tg.scan, unroll=True)


@pytest.fixture(params=[False, True], ids=["compiled", "unrolled"])
def scan(request: pytest.FixtureRequest) -> Any:
    """scan, one way and the other."""
    return partial(tg.scan, unroll=request.param)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def leaf(seed: int, *shape: int) -> Tensor:
    return tg.tensor(normal(seed, *shape), requires_grad=True)


def running_sum(total: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    total = total + x
    return total, total


def zeros(*shape: int) -> Tensor:
    return tg.tensor(np.zeros(shape))


# -- a loop ---------------------------------------------------------------------------------------


def test_a_scan_of_additions_is_a_cumulative_sum(scan):
    x = leaf(0, T, B)
    total, sums = scan(running_sum, zeros(B), x)
    np.testing.assert_allclose(sums.data, np.cumsum(x.data, 0), rtol=1e-14)
    np.testing.assert_allclose(total.data, x.data.sum(0), rtol=1e-14)
    weights = normal(1, T, B)
    expected = np.cumsum(weights[::-1], 0)[::-1]  # each x is in every later sum
    np.testing.assert_allclose(tg.grad(sums, x, weights).data, expected, rtol=1e-14)


def test_the_last_carry_is_a_geometric_series_with_known_derivatives(scan):
    a, s = leaf(0), tg.tensor(np.array(2.0), requires_grad=True)
    last, _ = scan(lambda s, _: (a * s, None), s, steps=5)
    np.testing.assert_allclose(last.data, a.data**5 * 2.0)
    slopes = [g.item() for g in tg.grad(last, [a, s])]
    assert slopes == pytest.approx([10.0 * a.item() ** 4, a.item() ** 5])
    slope = tg.grad(scan(lambda s, _: (a * s, None), s, steps=5)[0], a, create_graph=True)
    assert tg.grad(slope, a).item() == pytest.approx(40.0 * a.item() ** 3)


def test_the_step_is_called_once_per_time_in_order():
    seen: list[float] = []

    def step(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(x.item())
        return carry, x

    unrolled(step, zeros(1), tg.tensor([1.0, 2.0, 3.0]))
    unrolled(step, zeros(1), tg.tensor([1.0, 2.0, 3.0]), reverse=True)
    assert seen == [1.0, 2.0, 3.0, 3.0, 2.0, 1.0]


def test_in_reverse_the_outputs_still_stand_at_their_time(scan):
    x = normal(0, T, B)
    total, sums = scan(running_sum, zeros(B), tg.tensor(x), reverse=True)
    np.testing.assert_allclose(sums.data, np.cumsum(x[::-1], 0)[::-1], rtol=1e-14)
    np.testing.assert_array_equal(total.data, sums.data[0])


def test_what_the_step_closes_over_gets_the_gradient_of_every_step(scan):
    w, x = leaf(0, H, H), normal(1, T, B, H)
    _, ys = scan(lambda c, x_t: (c, x_t @ w), None, tg.tensor(x))
    g = tg.grad(ys, w, np.ones(ys.shape))
    np.testing.assert_allclose(g.data, np.tile(x.sum((0, 1))[:, None], H), rtol=1e-13)


def test_a_scan_in_a_scan_holds_to_second_order(scan):
    def outer(c: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        inner, _ = scan(lambda s, x: (tg.tanh(s + x), None), c, row)
        return inner, inner * c

    assert tg.gradcheck(lambda c, x: scan(outer, c, x), [normal(0), normal(1, 2, 3)])


# -- nests ----------------------------------------------------------------------------------------


class Memory(NamedTuple):
    h: Any
    rest: Any


def test_carries_inputs_and_outputs_may_be_nested(scan):
    xs = {"a": tg.tensor(normal(0, T, B)), "pair": (tg.tensor(normal(1, T, B, H)), [])}
    carry = Memory(zeros(B), {"long": [zeros(B, H)], "none": None})

    def step(c: Memory, x: Any) -> tuple[Memory, dict[str, Any]]:
        assert set(x) == {"a", "pair"} and type(x["pair"]) is tuple and x["pair"][1] == []
        new = Memory(c.h + x["a"], {"long": [c.rest["long"][0] + x["pair"][0]], "none": None})
        return new, {"h": new.h, "both": (new.rest["long"][0], x["a"])}

    last, ys = scan(step, carry, xs)
    assert isinstance(last, Memory) and last.rest["none"] is None
    a, b = normal(0, T, B), normal(1, T, B, H)
    np.testing.assert_allclose(last.h.data, a.sum(0), rtol=1e-14)
    np.testing.assert_allclose(last.rest["long"][0].data, b.sum(0), rtol=1e-14)
    np.testing.assert_allclose(ys["h"].data, np.cumsum(a, 0), rtol=1e-14)
    np.testing.assert_allclose(ys["both"][0].data, np.cumsum(b, 0), rtol=1e-14)
    np.testing.assert_array_equal(ys["both"][1].data, a)


def test_gradients_reach_every_leaf_of_a_nest(scan):
    first, second, x = leaf(0, B), leaf(1, B), leaf(2, T, B)

    def step(c: dict[str, Tensor], x_t: Tensor) -> tuple[dict[str, Tensor], None]:
        return {"u": c["u"] * x_t, "v": c["v"] + c["u"]}, None

    def f(u: Tensor, v: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        last, nothing = scan(step, {"v": v, "u": u}, x)
        assert nothing is None
        return last["u"], last["v"]

    assert tg.gradcheck(f, [first, second, x])


def test_plain_arrays_and_numbers_become_tensors(scan):
    last, ys = scan(running_sum, 0.0, np.ones((3,), np.float32))
    assert isinstance(last, Tensor) and last.item() == 3.0
    np.testing.assert_array_equal(ys.data, [1.0, 2.0, 3.0])


def test_without_inputs_steps_says_how_many(scan):
    last, ys = scan(lambda c, x: (c * 2.0, (c, x)), tg.tensor(1.0), steps=4)
    assert last.item() == 16.0 and ys[1] is None
    np.testing.assert_array_equal(ys[0].data, [1.0, 2.0, 4.0, 8.0])
    assert scan(running_sum, 0.0, np.ones(3, np.float32), steps=3)[0].item() == 3.0


def test_a_step_may_have_no_state(scan):
    last, ys = scan(lambda c, x: (c, x * 2.0), (), np.ones((3, 2)))
    assert last == () and (ys.data == 2.0).all() and ys.shape == (3, 2)


NESTS = st.recursive(
    st.none() | st.floats(-9, 9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(Memory, inner, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(NESTS)
def test_a_nest_taken_apart_and_put_together_is_the_same_nest(nest):
    leaves, structure = flatten(nest, Tensor, "nest")
    again = unflatten(structure, [t.item() for t in leaves])

    def rounded(part: Any) -> Any:
        """The leaves as float32 holds them, and the types of the containers."""
        if isinstance(part, dict):
            return {k: rounded(p) for k, p in part.items()}
        if isinstance(part, tuple | list):
            return (type(part), [rounded(p) for p in part])
        return None if part is None else float(np.float32(part))

    assert rounded(again) == rounded(nest)


# -- lengths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [[4, 0, 2], (1, 1, 1), np.array([4, 4, 3], np.int32)])
def test_a_sequence_stops_at_its_end(scan, lengths, reverse):
    x, start = normal(0, T, B), normal(1, B)
    last, sums = scan(running_sum, tg.tensor(start), tg.tensor(x), lengths=lengths, reverse=reverse)
    for b, end in enumerate(lengths):
        inside = x[:end, b][::-1] if reverse else x[:end, b]
        expected = start[b] + np.cumsum(inside)
        np.testing.assert_allclose(
            sums.data[:end, b], expected[::-1] if reverse else expected, rtol=1e-14
        )
        assert not sums.data[end:, b].any()
        np.testing.assert_allclose(last.data[b], start[b] + inside.sum(), rtol=1e-14)


def test_every_leaf_stops_whatever_its_shape(scan):
    def step(c: tuple[Tensor, Tensor], x: Tensor) -> tuple[Any, dict[str, Tensor]]:
        return (c[0] + 1.0, c[1] + x[:, None, None]), {"once": c[0], "wide": c[1] + 5.0}

    (count, wide), ys = scan(
        step, (zeros(B), zeros(B, 2, 1)), tg.tensor(np.ones((T, B))), lengths=[1, 3, 4]
    )
    np.testing.assert_array_equal(count.data, [1.0, 3.0, 4.0])
    np.testing.assert_array_equal(wide.data[..., 0], np.repeat([[1.0], [3.0], [4.0]], 2, 1))
    np.testing.assert_array_equal((ys["wide"].data != 0.0).sum(0)[:, 0, 0], [1, 3, 4])


def test_gradients_stop_at_the_end_as_well(scan):
    x, start = leaf(0, T, B), leaf(1, B)
    last, sums = scan(running_sum, start, x, lengths=[2, 0, 4])
    slopes = tg.grad([last, sums], [x, start], [np.ones(B), np.zeros((T, B))])
    np.testing.assert_array_equal(slopes[0].data, np.array([[1, 1, 0, 0], [0] * 4, [1] * 4]).T)
    np.testing.assert_array_equal(slopes[1].data, np.ones(B))
    f = lambda s, x: scan(lambda c, x: (tg.sin(c * x),) * 2, s, x, lengths=[2, 0, 4])  # noqa: E731
    assert tg.gradcheck(f, [start, x])


# -- what is recorded -----------------------------------------------------------------------------


def test_every_step_has_a_scope_of_its_time():
    with tg.scope("model"):
        _, sums = unrolled(running_sum, zeros(B), tg.tensor(normal(0, 3, B)))
    scopes = [n.scope for n in tg.toposort([sums]) if n.op.name == "add"]
    assert scopes == [("model", "t=0"), ("model", "t=1"), ("model", "t=2")]
    with tg.scope("back"):
        _, sums = unrolled(running_sum, zeros(B), tg.tensor(normal(0, 3, B)), reverse=True)
    scopes = [n.scope for n in tg.toposort([sums]) if n.op.name == "add"]
    assert scopes == [("back", "t=2"), ("back", "t=1"), ("back", "t=0")]


def test_the_input_of_a_step_is_called_x_t_and_names_of_the_step_stay():
    names: list[str | None] = []

    def step(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        names.append(x.name)
        return (c + x).named("c_t"), x

    last, _ = unrolled(step, zeros(B), tg.tensor(normal(0, T, B)), lengths=[1, 2, 3])
    assert names == ["x_t"] * T and last.name == "c_t"


def test_a_long_scan_needs_no_recursion(scan):
    x = tg.tensor(np.ones(20_000), requires_grad=True)
    last, _ = scan(lambda s, x: (s + x, None), tg.tensor(np.array(0.0)), x)
    assert last.item() == 20_000.0 and (tg.grad(last, x).data == 1.0).all()


def test_nothing_is_recorded_without_gradients(scan):
    with tg.no_grad():
        last, sums = scan(running_sum, zeros(B), leaf(0, T, B))
    assert last.node is None and sums.node is None and not sums.requires_grad


# -- what is refused ------------------------------------------------------------------------------


def test_the_number_of_steps_must_be_known_and_one(scan):
    with pytest.raises(ShapeError, match="without xs, steps must say how many"):
        scan(running_sum, zeros(B))
    with pytest.raises(ShapeError, match=r"disagree on the number of steps: \(4, 3\), \(5, 3\)"):
        scan(running_sum, zeros(B), (zeros(4, B), zeros(5, B)))
    with pytest.raises(ShapeError, match=r"disagree.*\(4, 3\), steps=3"):
        scan(running_sum, zeros(B), zeros(4, B), steps=3)
    with pytest.raises(ShapeError, match="first axis, time; got a scalar"):
        scan(running_sum, zeros(B), tg.tensor(1.0))


def test_no_steps_are_refused(scan):
    for xs, steps in [(zeros(0, B), None), (None, 0), (None, -1)]:
        with pytest.raises(ShapeError, match="at least one time step"):
            scan(running_sum, zeros(B), xs, steps=steps)


def test_lengths_that_do_not_fit_are_refused(scan):
    def run(lengths: Any, carry: Any = None) -> None:
        scan(running_sum, zeros(B) if carry is None else carry, zeros(T, B), lengths=lengths)

    for wrong in ([1.0, 2.0, 3.0], [[1, 2, 3]], 3, [True, False, True], [1, [2], 3]):
        with pytest.raises(DTypeError, match="lengths: expected one integer per sequence"):
            run(wrong)
    for wrong in ([0, 1, 5], [-1, 1, 1]):
        with pytest.raises(ShapeError, match=r"lengths: from .* outside \[0, 4\]"):
            run(wrong)
    for carry in (zeros(2), zeros(), (zeros(B), zeros(1, B))):
        with pytest.raises(ShapeError, match="lengths: 3 given for a carry of shape"):
            run([1, 2, 3], carry)


def test_a_step_must_return_a_pair(scan):
    for result in (None, zeros(B), [zeros(B), zeros(B)], (zeros(B),) * 3):
        with pytest.raises(TypeError, match=r"step: must return \(carry, y_t\), returned"):
            scan(lambda c, x, result=result: result, zeros(B), zeros(T, B))


def test_the_carry_must_keep_its_form(scan):
    with pytest.raises(ShapeError, match=r"leaf 0 of the carry was \(3,\) .*became \(4, 3\)"):
        scan(lambda c, x: (c + zeros(4, B), None), zeros(B), zeros(T, B))
    with pytest.raises(ShapeError, match=r"leaf 1 of the carry, c_t, was .* became \(3,\) float32"):
        scan(
            lambda c, x: ((c[0], c[1].astype(np.float32).named("c_t")), None),
            (zeros(B), zeros(B)),
            zeros(T, B),
        )
    with pytest.raises(ShapeError, match=r"was \(tensor, tensor\) and became tensor"):
        scan(lambda c, x: (c[0], None), (zeros(B), zeros(B)), zeros(T, B))
    with pytest.raises(ShapeError, match=r"was \{a: tensor\} and became \{b: tensor\}"):
        scan(lambda c, x: ({"b": c["a"]}, None), {"a": zeros(B)}, zeros(T, B))


class _Pair(NamedTuple):
    h: Any
    c: Any


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ((1.0, 2.0), [1.0, 2.0], r"\(tensor, tensor\) and became \[tensor, tensor\]"),
        ((1.0, 2.0), _Pair(1.0, 2.0), r"\(tensor, tensor\) and became _Pair\(tensor, tensor\)"),
        ((1.0,), 1.0, r"\(tensor,\) and became tensor"),
        ((), None, r"\(\) and became None"),
    ],
)
def test_a_structure_is_told_from_another(one: Any, other: Any, told: str) -> None:
    with pytest.raises(ShapeError, match=f"the carry was {told}"):
        tg.scan(lambda s, x: (other, x), one, np.ones(2))


def test_keys_without_an_order_are_named() -> None:
    mixed = {1: 0.0, "h": 0.0}
    with pytest.raises(TypeError, match=r"^carry: the keys .* must have an order, got 1, 'h'$"):
        tg.scan(lambda s, x: (s, x), mixed, np.ones(2))
    with pytest.raises(TypeError, match="y_t that step returned: the keys"):
        tg.scan(lambda s, x: (s, mixed), 0.0, np.ones(2))


def test_leaves_that_are_no_numbers_are_named_by_the_argument(scan):
    with pytest.raises(TypeError, match=r"^carry: "):
        scan(running_sum, "state", zeros(T, B))
    with pytest.raises(TypeError, match=r"^xs: "):
        scan(running_sum, zeros(B), {"a": object()})
    with pytest.raises(TypeError, match="y_t that step returned: "):
        scan(lambda c, x: (c, "y"), zeros(B), zeros(T, B))


def test_an_error_in_the_step_says_at_which_time():
    w = tg.tensor(normal(0, 5, 5), name="w")
    with pytest.raises(ShapeError, match=r"matmul in t=0: x_t"):
        unrolled(lambda c, x: (c, x @ w), None, zeros(T, B, H))
