"""A compiled scan gives what the unrolled one gives: outputs and gradients, for any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from both_ways import assert_close, leaves_of, loss_of, may_fall_back, unique
from user_cells import CELLS, H, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor


def both(backend: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """How to run the reference, and how what is tested."""
    return {"unroll": True}, {"backend": backend}


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def leaf(seed: int, *shape: int) -> Tensor:
    return tg.tensor(normal(seed, *shape) * 0.5, requires_grad=True)


def twice(state: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    """A step whose output is its state."""

    def step(h: Any, x: Any) -> tuple[Tensor, Tensor]:
        new = state(h, x)
        return new, new

    return step


# -- whole cells ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2], [4, 4, 4]])
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_compiled_is_the_cell_unrolled(assert_same, name, lengths, reverse):
    step, carry, weights = case(name)
    state, x = tensors(carry, 3), leaf(2, 4, 3, I)
    assert_same(step, state, x, weights, lengths=lengths, reverse=reverse)


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 3), (5, 1), (2, 2)])
@pytest.mark.parametrize("name", CELLS)
def test_one_step_and_one_sequence_are_no_special_case(assert_same, name, steps, batch):
    step, carry, weights = case(name)
    state, x = tensors(carry, batch), leaf(2, steps, batch, I)
    assert_same(step, state, x, weights)
    assert_same(step, state, x, weights, lengths=[steps] * (batch - 1) + [0], reverse=True)


@pytest.mark.parametrize("name", CELLS)
def test_in_single_precision_it_holds_to_1e_5(assert_same, name):
    step, carry, weights = case(name, np.float32)
    x = tg.tensor(normal(2, 6, 3, I).astype(np.float32), requires_grad=True)
    assert_same(step, tensors(carry, 3, dtype=np.float32), x, weights, lengths=[6, 3, 5])


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "minimal_gated_unit", "passed_through"])
def test_a_carry_without_a_batch(assert_same, name):
    step, carry, weights = case(name)
    assert_same(step, tensors(carry), leaf(2, 5, I), weights)


@may_fall_back
@pytest.mark.parametrize("name", ["lstm", "layer_norm_lstm", "two_chains"])
def test_two_batch_axes(assert_same, name):
    step, carry, weights = case(name)
    assert_same(step, tensors(carry, 2, 3), leaf(2, 4, 2, 3, I), weights)


def test_only_some_of_the_leaves_need_a_gradient(assert_same):
    step, carry, weights = case("lstm")
    x = tg.tensor(normal(0, 4, 3, I))
    for w in weights[1:]:
        w.requires_grad = False
    state = tuple(t.detach() for t in tensors(carry, 3))
    assert_same(step, state, x, weights)
    weights[0].requires_grad = False
    assert_same(step, tensors(carry, 3), x)
    assert_same(step, state, leaf(2, 4, 3, I))
    assert_same(step, state, x)


# -- steps of every form --------------------------------------------------------------------------


def test_without_inputs_steps_says_how_many(assert_same):
    w = leaf(0, H, H)
    assert_same(lambda h, x: (tg.tanh(h @ w), h.sum(-1)), leaf(1, 2, H), None, [w], steps=4)
    assert_same(lambda h, x: (h * 0.5, (h, x)), leaf(1, 2, H), steps=3)


def test_a_step_may_have_no_state(assert_same):
    w = leaf(0, I, H)
    assert_same(lambda c, x: (c, tg.tanh(x @ w)), (), leaf(1, 4, 2, I), [w])
    assert_same(lambda c, x: (c, x * 2.0), None, leaf(1, 4))


def test_scalar_carries_inputs_outputs_and_parameters(assert_same):
    a, b = leaf(0), leaf(1)
    assert_same(lambda s, x: (tg.tanh(a * s + b * x), s * x), leaf(2), leaf(3, 5), [a, b])
    assert_same(lambda s, _: (a * s, (s * s, a)), leaf(2), None, [a], steps=4)
    assert_same(lambda h, x: (tg.tanh(h * -a + x), (h * h).sum()), leaf(2, H), leaf(3, 5, H), [a])
    assert_same(lambda s, x: (s + x, s), leaf(2), leaf(3, 1))


def test_a_product_of_scalars_has_the_derivative_of_a_power(backend):
    a, s = leaf(0), leaf(1)
    last, _ = tg.scan(lambda s, _: (a * s, None), s, steps=5, backend=backend)
    slopes = [g.item() for g in tg.grad(last, [a, s])]
    assert slopes == pytest.approx([5 * a.item() ** 4 * s.item(), a.item() ** 5], rel=1e-13)


def test_a_number_out_of_a_vector(assert_same):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return tg.tanh(h * x[1]), tg.sin((h * x)[0])

    h0, xs = leaf(0, 4), leaf(1, 5, 4)
    assert_same(step, h0, xs)
    with tg.no_grad():
        assert_same(step, h0, xs)


def test_an_output_that_does_not_depend_on_the_carry(assert_same):
    w, v = leaf(0, I, H), leaf(1, 2, H)

    def step(h: Tensor, x: Tensor) -> Any:
        fixed = tg.tanh(v)
        return h * 0.5 + x @ w, (x @ w, x, v, fixed, fixed * 2.0, tg.tensor(np.ones(2)))

    assert_same(step, leaf(2, 2, H), leaf(3, 4, 2, I), [w, v])


def test_a_state_that_forgets_itself(assert_same):
    v = leaf(0, 2, H)
    assert_same(lambda h, x: (v, h * x), leaf(1, 2, H), leaf(2, 4, 2, H), [v])
    assert_same(lambda h, x: (x, h * v), leaf(1, 2, H), leaf(2, 4, 2, H), [v])
    assert_same(lambda h, x: (tg.tensor(np.ones((2, H))), h * x), leaf(1, 2, H), leaf(2, 4, 2, H))


def test_carries_that_change_places(assert_same):
    w = leaf(0, H, H)

    def step(state: Any, x: Tensor) -> Any:
        a, b = state
        return (b, a), (a @ w) * x

    assert_same(step, (leaf(1, 2, H), leaf(2, 2, H)), leaf(3, 5, 2, H), [w])


def test_one_tensor_in_several_places(assert_same):
    h, w = leaf(0, H, H), leaf(1, H, H)

    def step(state: Any, x: Tensor) -> Any:
        a, b = state
        new = tg.tanh(a @ w + x @ w + h)
        return (new, new), (new, new, b)

    assert_same(step, (h, h), leaf(2, 4, H, H), [h, w])
    x = leaf(2, 4, 2, H)
    assert_same(lambda c, xs: (c + xs[0] * xs[1], xs[1]), leaf(3, 2, H), (x, x), [w])


def test_what_is_captured_may_be_the_result_of_other_ops(assert_same):
    raw, scale = leaf(0, H, H), leaf(1)
    w = tg.tanh(raw) * scale
    b = w.sum(0)
    h0 = tg.sin(leaf(2, 2, H))
    x = leaf(3, 4, 2, H) * scale
    assert_same(twice(lambda h, x_t: tg.tanh(h @ w + x_t @ w.T + b)), h0, x, [raw, scale, w, b])


def test_an_embedding_inside_the_step(assert_same):
    table, w = leaf(0, 6, H), leaf(1, H, H)
    words = np.random.default_rng(2).integers(0, 6, (5, 3))
    step = twice(lambda h, i: tg.tanh(tg.embedding(i, table) + h @ w))
    assert_same(step, leaf(3, 3, H), words, [table, w], lengths=[5, 2, 0])
    assert_same(twice(lambda h, i: tg.tanh(table[i] + h @ w)), leaf(3, 3, H), words, [table, w])
    one_row = leaf(4, 1, H)
    assert_same(lambda h, i: (h + one_row.take(i, 0), h), leaf(3, 3, H), words * 0, [one_row])


@may_fall_back
def test_indices_that_the_state_decides(assert_same):
    table = leaf(0, 4, H)
    start = np.array([0, 3, 1])

    def step(state: Any, x: Tensor) -> Any:
        where, h = state
        return (where + 1 - 2 * x, tg.tanh(h + tg.take(table, where - 2, 0))), where

    xs = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 1]])
    assert_same(step, (start, leaf(1, 3, H)), xs, [table])


@may_fall_back
def test_integers_and_booleans_among_the_inputs(assert_same):
    xs = {
        "count": np.arange(12).reshape(4, 3),
        "keep": np.random.default_rng(0).random((4, 3, 1)) < 0.5,
        "x": leaf(1, 4, 3, H),
    }

    def step(state: Any, x: Any) -> Any:
        h, n = state
        new = tg.where(x["keep"], tg.tanh(h + x["x"]), h)
        scaled = new * x["count"][:, None] + x["keep"]
        return (new, n + x["count"]), (scaled, x["keep"], n, x["count"] + 1)

    state = leaf(2, 3, H), np.zeros(3, np.int64)
    assert_same(step, state, xs)
    assert_same(step, state, xs, lengths=[1, 4, 0])


@may_fall_back
@pytest.mark.parametrize("unroll", [True, False])
def test_integers_and_booleans_stay_what_they_are_beyond_an_end(unroll, backend):
    xs = np.arange(1, 13).reshape(4, 3)
    last, (counts, flags) = tg.scan(
        lambda n, x: (n + x, (x, tg.where(np.ones(3, bool), x, x).astype(bool))),
        np.zeros(3, np.int64),
        xs,
        lengths=[1, 4, 0],
        **both(backend)[0 if unroll else 1],
    )
    assert (last.dtype, counts.dtype, flags.dtype) == (np.int64, np.int64, np.bool_)
    np.testing.assert_array_equal(last.data, [1, 2 + 5 + 8 + 11, 0])
    inside = np.arange(4)[:, None] < [1, 4, 0]
    np.testing.assert_array_equal(counts.data, xs * inside)
    np.testing.assert_array_equal(flags.data, inside)


@may_fall_back
def test_a_cast_inside_the_step(backend):
    w = tg.tensor(normal(0, H, H), requires_grad=True)

    def step(h: Tensor, x: Tensor) -> Any:
        wide = tg.tanh(h.astype(np.float64) @ w + x)
        return wide.astype(np.float32), (wide, (wide * 4.0).astype(np.int64))

    h = tg.tensor(normal(1, 2, H).astype(np.float32), requires_grad=True)
    x = leaf(2, 3, 2, H)
    outputs = [tg.scan(step, h, x, unroll=True), tg.scan(step, h, x, backend=backend)]
    for one, other in zip(*map(leaves_of, outputs), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one.data, other.data, rtol=1e-6)
    slopes = [tg.grad(last.sum(), w).data for last, _ in outputs]
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-5)


@may_fall_back
def test_products_of_any_rank(assert_same):
    a, b, c = leaf(0, 2, H, H), leaf(1, 5, 2, H), leaf(2, H)

    def step(h: Tensor, x: Tensor) -> Any:  # h (2, H, H), x (H, H)
        return tg.tanh(a @ x + h @ x.T), (x @ a, (b @ x).sum(), x @ c, c @ x, c @ h)

    assert_same(step, leaf(3, 2, H, H), leaf(4, 3, H, H) * 0.5, [a, b, c])
    assert_same(lambda h, xs: (h, xs[0] @ xs[1]), leaf(5), (leaf(6, 4, 2, 3, H), leaf(7, 4, H, 2)))
    outer = lambda h, x: (tg.tanh(h + tg.einsum("bi,bj->ij", x, x @ h)), h)  # noqa: E731
    assert_same(outer, leaf(5, H, H), leaf(6, 4, 2, H))


@may_fall_back
def test_shapes_and_indices_of_every_kind(assert_same):
    rows = np.array([2, 0, 2])
    w = leaf(0, 6)

    def step(h: Tensor, x: Tensor) -> Any:  # (3, 6) both
        parts = tg.split(x, 3, axis=1)
        mixed = tg.stack([parts[0], parts[2]], axis=1)[:, 0] + h[rows][:, ::3]
        wide = tg.concatenate([mixed, h[..., 1:3], x[:, None, 4:].squeeze(1)], axis=-1)
        new = tg.tanh(wide.reshape(6, 3).T + h.cumsum(1) * 0.1 + w[::-1])
        ys = (
            x[rows, 1:3],
            h[rows, 1:3] * 2.0,
            tg.broadcast_to(x[0], (2, 6)) * w,
            h[1, None, -4:-1],
            tg.concatenate([h, h], axis=0),
            x.transpose(1, 0)[..., 1:],
            x.logsumexp(1),
            h.max(0),
            tg.log_softmax(h, -1),
            x.clip(-0.2, 0.2) + tg.maximum(h, 0.1) + tg.softplus(x) ** 2.0,
        )
        return new, ys

    assert_same(step, leaf(1, 3, 6), leaf(2, 4, 3, 6), [w])


def test_slices_with_unusual_borders(assert_same):
    w = leaf(0, H, 8)

    def step(h: Tensor, x: Tensor) -> Any:
        z = h @ w
        parts = z[:, -8:-4], z[..., 4:100], z[:, 0:4], z[:, 2:6]
        a, b, c, d = (tg.sigmoid(part) for part in parts)
        return tg.tanh(a * b + x), (c, d, z[np.array([1, 0]), 0:4] * tg.tanh(z[:, 4:8]), z[:, 3:1])

    assert_same(step, leaf(1, 2, H), leaf(2, 3, 2, H), [w])


def test_weights_transposed_or_not_are_told_apart(assert_same):
    w = leaf(0, 2 * H, H)

    def step(h: Tensor, x: Tensor) -> Any:
        same = w[:H].transpose(0, 1), w[H:].transpose(0, 1)
        turned = w[:H].transpose(1, 0), w[H : 2 * H].T
        return tg.tanh(h @ same[0] + x @ turned[0]), (h @ same[1], x @ turned[1], h @ turned[1])

    assert_same(step, leaf(1, 2, H), leaf(2, 3, 2, H), [w])


def test_the_modules_of_nn_inside_the_step(assert_same):
    tg.manual_seed(0)
    cell = tg.nn.LSTMCell(H, H, peephole=True, dtype=np.float64)
    norm = tg.nn.LayerNorm(H, dtype=np.float64)
    linear = tg.nn.Linear(H, H, dtype=np.float64)
    words = tg.nn.Embedding(5, H, padding_idx=2, dtype=np.float64)
    weights = [w for m in (cell, norm, linear, words) for w in m.parameters()]

    def step(state: Any, x: Tensor) -> Any:
        h, c = cell(norm(words(x)), state)
        return (h, c), linear(h)

    xs = np.random.default_rng(0).integers(0, 5, (6, 3))
    xs[0] = 0  # no padding in the first step
    assert_same(step, (leaf(1, 3, H), leaf(2, 3, H)), xs, weights)


def test_a_scan_inside_the_step(assert_same):
    w = leaf(0, H, H)

    def step(h: Tensor, x: Tensor) -> Any:
        inner, ys = tg.scan(twice(lambda s, _: tg.tanh(s @ w + x)), h, steps=2, unroll=False)
        return inner, ys

    assert_same(step, leaf(1, 2, H), leaf(2, 3, 2, H), [w])


def test_a_detached_state_stops_the_gradient(assert_same):
    w = leaf(0, H, H)
    step = lambda h, x: (tg.tanh(h.detach() @ w + h * x), h.detach())  # noqa: E731
    assert_same(step, leaf(1, 2, H), leaf(2, 4, 2, H), [w])


# -- gradients of results -------------------------------------------------------------------------


def used_twice(y: Tensor, last: Tensor) -> Tensor:
    """A loss of a scan's results, each read by several ops, one of which takes a part of it."""
    return (y * y).sum() + y[1].sum() + (last * 3.0).sum() + (tg.tanh(last) * y[-1]).sum()


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_with_respect_to_results_are_those_of_the_unrolled(create_graph, backend):
    step, carry, weights = case("lstm")
    state, x = tensors(carry, 2), leaf(2, 3, 2, I)
    found: list[list[np.ndarray]] = []
    for options in both(backend):
        (h, c), y = tg.scan(step, state, x, **options)
        loss = used_twice(y, h) + used_twice(h * y, c)
        wanted = [y, h, c, x, *weights]
        alone = [tg.grad(loss, t, create_graph=create_graph) for t in (y, h, c)]
        everything = tg.grad(loss, wanted, create_graph=create_graph)
        if options.get("unroll"):  # there h is the last of y, whose gradient flows on to it
            y_t, h_t, c_t = (tg.tensor(t.data, requires_grad=True) for t in (y, h, c))
            again = used_twice(y_t, h_t) + used_twice(h_t * y_t, c_t)
            alone = tg.grad(again, [y_t, h_t, c_t])
            everything = [*alone, *everything[3:]]
        found.append([g.data for g in (*alone, *everything)])
    for expected, got in zip(*found, strict=True):
        assert_close(got, expected, "lstm")


