"""LLVM's assembly language, written line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Function", "Scalar"]


class Scalar:
    """A floating-point type: how LLVM writes it, its bits, and how many fit a vector register."""

    def __init__(self, name: str, bits: int, lanes: int) -> None:
        self.name = name
        self.bits = bits
        self.lanes = lanes
        self.suffix = f"f{bits}"
        self.integer = f"i{bits}"

    @property
    def bytes(self) -> int:
        return self.bits // 8

    def vector(self, width: int) -> str:
        """The type of `width` numbers."""
        return f"<{width} x {self.name}>"

    def padded(self, count: int) -> int:
        """`count` rounded up to whole vector registers."""
        return -(-count // self.lanes) * self.lanes


class Function:
    """One function under construction. Values are written `%1`, labels and slots by name.

    products: the values that are products of two others.
    """

    def __init__(self, header: str, attributes: str = "#0") -> None:
        self.header = header
        self.attributes = attributes
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.block = "entry"
        self.products: set[str] = set()
        self._count = 0

    def __str__(self) -> str:
        head = f"define {self.header} {self.attributes} {{\nentry:"
        return "\n".join([head, *self.slots, *self.lines, "}"])

    def let(self, text: str) -> str:
        """A new value."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def slot(self, kind: str) -> str:
        """Memory for one value, which the optimiser turns into a register."""
        self._count += 1
        name = f"%s{self._count}"
        self.slots.append(f"  {name} = alloca {kind}, align 64")
        return name

    def label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    # -- addresses and integers ---------------------------------------------------------------

    def at(self, kind: str, pointer: str, index: str | int) -> str:
        """The address of pointer[index]."""
        if index == 0:
            return pointer
        return self.let(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def load(self, kind: str, pointer: str, align: int) -> str:
        return self.let(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, kind: str, value: str, pointer: str, align: int) -> None:
        self.do(f"store {kind} {value}, ptr {pointer}, align {align}")

    def mul(self, a: str | int, b: str | int) -> str:
        return self.let(f"mul nsw i64 {a}, {b}")

    def add(self, a: str | int, b: str | int) -> str:
        return self.let(f"add nsw i64 {a}, {b}")

    # -- flow ---------------------------------------------------------------------------------

    @contextmanager
    def loop(self, stop: str | int, start: str | int = 0, step: int = 1) -> Iterator[str]:
        """for i in range(start, stop, step); with a negative step it ends below `stop`."""
        head, body, latch, done = (self.label() for _ in range(4))
        before, index, following = self.block, f"%i.{head}", f"%n.{head}"
        self.do(f"br label %{head}")
        self.start(head)
        self.do(f"{index} = phi i64 [{start}, %{before}], [{following}, %{latch}]")
        inside = self.let(f"icmp {'slt' if step > 0 else 'sgt'} i64 {index}, {stop}")
        self.do(f"br i1 {inside}, label %{body}, label %{done}")
        self.start(body)
        yield index
        self.do(f"br label %{latch}")
        self.start(latch)
        self.do(f"{following} = add nsw i64 {index}, {step}")
        self.do(f"br label %{head}")
        self.start(done)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """if condition: ..."""
        then, after = self.label(), self.label()
        self.do(f"br i1 {condition}, label %{then}, label %{after}")
        self.start(then)
        yield
        self.do(f"br label %{after}")
        self.start(after)

    @contextmanager
    def cases(self, value: str, choices: Sequence[int]) -> Iterator[dict[int, str]]:
        """A switch: the body must `start` each label, and end each block with `leave`."""
        labels = {choice: self.label() for choice in choices}
        after = self.label()
        self._after = after
        table = " ".join(f"i64 {c}, label %{lab}" for c, lab in labels.items())
        self.do(f"switch i64 {value}, label %{after} [{table}]")
        yield labels
        self.start(after)

    def leave(self) -> None:
        """End a case."""
        self.do(f"br label %{self._after}")
