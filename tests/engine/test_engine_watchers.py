"""Watched nodes: their gradients are told, whoever asks for a sweep, and nothing else changes."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.sweep import WATCHERS


class Watcher:
    def __init__(self, *tensors: Tensor) -> None:
        self.news: list[dict[int, Any]] = []
        for t in tensors:
            assert t.node is not None
            WATCHERS[t.node.seq] = self

    def arrived(self, gradients: dict[int, Any]) -> None:
        self.news.append(gradients)


def chain() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = tg.tensor(np.array([0.5, 2.0]), requires_grad=True)
    w = tg.tensor(np.array([1.5, -1.0]), requires_grad=True)
    a = x * w
    return x, w, a, (a * a).sum()


def test_a_watcher_is_told_the_gradient_of_its_node_by_backward():
    x, w, a, loss = chain()
    watcher = Watcher(a)
    loss.backward()
    ((number, gradient),) = watcher.news[0].items()
    assert a.node is not None and number == a.node.seq
    np.testing.assert_array_equal(gradient, 2 * a.data)
    assert x.grad is not None and w.grad is not None
    np.testing.assert_array_equal(x.grad.data, 2 * a.data * w.data)


@pytest.mark.parametrize("create_graph", [False, True])
def test_grad_tells_too_and_answers_as_ever(create_graph: bool):
    x, w, a, loss = chain()
    expected = tg.grad(loss, w, create_graph=create_graph)
    watcher = Watcher(a)
    found = tg.grad(loss, w, create_graph=create_graph)
    np.testing.assert_array_equal(found.data, expected.data)
    (news,) = watcher.news
    np.testing.assert_array_equal(np.asarray(*news.values()), 2 * a.data)
    assert x.grad is None


def test_a_node_that_only_its_watcher_leads_to_is_reached():
    _, w, a, _ = chain()
    b = w * 3.0
    watcher = Watcher(a)
    tg.grad((a * b).sum(), b)
    np.testing.assert_array_equal(np.asarray(*watcher.news[0].values()), b.data)


def test_a_sweep_that_passes_no_watched_node_tells_nobody():
    x, _, a, _ = chain()
    watcher = Watcher(a)
    (x * x).sum().backward()
    assert not watcher.news


def test_a_watcher_nobody_holds_is_forgotten():
    _, _, a, loss = chain()
    assert a.node is not None
    watcher = Watcher(a)
    assert WATCHERS[a.node.seq] is watcher
    del watcher
    gc.collect()
    assert a.node.seq not in WATCHERS
    loss.backward()