def test_a_result_is_no_part_of_another(backend):
    step, carry, _ = case("lstm")
    (h, c), y = tg.scan(step, tensors(carry, 2), leaf(2, 3, 2, I), backend=backend)
    results = {"h": h, "c": c, "y": y}
    for name, t in results.items():
        for other in results.keys() - {name}:
            with pytest.raises(tg.GraphError, match="is not part of the graph of the outputs"):
                tg.grad(t.sum(), results[other])
            found = tg.grad(t.sum(), [t, results[other]], allow_unused=True)
            assert found[1] is None
            np.testing.assert_array_equal(found[0].data, np.ones(t.shape))


def test_a_step_without_carry_and_outputs():
    carry, ys = tg.scan(lambda carry, x: (carry, None), (), leaf(0, 3, 2), unroll=False)
    assert carry == () and ys is None


# -- gradients of gradients -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "layer_norm_lstm", "three_carries"])
def test_second_order_is_that_of_the_unrolled(name, backend):
    step, carry, weights = case(name)
    state, x = tensors(carry, 2), leaf(2, 3, 2, I)
    found: list[list[np.ndarray]] = []
    for options in both(backend):
        final, ys = tg.scan(step, state, x, **options)
        wanted = unique([*leaves_of(state), x, *weights])
        first = tg.grad(loss_of(leaves_of(final, ys)), wanted, create_graph=True, allow_unused=True)
        slope = loss_of([g for g in first if g is not None])
        second = tg.grad(slope, wanted, allow_unused=True)
        found.append([np.zeros(()) if g is None else g.data for g in (*first, *second)])
    for expected, got in zip(*found, strict=True):
        assert_close(got, expected, name)


