"""The sweep: cotangents carried back through the graph, on arrays or on tensors.

On arrays nothing is recorded and this is the hot path of training. On tensors the rules record
themselves, which gives gradients of gradients. Depth costs no stack: there is no recursion.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np

from .context import CONTEXT, at_place, detect_anomaly
from .errors import GraphError
from .ops import sum_to
from .tensor import OWN, Array, Bundle, Node, Op, Tensor, _wrap
from .wording import check_finite, describe, describe_call

__all__ = ["WATCHERS", "Key", "Observer", "Watcher", "key_of", "sweep", "toposort"]

Key = Node | Tensor
"""What a gradient belongs to: the node of a computed tensor, or the leaf itself."""

Observer = Callable[[Node, int, Any], None]
"""Told of each edge's contribution: (node, input position, gradient)."""


class Watcher(Protocol):
    """Somebody who wants the gradients of nodes, whoever asks for a sweep."""

    def arrived(self, gradients: dict[int, Any]) -> None:
        """The gradients of one sweep, by the number of the node."""
        ...


WATCHERS: WeakValueDictionary[int, Watcher] = WeakValueDictionary()
"""Who watches a node, by its number. A node knows nobody, so that graphs have no cycles."""


def key_of(t: Tensor) -> Key:
    """What stands for `t` in the graph."""
    return t if t.node is None else t.node


def toposort(outputs: Iterable[Tensor], *, needing_grad: bool = False) -> list[Node]:
    """Every node the outputs were computed from, each after its inputs.

    needing_grad: leave out what no gradient flows to. Nodes are numbered as they are recorded, so
    the order of recording is a topological order and reaching them is all that has to be done.
    """
    return _reach(outputs, needing_grad)[0]


def _reach(outputs: Iterable[Tensor], needing_grad: bool) -> tuple[list[Node], set[Tensor]]:
    """The nodes in order, and the leaves."""
    nodes: set[Node] = set()
    leaves: set[Tensor] = set()
    stack: list[Iterable[Tensor]] = [outputs]
    while stack:
        for t in stack.pop():
            if t._requires_grad or not needing_grad:
                node = t.node
                if node is None:
                    leaves.add(t)
                elif node not in nodes:
                    nodes.add(node)
                    stack.append(node.inputs)
    return sorted(nodes, key=_seq), leaves


_seq = operator.attrgetter("seq")


def sweep(
    outputs: Sequence[Tensor],
    seeds: Sequence[Any],
    wanted: Sequence[Key] | None,
    *,
    create_graph: bool = False,
    observer: Observer | None = None,
) -> dict[Key, Any]:
    """Carry the seeds back through the graph; gradients by key, for leaves or for `wanted`.

    wanted: keys to keep; None keeps every leaf's. observer: told of each edge's contribution.
    Without `create_graph`, the gradients are arrays of their own, shared with nothing.
    """
    context = CONTEXT.get()
    if context.tracer is not None and (wanted is None or not create_graph):
        for t in outputs:  # in a step that is being compiled only what is recorded is of each step
            context.tracer.check_concrete(t)
    order, leaves = _reach(outputs, True)
    keep: set[Key] = set() if wanted is None else set(wanted)
    if context.tracer is not None:
        context.tracer.note_gradient(leaves, keep)
    asked = keep
    watched = [node for node in order if node.seq in WATCHERS] if WATCHERS else None
    if watched:
        keep = keep.union(watched)
    reaching: set[Key] | None = None
    if wanted is not None and not leaves <= keep:
        reaching = _reaching(order, keep)
        order = [node for node in order if node in reaching]
        reaching |= keep
    if order and order[0].seq < Tensor.last_change:
        _check_unchanged(outputs, order)
    gradients: dict[Key, Any] = {}
    for t, seed in zip(outputs, seeds):  # noqa: B905 - as many; a keyword takes its time here
        if isinstance(seed, Tensor) is not create_graph:
            seed = _wrap(seed, None, False) if create_graph else seed._data
        key = t.node or t
        gradients[key] = gradients[key] + seed if key in gradients else seed
    run = _on_tensors if create_graph else _on_arrays
    if context.anomaly or (
        detect_anomaly.ever_used and any(node.context.anomaly for node in order)
    ):
        with np.errstate(all="ignore"):
            run(order, gradients, keep, reaching, _finite(observer))
    else:
        run(order, gradients, keep, reaching, observer)
    if not watched and reaching is None:
        return gradients
    if watched:
        _tell(watched, gradients)
    asked = set(leaves) if wanted is None else asked
    return {key: g for key, g in gradients.items() if key in asked}


