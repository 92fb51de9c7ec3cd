"""A recorded graph with everything numbered: ops, leaves and scopes, in the order of recording.

Knows nothing of what a picture shows. Numbers replace object identities here, once, so that the
same computation gives the same picture in every process. Everything is iterative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tinygrad_lstm import Node, Parameter, Tensor, toposort
from tinygrad_lstm.context import ScopeFrame

__all__ = ["NO_FRAME", "Frame", "Key", "Trace", "tensors_in"]

Key = Node | Tensor
"""What stands for a value: the node that computed it, or the leaf tensor itself."""

NO_FRAME = -1

MOVES = frozenset(("getitem", "reshape", "transpose", "broadcast_to", "astype"))
"""Ops that only show the elements of one tensor differently."""

_JOINS = frozenset(("add", "concatenate", "stack"))


@dataclass(frozen=True, slots=True)
class Frame:
    """One entry of a scope; `parent` is the number of the frame around it."""

    index: int
    name: str
    parent: int
    depth: int


def tensors_in(given: object, argument: str = "draw") -> list[Tensor]:
    """The tensors in nested lists and tuples, each once, in order. TypeError for anything else."""
    found: dict[Tensor, None] = {}
    stack: list[Iterator[object]] = [iter((given,))]
    while stack:
        item = next(stack[-1], stack)
        if item is stack:
            stack.pop()
        elif isinstance(item, Tensor):
            found[item] = None
        elif isinstance(item, list | tuple):
            stack.append(iter(item))
        else:
            raise TypeError(
                f"{argument}: expected a Tensor or a list of them, got {type(item).__name__}"
            )
    if not found:
        raise ValueError(f"{argument}: got an empty list; give at least one Tensor")
    return list(found)


def key_of(t: Tensor) -> Key:
    """What stands for `t` in a graph."""
    return t if t.node is None else t.node


class Trace:
    """The graph behind `outputs`.

    nodes: in the order they were recorded. leaves: by first use. frames: by first use, a parent
    before its children. A key's number is its place in `nodes` or `leaves`.
    """

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        self.outputs = tuple(outputs)
        self.nodes: list[Node] = toposort(outputs)
        self.leaves: list[Tensor] = []
        self.frames: list[Frame] = []
        self.frame_of: list[int] = []
        self._number: dict[Key, int] = {}
        frames: dict[ScopeFrame, int] = {}
        for number, node in enumerate(self.nodes):
            self._number[node] = number
            self._add_leaves(node.inputs)
            self.frame_of.append(self._add_frames(node.context.scope, frames))
        self._add_leaves(outputs)
        self.children: list[list[int]] = [[] for _ in self.frames]
        for frame in self.frames:
            if frame.parent != NO_FRAME:
                self.children[frame.parent].append(frame.index)
        self._of_parameters = self._find_parameter_expressions()

    def _add_leaves(self, tensors: Iterable[Tensor]) -> None:
        for t in tensors:
            if t.node is None and t not in self._number:
                self._number[t] = len(self.leaves)
                self.leaves.append(t)

    def _add_frames(self, scope: ScopeFrame | None, known: dict[ScopeFrame, int]) -> int:
        new: list[ScopeFrame] = []
        while scope is not None and scope not in known:
            new.append(scope)
            scope = scope.parent
        parent = NO_FRAME if scope is None else known[scope]
        for frame in reversed(new):
            depth = 0 if parent == NO_FRAME else self.frames[parent].depth + 1
            known[frame] = len(self.frames)
            self.frames.append(Frame(len(self.frames), frame.name, parent, depth))
            parent = known[frame]
        return parent

    def number(self, key: Key) -> int:
        """The place of a node among the nodes, of a leaf among the leaves."""
        return self._number[key]

    def ident(self, key: Key) -> str:
        """A name for the value that is the same in every process: `n7` or `t2`."""
        return f"{'n' if isinstance(key, Node) else 't'}{self._number[key]}"

    def frame(self, key: Key) -> int:
        """The frame a node was recorded in; leaves have none."""
        return self.frame_of[self._number[key]] if isinstance(key, Node) else NO_FRAME

    def around(self, frame: int) -> Iterator[int]:
        """`frame` and the frames it stands in, from the inside out."""
        while frame != NO_FRAME:
            yield frame
            frame = self.frames[frame].parent

    def path(self, frame: int) -> str:
        """The names from the outermost frame in, such as `LSTM/t=3/forget gate`."""
        return "/".join(reversed([self.frames[k].name for k in self.around(frame)]))

    # -- expressions of parameters ----------------------------------------------------------------

    def _find_parameter_expressions(self) -> set[Node]:
        """Nodes computed from parameters alone that only arrange, join or name them.

        An output is none: somebody asked to see how it was made.
        """
        found: set[Node] = set()
        asked_for = {t.node for t in self.outputs}
        for node in self.nodes:
            arranges = node.op.name in MOVES or node.op.name in _JOINS or node.name is not None
            if not arranges or not node.shape or node in asked_for:
                continue
            if all(t.node in found or isinstance(t, Parameter) for t in node.inputs):
                found.add(node)
        return found

    def is_parameter(self, t: Tensor) -> bool:
        """Whether `t` is a parameter or arranges nothing but parameters, such as a slice."""
        return isinstance(t, Parameter) if t.node is None else t.node in self._of_parameters

    def parameter_name(self, t: Tensor) -> str:
        """The name of a parameter expression: its own or that of the nearest named tensor."""
        while t.name is None and t.node is not None:
            t = t.node.inputs[0]
        return t.name or ""

    def is_constant(self, t: Tensor) -> bool:
        """Whether `t` is a nameless number, such as the 1 in `1 - z`."""
        return t.node is None and t.ndim == 0 and t.name is None and not t.requires_grad
