"""What a kernel is handed: a few numbers, and the arrays that it reads and writes."""

from __future__ import annotations

from collections.abc import Mapping

from .text import Function

__all__ = ["HEAD", "ITEMS_AT", "NUMBERS_AT", "Arguments", "Given"]

HEAD = ("T", "first", "rows", "scratch", "capacity", "packed", "arrays")
"""The first numbers that a kernel is given; then those of `Arguments.numbers`."""

NUMBERS_AT = object.__basicsize__
"""Where in an array's object the address of its numbers stands: behind what all objects have."""

ITEMS_AT = tuple.__basicsize__
"""Where in a tuple's object the addresses of its items begin."""


class Arguments:
    """What follows the head, in the order in which a kernel's functions ask for it.

    arrays: what the tuple holds whose id is among the head's numbers, as (list, position).
    numbers: for each number after the head, (list, position, what): of which array, and whether the
    id of the "array" itself is meant, as of invariants, or a stride ("time", "0", "1") in numbers.
    blocks: arrays (list, position) that are part of another, ("blocks", number): they have an
    "offset" in bytes instead.
    """

    def __init__(self, blocks: Mapping[tuple[str, int], int]) -> None:
        self.arrays: list[tuple[str, int]] = []
        self.numbers: list[tuple[str, int, str]] = []
        self.blocks = dict(blocks)

    def place_of_array(self, group: str, position: int) -> int:
        """Where in the tuple it stands."""
        if (group, position) not in self.arrays:
            self.arrays.append((group, position))
        return self.arrays.index((group, position))

    def place_of_number(self, group: str, position: int, what: str) -> int:
        """Where among all numbers it stands."""
        if (group, position, what) not in self.numbers:
            self.numbers.append((group, position, what))
        return len(HEAD) + self.numbers.index((group, position, what))


class Given:
    """The arguments as one function reads them, from memory at %args; what it had, it has again."""

    def __init__(self, arguments: Arguments, f: Function) -> None:
        self._arguments = arguments
        self._f = f
        self._had: dict[tuple[str, int, str], str] = {}

    def head(self, name: str, kind: str = "i64") -> str:
        """One of the head's numbers."""
        return self._at(HEAD.index(name), kind)

    def array(self, group: str, position: int) -> str:
        """A pointer to an array's numbers."""
        f, arguments, entry = self._f, self._arguments, (group, position, "array")
        if (group, position) in arguments.blocks:
            block = self.array("blocks", arguments.blocks[group, position])
            return f.at("i8", block, self.number(group, position, "offset"))
        if entry not in self._had:
            held = self._object(group, position)
            self._had[entry] = f.load("ptr", f.at("i8", held, NUMBERS_AT), 8)
        return self._had[entry]

    def number(self, group: str, position: int, what: str) -> str:
        """A stride or an offset."""
        entry = group, position, what
        if entry not in self._had:
            self._had[entry] = self._at(self._arguments.place_of_number(*entry), "i64")
        return self._had[entry]

    def _at(self, place: int, kind: str) -> str:
        return self._f.load(kind, self._f.at("i64", "%args", place), 8)

    def _object(self, group: str, position: int) -> str:
        """The address of Python's array. Invariants stay from call to call, each a number."""
        f = self._f
        if group == "invariants":
            return self._at(self._arguments.place_of_number(group, position, "array"), "ptr")
        place = self._arguments.place_of_array(group, position)
        items = f.at("i8", self.head("arrays", "ptr"), ITEMS_AT)
        return f.load("ptr", f.at("ptr", items, place), 8)
