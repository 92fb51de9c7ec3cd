"""What a step captures may be read in several ways at once, and a carry be made of anything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from both_ways import assert_same, may_fall_back

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor

T, B, H = 3, 4, 2


def leaf(seed: int, *shape: int) -> Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


W, SQUARE = leaf(0, H, H), leaf(1, B, B)
V, ROW, COLUMN, SAME, OTHER = leaf(2, H), leaf(3, 1, H), leaf(4, B, 1), leaf(5, B, H), leaf(6, H, H)

# -- a matrix that is a factor of a product, and read by its numbers ------------------------------

READ: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "times a matrix": lambda h, w: w * OTHER,
    "summed": lambda h, w: (w + OTHER).sum(),
    "a row": lambda h, w: h * w[0],
    "a column": lambda h, w: h * w[:, 1],
    "turned": lambda h, w: w.T - OTHER,
    "times a number": lambda h, w: w * h.sum(),
    "a function": lambda h, w: tg.sigmoid(w),
}


@may_fall_back
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", READ)
def test_a_factor_that_is_also_read_by_its_numbers(backend, name, turned):
    read = READ[name]

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return tg.tanh(h @ (W.T if turned else W) + x), read(h, W)

    for rows in (1, B):
        assert_same(step, leaf(7, rows, H), leaf(8, T, rows, H), [W, OTHER], backend=backend)
    transposed = tg.tensor(W.data.T, requires_grad=True)  # numbers that do not lie side by side
    assert_same(
        lambda h, x: (tg.tanh(h @ transposed + x), read(h, transposed)),
        leaf(7, B, H), leaf(8, T, B, H), [transposed, OTHER], backend=backend,
    )  # fmt: skip


@may_fall_back
def test_a_factor_with_as_many_rows_as_the_batch(backend):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return tg.tanh(h @ SQUARE + x), h * SQUARE

    assert_same(step, leaf(0, B, B), leaf(1, T, B, B), [SQUARE], backend=backend)


# -- carries that are replaced, and outputs that sum over the batch -------------------------------

REPLACED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "by the input": lambda h, x: x,
    "by a function of it": lambda h, x: tg.sin(x) * 2.0,
    "by something captured": lambda h, x: SAME,
    "by a row": lambda h, x: (V * x.mean()).broadcast_to((B, H)),
    "by a row of its own": lambda h, x: (ROW * x.sum()).broadcast_to((B, H)),
    "by a column": lambda h, x: (COLUMN * x.sum()).broadcast_to((B, H)),
    "by parts": lambda h, x: tg.concatenate([ROW * x[0], ROW, ROW * 2.0, x[:1]], 0),
    "by a stack": lambda h, x: tg.stack([V, x[0], V * 2.0, x[1]], 0),
    "by one number": lambda h, x: h.sum().broadcast_to((B, H)),
    "by what depends on it": lambda h, x: tg.tanh(h + x),
}
SEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda h: h.sum(),
    "scaled sum": lambda h: (h * 2.0).sum(),
    "a sum, scaled and turned": lambda h: (-(h * 2.0) * 3.0 + 1.0).sum(),
    "mean": lambda h: h.mean(),
    "function of a sum": lambda h: tg.tanh(h.sum()),
    "sum of squares": lambda h: (h * h).sum(),
    "sum over the batch": lambda h: h.sum(0),
    "sum over features": lambda h: h.sum(-1),
    "weighted": lambda h: (h * V).sum(),
    "nothing": lambda h: h.detach(),
}


@may_fall_back
@pytest.mark.parametrize("name", REPLACED)
def test_a_carry_that_is_replaced(backend, name):
    for seen in SEEN.values():

        def step(h: Tensor, x: Tensor, seen: Callable[[Tensor], Tensor] = seen) -> tuple:
            return REPLACED[name](h, x), seen(h)

        assert_same(step, leaf(0, B, H), leaf(1, T, B, H), [V, ROW, COLUMN, SAME], backend=backend)


@may_fall_back
@pytest.mark.parametrize("name", ["sum", "scaled sum", "mean", "function of a sum"])
def test_a_carry_of_numbers_that_is_replaced(backend, name):
    seen = SEEN[name]
    assert_same(lambda h, x: (x, seen(h)), leaf(0, B), leaf(1, T, B), backend=backend)
    assert_same(  # a series of numbers becomes rows
        lambda h, x: (x.broadcast_to((B, H)), seen(h)), leaf(0, B, H), leaf(1, T), backend=backend
    )
    assert_same(
        lambda h, x: ((x * 2.0).broadcast_to((B,)) * 3.0, seen(h)),
        leaf(0, B), leaf(1, T), backend=backend,
    )  # fmt: skip

# -- a batch of one, whose axis goes away ---------------------------------------------------------

AWAY: dict[str, Callable[[Tensor], Tensor]] = {
    "squeezed": lambda a: a.squeeze(0),
    "its only row": lambda a: a[0],
    "in a row": lambda a: a.reshape(-1),
    "mean": lambda a: a.mean(0),
}


@pytest.mark.parametrize("name", AWAY)
@pytest.mark.parametrize("width", [1, H])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_product_without_its_batch_of_one(backend, name, width, frozen):
    away = AWAY[name]
    x = leaf(1, T, 1, 3).detach() if frozen else leaf(1, T, 1, 3)
    w, u = leaf(2, 3, width), leaf(3, width, width)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = tg.tanh(away(x @ w) + away(h @ u) * h)
        return h, away(h)

    assert_same(step, leaf(0, 1, width), x, [w, u], backend=backend)
    assert_same(
        lambda h, x: (away(x @ w) + h,) * 2, leaf(0, 1, width), x, [w], backend=backend
    )  # fmt: skip


# -- a matrix that is transposed more than once ---------------------------------------------------


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_matrix_read_at_several_turns(backend, turns):
    w = leaf(2, H, H)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        read = [w]
        for _ in range(turns):
            read.append(read[-1].T)
        for matrix in read:
            h = tg.tanh(h @ matrix + x)
        return h, h @ read[-1]

    assert_same(step, leaf(0, B, H), leaf(1, T, B, H), [w], backend=backend)


@may_fall_back
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_matrix_given_at_several_turns(backend, turns):
    w = leaf(2, H, H)

    def step(h: Tensor, x: None) -> tuple[Tensor, tuple[Tensor, ...]]:
        given = [w]
        for _ in range(turns):
            given.append(given[-1].T)
        return given[-2], (given[-1], given[-1])

    assert_same(step, leaf(0, H, H), None, [w], steps=2, backend=backend)
