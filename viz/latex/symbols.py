"""Which symbol each tensor of a graph is written with: one symbol, one tensor.

Knows names, scopes and the order of recording. `h_t` of the scope `t=3` is h_3; what still shares
a name is told apart by the scope it stands in, or counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from tinygrad_lstm import Node, Parameter, Tensor

from ..roles import textbook_name
from .notation import literal, symbol, with_label, with_step
from .reading import Key, constant_of

__all__ = ["Symbols"]

_STEP = re.compile(r"t=(-?\d{1,9})")
_NUMBERED = re.compile(r"[A-Za-z ]+ (\d+)(?: (.+))?")
_LONGEST_LABEL = 24


class Symbols:
    """The symbols of the named tensors and leaves of a graph; new ones on request.

    nodes: in the order of recording.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._texts: dict[Node | int, str] = {}
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}
        self._users = _first_and_only_users(nodes)
        named: list[Key] = [node for node in nodes if node.name]
        leaves = {id(t): t for node in nodes for t in node.inputs if t.node is None}
        named += [t for t in leaves.values() if t.name]
        for text, keys in self._groups(named).items():
            self._tell_apart(text, keys)
        for t in leaves.values():
            if not t.name and constant_of(t) is None:
                base = {"i": "k", "u": "k", "b": "m"}.get(t.dtype.kind, "X")
                self._texts[id(t)] = self.fresh(r"\theta" if isinstance(t, Parameter) else base)

    def of(self, key: Key) -> str | None:
        """The symbol of a node or leaf; None for an unnamed node and a constant."""
        return self._texts.get(id(key) if isinstance(key, Tensor) else key)

    def give(self, node: Node, text: str) -> str:
        """Make `text`, or a counted form of it, the symbol of a node."""
        self._texts[node] = self.unused(text)
        return self._texts[node]

    def give_fresh(self, node: Node, base: str) -> str:
        """Make the next of `base_1`, `base_2`, ... the symbol of a node."""
        self._texts[node] = self.fresh(base)
        return self._texts[node]

    def fresh(self, base: str) -> str:
        """`base_1`, `base_2`, ...: the next that nobody uses."""
        while True:
            k = self._counts[base] = self._counts.get(base, 0) + 1
            text = f"{base}_{k}" if k < 10 else f"{base}_{{{k}}}"
            if text not in self._used:
                self._used.add(text)
                return text

    def unused(self, text: str) -> str:
        """`text` itself where it is free, else counted."""
        free, k = text, 1
        while free in self._used:
            k += 1
            free = with_label(text, str(k))
        self._used.add(free)
        return free

    # -- names ------------------------------------------------------------------------------------

    def _groups(self, named: Sequence[Key]) -> dict[str, list[Key]]:
        """The tensors by their names as LaTeX, at the time step they belong to.

        A state that enters the first step has that step's number, unless a step's own has it.
        """
        groups: dict[str, list[Key]] = {}
        others: list[Key] = []
        for key in named:
            step = _step(key) if isinstance(key, Node) else None
            if step is None:
                others.append(key)
            else:
                groups.setdefault(with_step(_latex_name(key), step), []).append(key)
        taken = set(groups)
        for key in others:
            text = _latex_name(key)
            step = self._step_of_users(key)
            at_step = text if step is None else with_step(text, step)
            groups.setdefault(text if at_step in taken else at_step, []).append(key)
        return groups

    def _step_of_users(self, key: Key) -> int | None:
        """The one step that all users of a tensor belong to: of a state that enters the first."""
        users = self._users.get(id(key) if isinstance(key, Tensor) else key, ())
        steps = {_step(user) for user in users}
        return steps.pop() if len(steps) == 1 else None

    def _tell_apart(self, text: str, keys: list[Key]) -> None:
        """Give each of the keys that share a text one of its own."""
        stepped = [key for key in keys if _latex_name(key) != text]
        if stepped and len(stepped) < len(keys):  # h_0 by name is not h_t at t=0
            spelled = [key for key in keys if _latex_name(key) == text]
            self._tell_apart(literal(_name(spelled[0])), spelled)
            keys = stepped
        if len(keys) == 1:
            self._put(keys[0], self.unused(text))
            return
        keys.sort(key=lambda key: key.seq if isinstance(key, Node) else -1)
        labels = _labels([self._path(key) for key in keys])
        for key, label in zip(keys, labels, strict=True):
            self._put(key, self.unused(with_label(text, label)))

    def _put(self, key: Key, text: str) -> None:
        self._texts[id(key) if isinstance(key, Tensor) else key] = text

    def _path(self, key: Key) -> tuple[str, ...]:
        """The scopes a tensor stands in; a leaf stands where it is used first."""
        if isinstance(key, Node):
            return key.scope
        users = self._users.get(id(key), ())
        return users[0].scope if users else ()


def _name(key: Key) -> str:
    """The name as pictures write it: `W_{ih}` for the parameter weight_ih_l0."""
    name = key.name or ""
    return textbook_name(name) if isinstance(key, Parameter) else name


def _latex_name(key: Key) -> str:
    return symbol(_name(key))


def _step(node: Node) -> int | None:
    """The time step of the innermost scope called `t=...`."""
    for name in reversed(node.scope):
        found = _STEP.fullmatch(name)
        if found:
            return int(found[1])
    return None


def _first_and_only_users(nodes: Iterable[Node]) -> dict[Node | int, list[Node]]:
    """For each named tensor the forward nodes that read it."""
    users: dict[Node | int, list[Node]] = {}
    for node in nodes:
        if not node.is_backward:
            for t in node.inputs:
                if t.name:
                    users.setdefault(id(t) if t.node is None else t.node, []).append(node)
    return users


def _labels(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """A label for each path: the first scope where they differ, such as a layer, and a count.

    Where that scope says nothing, or too much, the count alone.
    """
    counts: dict[str, int] = {}
    firsts = next((c for c in zip_longest(*paths, fillvalue="") if len(set(c)) > 1), None)
    names = [_short(scope) for scope in firsts] if firsts else []
    if not names or not all(names) or max(map(len, names)) > _LONGEST_LABEL:
        return [str(k) for k in range(1, len(paths) + 1)]
    labels: list[str] = []
    for name in names:
        k = counts[name] = counts.get(name, 0) + 1
        labels.append(name if k == 1 else f"{name},{k}")
    return labels


def _short(scope: str) -> str:
    """`layer 1` is 1, `encoder` itself, upright."""
    found = _NUMBERED.fullmatch(scope)
    if found is None:
        return literal(scope) if scope else ""
    return found[1] if found[2] is None else f"{found[1]},{literal(found[2])}"