def test_second_order_agrees_with_finite_differences(backend):
    def f(a: Tensor, w: Tensor, h: Tensor, x: Tensor) -> Any:
        final, ys = tg.scan(
            lambda h, x: (tg.tanh(a * (h @ w) + x), h * h), h, x, lengths=[3, 2], backend=backend
        )
        return final, ys

    assert tg.gradcheck(f, [normal(0), normal(1, 2, 2), normal(2, 2, 2), normal(3, 3, 2, 2)])


def test_second_order_counts_what_is_given_twice_once_for_each(backend):
    h, w = leaf(0, 2, H), leaf(1, H, H)
    made = tg.tanh(w)  # captured beside the w it is made of
    step = lambda s, x: (tg.sin(s @ w + x @ made), s)  # noqa: E731
    final, ys = tg.scan(step, h, tg.stack([h, h * 2.0]), backend=backend)
    loss = loss_of([final, ys])
    plain = tg.grad(loss, [h, w, made])
    recorded = tg.grad(loss, [h, w, made], create_graph=True)
    for one, other in zip(plain, recorded, strict=True):
        np.testing.assert_allclose(other.data, one.data, rtol=1e-12)


def test_third_order(backend):
    a, slopes = leaf(0), []
    for options in both(backend):
        step = lambda s, _: (tg.sin(a * s), None)  # noqa: E731
        y, _ = tg.scan(step, tg.tensor(normal(1)), steps=3, **options)
        for _ in range(3):
            y = tg.grad(y, a, create_graph=True)
        slopes.append(y.item())
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-12)