def _tell(watched: Sequence[Node], gradients: dict[Key, Any]) -> None:
    """Hand each watcher the gradients of its nodes."""
    found: dict[Watcher, dict[int, Any]] = {}
    for node in watched:
        watcher = WATCHERS.get(node.seq)
        if watcher is not None and node in gradients:
            found.setdefault(watcher, {})[node.seq] = gradients[node]
    for watcher, news in found.items():
        watcher.arrived(news)


def _reaching(order: Sequence[Node], keep: set[Key]) -> set[Key]:
    """The nodes on a path from a wanted key to an output: all that has to be swept."""
    reaching: set[Key] = set()
    for node in order:
        for t in node.inputs:
            key = t if t.node is None else t.node
            if key in keep or key in reaching:
                reaching.add(node)
                break
    return reaching


def _on_arrays(
    order: Sequence[Node],
    gradients: dict[Key, Any],
    keep: set[Key],
    reaching: set[Key] | None,
    observer: Observer | None,
) -> None:
    """The hot path. A weight's share of many products waits, to become one product at the end."""
    owned: set[Key] = set()  # keys whose array was made here, so that it may be added to in place
    waiting: dict[Key, _Waiting] = {}
    take = gradients.pop
    for node in reversed(order):
        if waiting and node in waiting:
            _settle(node, waiting, gradients, owned)
        g = take(node, None)
        if g is None:
            continue
        if node in keep:
            gradients[node] = g
        op = node.op
        if op.pullback is not None:
            _share_out(node, g, gradients, owned, reaching, observer)
            continue
        inputs, attrs = node.inputs, node.attrs
        count = len(inputs)
        if count == 1:
            arrays = [inputs[0]._data]
        elif count == 2:
            arrays = [inputs[0]._data, inputs[1]._data]
        else:
            arrays = [t._data for t in inputs]
        position = -1
        for t in inputs:
            position += 1
            if not t._requires_grad:
                continue
            key = t.node or t
            if reaching is not None and key not in reaching:
                continue
            if op.is_gathered and observer is None:
                if position == 0 and op.adds_into is not None:
                    _own(key, arrays[0], gradients, owned)
                    op.adds_into(gradients[key], g, *arrays[1:], **attrs)
                    continue
                if position == 1 and op.collect is not None and arrays[position].ndim == 2:
                    if key not in waiting:
                        waiting[key] = _Waiting()
                    if waiting[key].takes(op, g, arrays[0]):
                        continue
            rule = op.vjps[position]
            if rule is None:
                continue
            part = rule(g, node._value, *arrays, **attrs)
            shape = arrays[position].shape
            if part.shape != shape:
                if observer is None and op.elementwise and _is_row(part, shape):
                    if key not in waiting:
                        waiting[key] = _Waiting()
                    waiting[key].rows.append(part)
                    continue
                part = _unbroadcast(part, shape, node, position)
            if key in gradients:
                _add(key, part, gradients, owned)
            else:
                gradients[key] = part
            if observer is not None:
                observer(node, position, part)
    for key in tuple(waiting):
        _settle(key, waiting, gradients, owned)
    if len(owned) < len(gradients) or not owned.issuperset(gradients):
        _own_alone(gradients)
        for key, g in gradients.items():
            if key not in owned:
                gradients[key] = np.array(g)


class _Waiting:
    """Shares of one key that are added up at once: products of one op, and rows."""

    __slots__ = ("op", "rows", "uses")

    def __init__(self) -> None:
        self.op: Op | None = None
        self.uses: list[tuple[Array, Array]] = []
        self.rows: list[Array] = []

    def takes(self, op: Op, g: Array, left: Array) -> bool:
        """Keep a product's factors, unless products of another op wait already."""
        if self.op is None:
            self.op = op
        elif self.op is not op:
            return False
        self.uses.append((g, left))
        return True


def _add(key: Key, part: Any, gradients: dict[Key, Any], owned: set[Key]) -> None:
    """Add to the gradient that is there, in place where it is an array made here."""
    if key in owned:
        gradients[key] += part
        return
    total = gradients[key] + part
    if total.__class__ is np.ndarray:
        owned.add(key)
    gradients[key] = total if isinstance(total, Bundle) else np.asarray(total)


def _own_alone(gradients: dict[Key, Any]) -> None:
    """What is asked of a node with several results is the gradient of its own value."""
    for key, g in tuple(gradients.items()):
        if isinstance(g, Bundle):
            del gradients[key]
            if OWN in g:
                gradients[key] = g[OWN]


