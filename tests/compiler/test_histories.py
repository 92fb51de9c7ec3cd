"""Gradients asked for inside a step: an error where steps before have a share, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, Tensor

T, B, H = 4, 3, 2
W = tg.tensor(np.random.default_rng(0).normal(size=(H, H)), requires_grad=True, name="W")
B_VECTOR = tg.tensor(np.ones(H), requires_grad=True, name="b")

State = tuple[Tensor, Tensor]


def asking(
    wanted: Callable[[State, Tensor], list[Tensor]],
    of: Callable[[State, Tensor], Tensor] = lambda s, x: tg.tanh(s[0] @ W + x),
    new: Callable[[State, Tensor], Tensor | State] = lambda s, x: tg.tanh(s[1] @ W + x),
) -> Any:
    """A step (h, c) -> (h, c) that moves c by gradients of `of`, and makes both of it by `new`."""

    def step(state: State, x: Tensor) -> Any:
        found = tg.grad(of(state, x).sum(), wanted(state, x), create_graph=True)
        made = new(state, x)
        h, c = made if isinstance(made, tuple) else (tg.tanh(made) * 0.5, made)
        return (h, c + sum(g.sum() for g in found) * 0.1), tuple(found)

    return step


def both(s: State, x: Tensor) -> Tensor:
    return s[0] * s[1]


def from_leaf() -> Any:
    """A leaf that the step makes, as for a product with a Jacobian."""

    def step(state: State, x: Tensor) -> Any:
        h, c = state
        eps = tg.tensor(np.zeros((B, H)), requires_grad=True)
        (g,) = tg.grad(tg.tanh((h + eps) @ W).sum(), [eps], create_graph=True)
        return (tg.tanh(h + g), c), g

    return step


def apart(s: State, x: Tensor) -> State:
    return tg.sin(s[0] + x), tg.sin(s[1] * 0.5)


SAME = {
    "the carry": asking(lambda s, x: [s[0]]),
    "x_t": asking(lambda s, x: [x]),
    "the carry and x_t": asking(lambda s, x: [s[0], x]),
    "weights, of a detached carry": asking(
        lambda s, x: [W], lambda s, x: tg.tanh(s[0].detach() @ W + x.detach())
    ),
    "weights that no step uses": asking(
        lambda s, x: [B_VECTOR], lambda s, x: s[0] * B_VECTOR, apart
    ),
    "weights, of x_t": asking(lambda s, x: [W], lambda s, x: tg.tanh(x @ W)),
    "a leaf of the carry, of both that are apart": asking(lambda s, x: [s[0]], both, apart),
    "a leaf of its own": from_leaf(),
    "both, each of the other": lambda s, x: of_both(s, x, [0, 1], lambda h, c: (tg.sin(c), h)),
}
OTHER = {
    "weights, of the carry": asking(lambda s, x: [W]),
    "weights, of the carry and x_t": asking(lambda s, x: [W, x]),
    "c, of both, h made of c": lambda s, x: of_both(s, x, [1], lambda h, c: (tg.tanh(c) * 0.5, c)),
    "both, h made of c": lambda s, x: of_both(s, x, [0, 1], lambda h, c: (tg.tanh(c) * 0.5, c)),
    "both, which are one": lambda s, x: of_both(s, x, [0, 1], lambda h, c: (c, c)),
    "both, one stays": lambda s, x: of_both(s, x, [1], lambda h, c: (tg.tanh(s[1] * x), s[1])),
    "both, the old one goes on": lambda s, x: of_both(s, x, [1], lambda h, c: (tg.sin(h), s[0])),
}


def of_both(s: State, x: Tensor, wanted: list[int], new: Callable[[Tensor, Tensor], State]) -> Any:
    """Gradients of a product of both parts of the carry, and what `new` makes of them."""
    found = tg.grad((s[0] * s[1]).sum(), [s[k] for k in wanted], create_graph=True)
    return new(s[0] * 1.1, tg.tanh(s[1] @ W + x)), tuple(found)


def asked(step: Any, unroll: bool, x: Tensor, same: bool = False) -> list[np.ndarray]:
    h, c = (tg.tensor(np.full((B, H), v), requires_grad=True) for v in (0.3, 0.5))
    last, ys = tg.scan(step, (h, h if same else c), x, unroll=unroll)
    return [t.numpy() for t in (*last, *(ys if isinstance(ys, tuple) else (ys,)))]


def numbers(of: Tensor | None = None) -> Tensor:
    x = tg.tensor(np.linspace(0.0, 0.2, T * B * H).reshape(T, B, H), requires_grad=True)
    return x if of is None else x @ of


@pytest.mark.parametrize("name", SAME)
def test_gradients_inside_a_step_are_those_of_the_unrolled(name):
    wanted = asked(SAME[name], True, numbers())
    for one, other in zip(asked(SAME[name], False, numbers()), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


@pytest.mark.parametrize("name", OTHER)
def test_gradients_that_earlier_steps_have_a_share_in_are_an_error(name):
    told = r"scan: a gradient with respect to .* \(.*test_histories.py:\d+\) comes back to .*detach"
    with pytest.raises(GraphError, match=told):
        asked(OTHER[name], False, numbers())
    asked(OTHER[name], True, numbers())


def test_gradients_by_way_of_inputs_and_of_first_states():
    of_x = SAME["weights, of x_t"]
    with pytest.raises(GraphError, match=r"with respect to W .* comes back to x_t"):
        asked(of_x, False, numbers(W))
    other = tg.Parameter(np.eye(H))
    wanted = asked(of_x, True, numbers(other))
    for one, expected in zip(asked(of_x, False, numbers(other)), wanted, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-11)
    alike = SAME["a leaf of the carry, of both that are apart"]
    with pytest.raises(GraphError, match="comes back to"):
        asked(alike, False, numbers(), same=True)


def test_a_tensor_from_outside_is_not_the_steps_own_because_it_says_what_it_requires():
    w = tg.tensor(np.full(H, 0.5))

    def step(h: Tensor, x: Tensor) -> Any:
        w.requires_grad = True
        (g,) = tg.grad((tg.tanh(h * w) * x).sum(), [w], create_graph=True)
        return tg.tanh(h * w + g), g

    h = tg.tensor(np.ones((B, H)), requires_grad=True)
    with pytest.raises(GraphError, match=r"with respect to .* comes back to"):
        tg.scan(step, h, numbers())


def test_a_leaf_of_the_steps_own_may_be_told_later_that_it_requires_a_gradient():
    def step(h: Tensor, x: Tensor) -> Any:
        eps = tg.tensor(np.zeros((B, H)))
        eps.requires_grad = True
        (g,) = tg.grad((tg.tanh((h + eps) * x)).sum(), [eps], create_graph=True)
        return tg.tanh(h + g), g

    h = tg.tensor(np.ones((B, H)), requires_grad=True)
    wanted = tg.scan(step, h, numbers(), unroll=True)[1].numpy()
    np.testing.assert_allclose(tg.scan(step, h, numbers())[1].numpy(), wanted, rtol=1e-11)


@pytest.mark.parametrize("by_x", [True, False])
def test_a_leaf_of_the_carry_that_was_another_one_before(by_x):
    a = tg.tensor(np.full((B, H), 0.3), requires_grad=True)
    k = tg.tensor(np.full((B, H), 0.5), requires_grad=True)

    def step(state: Any, x: Tensor) -> Any:
        a, b, k = state
        (g,) = tg.grad(((1.0 if by_x else b) * k * k * x).sum(), [k], create_graph=True)
        return (a, b, a), g  # k is the first a from the second step on

    x = numbers() + a if by_x else numbers()
    b = tg.tensor(np.ones((B, H))) if by_x else a * 2.0
    with pytest.raises(GraphError, match=r"with respect to .* comes back to"):
        tg.scan(step, (a, b, k), x)
    one = x[:1]  # which has no step before it; but x_t is made of a, and k is not a yet
    wanted = tg.scan(step, (a, b, k), one, unroll=True)[1].numpy()
    np.testing.assert_allclose(tg.scan(step, (a, b, k), one)[1].numpy(), wanted, rtol=1e-11)


def test_where_leaves_change_places_only_what_they_were_made_of_counts():
    a, b, c = (tg.tensor(np.full((B, H), v), requires_grad=True) for v in (0.3, 0.5, 0.7))

    def step(state: Any, x: Tensor) -> Any:
        a, b, c = state
        (g,) = tg.grad((a * b * x).sum(), [b], create_graph=True)
        return (b, c, a), g

    wanted = tg.scan(step, (a, b, c), numbers(), unroll=True)[1].numpy()
    found = tg.scan(step, (a, b, c), numbers())[1].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-11)
    with pytest.raises(GraphError, match="comes back to"):  # at the third step a is c, and b of it
        tg.scan(step, (a, c * 2.0, c), numbers())


def test_a_single_step_has_none_before_it():
    step = asking(lambda s, x: [W])
    h = np.full((B, H), 0.3)
    wanted = step((tg.tensor(h, requires_grad=True), tg.tensor(h)), tg.tensor(h))[1][0]
    found = tg.compiled_step(step, (h, h), h)((h, h), h)[1][0]
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-11)
    x = numbers()[:1]
    for one, other in zip(asked(step, False, x), asked(step, True, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)
