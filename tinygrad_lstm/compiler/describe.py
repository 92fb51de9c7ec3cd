"""A plan told to people: what is done once, for all steps at once, in the loop, and what is kept.

`described` makes an `Explanation`, plain data; printed, it is a text of at most 100 columns.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..ops import OPS
from .formulas import Formulas, Text, product_text, source_of
from .graph import Graph
from .plan import Plan
from .stages import Stage, native_stages, numpy_stages, one_by_one

__all__ = ["Explanation", "Explanations", "Gradient", "Input", "Kept", "Line", "described"]

Shape = tuple[int, ...]
_WIDTH = 100
_MATMUL, _JOIN, _DROPOUT = OPS["matmul"], OPS["concatenate"], OPS["dropout"]


class Input(NamedTuple):
    """Something the step reads.

    role: "carried", "carried alone", "per step", "drawn per step" (a mask of dropout), "captured".
    """

    name: str
    shape: Shape
    role: str
    gradient: bool  # whether it requires one


class Line(NamedTuple):
    """Something computed outside the loop."""

    formula: str
    shape: Shape


class Kept(NamedTuple):
    """A value kept for every step; shape and nbytes are those of all steps."""

    name: str
    shape: Shape
    nbytes: int


class Gradient(NamedTuple):
    """How the gradient of something captured, or of the steps' inputs, comes about.

    name: dw for w; or p1, e1, ... for something that several of them are parts of.
    products: how many matrix products of all steps at once are in it, over `rows` rows. summed:
    whether something is added up step by step.
    """

    name: str
    shape: Shape
    formula: str
    products: int
    rows: int
    summed: bool


@dataclass(frozen=True, repr=False)
class Explanation:
    """A compiled scan in words: print it.

    instead_of: why NumPy runs it, where another backend was to. columns: whether its products with
    weights on the left are run with weights on the right. threads: what other threads do, where the
    caller has any. once, at_once: before the loop. loop, backward: at every step, forward, and from
    the last step to the first. kept: for the backward pass, besides what the caller holds anyway;
    per_step: bytes of it for one step of one sequence.
    """

    backend: str
    instead_of: str | None
    columns: bool
    threads: str | None
    steps: int
    dtype: str
    inputs: tuple[Input, ...]
    once: tuple[Line, ...]
    at_once: tuple[Stage, ...]
    loop: tuple[Stage, ...]
    kept: tuple[Kept, ...]
    per_step: int
    backward: tuple[Stage, ...]
    gradients: tuple[Gradient, ...]

    @property
    def nbytes(self) -> int:
        """Bytes kept for the backward pass."""
        return sum(k.nbytes for k in self.kept)

    def __str__(self) -> str:
        return "\n".join(_written(self))

    __repr__ = __str__


class Explanations(dict[str, Explanation]):
    """Of each layer and direction, by name: print it."""

    def __str__(self) -> str:
        if len(self) == 1:
            return str(next(iter(self.values())))
        return "\n\n".join(f"{name}: {part}" for name, part in self.items())

    __repr__ = __str__


# -- from a plan -----------------------------------------------------------------------------------


def described(plan: Plan, xs: int, needing: Sequence[bool], alone: int = 0) -> Explanation:
    """What a plan does; xs, needing: what it was made of.

    alone: how many of the last xs are what the step carries for itself.
    """
    return _Describer(plan, xs, needing, alone).explanation()


class _Describer:
    def __init__(self, plan: Plan, xs: int, needing: Sequence[bool], alone: int) -> None:
        step = plan.step
        self.plan, self.step, self.needing = plan, step, needing
        self.xs = step.inputs[plan.carries : plan.carries + xs]
        self.alone = self.xs[xs - alone :]
        self.drawn = _drawn(step, self.xs)
        self.names = _input_names(step, plan.carries, xs - alone, alone, self.drawn)
        self.before = plan.parts.before
        made = self.before.producers()
        named = [v for v in made if v in self.before.names]
        shown = [v for v in self.before.outputs if v in made and made[v].op.name != "transpose"]
        shown += [i.out for i in self.before.instructions if i.op is _MATMUL]
        self.ahead = Formulas(self.before, self.names, "a", [*named, *shown])
        read = {v: self.ahead.text(v) for v in (*plan.parts.timed, *plan.parts.invariants)}
        stages = numpy_stages if plan.backend.name == "numpy" else native_stages
        kept = plan.timed_reads if plan.differentiable else ()
        self.forward = stages(plan.forward, {**self.names, **read}, "b", kept, self._stands_for)
        if plan.differentiable:
            known, names = self._backward_names()
            program = plan.backward
            graph = replace(program.graph, names={**program.graph.names, **names})
            program = replace(program, graph=graph)
            self.back = stages(program, known, "d", (), lambda left: 1)

    def _stands_for(self, left: int) -> int:
        """How many products of the step have this left factor, or a part of theirs in it."""
        varying = self.step.depending_on(self.step.inputs[: self.plan.carries + len(self.xs)])
        lefts = {i.out for i in self.step.instructions if i.op is _JOIN and left in i.inputs}
        lefts.add(left)
        return max(
            1,
            sum(
                i.op is _MATMUL and i.inputs[0] in lefts and i.inputs[1] not in varying
                for i in self.step.instructions
            ),
        )

    def _backward_names(self) -> tuple[dict[int, str | Text], dict[int, str]]:
        """Of what the backward loop reads, and of the gradients that leave it."""
        plan, program, derived = self.plan, self.plan.backward, self.plan.loop_backward
        given = derived.graph.inputs[len(derived.seeded) :]
        known: dict[int, str | Text] = {
            v: self.forward.text(read) for read, v in zip(derived.reads, given, strict=True)
        }
        names: dict[int, str] = {}
        for k in range(plan.carries):
            before = self.names[self.step.inputs[k]]
            after = self.step.names.get(self.step.outputs[k], before)
            known[program.carried[k]] = f"d{after}" if after != before else f"d{before}'"
            names[program.carry_out[k]] = f"d{before}"
        several = len(plan.parts.loop.outputs) > plan.carries + 1
        for k, v in zip(plan.seeded_outputs, program.timed, strict=False):
            known[v] = f"dy{k - plan.carries + 1}_t" if several else "dy_t"
        for v, found in plan.timed_found.items():
            if v in self.names:
                names.setdefault(found, f"d{self.names[v]}")
        return known, names

    def explanation(self) -> Explanation:
        plan, before = self.plan, self.before
        timed = before.depending_on(self.xs)
        ahead = [i for i in before.instructions if i.out in timed]
        first = [i.out for i in before.instructions if i.out not in timed]
        read = {*before.outputs, *(v for i in ahead for v in i.inputs)}
        once = [v for v in first if v in self.ahead.lines or v in read]
        kept = tuple(self._kept(timed))
        specs = [self.step.spec(v) for v in self.step.inputs[: plan.carries]]
        dtypes = {str(s.dtype) for s in specs or self.step.specs}
        batch = next((s.shape[0] for s in specs if len(s.shape) > 1), 1)
        return Explanation(
            backend=plan.backend.name,
            instead_of=plan.instead_of,
            columns=bool(plan.columns),
            threads=plan.runner.threads,
            steps=plan.steps,
            dtype=" and ".join(sorted(dtypes)),
            inputs=tuple(self._inputs()),
            once=tuple(self._line(self.ahead, v) for v in once),
            at_once=tuple(one_by_one(before, ahead, self.ahead, self._stands_for)),
            loop=tuple(self.forward.stages),
            kept=kept,
            per_step=sum(k.nbytes for k in kept) // (plan.steps * max(batch, 1)),
            backward=tuple(self.back.stages) if plan.differentiable else (),
            gradients=tuple(self._gradients()),
        )

    def _inputs(self) -> Iterator[Input]:
        plan = self.plan
        for k, v in enumerate(self.step.inputs):
            shape = self._given_shape(v)
            role = "carried" if k < plan.carries else "captured"
            if v in self.xs:
                shape = (plan.steps, *shape)
                role = "carried alone" if v in self.alone else "per step"
                role = "drawn per step" if v in self.drawn else role
            yield Input(self.names[v], shape, role, self.needing[k])

    def _given_shape(self, v: int) -> Shape:
        """Of an input, as the caller has it."""
        shape, columns = self.step.spec(v).shape, self.plan.columns
        return shape[::-1] if columns and columns[self.step.inputs.index(v)] else shape

    def _line(self, formulas: Formulas, v: int) -> Line:
        made, name = formulas.lines.get(v), formulas.text(v).string
        return Line(name if made is None else f"{name} = {made}", formulas.graph.spec(v).shape)

    def _kept(self, timed: set[int]) -> Iterator[Kept]:
        plan = self.plan
        if not plan.differentiable:
            return
        arrays: dict[int, tuple[str, Shape, int]] = {}
        same = dict(zip(plan.forward.carried, plan.forward.carry_out, strict=True))
        own = _computed(self.before)  # of the values before the loop
        for v in plan.timed_reads:
            if v in plan.parts.timed and v not in own:
                continue  # the caller's
            shape, dtype = plan.parts.loop.spec(v)
            name = self.forward.text(v).string
            arrays.setdefault(same.get(v, v), (name, (plan.steps, *shape), dtype.itemsize))
        for v in () if plan.before_backward is None else plan.before_backward.reads:
            if v in own and v in timed:
                shape, dtype = self.before.spec(v)
                arrays.setdefault(v, (self.ahead.text(v).string, shape, dtype.itemsize))
        for v in self.drawn:
            shape = (plan.steps, *self._given_shape(v))
            arrays.setdefault(v, (self.names[v], shape, self.step.spec(v).dtype.itemsize))
        for name, shape, size in arrays.values():
            yield Kept(name, shape, math.prod(shape) * size)

    # -- gradients of what is captured ------------------------------------------------------------

    def _gradients(self) -> Iterator[Gradient]:
        """First what several gradients are slices of, then the gradients."""
        plan, derived = self.plan, self.plan.before_backward
        if derived is None:
            return
        graph, made = derived.graph, derived.graph.producers()
        seeds = dict(
            zip(graph.inputs, [self.before.outputs[k] for k in derived.seeded], strict=False)
        )
        sources = Counter(source_of(v, made) for v in dict.fromkeys(graph.outputs))
        shared = [v for v, count in sources.items() if count > 1]
        known: dict[int, str | Text] = {v: self._found(seed) for v, seed in seeds.items()}
        numbered = [v for v in shared if plan.products.get(seeds.get(v, -1))]
        known |= {v: f"p{k + 1}" for k, v in enumerate(numbered)}
        for v, given in zip(derived.reads, graph.inputs[len(seeds) :], strict=True):
            known[given] = self.ahead.text(v)
        late = Formulas(graph, known, "e", shared)
        apart = {*late.lines, *numbered}

        def gradient(name: str, v: int, formula: str, of_steps: bool) -> Gradient:
            """v stands alone, of what it is made of other lines tell."""
            rows: list[int] = []
            summed, stack = False, [v]
            while stack:
                at = stack.pop()
                i = made.get(at)
                if at in apart and at != v:
                    continue
                seed = seeds.get(at, -1)
                rows += [self._rows(left) for left, _ in plan.products.get(seed, ())]
                summed = summed or bool(plan.rest.get(seed))
                if i is not None:
                    stack.extend(i.inputs)
                if i is not None and i.op is _MATMUL:
                    *lead, depth = graph.spec(i.inputs[0]).shape
                    rows.append(math.prod(lead) if of_steps else depth)
            shape = graph.spec(v).shape
            return Gradient(name, shape, formula, len(rows), max(rows, default=0), summed)

        for v in (*numbered, *late.lines):
            formula = self._found(seeds[v]).string if v in seeds else late.lines[v]
            yield gradient(late.text(v).string, v, formula, False)
        for k, out in zip(derived.reached, graph.outputs, strict=True):
            v = plan.wanted_before[k]
            formula = late.text(out).string
            yield gradient(f"d{self.names[v]}", out, formula, v in self.xs)

    def _rows(self, left: int) -> int:
        """How many rows a factor of a product over time has, those of all steps."""
        return self.plan.steps * math.prod(self.plan.backward.graph.spec(left).shape[:-1])

    def _found(self, v: int) -> Text:
        """The gradient of what the loop reads, as the loop leaves it."""
        plan = self.plan
        if v in plan.timed_found:
            return self.back.text(plan.timed_found[v])
        terms = [
            product_text(self.back.text(left).transposed(), self.back.text(right))
            for left, right in plan.products.get(v, ())
        ]
        terms += [self.back.text(term) for term in plan.rest.get(v, ())]
        if len(terms) == 1:
            return terms[0]
        string = " + ".join(t.string for t in terms) or "0"
        return Text(string, 1, f"({string}).T")


def _drawn(step: Graph, xs: Sequence[int]) -> list[int]:
    """Which of the steps' inputs are masks of dropout: no caller has them."""
    masks = {i.inputs[1] for i in step.instructions if i.op is _DROPOUT}
    return [v for v in xs if v in masks]