# -- what changes from step to step by chance -----------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_dropout_draws_a_mask_for_every_step(reverse, backend):
    w, x, h0 = leaf(0, H, H), leaf(1, 5, 3, H), leaf(2, 3, H)

    def step(h: Tensor, x_t: Tensor) -> Any:
        h = tg.tanh(tg.dropout(h, 0.4) @ w + tg.dropout(x_t, 0.3))
        return h, tg.dropout(h * 0.0 + 1.0, 0.5)

    found: list[list[np.ndarray]] = []
    ys = h0  # of the last run
    for options in both(backend):
        tg.manual_seed(5)
        final, ys = tg.scan(step, h0, x, reverse=reverse, **options)
        slopes = tg.grad(final.sum(), [w, x, h0])
        found.append([final.data, ys.data, *(g.data for g in slopes)])
    for unrolled, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, unrolled, rtol=1e-12, atol=1e-14)
    assert len({mask.tobytes() for mask in ys.data}) == 5


def test_dropout_keeps_its_masks_in_second_order(backend):
    w = leaf(0, H, H)
    step = lambda h, x: (tg.tanh(tg.dropout(h, 0.4, rng=rng) @ w + x), None)  # noqa: E731
    slopes: list[np.ndarray] = []
    for options in both(backend):
        rng = np.random.default_rng(3)
        final, _ = tg.scan(step, leaf(1, 2, H), leaf(2, 4, 2, H), **options)
        slope = tg.grad(final.sum(), w, create_graph=True)
        slopes.append(tg.grad((slope * slope).sum(), w).data)
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=1e-11)


def test_each_call_draws_anew(backend):
    step = lambda h, x: (h, tg.dropout(x, 0.5))  # noqa: E731
    x, rng = np.ones((4, 30)), np.random.default_rng(0)
    layer = tg.nn.Dropout(0.5, rng=rng)
    one, other = (
        tg.scan(lambda h, x: (h, layer(x)), None, x, backend=backend)[1] for _ in range(2)
    )
    assert (one.data != other.data).any()
    tg.manual_seed(1)
    one, other = (tg.scan(step, None, x, backend=backend)[1] for _ in range(2))
    assert (one.data != other.data).any() and (one.data[0] != one.data[1]).any()
    layer.eval()
    _, same = tg.scan(lambda h, x: (h, layer(x)), None, x, backend=backend)
    np.testing.assert_array_equal(same.data, x)


def test_a_gradient_taken_inside_the_step(assert_same):
    w = leaf(0, H, H)

    def step(h: Tensor, x: Tensor) -> Any:
        inner = tg.tanh(h @ w).sum()
        slope = tg.grad(inner, h, create_graph=True)
        return h - 0.1 * slope + x, inner

    assert_same(step, leaf(1, 2, H), leaf(2, 3, 2, H), [w])
