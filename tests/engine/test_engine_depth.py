"""Depth costs no stack, and a graph is freed at once, without the garbage collector."""

import contextlib
import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Node, NonFiniteError, ShapeError, Tensor, grad


def chain(x: Tensor, length: int) -> Tensor:
    y = x
    for _ in range(length):
        y = y * 1.0
    return y


def one() -> Tensor:
    return tg.tensor(np.array(2.0), requires_grad=True)


@contextlib.contextmanager
def low_recursion_limit() -> Iterator[None]:
    """A limit that anything that recurses along a chain of thousands must break."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """With the collector off; afterwards there must be nothing for it to find."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() == 0
    finally:
        gc.enable()


def count(kind: type) -> int:
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


# -- depth ----------------------------------------------------------------------------------------


def check_chain(length: int, create_graph: bool) -> None:
    x = one()
    y = chain(x, length)
    g = grad(y, x, create_graph=create_graph)
    assert g.item() == 1.0
    last = weakref.ref(y)
    del y
    assert last() is None
    del g


def test_a_chain_of_a_hundred_thousand_ops_is_built_differentiated_and_freed():
    check_chain(100_000, create_graph=False)


def test_a_chain_of_twenty_thousand_ops_records_its_backward_pass():
    check_chain(20_000, create_graph=True)


@pytest.mark.slow
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_chain_of_a_million_ops_is_built_differentiated_and_freed(create_graph):
    check_chain(1_000_000, create_graph)


def test_nothing_recurses_along_a_chain():
    with low_recursion_limit():
        x = one()
        y = chain(x, 3000)
        assert "op=mul" in repr(y) and repr(y.node) and y.node is not None and y.node.where
        assert y.detach().item() == 2.0
        y.backward()
        y.backward(create_graph=True)
        x.grad = None
        first = grad(y * y, x, create_graph=True)
        assert grad(first, x).item() == 2.0
        assert len(tg.toposort([y])) == 3000
        x.data = np.array(3.0)
        with pytest.raises(tg.GraphError, match="changed"):
            y.backward()
        del y, first


def test_nothing_recurses_along_a_sum_of_many_terms_or_a_deep_chain_of_scopes():
    with low_recursion_limit(), contextlib.ExitStack() as stack:
        for k in range(1000):
            stack.enter_context(tg.scope(f"s{k}"))
        x = one()
        terms = [x * float(k) for k in range(2000)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        assert grad(total, x).item() == sum(range(2000))
        assert total.node is not None and len(total.node.scope) == 1000


def test_gradcheck_does_not_recurse_along_a_chain():
    with low_recursion_limit():
        assert tg.gradcheck(lambda t: chain(tg.sin(t), 400), one(), order=2)


# -- memory ---------------------------------------------------------------------------------------


def model(x: Tensor, w: Tensor) -> Tensor:
    """A few steps of a recurrence, with something of every kind of op."""
    h = tg.tensor(np.zeros((2, 3)))
    for t in range(5):
        with tg.scope(f"t={t}"):
            h = tg.tanh(h @ w + x[t]).named(f"h_{t}")
            h = tg.concatenate(tg.split(h, 3, axis=1), axis=1)
    return (tg.softmax(h) * tg.where(h.data > 0, h, 0.0)).sum()


def inputs() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(5, 2, 3)), requires_grad=True)
    return x, tg.tensor(rng.normal(size=(3, 3)), requires_grad=True)


def test_del_loss_frees_the_whole_graph():
    x, w = inputs()
    with no_collector():
        nodes, tensors = count(Node), count(Tensor)
        loss = model(x, w)
        assert count(Node) > nodes + 30
        inner = weakref.ref(loss.node.inputs[0]) if loss.node else None
        assert inner is not None and inner() is not None
        del loss
        assert inner() is None
        assert (count(Node), count(Tensor)) == (nodes, tensors)


def test_backward_leaves_only_the_gradients():
    x, w = inputs()
    with no_collector():
        nodes, tensors = count(Node), count(Tensor)
        loss = model(x, w)
        loss.backward()
        del loss
        assert (count(Node), count(Tensor)) == (nodes, tensors + 2)


def test_a_recorded_backward_pass_is_freed_too():
    x, w = inputs()
    with no_collector():
        nodes, tensors = count(Node), count(Tensor)
        loss = model(x, w)
        first = grad(loss, [x, w], create_graph=True)
        second = grad(first[1].sum(), w)
        del loss, first, second
        assert (count(Node), count(Tensor)) == (nodes, tensors)


def test_clearing_grad_frees_what_backward_with_create_graph_recorded():
    x, w = inputs()
    with no_collector():
        nodes = count(Node)
        model(x, w).backward(create_graph=True)
        assert count(Node) > nodes
        x.grad = w.grad = None
        assert count(Node) == nodes


def fail_forward(x: Tensor, w: Tensor) -> None:
    h = tg.tanh(x[0] @ w)
    (h @ x[0]).sum()


def fail_anomaly(x: Tensor, w: Tensor) -> None:
    with tg.detect_anomaly(), tg.scope("bad"):
        tg.log(tg.tanh(x[0] @ w) * 0.0)


def fail_backward(x: Tensor, w: Tensor) -> None:
    with tg.detect_anomaly():
        y = tg.sqrt((x[0] @ w) * 0.0)
        grad(y.sum(), x)


def fail_index(x: Tensor, w: Tensor) -> None:
    tg.exp(x)[99]


@pytest.mark.parametrize(
    "fail, kind",
    [
        (fail_forward, ShapeError),
        (fail_anomaly, NonFiniteError),
        (fail_backward, NonFiniteError),
        (fail_index, IndexError),
    ],
)
def test_an_error_keeps_nothing_alive_once_it_is_handled(fail: Any, kind: type[Exception]):
    x, w = inputs()
    with no_collector():
        nodes, tensors = count(Node), count(Tensor)
        try:
            fail(x, w)
        except kind:
            pass
        else:
            pytest.fail("no error")
        assert (count(Node), count(Tensor)) == (nodes, tensors)


def test_products_with_jacobians_leave_nothing_behind():
    _, w = inputs()
    with no_collector():
        nodes = count(Node)
        tg.hessian(lambda v: tg.tanh(v).sum(), w)
        tg.jvp(tg.tanh, w, np.ones((3, 3)))
        tg.hvp(lambda v: tg.exp(v).sum(), w, np.ones((3, 3)))
        tg.gradcheck(tg.tanh, [w])
        assert count(Node) == nodes


def test_no_grad_records_nothing():
    x, w = inputs()
    with no_collector(), tg.no_grad():
        nodes = count(Node)
        loss = model(x, w)
        assert loss.node is None and not loss.requires_grad and count(Node) == nodes