def _input_names(
    step: Graph, carries: int, xs: int, alone: int, drawn: Sequence[int]
) -> dict[int, str]:
    """Each input's own name, made unique, or one by its part."""
    names: dict[int, str] = {}
    numbers = {"carry": 0, "x": 0, "w": 0, "mask": 0}
    kinds = ["carry"] * carries + ["x"] * xs + ["carry"] * alone
    for k, v in enumerate(step.inputs):
        name = step.names.get(v)
        if name is None:
            kind = kinds[k] if k < len(kinds) else "w"
            kind = "mask" if v in drawn else kind
            numbers[kind] += 1
            name = f"{kind}{numbers[kind]}"
        unique, again = name, 1
        while unique in names.values():
            again += 1
            unique = f"{name}#{again}"
        names[v] = unique
    return names


def _computed(graph: Graph) -> set[int]:
    """Values that are no input and no view of one: arrays of their own."""
    own: set[int] = set()
    views = ("getitem", "reshape", "transpose", "detach", "broadcast_to")
    for i in graph.instructions:
        if i.op.name not in views or i.inputs[0] in own:
            own.add(i.out)
    return own


# -- as a text -------------------------------------------------------------------------------------

_RUN_BY = {"numpy": "by NumPy", "numba": "as native code (backend numba)"}


