"""A plan of native loops, run: a function forward and one backward, written for the plan.

What takes microseconds in a loop over lists matters here: a small network's kernel takes one. So
each call is a straight line of Python, which tells native code the ids of arrays and little else.

What the forward pass keeps for the backward one stands in one block of memory, at places known
when the plan is made, apart from what the caller gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tensor import Array
from .. import memory
from ..runner import refuse_pull
from ..source import Source
from .loop import NativeLoop

if TYPE_CHECKING:
    from ..plan import Plan

__all__ = ["NativeRunner"]

_APART = 64  # bytes between the beginnings of a block's parts, at least
_SET = 4096  # bytes after which the nearest cache begins again
_BYTES = np.dtype(np.uint8)

Saved = tuple[Any, ...]
"""What `_Forward.saved` names."""


class NativeRunner:
    """Runs a plan forward, and pulls cotangents back: see `backends.Runner`. Raises NotNative.

    loops, sources: what runs forward and backward, and the functions around it as text.
    """

    def __init__(self, plan: Plan) -> None:
        writer = _Forward(plan)
        text, run = writer.write()
        self.run: Callable[[Sequence[Array]], tuple[list[Array], Any]] = run
        self.pull: Callable[[Any, Sequence[Array | None]], list[Array | None]] = refuse_pull
        self.loops, self.sources = [writer.loop], [text]
        if plan.differentiable:
            back = _Backward(plan, writer)
            text, self.pull = back.write()
            self.loops.append(back.loop)
            self.sources.append(text)
        self._over_time = writer.over_time

    def kept(self, saved: Saved) -> list[Array]:
        """The arrays over time that stand behind what a run has saved, each once."""
        wholes = [a if a.base is None else a.base for a in (saved[k] for k in self._over_time)]
        return list({id(a): a for a in wholes}.values())


class _Writer:
    """Lines of a function around one native loop."""

    def __init__(self, loop: NativeLoop, source: Source) -> None:
        self.loop = loop
        self.source = source
        self.names = source.names
        self.lines: list[str] = []
        self.fixed: dict[int, int] = {}
        self.unread: dict[int, int] = {}
        self.held = 0
        self.names |= {
            "rows_together": _rows_together,
            "side_by_side": np.ascontiguousarray,
            "take": loop.take,
            "give": loop.give,
            "launch": loop.launch,
            "call": loop.prepare_and_run,
        }

    def add(self, *lines: str) -> None:
        self.lines += lines

    def bound(self, name: str, value: Any) -> str:
        """A name for an object."""
        self.names[name] = value
        return name

    def place(self, group: str, k: int, what: str = "array") -> int | None:
        """Where a number stands; None if the loop does not ask for it."""
        return self.loop.places.get((group, k), {}).get(what)

    def tell(self, group: str, k: int, number: str, what: str = "array") -> None:
        """Let the loop know a number."""
        place = self.place(group, k, what)
        if place is not None:
            self.add(f"n[{place}] = {number}")

    def new(self, name: str, shape: tuple[int, ...], *, zeroed: bool = False) -> None:
        """An array of the caller's, told to nobody yet."""
        make = self.bound(f"new_{name}", memory.maker(shape, self.loop.dtype, zeroed=zeroed))
        self.add(f"{name} = {make}()")

    def settle(self, group: str, k: int, number: int, what: str) -> None:
        """A number that is the same at every call."""
        place = self.place(group, k, what)
        if place is not None:
            self.fixed[place] = number

    def read_over_time(self, k: int, name: str) -> None:
        """(T, ...), in any order of time, but what belongs to one step side by side."""
        place, time = self.place("timed", k), self.place("timed", k, "time")
        if place is None or time is None:
            return
        v = self.loop.program.timed[k]
        shape, dtype = self.loop.layout.graph.spec(v)
        self.add(
            f"if {name}.flags.c_contiguous:",
            f"    n[{time}] = {math.prod(shape)}",
            "else:",
            f"    {name} = rows_together({name})",
            f"    n[{time}] = {name}.strides[0] // {dtype.itemsize}",
            f"n[{place}] = id({name})",
        )

    def read_invariant(self, k: int, name: str) -> None:
        """A matrix as it lies, or a vector; one that was there at the last call is known."""
        place = self.place("invariants", k)
        if place is None:
            return
        v = self.loop.program.invariants[k]
        held = f"held[{self.held}]"
        self.held += 1
        self.add(f"if {name} is not {held}:")
        if v in self.loop.layout.views:  # read row by row
            self.add(
                f"    {held} = a = {name} if {name}.flags.c_contiguous else side_by_side({name})",
                f"    n[{place}] = id(a)",
            )
        else:
            size = self.loop.dtype.itemsize
            first, second = (self.place("invariants", k, axis) for axis in "01")
            self.add(
                f"    {held} = {name}",
                f"    n[{place}] = id({name})",
                f"    n[{first}], n[{second}] = (s // {size} for s in {name}.strides)",
            )

    def begin(self) -> None:
        """A workspace that is nobody else's, until it is given back."""
        if self.loop.one_thread:
            self.names["idle"] = self.loop.idle
            self.add("try: W = idle.pop()", "except IndexError: W = take()")
        else:
            self.add("W = take()")
        self.add("n, held = W.numbers, W.held")

    def launch(self, sums: Sequence[str] = (), products: Sequence[str] = ()) -> None:
        if self.loop.one_thread:
            self.add("call(W.address)", *(["idle.append(W)"] if self.loop.is_small else []))
        else:
            self.add(f"launch(W, [{', '.join(sums)}], [{', '.join(products)}])", "give(W)")

    def function(self, header: str) -> tuple[str, Callable[..., Any]]:
        self.loop.configure(self.held, self.fixed, self.unread)
        return self.source.function(header, self.lines)