def _share_out(
    node: Node,
    g: Any,
    gradients: dict[Key, Any],
    owned: set[Key],
    reaching: set[Key] | None,
    observer: Observer | None,
) -> None:
    """All inputs' shares at once, which are arrays of their own."""
    pullback, inputs = node.op.pullback, node.inputs
    shares = () if pullback is None else pullback(g, node, False)
    position = -1
    for t, part in zip(inputs, shares):  # noqa: B905 - as above
        position += 1
        if part is None or not t._requires_grad:
            continue
        key = t.node or t
        if reaching is not None and key not in reaching:
            continue
        if part.__class__ is Bundle:
            gradients[key] = part + gradients[key] if key in gradients else part
            owned.discard(key)
            continue
        if key in gradients:
            _add(key, part, gradients, owned)
        else:
            gradients[key] = part
            owned.add(key)
        if observer is not None:
            observer(node, position, part)


def _is_row(part: Array, shape: tuple[int, ...]) -> bool:
    """Whether a vector was added to every row of a matrix: a bias."""
    return part.ndim == 2 and len(shape) == 1 and part.shape[1] == shape[0]


def _own(key: Key, like: Array, gradients: dict[Key, Any], owned: set[Key]) -> None:
    """Make sure the key's gradient is an array that may be added to in place."""
    if key not in owned:
        present = gradients.get(key)
        gradients[key] = np.zeros_like(like) if present is None else np.array(present)
        owned.add(key)


def _settle(
    key: Key, waiting: dict[Key, _Waiting], gradients: dict[Key, Any], owned: set[Key]
) -> None:
    """Add what waited for `key`: all its products as one, all its rows in one sum."""
    wait = waiting.pop(key)
    totals: list[Array] = []
    if wait.op is not None and wait.op.collect is not None:
        totals.append(wait.op.collect(wait.uses))
    if wait.rows:
        together = wait.rows[0] if len(wait.rows) == 1 else np.concatenate(wait.rows)
        totals.append(np.add.reduce(together, axis=0))
    for total in totals:
        if key in gradients:
            _add(key, total, gradients, owned)
        else:
            gradients[key] = total
            owned.add(key)


def _on_tensors(
    order: Sequence[Node],
    gradients: dict[Key, Any],
    keep: set[Key],
    reaching: set[Key] | None,
    observer: Observer | None,
) -> None:
    """The same with recorded ops, in the scope and at the place of the forward op."""
    for node in reversed(order):
        g = gradients.get(node)
        if g is None:
            continue
        if node not in keep:
            del gradients[node]
        with at_place(node.context, node.place):
            out = node.output()
            pullback = node.op.pullback
            shares = None if pullback is None else pullback(g, node, True)
            for position, t in enumerate(node.inputs):
                key = key_of(t)
                if not t._requires_grad or (reaching is not None and key not in reaching):
                    continue
                if shares is not None:
                    part = shares[position]
                else:
                    rule = node.op.vjps[position]
                    part = None if rule is None else rule(g, out, *node.inputs, **node.attrs)
                if part is None:
                    continue
                present = gradients.get(key)
                if isinstance(part, Bundle):
                    gradients[key] = part if present is None else part + present
                    continue
                if part.shape != t.shape:
                    part = _unbroadcast(part, t.shape, node, position)
                gradients[key] = part if present is None else present + part
                if observer is not None:
                    observer(node, position, part)
    _own_alone(gradients)


def _unbroadcast(part: Any, shape: tuple[int, ...], node: Node, position: int) -> Any:
    if not node.op.elementwise:
        call = describe_call(node.op, node.inputs, node.attrs, node.context)
        raise GraphError(
            f"internal error: the rule of {call} for input {position} gave shape {part.shape}"
        )
    return sum_to(part, shape)


def _finite(observer: Observer | None) -> Observer:
    """An observer that lets no NaN or infinity pass."""

    def observe(node: Node, position: int, part: Any) -> None:
        check_finite(node, part._data if isinstance(part, Tensor) else part, "backward of ")
        if observer is not None:
            observer(node, position, part)

    return observe


def _check_unchanged(outputs: Sequence[Tensor], swept: Iterable[Key]) -> None:
    """Raise if a leaf got new data after an op used it and before the sweep reads it again.

    An op that is not swept matters where its value is a view of the leaf's array.
    """
    swept = set(swept)
    for node in toposort(outputs):
        for t in node.inputs:
            if t.node is not None or t._changed < node.seq:
                continue
            is_view = isinstance(node._value, np.ndarray) and np.may_share_memory(
                node._value, t._data
            )
            if node in swept or is_view:
                call = describe_call(node.op, node.inputs, {}, node.context)
                raise GraphError(
                    f"backward: the data of {describe(t)} changed after it was used in {call} "
                    f"({node.where}); its gradient would be wrong. Run the forward pass again"
                )