def _written(e: Explanation) -> Iterator[str]:
    some = "1 step" if e.steps == 1 else f"{e.steps} steps"
    numbers = f" in {e.dtype}" if e.dtype else ""
    yield f"{some}{numbers}, run {_RUN_BY[e.backend]}"
    if e.instead_of is not None:
        yield from _wrapped(f"NumPy, because {e.instead_of}", 0)
    if e.columns:
        yield "rows instead of columns: W @ h is run as h @ W.T"
    if e.threads is not None:
        yield e.threads
    yield from _section("inputs", _input_lines(e.inputs))
    yield from _section("once, before the loop", _table(e.once))
    yield from _section("for all steps at once, before the loop", _stage_lines(e.at_once))
    yield from _section("every step", _stage_lines(e.loop))
    if not e.backward:
        yield from ("", "no gradient is wanted, so nothing is kept")
        return
    rows = [(k.name, str(k.shape), f"{k.nbytes:,} bytes") for k in e.kept]
    total = f"{e.nbytes:,} bytes in all, {e.per_step:,} for one step of one sequence"
    yield from _section("kept for the backward pass", [*_columns(rows), f"  {total}"])
    yield from _section("every step, from the last to the first", _stage_lines(e.backward))
    yield from _section("after the loop, gradients", _gradient_lines(e.gradients))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield from ("", title, *found)


