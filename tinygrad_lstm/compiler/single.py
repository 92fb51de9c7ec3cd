"""One step of a scan, for new inputs as they come: traced and planned once, then run on buffers.

A call writes into the buffers, runs, and reads from them; the captured tensors are read, and what
depends on them alone is computed, only when asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..errors import GraphError
from ..tensor import Array, Tensor
from .backends import Backend, NotNative, backend_named, warn_of_numpy
from .columns import columns_as_rows, exchanged
from .leftovers import empty
from .numpy_backend import NumpyLoop
from .patience import compiling
from .plan import Plan
from .regroup import known_first
from .runner import Runner
from .step import FlatStep, check_repeatable, trace_step

__all__ = ["SingleStep"]

_STEPWISE = Backend("numpy", Runner, over_time=False)


class SingleStep:
    """`step`, compiled for inference; takes and gives flat lists of tensors.

    states, inputs: examples of the carry and of x_t. histories: buffers (2, ...) for the carries,
    of which each (...) lies side by side; made here by default.
    before, inputs: where to write the carry and x_t. after, outputs: where `run` leaves the new
    carry and y_t, until it is called again. Not for two threads at once.
    Raises GraphError for a step that draws random numbers or is not repeatable; warns where a
    backend has no form for the step, which then runs with NumPy.
    """

    def __init__(
        self,
        step: FlatStep,
        states: Sequence[Tensor],
        inputs: Sequence[Tensor],
        backend: str | None,
        histories: Sequence[Array] | None = None,
    ) -> None:
        series = [Tensor(t._data[np.newaxis]) for t in inputs]
        self._trace = partial(trace_step, step, states, series, steps=1)
        traced = self._trace()
        try:
            if traced.draws:
                raise GraphError(
                    "step: draws random numbers, and a step compiled for inference must not: call "
                    "eval() on the model, or give them as x_t"
                )
            check_repeatable(traced, self._trace)
        finally:
            empty(traced.leftovers)
        self._traced, self._captured = traced.graph, traced.captured
        with compiling(len(traced.graph.instructions)):
            self._build(len(states), series, backend_named(backend).name, histories)
        self._read()

    def _build(
        self,
        carries: int,
        series: Sequence[Tensor],
        backend: str,
        histories: Sequence[Array] | None,
    ) -> None:
        graph = self._traced
        columns = columns_as_rows(graph, carries, len(series)) if histories is None else None
        if columns is not None:
            graph = columns.graph
            turned = columns.inputs[carries : carries + len(series)]
            series = [Tensor(a) for a in exchanged([t._data for t in series], turned)]
        self._plan = Plan(graph, carries, len(series), 1, [False] * len(graph.inputs), _STEPWISE)
        self._loop = NumpyLoop(known_first(self._plan.forward))
        self._make_buffers(series, histories)
        if columns is not None:
            self.before = exchanged(self._carried, columns.inputs[:carries])
            self.after = exchanged(self.after, columns.outputs[:carries])
            self.inputs = exchanged(self.inputs, columns.inputs[carries : carries + len(series)])
            self.outputs = exchanged(self.outputs, columns.outputs[carries:])
        self._native = None
        self._call: Callable[[], None]
        if backend == "numba" and all(math.prod(spec.shape) for spec in graph.specs):
            self._build_native()

    def _make_buffers(self, series: Sequence[Tensor], histories: Sequence[Array] | None) -> None:
        program, before = self._plan.forward, self._plan.parts.before
        stacks = [
            np.zeros((1 + (k < program.history), *shape), dtype)
            for k, (shape, dtype) in enumerate(program.specs(program.stacks))
        ]
        if histories is not None:
            stacks[: program.history] = histories
        self._stacks = stacks
        place = {v: s[-1, ...] for v, s in zip(program.stacks, stacks, strict=True)}
        outputs = program.graph.outputs
        self.before = self._carried = [s[0, ...] for s in stacks[: program.history]]
        self.after = [place[v] for v in outputs[: program.history]]
        self.outputs = [place[v] for v in outputs[program.history :]]
        given = before.inputs[: len(series)]
        whole = {v: np.array(t._data, order="C") for v, t in zip(given, series, strict=True)}
        self.inputs = [whole[v][0, ...] for v in given]
        moving = before.depending_on(given)
        self._ahead = [i for i in before.instructions if i.out in moving]
        self._values = {**before.constants, **whole}
        self._timed = [
            whole[v] if v in whole else np.empty(*before.spec(v)) for v in self._plan.parts.timed
        ]
        self._copied = [
            (v, a) for v, a in zip(self._plan.parts.timed, self._timed, strict=True)
            if v not in whole
        ]  # fmt: skip

    def _build_native(self) -> None:
        from .native.single import NativeStep

        try:
            self._native = NativeStep(self._plan.forward)
        except NotNative as error:
            warn_of_numpy("step", error)

    def refresh(self) -> bool:
        """Read what the step closes over again; False if it records something else by now."""
        traced = self._trace()
        empty(traced.leftovers)
        if traced.draws or traced.graph.mark != self._traced.mark:
            return False
        self._captured = traced.captured
        self._read()
        return True

    def _read(self) -> None:
        before = self._plan.parts.before
        values = dict(self._values)
        captured = before.inputs[len(self.inputs) :]
        values.update((v, t._data) for v, t in zip(captured, self._captured, strict=True))
        each_time = {i.out for i in self._ahead}
        for i in before.instructions:
            if i.out not in each_time:
                values[i.out] = np.asarray(i.op.forward(*[values[v] for v in i.inputs], **i.attrs))
        # copies: all that is read must be of the same moment
        parts, given = self._plan.parts, before.inputs[: len(self.inputs)]
        read = {v for i in self._ahead for v in i.inputs}.difference(each_time, given)
        values.update((v, np.array(values[v], order="C")) for v in (*parts.invariants, *read))
        invariants = [values[v] for v in parts.invariants]
        call = self._call_numpy
        if self._native is not None:
            call = self._native.bind(self._stacks, self._timed, invariants)
        self._values, self._invariants, self._call = values, invariants, call

    def run(self) -> None:
        """From `before` and `inputs` to `after` and `outputs`."""
        if self._ahead:
            values = self._values
            for i in self._ahead:
                values[i.out] = np.asarray(i.op.forward(*[values[v] for v in i.inputs], **i.attrs))
            for v, timed in self._copied:
                timed[...] = values[v]
        self._call()

    def _call_numpy(self) -> None:
        _, stacks, _, _ = self._loop(1, self._carried, self._timed, self._invariants)
        for buffer, made in zip(self._stacks, stacks, strict=True):
            buffer[...] = made
