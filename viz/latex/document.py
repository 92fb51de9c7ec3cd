r"""`equations`: a recorded graph as the lines of a textbook.

Puts together which tensors get a line, their symbols, the reading and the writer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygrad_lstm import GraphError, Node, Parameter, Tensor, grad, toposort
from tinygrad_lstm.context import CONTEXT, Context

from ..compiled import refuse_compiled
from .reading import Key, Reading, key_of
from .symbols import Symbols
from .writer import Definition, Writer

__all__ = ["Equations", "equations"]


@dataclass(frozen=True)
class Equations:
    """Definitions in LaTeX, each after those it uses; `str` gives one line each.

    definitions: (left, right) pairs. columns: whether data is read as column vectors, so that
    `x @ W.T` is `W x`; else products are as recorded. A notebook shows them typeset.
    """

    definitions: tuple[Definition, ...]
    columns: bool

    @property
    def lines(self) -> tuple[str, ...]:
        """The definitions as `left = right`."""
        return tuple(f"{left} = {right}" for left, right in self.definitions)

    @property
    def latex(self) -> str:
        """All of them as one `aligned` environment, equals signs below each other."""
        rows = [f"{left} &= {right}" for left, right in self.definitions]
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.tex` file, or a picture typeset by matplotlib: `.svg`, `.png` or `.pdf`.

        Raises ValueError for another suffix.
        """
        from .typeset import save

        save(self, path)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __len__(self) -> int:
        return len(self.definitions)

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"


def equations(
    tensors: Tensor | Sequence[Tensor],
    *,
    gradients: bool | Sequence[Tensor] = False,
    parameters: bool = False,
    columns: bool | None = None,
    digits: int = 4,
    width: int = 100,
) -> Equations:
    r"""The recorded graph of `tensors` as LaTeX, one line per named tensor.

    gradients: also the backward pass, as lines `\frac{\partial L}{\partial f_t} = ...`: of the
    tensors given, or with True of all that have a symbol and require a gradient; it is recorded
    for this, and needs `tensors` to be one scalar. parameters: with lines for what is computed
    from Parameters alone, such as a gate's slice of the weights; by default these stand for
    themselves. columns: read data as column vectors (`x @ W.T` is `W x`); by default where data is
    multiplied by transposed weights. digits: of numbers. width: the glyphs of a line, about; a
    longer expression is broken by names of its own (a_1, ..., in a backward pass \delta_1, ...),
    and so is one that occurs more than once.

    h_t recorded in a scope `t=3` is written h_3. Broadcasting, casts and axes of size 1 are not
    written; axes and indices count as in the recorded arrays; see `viz.latex.reading` for how
    matrices are read. Works without recursion: a chain of 100,000 ops is so many short lines.
    Raises TypeError for what is no tensor; GraphError where nothing was recorded, for a compiled
    scan, and for a gradient that does not exist; ValueError for digits or a width that are too
    small.
    """
    outputs = _tensors(tensors, "tensors")
    for name, value, least in (("digits", digits, 1), ("width", width, 20)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}: expected an integer, got {value!r}")
        if value < least:
            raise ValueError(f"{name}: must be at least {least}, got {value}")
    if all(t.node is None for t in outputs):
        names = ", ".join(t.name or "a tensor" for t in outputs) or "nothing"
        raise GraphError(f"equations: no op was recorded for {names}: there is nothing to write")
    refuse_compiled("equations", toposort(outputs))
    if gradients is False:
        page = _Page(outputs, [], "y", parameters, columns)
        return page.written([], digits, width)
    if len(outputs) != 1:
        raise ValueError(f"equations: gradients are of one scalar, got {len(outputs)} tensors")
    loss = outputs[0]
    if gradients is True:
        first = _Page(outputs, [], "L", parameters, columns)
        wanted = first.symbols_with_gradients(loss, digits, width)
    else:
        wanted = _tensors(gradients, "gradients")
    found = _gradients(loss, wanted, allow_unused=gradients is True)
    page = _Page(outputs, [g for _, g in found], "L", parameters, columns)
    return page.written(found, digits, width)


class _Page:
    """One text in the making."""

    def __init__(
        self,
        outputs: Sequence[Tensor],
        gradients: Sequence[Tensor],
        unnamed: str,
        parameters: bool,
        columns: bool | None,
    ) -> None:
        self.nodes = toposort([*outputs, *gradients])
        self.roots = [t.node for t in outputs if t.node is not None]
        self.symbols = Symbols(self.nodes)
        self.reading = Reading(self.nodes, columns)
        self.given = set() if parameters else _of_parameters_alone(self.nodes, self.roots)
        anonymous = [node for node in self.roots if self.symbols.of(node) is None]
        for node in anonymous:
            base = "g" if node.is_backward else unnamed
            if len(anonymous) > 1:
                self.symbols.give_fresh(node, base)
            else:
                self.symbols.give(node, base)

    def symbols_with_gradients(self, loss: Tensor, digits: int, width: int) -> list[Tensor]:
        """What the text has a symbol for and a gradient could be of, last made first."""
        writer = Writer(self.nodes, self.symbols, self.reading, self.given, digits, width)
        writer.write(self.roots)
        shown = {id(t) if t.node is None else t.node: t for t in writer.appearing.values()}
        candidates = [t for t in shown.values() if t.requires_grad and _is_named(t)]
        candidates = [t for t in candidates if t.node is not loss.node]
        return sorted(candidates, key=lambda t: -t.node.seq if t.node is not None else 0)

    def written(
        self, gradients: Sequence[tuple[Tensor, Tensor]], digits: int, width: int
    ) -> Equations:
        """The lines; `gradients` are pairs of a tensor and its gradient."""
        roots, repeated = list(self.roots), []
        for t, g in gradients:
            left = self._partial(t)
            transposed = self.reading.transposed(t)
            known = None if g.node is None else self.symbols.of(g.node)
            if g.node is None or (known is not None and known != left):
                repeated.append((self.symbols.unused(left), g, transposed))
            else:
                if known is None:
                    self.symbols.give(g.node, left)
                self.reading.ask(g.node, transposed)
                roots.append(g.node)
        writer = Writer(self.nodes, self.symbols, self.reading, self.given, digits, width)
        lines = writer.write(roots)
        lines += [Definition(left, writer.fragment(g, way).text) for left, g, way in repeated]
        return Equations(tuple(lines), self.reading.columns)

    def _partial(self, t: Tensor) -> str:
        of, by = self.symbols.of(self.roots[0]), self.symbols.of(key_of(t))
        return rf"\frac{{\partial {of}}}{{\partial {by or self.symbols.fresh('a')}}}"


def _tensors(given: object, argument: str) -> list[Tensor]:
    many = [given] if isinstance(given, Tensor) else given
    if not isinstance(many, Sequence) or not all(isinstance(t, Tensor) for t in many):
        raise TypeError(f"{argument}: expected a Tensor or a sequence of them, got {given!r:.80}")
    return list(many)


def _is_named(t: Tensor) -> bool:
    return t.node is None or t.name is not None


def _of_parameters_alone(nodes: Sequence[Node], roots: Sequence[Node]) -> set[Node]:
    """Named nodes that depend on nothing but Parameters; none if the outputs do not either."""
    alone: set[Key | int] = set()
    for node in nodes:
        if not node.is_backward and any(
            isinstance(t, Parameter) or t.node in alone for t in node.inputs
        ) and all(
            isinstance(t, Parameter) or t.node in alone or _is_constant(t) for t in node.inputs
        ):
            alone.add(node)
    if all(root in alone for root in roots):
        return set()
    return {node for node in nodes if node in alone and node.name and node not in roots}


def _is_constant(t: Tensor) -> bool:
    return t.node is None and not t.name and not t.requires_grad


def _gradients(
    loss: Tensor, wanted: Sequence[Tensor], allow_unused: bool
) -> list[tuple[Tensor, Tensor]]:
    """Each wanted tensor with its gradient, recorded even where the caller does not record."""
    token = CONTEXT.set(Context())
    try:
        found = grad(loss, list(wanted), create_graph=True, allow_unused=allow_unused)
    finally:
        CONTEXT.reset(token)
    return [(t, g) for t, g in zip(wanted, found, strict=True) if g is not None]