def _input_lines(inputs: Sequence[Input]) -> Iterator[str]:
    wanted = {True: "gradient wanted", False: ""}
    yield from _columns([(i.name, str(i.shape), i.role, wanted[i.gradient]) for i in inputs])


def _stage_lines(stages: Sequence[Stage]) -> Iterator[str]:
    for stage in stages:
        shapes = " @ ".join(map(str, stage.shapes))
        if stage.kind == "product":
            several = f", {stage.number} products of the step in one" if stage.number > 1 else ""
            yield f"  one product, {shapes}{several}"
        else:
            what = {"one pass": "one pass over", "calls": "NumPy calls on"}
            some = "1 op" if stage.number == 1 else f"{stage.number} ops"
            some = f", {some} fused" if stage.kind == "one pass" else f", {some}"
            yield f"  {what.get(stage.kind, f'{stage.kind} over')} {shapes}{some}"
        for line in stage.formulas:
            yield from _wrapped(line, 6)


def _gradient_lines(gradients: Sequence[Gradient]) -> Iterator[str]:
    for g in gradients:
        how = f"one product over {g.rows:,} rows"
        if g.products != 1:
            how = f"{g.products} products over {g.rows:,} rows" if g.products else ""
        more = ["added up step by step"] if g.summed else []
        note = ", ".join([*([how] if how else []), *more])
        yield f"  {g.name} {g.shape}" + (f", {note}" if note else "")
        if g.formula != g.name:
            yield from _wrapped(g.formula, 6)


def _table(rows: Iterable[Line]) -> Iterator[str]:
    """Formulas and shapes."""
    found = [(line.formula, str(line.shape)) for line in rows]
    width = max((len(formula) for formula, _ in found if len(formula) <= 72), default=0)
    for formula, shape in found:
        *lines, last = _wrapped(formula, 2)
        yield from lines
        yield f"{last.ljust(width + 2)}  {shape}"


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield f"  {'  '.join(cells)}".rstrip()


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )
