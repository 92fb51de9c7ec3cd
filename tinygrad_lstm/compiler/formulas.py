"""What a graph computes, as lines that people read: `c_t = f_t * c_{t-1} + i_t * g_t`.

A value gets a line of its own where it has a name, is kept, or is read more than once; what is read
once is written where it is read. Knows nothing of backends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..tensor import Array
from .graph import Graph, Instruction
from .merge import last_axis_slice
from .tidy import is_view

__all__ = ["Formulas", "Text", "atom", "product_text", "source_of"]

_LONGEST = 64  # characters of a formula inside another one
_SHORT = 14  # characters of a formula that is as good as a name

_INFIX = {"add": (" + ", 1), "sub": (" - ", 1), "mul": (" * ", 2), "dropout": (" * ", 2)}
_INFIX |= {"div": (" / ", 2), "pow": ("**", 4)}
_ATOM = 5
_UNSEEN = frozenset(("reshape", "detach", "broadcast_to"))


class Text(NamedTuple):
    """A formula; level: how strongly its outermost operator binds; turned: its transpose."""

    string: str
    level: int
    turned: str

    def inside(self, level: int) -> str:
        """As an operand, in parentheses where its operator binds less."""
        return self.string if self.level >= level else f"({self.string})"

    def transposed(self) -> Text:
        """The formula of the transpose."""
        level = self.level if " @ " in self.turned else _ATOM
        return Text(self.turned, level, self.string)


def atom(string: str) -> Text:
    """A name, or what can stand as one."""
    return Text(string, _ATOM, f"{string}.T")


class Formulas:
    """Texts of a graph's values.

    known: values that have a name already. shown: values that get a line, whoever reads them.
    short: those of them which a short formula may stand for. inner: values that get none. place:
    the stage of each value that is computed; what another stage reads gets a line. letter: of
    numbered names.
    """

    def __init__(
        self,
        graph: Graph,
        known: Mapping[int, str | Text],
        letter: str,
        shown: Iterable[int] = (),
        short: Iterable[int] = (),
        inner: Iterable[int] = (),
        place: Mapping[int, int] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        self.graph = graph
        self.lines: dict[int, str] = {}  # value -> its formula
        self._letter = letter
        self._short = set(short)
        self._inner = set(inner)
        self._taken = set(taken)
        self._numbers = 0
        self._made = graph.producers()
        self._spread = _spread(graph, self._made)
        self._texts: dict[int, Text] = {}
        for v, name in known.items():
            self._texts[v] = name if isinstance(name, Text) else atom(name)
            self._taken.add(self._texts[v].string)
        self._shown = {*shown, *self._apart(place or {})}
        self._joint = self._joint_names()
        for i in graph.instructions:
            if i.out not in self._texts:
                self._add(i)

    def text(self, value: int) -> Text:
        """The value as others read it: its name, or its formula."""
        if value not in self._texts:
            array = self.graph.constants.get(value)
            self._texts[value] = atom(self._numbered() if array is None else _literal(array))
        return self._texts[value]

    def name(self, value: int) -> str:
        """The value as others read it."""
        return self.text(value).inside(_ATOM)

    # -- which values get a line, and how they are called ---------------------------------------

    def _apart(self, place: Mapping[int, int]) -> set[int]:
        """Values read more than once, or by another stage; reading a view is reading its source."""
        readers: Counter[int] = Counter()
        apart: set[int] = set()
        for i in self.graph.instructions:
            if not _is_seen_through(i):
                roots = [source_of(v, self._made) for v in i.inputs]
                readers.update(roots)
                here = place.get(i.out)
                apart.update(v for v in roots if v in place and place[v] != here)
        return apart | {v for v, count in readers.items() if count > 1}

    def _joint_names(self) -> dict[int, str]:
        """[i_t | f_t] for a value without a name that is made of named slices."""
        slices: dict[int, list[tuple[int, int, int]]] = {}
        for i in self.graph.instructions:
            found = last_axis_slice(i, self.graph)
            if found is not None and i.out in self.graph.names:
                slices.setdefault(found[0], []).append((found[1], found[2], i.out))
        joint: dict[int, str] = {}
        for whole, parts in slices.items():
            parts.sort()
            edges = [0, *(stop for _, stop, _ in parts)]
            if edges == [*(start for start, _, _ in parts), self.graph.spec(whole).shape[-1]]:
                names = [self._unused(self.graph.names[v]) for _, _, v in parts]
                if whole in self._made and whole not in self.graph.names:
                    joint[whole] = f"[{' | '.join(names)}]"
                elif whole not in self._texts:
                    continue
                for (_, _, v), name in zip(parts, names, strict=True):
                    self._texts[v] = atom(name)
        return joint

    def _unused(self, name: str) -> str:
        """The name, numbered if another value has it."""
        unique, k = name, 1
        while unique in self._taken:
            k += 1
            unique = f"{name}#{k}"
        self._taken.add(unique)
        return unique

    def _numbered(self) -> str:
        self._numbers += 1
        return self._unused(f"{self._letter}{self._numbers}")

    def _add(self, i: Instruction) -> None:
        made = self.formula(i)
        name = self.graph.names.get(i.out)
        seen_through = _is_seen_through(i) and i.out not in self._shown
        wanted = i.out in self._shown or name is not None or len(made.string) > _LONGEST
        if seen_through or i.out in self._inner or not (wanted or i.out in self._joint):
            self._texts[i.out] = made
            return
        if i.out in self._joint:
            label = self._joint[i.out]
        elif name is not None:
            label = self._unused(name)
        elif i.out in self._short and self._is_name_enough(i, made):
            label = made.inside(_ATOM)
        else:
            label = self._numbered()
        self.lines[i.out] = made.string
        self._texts[i.out] = atom(label)

    def _is_name_enough(self, i: Instruction, made: Text) -> bool:
        """Whether the formula, such as tanh(c_t), reads like a name."""
        read = [v for v in i.inputs if v not in self.graph.constants]
        return len(made.string) <= _SHORT and len(read) == 1 and read[0] in self.graph.names

    # -- formulas -------------------------------------------------------------------------------

    def formula(self, i: Instruction) -> Text:
        """What the instruction computes."""
        texts = [self.text(v) for v in i.inputs]
        name, attrs = i.op.name, i.attrs
        first = texts[0]
        if name in _UNSEEN:
            return first
        if name == "matmul":
            return product_text(*texts)
        if name in _INFIX:
            sign, level = _INFIX[name]
            left, right = texts
            after = level + (name in ("sub", "div", "pow"))
            string = left.inside(level) + sign + right.inside(after)
            return Text(string, level, f"({string}).T")
        if name == "neg":
            return Text(f"-{first.inside(3)}", 3, f"(-{first.inside(3)}).T")
        if name == "transpose":
            axes = attrs["axes"]
            if axes == (1, 0):
                return first.transposed()
            return atom(f"{first.inside(_ATOM)}.transpose{axes}")
        if name == "getitem":
            return atom(first.inside(_ATOM) + _index(attrs["index"]))
        if name == "scatter":
            return atom(f"put({first.string}, at={_index(attrs['index'])})")
        if name == "concatenate":
            return atom(f"[{' | '.join(t.string for t in texts)}]")
        options = [f"{key}={_value(value)}" for key, value in attrs.items() if value is not False]
        if name == "sum" and not attrs["keepdims"] and i.out in self._spread:
            options.append("keepdims=True")
        return atom(f"{name}({', '.join([*(t.string for t in texts), *options])})")


def _spread(graph: Graph, made: Mapping[int, Instruction]) -> set[int]:
    """Sums of which all readers are reshapes to what keepdims gives, which formulas do not show."""
    found: set[int] = set()
    others = set(graph.outputs)
    for i in graph.instructions:
        others.update(v for v in i.inputs if i.op.name != "reshape")
    for i in graph.instructions:
        summed = made.get(i.inputs[0]) if i.op.name == "reshape" else None
        if summed is not None and summed.op.name == "sum":
            whole = graph.spec(summed.inputs[0]).shape
            axes = {axis % len(whole) for axis in summed.attrs["axis"]}
            if graph.spec(i.out).shape == tuple(1 if k in axes else n for k, n in enumerate(whole)):
                found.add(summed.out)
            else:
                others.add(summed.out)
    return found - others


def source_of(value: int, made: Mapping[int, Instruction]) -> int:
    """What the value is a view of; made: the instructions by what they make."""
    while value in made and _is_seen_through(made[value]):
        (value,) = made[value].inputs
    return value


def _is_seen_through(i: Instruction) -> bool:
    return i.op.name in _UNSEEN or is_view(i)


def product_text(left: Text, right: Text) -> Text:
    """left @ right; its transpose is the product of the transposes."""
    factors = left, right
    turned = [t.transposed().inside(_ATOM) for t in reversed(factors)]
    return Text(" @ ".join(t.inside(_ATOM) for t in factors), 2, " @ ".join(turned))


def _literal(array: Array) -> str:
    if array.size and (array == array.flat[0]).all():
        return f"{array.flat[0]:g}" if array.dtype.kind == "f" else str(array.flat[0])
    return f"constants {array.shape}"


def _index(index: Any) -> str:
    parts: list[Any] = list(index) if isinstance(index, tuple) else [index]
    if any(p is Ellipsis for p in parts):
        while isinstance(parts[0], slice) and parts[0] == slice(None):
            parts = parts[1:]
    return f"[{', '.join(map(_index_part, parts))}]"


def _index_part(part: Any) -> str:
    if part is Ellipsis:
        return "..."
    if isinstance(part, slice):
        ends = ["" if k is None else str(k) for k in (part.start, part.stop)]
        return ":".join(ends if part.step is None else [*ends, str(part.step)])
    return _value(part)


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array{value.shape}"
    if isinstance(value, tuple) and len(value) == 1:
        return str(value[0])
    return str(value)
