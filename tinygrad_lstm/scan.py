"""scan: one step of Tensor code, repeated over the first axis of its inputs.

Compiled, the step is recorded once and the loop is one op of the graph. Unrolled, it is a Python
loop: every op of every step is recorded in a scope `t=0`, `t=1`, ... The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast

import numpy as np

from .context import CONTEXT, called_from, calling_line, scope
from .errors import DTypeError, GraphError, ShapeError
from .functions import stack, where
from .recording import Recording, Run
from .tensor import Array, Tensor
from .tree import Structure, flatten, unflatten
from .wording import describe

if TYPE_CHECKING:  # the compiler is loaded when it is used
    from .compiler.describe import Explanation
    from .compiler.step import FlatStep

__all__ = ["scan"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
Step = Callable[[Any, Any], tuple[Any, Any]]


class _Call(NamedTuple):
    """A scan's arguments, checked; step takes and gives flat lists."""

    step: FlatStep
    states: list[Tensor]
    inputs: list[Tensor]
    steps: int
    ends: Array | None
    carry_form: Structure
    input_form: Structure
    forms: list[Structure]  # of what the step returned, once it was called


def _checked(
    step: Step, carry: Any, xs: Any, steps: int | None, lengths: Sequence[int] | Array | None
) -> _Call:
    if not callable(step):
        raise TypeError(f"scan: step must be callable, got {type(step).__name__}")
    states, carry_form = flatten(carry, Tensor, "carry")
    inputs, input_form = flatten(xs, Tensor, "xs")
    count = _count(inputs, steps)
    ends = None if lengths is None else check_lengths(lengths, count, states)
    forms: list[Structure] = []

    def flat_step(
        before: Sequence[Tensor], x_t: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        result = step(unflatten(carry_form, before), unflatten(input_form, x_t))
        new, ys, form = _results(step, result, before, carry_form)
        if forms and forms[0] != form:
            raise ShapeError(
                f"step: the y_t it returned was {forms[0]} and became {form}{_place_of(step)}"
            )
        forms[:] = [form]
        if ends is not None:
            _check_rows(ys, len(ends))
        return new, ys

    return _Call(flat_step, states, inputs, count, ends, carry_form, input_form, forms)


def explain(
    step: Step,
    carry: Any,
    xs: Any = None,
    *,
    steps: int | None = None,
    lengths: Sequence[int] | Array | None = None,
    reverse: bool = False,
    backend: str | None = None,
) -> Explanation:
    """What `scan` does with these arguments: print it. Nothing is run.

    It says what is done once, what for all steps in one product, what is fused, what is kept for
    the backward pass, in bytes, and how the gradients of everything that requires one come about.
    Arguments and errors are scan's.
    """
    from .compiler.recorded import explained

    check_backend(backend, False)
    call = _checked(step, carry, xs, steps, lengths)
    whole, series = in_order(call.step, call.inputs, call.steps, call.ends, reverse)
    names = [k and f"{k}_{{t-1}}" for k in call.carry_form.keys_of_leaves()]
    names += [k and f"{k}_t" for k in call.input_form.keys_of_leaves()]
    names += [] if call.ends is None else ["running_t"]
    return explained(whole, call.states, series, call.steps, backend, names)


class _Explained(Protocol[P, R_co, Q, E_co]):
    """A function that can also tell what it would do."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def explain(self, *args: Q.args, **kwargs: Q.kwargs) -> E_co: ...


def _with(
    explain: Callable[Q, E_co],
) -> Callable[[Callable[P, R_co]], _Explained[P, R_co, Q, E_co]]:
    def attach(function: Callable[P, R_co]) -> _Explained[P, R_co, Q, E_co]:
        vars(function)["explain"] = explain
        return cast(_Explained[P, R_co, Q, E_co], function)

    return attach


@_with(explain)
def scan(
    step: Step,
    carry: Any,
    xs: Any = None,
    *,
    steps: int | None = None,
    lengths: Sequence[int] | Array | None = None,
    reverse: bool = False,
    unroll: bool = False,
    backend: str | None = None,
    record: Recording | None = None,
) -> tuple[Any, Any]:
    """Run `step(carry, x_t) -> (carry, y_t)` for every t; return the last carry and all y_t.

    Compiled by default: the step is recorded once, on stand-ins for the carry and x_t, so it must
    do the same whenever it is called; in the graph the whole run is one op, and the last carry and
    the y_t are its results side by side: a gradient with respect to one knows nothing of the other.
    carry, xs, y_t: tensors, or nested tuples, lists and dicts of them; leaves of xs are (T, ...),
    of the result (T, ...) too. What step closes over is found by itself. steps: T, where there are
    no xs. lengths: (B,) integers in [0, T]: a sequence's carry stops at its end and its y beyond
    are zero (leaves are then (B, ...)). reverse: from the last step to the first; y_t still stands
    at t. unroll: record every op of every step instead, to be seen; the numbers are the same.
    backend: what runs a compiled step, "numpy" or "numba"; None: the fastest there is. record: what
    the named tensors of the step held over time is left there.
    Raises ShapeError for T = 0, for leaves of xs of different T, and for a carry whose shape,
    dtype or structure changes from one step to the next; GraphError where a compiled step asks for
    the value of something that changes from step to step; ValueError for an unknown backend, for
    one together with unroll, and for an unknown name in record.
    `scan.explain(step, carry, xs, ...)` tells what is compiled, without running it.
    """
    check_backend(backend, unroll)
    call = _checked(step, carry, xs, steps, lengths)
    flat_step, states, inputs, count, ends, carry_form, _, forms = call
    inside = CONTEXT.get().tracer is not None  # a step being compiled: it takes the ops as they are
    if inside and record is not None:
        raise GraphError("record: this scan is inside a step that is compiled; unroll that one")
    run = None if record is None else _recording(record).begin(count, ends, reverse)
    site = CONTEXT.get().site
    with called_from(calling_line() if site is None else site):
        if unroll or inside:
            final, outputs = _unrolled(flat_step, states, inputs, count, ends, reverse, run)
        else:
            final, outputs = _compiled(
                flat_step, states, inputs, count, ends, reverse, backend, run
            )
    return unflatten(carry_form, final), unflatten(forms[0], outputs)


def _unrolled(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    ends: Array | None,
    reverse: bool,
    run: Run | None,
) -> tuple[Sequence[Tensor], list[Tensor]]:
    """Every op of every step, recorded."""
    if run is not None:
        states, inputs = run.prepared(states), run.prepared(inputs)
    ys: list[list[Tensor]] = [[] for _ in range(count)]
    for t in reversed(range(count)) if reverse else range(count):
        with scope(f"t={t}"):
            x_t = [_slice(x, t) for x in inputs]
            new, ys[t] = step(states, x_t) if run is None else run.step(t, step, states, x_t)
            if ends is not None and not (ends > t).all():
                new, ys[t] = _masked(Tensor(ends > t), new, states, ys[t])
            states = new
    return states, [stack(column) for column in zip(*ys, strict=True)]


def _compiled(
    step: FlatStep,
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    count: int,
    ends: Array | None,
    reverse: bool,
    backend: str | None,
    run: Run | None,
) -> tuple[Sequence[Tensor], list[Tensor]]:
    """One op. Arguments are checked before; step takes and gives flat lists."""
    from .compiler.recorded import run_compiled

    whole, series = in_order(step, inputs, count, ends, reverse)
    new, ys = run_compiled(whole, states, series, count, backend, run)
    return new, [y[::-1] for y in ys] if reverse else ys


def in_order(
    step: FlatStep, inputs: Sequence[Tensor], count: int, ends: Array | None, reverse: bool
) -> tuple[FlatStep, list[Tensor]]:
    """The step and its inputs as they are run; which sequences still run at t is one input more."""

    def masked_step(
        before: Sequence[Tensor], x_t: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        new, ys = step(before, x_t[:-1])
        return _masked(x_t[-1], new, before, ys)

    series = list(inputs)
    if ends is not None:
        series.append(Tensor(np.arange(count)[:, None] < ends))
    if reverse:
        series = [x[::-1] for x in series]
    return step if ends is None else masked_step, series


def _recording(record: object) -> Recording:
    if not isinstance(record, Recording):
        raise TypeError(f"record: expected a Recording, got {type(record).__name__}")
    return record


def check_backend(backend: str | None, unroll: bool) -> None:
    """Raise ValueError for a backend that is unknown, or that has nothing to compile."""
    if backend is None:
        return
    from .compiler.backends import BACKENDS

    if backend not in BACKENDS:
        known = ", ".join(map(repr, BACKENDS))
        raise ValueError(f"backend: expected None or one of {known}, got {backend!r}")
    if unroll:
        raise ValueError(
            f"backend: {backend!r} runs a compiled step, and unroll=True compiles none; "
            "leave one of them out"
        )


def _count(inputs: Sequence[Tensor], steps: int | None) -> int:
    """The number of steps, which all inputs must agree on."""
    sizes = {x.shape[0] if x.ndim else None for x in inputs}
    if steps is not None:
        if not isinstance(steps, int | np.integer) or isinstance(steps, bool):
            raise TypeError(f"scan: steps must be an integer, got {steps!r}")
        sizes.add(int(steps))
    if None in sizes:
        raise ShapeError("scan: every tensor in xs needs a first axis, time; got a scalar")
    if not sizes:
        raise ShapeError("scan: without xs, steps must say how many steps to take")
    if len(sizes) > 1:
        shapes = [f"{x.name} {x.shape}" if x.name else str(x.shape) for x in inputs]
        shapes += [] if steps is None else [f"steps={steps}"]
        raise ShapeError(f"scan: xs disagree on the number of steps: {', '.join(shapes)}")
    (count,) = sizes
    if count is None or count < 1:
        raise ShapeError(f"scan: needs at least one time step, got {count}")
    return count


def check_lengths(
    lengths: Sequence[int] | Array | Tensor, count: int, states: Iterable[Tensor] = ()
) -> Array:
    """`lengths` as an integer array (B,), checked against T and the batch of the states."""
    try:
        ends = np.asarray(lengths)
    except ValueError:  # not all are numbers, or all lists
        raise DTypeError(f"lengths: expected one integer per sequence, got {lengths!r}") from None
    if ends.ndim != 1 or (ends.size and ends.dtype.kind not in "iu"):
        raise DTypeError(
            f"lengths: expected one integer per sequence, got {ends.dtype} of shape {ends.shape}"
        )
    if ends.size and not (ends.min() >= 0 and ends.max() <= count):
        raise ShapeError(f"lengths: from {ends.min()} to {ends.max()}, outside [0, {count}]")
    for state in states:
        if state.ndim == 0 or state.shape[0] != len(ends):
            raise ShapeError(f"lengths: {len(ends)} given for a carry of shape {state.shape}")
    return ends


def _slice(x: Tensor, t: int) -> Tensor:
    x_t = x[t]
    return x_t.named("x_t") if x_t.name is None else x_t


def _results(
    step: Step, result: Any, before: Sequence[Tensor], form: Structure
) -> tuple[list[Tensor], list[Tensor], Structure]:
    """The flat carry and outputs of one step, the carry checked against the one before."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"step: must return (carry, y_t), returned {type(result).__name__}{_place_of(step)}"
        )
    new, new_form = flatten(result[0], Tensor, "the carry that step returned")
    if new_form != form:
        raise ShapeError(f"step: the carry was {form} and became {new_form}{_place_of(step)}")
    for k, (old, now) in enumerate(zip(before, new, strict=True)):
        if old.shape != now.shape or old.dtype != now.dtype:
            place = f" ({now.node.where})" if now.node is not None else _place_of(step)
            raise ShapeError(
                f"step: leaf {k} of the carry{f', {now.name},' if now.name else ''} was "
                f"{old.shape} {old.dtype} and became {now.shape} {now.dtype}{place}"
            )
    ys, output_form = flatten(result[1], Tensor, "the y_t that step returned")
    return new, ys, output_form


def _place_of(step: Step) -> str:
    """` (file:line)` where the step is defined; nothing for what is no function."""
    code = getattr(step, "__code__", None)
    return "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"


def _check_rows(ys: Sequence[Tensor], batch: int) -> None:
    for k, y in enumerate(ys):
        if y.shape[:1] != (batch,):
            raise ShapeError(
                f"lengths: {batch} given, so each leaf of y_t must be ({batch}, ...); leaf {k} of "
                f"what step returned is {describe(y)}"
            )


def _masked(
    active: Tensor, new: Sequence[Tensor], old: Sequence[Tensor], ys: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The results for the sequences still running; for the others the old carry, and zeros."""
    carry = [_keep(active, n, o) for n, o in zip(new, old, strict=True)]
    return carry, [_keep(active, y, np.zeros((), y.dtype)) for y in ys]


def _keep(active: Tensor, new: Tensor, old: Tensor | Array) -> Tensor:
    mask = active if new.ndim == 1 else active.reshape(-1, *[1] * (new.ndim - 1))
    kept = where(mask, new, old)
    return kept if new.name is None else kept.named(new.name)
