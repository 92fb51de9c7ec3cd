"""What a backend does one after the other at every step of a loop, as lines that people read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from .formulas import Formulas, Text
from .graph import Graph, Instruction
from .program import Program
from .tidy import is_view

__all__ = ["Stage", "Stages", "native_stages", "numpy_stages", "one_by_one"]

Shape = tuple[int, ...]
Known = Mapping[int, str | Text]
StandsFor = Callable[[int], int]
"""How many products of the step a product with this left factor stands for."""


class Stage(NamedTuple):
    """One thing after the other.

    kind: "product"; "one pass", elementwise ops that hand each other numbers in registers;
    "calls", functions of NumPy; or "sum", "max", "min" over the last axes of each row.
    shapes: of a product's factors; else of what is worked on. number: how many products of the
    step a product stands for; how many ops a pass has.
    """

    kind: str
    formulas: tuple[str, ...]
    shapes: tuple[Shape, ...]
    number: int


class Stages:
    """Stages in order, and what they call the values."""

    def __init__(
        self, formulas: Formulas, stages: list[Stage], renamed: Mapping[int, int] | None = None
    ) -> None:
        self.stages = stages
        self._formulas = formulas
        self._renamed = renamed or {}

    def text(self, value: int) -> Text:
        """The value's name, or its formula."""
        return self._formulas.text(self._renamed.get(value, value))


def one_by_one(
    graph: Graph,
    instructions: Iterable[Instruction],
    formulas: Formulas,
    stands_for: StandsFor,
) -> list[Stage]:
    """Products, and NumPy's functions between them; views cost nothing."""
    stages: list[Stage] = []
    for i in instructions:
        line = _line(formulas, i.out)
        if i.op.name == "matmul":
            shapes = tuple(graph.spec(v).shape for v in i.inputs)
            stages.append(Stage("product", line, shapes, stands_for(i.inputs[0])))
        elif not is_view(i) or line:
            calls = 0 if is_view(i) else 1
            if stages and stages[-1].kind == "calls":
                last = stages[-1]
                shapes = last.shapes
                stages[-1] = Stage("calls", (*last.formulas, *line), shapes, last.number + calls)
            else:
                stages.append(Stage("calls", line, (graph.spec(i.out).shape,), calls))
    return stages


def _line(formulas: Formulas, value: int) -> tuple[str, ...]:
    made = formulas.lines.get(value)
    if made is None:
        return ()
    name = formulas.name(value)
    return (made,) if name in (made, f"({made})") else (f"{name} = {made}",)


def numpy_stages(
    program: Program, known: Known, letter: str, short: Collection[int], stands_for: StandsFor
) -> Stages:
    """Of a loop in NumPy."""
    graph = program.graph
    moving = graph.depending_on([*program.carried, *program.timed])
    inside = [i for i in graph.instructions if i.out in moving]
    products = [i.out for i in inside if i.op.name == "matmul"]
    shown = {*_wanted(program), *short, *products}
    formulas = Formulas(graph, known, letter, shown, short)
    return Stages(formulas, one_by_one(graph, inside, formulas, stands_for))


def _wanted(program: Program) -> set[int]:
    """Values that leave the step."""
    views = {i.out for i in program.graph.instructions if is_view(i)}
    factors = {v for pair in program.products for v in pair}
    return {*program.stacks, *program.carry_out, *(factors - views)}


def native_stages(
    program: Program, known: Known, letter: str, short: Collection[int], stands_for: StandsFor
) -> Stages:
    """Of a native loop."""
    from .native.layout import layout_of
    from .native.lower import lowered
    from .native.schedule import Group, Product, Schedule
    from .native.target import machine

    _, renamed = lowered(program)
    layout = layout_of(program, machine().vector_bytes)
    schedule, graph = Schedule(layout), layout.graph
    made = graph.producers()
    place: dict[int, int] = {}  # value -> its stage
    inner: set[int] = set()  # terms of sums that products are added up in
    factors: dict[int, Instruction] = {}  # stage -> its product
    for k, stage in enumerate(schedule.stages):
        if isinstance(stage, Group):
            place |= {e.out: k for e in stage.entries if e.out is not None}
            place |= {e.target.root: k for e in stage.entries if e.target is not None}
            continue
        place[stage.out] = k
        if isinstance(stage, Product):
            terms = _terms(stage.out, made)
            inner.update(terms - {stage.out})
            factors[k] = next(
                made[v]
                for v in sorted(terms - {i.out for i in factors.values()})
                if made[v].op.name == "matmul"
                and made[v].inputs[1] == stage.right
                and layout.views[made[v].inputs[0]].root == stage.left.root
            )
    for i in graph.instructions:  # what is put together where its parts are computed
        there = [place[v] for v in i.inputs if v in place]
        if i.out not in place and there and i.op.name in ("concatenate", "stack", "scatter"):
            place[i.out] = max(there)
    final = {renamed.get(v, v) for v in short}
    shown = {*_wanted(layout.program), *final}
    shown |= {stage.out for stage in schedule.stages if not isinstance(stage, Group)}
    formulas = Formulas(graph, known, letter, shown, final, inner, place)
    stages: list[Stage] = []
    started: set[int] = set()
    for k, stage in enumerate(schedule.stages):
        if isinstance(stage, Product):
            i = factors[k]
            sign = "+=" if stage.out in started else "="
            started.add(stage.out)
            line = f"{formulas.name(stage.out)} {sign} {formulas.formula(i).string}"
            shapes = tuple(graph.spec(v).shape for v in i.inputs)
            stages.append(Stage("product", (line,), shapes, stands_for(i.inputs[0])))
        elif isinstance(stage, Group):
            here = [v for v in formulas.lines if place.get(v) == k]
            lines = tuple(line for v in here for line in _line(formulas, v))
            if not lines:  # copies into something that is put together elsewhere
                roots = dict.fromkeys(e.target.root for e in stage.entries if e.target is not None)
                lines = tuple(f"part of {formulas.name(root)}" for root in roots)
            rows = (layout.batch,) if stage.rows and layout.batch is not None else ()
            shape = (*rows, *stage.shape)
            stages.append(Stage("one pass", lines, (shape,), len(stage.entries)))
        else:
            shape = graph.spec(made[stage.out].inputs[0]).shape
            stages.append(Stage(stage.name, _line(formulas, stage.out), (shape,), 1))
    return Stages(formulas, stages, renamed)


def _terms(total: int, made: Mapping[int, Instruction]) -> set[int]:
    """A sum of products, the sums in it, and the products."""
    found = {total}
    stack = [total]
    while stack:
        i = made[stack.pop()]
        if i.op.name != "matmul":
            found.update(i.inputs)
            stack.extend(i.inputs)
    return found
