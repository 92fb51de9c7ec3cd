"""What a recorded op knows of where it was made: scope, file and line, forward or backward."""

import inspect
import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Node, Tensor, grad


def node_of(t: Tensor) -> Node:
    assert t.node is not None
    return t.node


def leaf(*values: float) -> Tensor:
    return tg.tensor(np.array(values), requires_grad=True)


def here(lines_up: int = 1) -> str:
    """`file:line` of the caller, some lines further up."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno - lines_up}"


def helper(x: Tensor) -> Tensor:
    return tg.sigmoid(x)


HELPER_LINE = f"{__file__}:{helper.__code__.co_firstlineno + 1}"


# -- scopes ---------------------------------------------------------------------------------------


def test_ops_carry_the_names_of_their_scopes_from_the_outermost_in():
    x = leaf(1.0)
    assert node_of(x * 2).scope == ()
    with tg.scope("lstm"):
        with tg.scope("forget gate"):
            inner = x * 2
        middle = x * 2
    assert node_of(inner).scope == ("lstm", "forget gate")
    assert node_of(middle).scope == ("lstm",)
    assert node_of(x * 2).scope == ()


def test_a_scope_ends_with_its_block_also_by_an_error():
    x = leaf(1.0)
    with pytest.raises(KeyError), tg.scope("a"), tg.scope("b"):
        raise KeyError
    assert node_of(x * 2).scope == ()
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert (x * 2).requires_grad


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_scope_needs_a_name(name):
    with pytest.raises(TypeError, match="scope: name must be a non-empty string"):
        tg.scope(name)


def test_one_scope_can_be_entered_again_and_is_another_entry():
    x, again = leaf(1.0), tg.scope("cell")
    with again:
        first = node_of(x * 2)
    with again:
        second = node_of(x * 2)
    assert first.scope == second.scope == ("cell",)
    assert first.context.scope is not second.context.scope


def test_threads_do_not_see_each_others_scopes_nor_no_grad():
    x = leaf(1.0)
    inside, outside = threading.Event(), threading.Event()
    seen: dict[str, tuple[str, ...]] = {}

    def work() -> None:
        with tg.scope("worker"):
            inside.set()
            outside.wait(5)
            y = x * 2
            seen["worker"] = node_of(y).scope
            seen["recorded"] = ("yes",) if y.requires_grad else ()

    thread = threading.Thread(target=work)
    with tg.scope("main"), tg.no_grad():
        thread.start()
        assert inside.wait(5)
        assert (x * 2).node is None
        outside.set()
        thread.join()
    assert seen == {"worker": ("worker",), "recorded": ("yes",)}


def test_threads_can_differentiate_at_the_same_time():
    w = leaf(*np.linspace(-1, 1, 50))
    results: list[np.ndarray] = [np.empty(0)] * 4

    def work(k: int) -> None:
        y = w
        for _ in range(50):
            y = tg.tanh(y * (k + 1))
        results[k] = grad(y.sum(), w).data

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        found = results[k].copy()
        work(k)
        np.testing.assert_array_equal(found, results[k])


# -- file and line --------------------------------------------------------------------------------


def test_where_is_the_users_line_for_functions_methods_and_operators():
    x = leaf(1.0, 2.0)
    for y in (tg.exp(x), x.exp(), x + 1, 1 / x, -x, x**2, x @ x, x[0], x.T, abs(x)):
        assert node_of(y).where == here(1)
    y = tg.softmax(x)
    assert node_of(y).where == here()
    y: Any = np.exp(x)
    assert node_of(y).where == here()
    y = np.ones(2) * x
    assert node_of(y).where == here()
    y = np.sum(x)
    assert node_of(y).where == here()
    y = tg.einsum("ii->i", tg.unsqueeze(x, 0) * np.ones((2, 1)))
    assert node_of(y).where == here()
    first, _ = tg.split(x, 2)
    assert node_of(first).where == here()
    for row in x:
        assert node_of(row).where == here(1)
    y = tg.take(x, [0])
    assert node_of(y).where == here()


def test_where_is_the_line_inside_a_helper():
    assert node_of(helper(leaf(1.0))).where == HELPER_LINE
    results = [helper(leaf(float(k))) for k in range(2)]
    assert {node_of(y).where for y in results} == {HELPER_LINE}
    doubled = list(map(lambda t: t * 2, [leaf(1.0)]))
    assert node_of(doubled[0]).where == here()


def test_where_is_the_right_line_of_a_long_statement():
    x = leaf(1.0)
    y = (
        tg.exp(x)
        + tg.sin(
            x
        )
    )
    ops = {node.op.name: int(node.where.rsplit(":", 1)[1]) for node in tg.toposort([y])}
    top = int(here().rsplit(":", 1)[1]) - 7
    assert ops["exp"] == top + 2 and ops["sin"] == top + 3


# -- the backward graph ---------------------------------------------------------------------------


def test_backward_nodes_carry_the_scope_and_place_of_their_forward_op():
    x = leaf(0.3)
    with tg.scope("gate"):
        y = tg.tanh(x)
    where = here()
    total = y.sum()
    with tg.scope("elsewhere"):
        g = grad(total, x, create_graph=True)
    backward = [n for n in tg.toposort([g]) if n.is_backward]
    assert backward and not node_of(y).is_backward
    of_tanh = [n for n in backward if n.where == where]
    assert {n.scope for n in of_tanh} == {("gate",)}
    assert all(n.scope != ("elsewhere",) for n in backward)
    g2 = grad(g.sum(), x, create_graph=True)
    assert {n.scope for n in tg.toposort([g2]) if n.where == where} == {("gate",)}


def test_a_sum_of_shares_lies_in_the_scope_that_adds_it():
    x = leaf(0.3)
    with tg.scope("a"):
        a = tg.sin(x)
    with tg.scope("b"):
        b = tg.cos(x)
    g = grad((a * b).sum(), x, create_graph=True)
    assert node_of(g).op.name == "add" and node_of(g).scope == ("a",)


def test_gradients_are_recorded_only_when_asked():
    x = leaf(2.0)
    y = x * x
    before = node_of(x * 1).seq
    grad(y.sum(), x)
    assert node_of(x * 1).seq - before <= 2


# -- toposort -------------------------------------------------------------------------------------


def test_toposort_puts_every_node_after_its_inputs_and_names_each_once():
    rng = np.random.default_rng(0)
    tensors = [leaf(1.0) for _ in range(3)]
    for _ in range(200):
        i, j = rng.integers(0, len(tensors), 2)
        tensors.append(tensors[i] + tensors[j])
    order = tg.toposort([tensors[-1], tensors[-2]])
    place = {node: k for k, node in enumerate(order)}
    assert len(place) == len(order)
    for node in order:
        for t in node.inputs:
            assert t.node is None or place[t.node] < place[node]
    assert tg.toposort([leaf(1.0)]) == []


def test_repr_of_a_node_tells_op_name_shape_and_scope():
    with tg.scope("gate"):
        y = (leaf(1.0, 2.0) * 2).named("f_t")
    assert repr(y.node) == "Node(mul f_t (2,) in gate)"