class _Forward(_Writer):
    """run(arrays), and what it keeps where.

    saved: names of what a run leaves for the backward pass, in order; over_time: which of them are
    arrays over time.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        stacks, outputs = plan.forward.stacks, plan.forward.graph.outputs[plan.carries :]
        self.ys = [stacks.index(v) for v in outputs]
        blocks = {("stacks", k): 0 for k in range(len(stacks)) if k not in self.ys}
        super().__init__(NativeLoop(plan.forward, plan.steps, blocks), Source(plan.parts.before))
        self.saved: list[str] = []
        self.over_time: list[int] = []
        self.offsets: dict[int, int] = {}  # stack -> bytes from the block's beginning
        self.block = 0  # its size
        self._lay_out()

    def _lay_out(self) -> None:
        """Stacks one after the other, spread over the cache: none pushes another out of it."""
        shapes, size = self.loop.stack_shapes, self.loop.dtype.itemsize
        inside = [k for k in range(len(shapes)) if k not in self.ys]
        for number, k in enumerate(inside):
            taken = math.prod(shapes[k]) * size
            if taken > _SET:
                wanted = number * (_SET // len(inside)) // _APART * _APART
                self.block += (wanted - self.block) % _SET
            self.offsets[k] = self.block
            self.block += -(-taken // _APART) * _APART

    def write(self) -> tuple[str, Callable[..., Any]]:
        plan, parts = self.plan, self.plan.parts
        before = parts.before
        inputs = [*(f"C{k}" for k in range(plan.carries)), *(f"v{v}" for v in before.inputs)]
        if inputs:
            self.add(f"{', '.join(inputs)}, = arrays")
        self.add(*(self.source.line(i) for i in before.instructions))
        self.begin()
        self._stacks()
        for k, v in enumerate(parts.timed):
            self.read_over_time(k, f"v{v}")
        for k, v in enumerate(parts.invariants):
            self.read_invariant(k, f"v{v}")
        self.launch()
        finals = [f"F{k}" for k in range(plan.carries)]
        ys = [f"S{k}[1:]" if k < plan.forward.history else f"S{k}" for k in self.ys]
        if plan.differentiable:
            self._save()
        saved = f"({''.join(f'{name}, ' for name in self.saved)})"
        saved = saved if plan.differentiable else "None"
        self.add(f"return [{', '.join([*finals, *ys])}], {saved}")
        return self.function("arrays")

    def _stacks(self) -> None:
        loop = self.loop
        if self.offsets:
            make = self.bound("new_block", memory.maker((self.block,), _BYTES))
            self.add(f"block = {make}()")
            self.tell("blocks", 0, "id(block)")
        for k, shape in enumerate(loop.stack_shapes):
            if k in self.ys:
                self.new(f"S{k}", shape)
                self.tell("stacks", k, f"id(S{k})")
            else:
                self.settle("stacks", k, self.offsets[k], "offset")
            self.settle("stacks", k, math.prod(shape[1:]), "time")
        for k in range(self.plan.carries):  # all of them have a history
            shape = loop.stack_shapes[k][1:]
            self.add(f"if not C{k}.flags.c_contiguous: C{k} = side_by_side(C{k})")
            self.tell("carried", k, f"id(C{k})")
            self.new(f"F{k}", (1, *shape) if self.plan.rows else shape)
            self.tell("finals", k, f"id(F{k})")

    def _save(self) -> None:
        """Name what the backward pass reads, each thing once."""
        plan, derived = self.plan, self.plan.before_backward
        over_time = [self.memory_of(v)[0] for v in plan.timed_reads]
        fixed = [*plan.invariant_reads, *(() if derived is None else derived.reads)]
        self.saved = list(dict.fromkeys([*over_time, *(f"v{v}" for v in fixed)]))
        self.over_time = [k for k, name in enumerate(self.saved) if name in over_time]

    def memory_of(self, v: int) -> tuple[str, int]:
        """The array that holds a value over time, which the backward pass reads; from which byte.

        A name that begins with "v" is a whole array of values.
        """
        program, shapes = self.plan.forward, self.loop.stack_shapes
        if v in program.carried:  # the value before the step
            k, first = program.carried.index(v), 0
        elif v in program.stacks:
            k = program.stacks.index(v)
            first = math.prod(shapes[k][1:]) if k < program.history else 0
        else:
            return f"v{v}", 0
        first *= self.loop.dtype.itemsize
        return (f"S{k}", first) if k in self.ys else ("block", self.offsets[k] + first)


class _Backward(_Writer):
    """pull(saved, cotangents)."""

    def __init__(self, plan: Plan, forward: _Forward) -> None:
        self.plan, self.forward, self.derived = plan, forward, plan.before_backward
        first = len(plan.seeded_outputs)
        where = {first + k: forward.memory_of(v)[0] for k, v in enumerate(plan.timed_reads)}
        self.blocks = [*dict.fromkeys(name for name in where.values() if name[0] != "v")]
        blocks = {
            ("timed", k): self.blocks.index(name)
            for k, name in where.items()
            if name in self.blocks
        }
        graph = plan.parts.before if self.derived is None else self.derived.graph
        super().__init__(NativeLoop(plan.backward, plan.steps, blocks), Source(graph))

    def write(self) -> tuple[str, Callable[..., Any]]:
        plan, program, forward = self.plan, self.plan.backward, self.forward
        saved = {name: f"K{k}" for k, name in enumerate(forward.saved)}
        if saved:
            self.add(f"{', '.join(saved.values())}, = saved")
        given = [f"G{k}" for k in range(len(plan.parts.loop.outputs))]
        self.add(f"{', '.join(given)}, = cotangents")
        self.begin()
        for k in range(plan.carries):
            self._cotangent_of_carry(k)
        for number, name in enumerate(self.blocks):
            self.tell("blocks", number, f"id({saved[name]})")
        seeded = len(plan.seeded_outputs)
        for k, output in enumerate(plan.seeded_outputs):
            self._cotangent_over_time(k, output)
        for k, v in enumerate(plan.timed_reads, seeded):
            self._read_again(k, v, saved)
        for k, v in enumerate(plan.invariant_reads):
            self.read_invariant(k, saved[f"v{v}"])
        self._results()
        sums = [f"T{k}" for k in range(len(program.sums))]
        products = [f"P{k}" for k in range(len(program.products))]
        self.launch(sums, products)
        answers = [f"F{k}" if k in self._wanted else "None" for k in range(plan.carries)]
        answers += ["None"] * (plan.inputs - plan.carries)
        if self.derived is not None:
            self._gradients(answers, saved)
        self.add(f"return [{', '.join(answers)}]")
        return self.function("saved, cotangents")

    # -- what the loop reads ------------------------------------------------------------------

    def _cotangent_of_carry(self, k: int) -> None:
        place = self.place("carried", k)
        if place is None:
            return
        spec = self.plan.parts.loop.spec(self.plan.parts.loop.outputs[k])
        zeros = np.zeros(*spec)
        self.bound(f"zeros{k}", zeros)  # held
        together = f"G{k} = np.asarray(G{k})"  # NumPy has numbers for arrays without axes
        if spec.shape:
            together = f"if not G{k}.flags.c_contiguous: G{k} = side_by_side(G{k})"
        self.add(
            f"if G{k} is None:",
            f"    n[{place}] = {id(zeros)}",
            "else:",
            f"    {together}",
            f"    n[{place}] = id(G{k})",
        )

    def _cotangent_over_time(self, k: int, output: int) -> None:
        shape, dtype = self.plan.parts.loop.spec(self.plan.parts.loop.outputs[output])
        zeros = np.broadcast_to(np.zeros(shape, dtype), (self.plan.steps, *shape))
        self.add(f"if G{output} is None: G{output} = {self.bound(f'zeros{output}', zeros)}")
        self.read_over_time(k, f"G{output}")

    def _read_again(self, k: int, v: int, saved: dict[str, str]) -> None:
        name, offset = self.forward.memory_of(v)
        if name not in self.blocks:
            self.read_over_time(k, saved[name])
            return
        self.settle("timed", k, offset, "offset")
        self.settle("timed", k, math.prod(self.plan.parts.loop.spec(v).shape), "time")

    # -- what it writes -----------------------------------------------------------------------

    def _results(self) -> None:
        plan, loop = self.plan, self.loop
        self._wanted = {k for k in range(plan.carries) if plan.needing[k]}
        for k in range(plan.carries):
            place = self.place("finals", k)
            shape, dtype = plan.parts.loop.spec(plan.parts.loop.inputs[k])
            if k in self._wanted:
                self.new(f"F{k}", shape)
                self.tell("finals", k, f"id(F{k})")
            elif place is not None:
                self.unread[place] = max(1, math.prod(shape)) * dtype.itemsize
        for k, shape in enumerate(loop.stack_shapes):
            self.new(f"S{k}", shape)
            self.tell("stacks", k, f"id(S{k})")
            self.settle("stacks", k, math.prod(shape[1:]), "time")
        for group, letter, shapes in (
            ("sums", "T", loop.sum_shapes),
            ("products", "P", loop.product_shapes),
        ):
            for k, shape in enumerate(shapes):
                self.new(f"{letter}{k}", shape, zeroed=True)
                self.tell(group, k, f"id({letter}{k})")

    # -- what is left for after it ------------------------------------------------------------

    def _gradients(self, answers: list[str], saved: dict[str, str]) -> None:
        """From what the loop reads to what the step captured; the answers' names."""
        plan, derived = self.plan, self.derived
        if derived is None:
            return
        graph, before = derived.graph, plan.parts.before
        first = len(derived.seeded)
        taken: set[str] = set()
        for number, k in zip(graph.inputs, derived.seeded, strict=False):
            self.add(f"v{number} = {self._found(before.outputs[k], taken)}")
        for number, v in zip(graph.inputs[first:], derived.reads, strict=True):
            self.add(f"v{number} = {saved[f'v{v}']}")
        self.add(*(self.source.line(i) for i in graph.instructions))
        position = {v: k for k, v in enumerate(before.inputs)}
        found = self.source.apart(graph.outputs)
        for k, name in zip(derived.reached, found, strict=True):
            answers[plan.carries + position[plan.wanted_before[k]]] = name

    def _found(self, v: int, taken: set[str]) -> str:
        """The gradient of something the loop reads, in memory of its own."""
        plan, program = self.plan, self.plan.backward
        spec = plan.parts.before.spec(v)
        terms: list[str] = []
        if v in plan.timed_found:
            found = plan.timed_found[v]
            if found not in program.stacks:
                cotangents = dict(zip(program.timed, plan.seeded_outputs, strict=False))
                return f"np.array(G{cotangents[found]})"
            terms = [f"S{program.stacks.index(found)}"]
        first = 0
        for other, pairs in plan.products.items():
            if other == v:
                terms += [self._product(first + k) for k in range(len(pairs))]
                terms += [self._sum(program.sums.index(term)) for term in plan.rest[v]]
            first += len(pairs)
        if not terms:
            return f"np.zeros({spec.shape}, {self.bound(f'dtype{v}', spec.dtype)})"
        if len(terms) > 1:
            return f"np.sum([{', '.join(terms)}], axis=0)"
        again = terms[0] in taken
        taken.update(terms)
        return f"np.array({terms[0]})" if again else terms[0]

    def _product(self, k: int) -> str:
        """A product over time, without the columns that fill up a register."""
        _, b = self.loop.program.products[k]
        columns = self.loop.layout.graph.spec(b).shape[-1]
        whole = columns == self.loop.product_shapes[k][1]
        return f"P{k}" if whole else f"P{k}[:, :{columns}]"

    def _sum(self, k: int) -> str:
        shape = self.loop.layout.graph.spec(self.loop.program.sums[k]).shape
        return f"T{k}" if shape == self.loop.sum_shapes[k] else f"T{k}.reshape({shape})"


def _rows_together(a: Array) -> Array:
    """(T, ...) with what belongs to one step side by side; any stride over time will do."""
    if a.shape[0] == 0 or a[0].flags.c_contiguous:
        return a
    return np.ascontiguousarray(a)
