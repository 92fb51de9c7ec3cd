"""A graph over all steps, run for spans of them: in any order, on any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..tensor import Array
from . import memory
from .graph import Graph, Instruction
from .into import IN_PLACE, into
from .reuse import last_uses
from .source import Source
from .spans import Along, Spans
from .tidy import is_view

__all__ = ["Started", "spanned"]


class Started(NamedTuple):
    """A run that has begun.

    over: computes for the steps from one up to another, and returns this span's shares of the
    totals. after: from the totals, then what came last, to the lists of results; those over time
    are there before, as far as spans were computed.
    """

    over: Callable[[int, int], tuple[Array, ...]]
    after: Callable[..., tuple[list[Array], ...]]


def spanned(
    graph: Graph,
    spans: Spans,
    timed: Sequence[int],
    last: Sequence[int],
    results: Sequence[Sequence[int]],
    *,
    apart: bool = False,
) -> Callable[[Sequence[Array]], Started]:
    """A function from the graph's inputs, but those that come last, to a run of it.

    timed: the inputs with time. results, apart: as `run_once` has them.
    """
    run = _Writer(graph, spans, timed, last, results, apart).function()

    def start(arrays: Sequence[Array]) -> Started:
        over, after = run(arrays)
        return Started(over, after)

    return start


class _Writer:
    """Values of all steps are called `v7`, of a span `w7`."""

    def __init__(
        self,
        graph: Graph,
        spans: Spans,
        timed: Sequence[int],
        last: Sequence[int],
        results: Sequence[Sequence[int]],
        apart: bool,
    ) -> None:
        self.graph, self.spans, self.timed, self.last = graph, spans, timed, last
        self.results, self.apart = results, apart
        self.source = Source(graph)
        computed = {i.out for i in spans.over if i.out in spans.along}
        wanted = dict.fromkeys(v for values in results for v in values)
        self.wholes = [v for v in wanted if v in computed]  # results over time
        self.place = self._places()

    def _places(self) -> dict[int, int]:
        """The result over time whose memory each value of a span is written into."""
        place = {v: v for v in self.wholes}
        last = last_uses(self.spans.over, {*self.wholes, *self.spans.totals})
        made = {i.out: i for i in self.spans.over}
        for k, i in reversed(list(enumerate(self.spans.over))):
            if i.out not in place or i.op.name not in IN_PLACE:
                continue
            for v in i.inputs:
                same = self.graph.spec(v) == self.graph.spec(i.out)
                if same and last.get(v) == k and v in made and into(made[v], self.graph):
                    place.setdefault(v, place[i.out])
                    break
        return place

    def function(self) -> Callable[[Sequence[Array]], tuple[Callable[..., Any], ...]]:
        graph, spans, source = self.graph, self.spans, self.source
        inputs = "".join(f"v{v}, " for v in graph.inputs if v not in self.last)
        lines = [f"{inputs}= arrays"] if inputs else []
        lines += map(source.line, spans.first)
        for v in self.wholes:
            source.names[f"new{v}"] = memory.maker(*graph.spec(v))
            lines.append(f"v{v} = new{v}()")
        lines += ["def over(a, b):", *(f"    {line}" for line in self._over())]
        totals = "".join(f"v{v}, " for v in (*spans.totals, *self.last))
        lines += [f"def after({totals}):", *(f"    {line}" for line in self._after())]
        lines.append("return over, after")
        return source.function("arrays", lines)[1]

    def _over(self) -> list[str]:
        lines = [f"w{v} = {self._part(v, self.spans.along[v])}" for v in self.timed]
        for i in self.spans.over:
            function = into(i, self.graph)
            if i.out not in self.place:
                lines.append(f"w{i.out} = {self._result(i)}")
                continue
            whole = self.place[i.out]
            lines.append(f"w{i.out} = {self._part(whole, self.spans.along[whole])}")
            if function is None or is_view(i):
                lines.append(f"w{i.out}[...] = {self._result(i)}")
            else:
                lines.append(self._call(i, function, f"w{i.out}"))
        return [*lines, f"return ({''.join(f'w{v}, ' for v in self.spans.totals)})"]

    def _part(self, value: int, where: Along) -> str:
        """The place of a span in a value of all steps."""
        before = ":, " * where.axis
        return f"v{value}[{before}a * {where.each}:b * {where.each}]"

    def _after(self) -> list[str]:
        source = self.source
        lists = [
            source.apart(values) if self.apart else [f"v{v}" for v in values]
            for values in self.results
        ]
        text = "".join(f"[{', '.join(names)}], " for names in lists)
        return [*map(source.line, self.spans.after), f"return ({text})"]

    def _called(self, value: int) -> str:
        return f"w{value}" if value in self.spans.along else f"v{value}"

    def _result(self, i: Instruction) -> str:
        if is_view(i):
            return self.source.view(self._of_a_span(i), self._called)
        return self._call(i, i.op.forward)

    def _of_a_span(self, i: Instruction) -> Instruction:
        if i.op.name == "reshape":
            return i._replace(attrs={"shape": (-1, *i.attrs["shape"][1:])})
        return i

    def _call(self, i: Instruction, function: Callable[..., object], *more: str) -> str:
        where = self.spans.along.get(i.out)
        if where is None or "shape" not in i.attrs:
            return self.source.call(i, function, *more, called=self._called)
        attrs = {name: value for name, value in i.attrs.items() if name != "shape"}
        shape = _shape(i.attrs["shape"], where)
        call = self.source.call(i._replace(attrs=attrs), function, *more, called=self._called)
        return f"{call[:-1]}, shape={shape})"


def _shape(shape: Sequence[int], where: Along) -> str:
    """The shape for a span, as text."""
    sizes = [str(n) for n in shape]
    sizes[where.axis] = f"(b - a) * {where.each}"
    return f"({', '.join(sizes)},)"
