"""Made-up sequence tasks with long time lags: adding, temporal order, copying.

Samples stand along the first axis, time along the second. All draws come from the given seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._checks import Seed, float_dtype, generator, integer
from .encoding import one_hot

TEMPORAL_ORDER_SYMBOLS = "EBabcdXY"
TEMPORAL_ORDER_CLASSES = "QRSU"


def adding_problem(
    n: int, length: int, *, seed: Seed, dtype: DTypeLike = np.float32
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Sequences of numbers with two of them marked; the target is the sum of these two.

    Returns x (n, length, 2): a value from U(0, 1) and a marker (1 at two steps, 0 elsewhere), and
    y (n, 1). One marker stands in the first half of the sequence (the first length // 2 steps),
    the other in the second, each at a uniformly drawn step. The target is the plain sum, so always
    answering its mean, 1, has a mean squared error of 2/12, about 0.167. `length` is at least 2.

    After experiment 4 of Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997, in the form of
    Arjovsky, Shah & Bengio, "Unitary Evolution Recurrent Neural Networks", 2016 (the original
    draws values from [-1, 1], scales the sum, and marks steps close to the start).
    """
    n, length = integer("n", n, 1), integer("length", length, 2)
    wanted = float_dtype(dtype)
    rng = generator(seed)
    x = np.zeros((n, length, 2), wanted)
    # Drawn in double and rounded: one seed means the same problem in either precision.
    x[:, :, 0] = rng.random((n, length))
    rows, half = np.arange(n), length // 2
    first, second = rng.integers(0, half, n), rng.integers(half, length, n)
    x[rows, first, 1] = x[rows, second, 1] = 1
    y = x[rows, first, 0] + x[rows, second, 0]
    return x, y[:, np.newaxis]


def temporal_order(
    n: int,
    length: int = 100,
    *,
    seed: Seed,
    extra: int | None = None,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64]]:
    """Symbol sequences to be classed by the order of two relevant symbols far apart.

    A sequence starts with E, ends with the trigger B and has random symbols of a, b, c, d between,
    but for an X or Y at step t1 and another at t2 (counted from 0): t1 is drawn from length // 10
    to length // 5, t2 from length // 2 to 3 * length // 5, both inclusive. The number of steps is
    drawn from `length` to `length + extra`, with `extra` a tenth of `length` unless given; the
    defaults are the paper's 100 to 110 steps, t1 in 10..20 and t2 in 50..60. `length` is at
    least 10.

    Returns x (n, length + extra, 8), one-hot in the order of TEMPORAL_ORDER_SYMBOLS and zero
    beyond each sequence's end; y (n,) int64, the index into TEMPORAL_ORDER_CLASSES (XX: Q, XY: R,
    YX: S, YY: U); and lengths (n,) int64.

    Experiment 6a of Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997.
    """
    n, length = integer("n", n, 1), integer("length", length, 10)
    extra = length // 10 if extra is None else integer("extra", extra, 0)
    rng = generator(seed)
    start, trigger, distractor, relevant = (TEMPORAL_ORDER_SYMBOLS.index(s) for s in "EBaX")
    lengths = rng.integers(length, length + extra, n, endpoint=True)
    early = rng.integers(length // 10, length // 5, n, endpoint=True)
    late = rng.integers(length // 2, 3 * length // 5, n, endpoint=True)
    first, second = rng.integers(0, 2, (2, n))
    symbols = rng.integers(distractor, relevant, (n, length + extra))
    rows = np.arange(n)
    symbols[:, 0] = start
    symbols[rows, lengths - 1] = trigger
    symbols[rows, early] = relevant + first
    symbols[rows, late] = relevant + second
    x = one_hot(symbols, len(TEMPORAL_ORDER_SYMBOLS), dtype=dtype)
    x[np.arange(length + extra) >= lengths[:, np.newaxis]] = 0
    return x, 2 * first + second, lengths


def copy_memory(
    n: int,
    delay: int,
    *,
    seed: Seed,
    length: int = 10,
    symbols: int = 8,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Symbols to be kept over a delay and then written out in the same order.

    The input is `length` symbols out of `symbols`, then `delay - 1` blanks, the delimiter, and
    `length` blanks; the target is blank for `delay + length` steps, then the symbols. With
    steps = delay + 2 * length, returns x (n, steps, symbols + 2), one-hot, with index `symbols` for
    the blank and `symbols + 1` for the delimiter; and y (n, steps) int64, class indices of which
    there are `symbols + 1`. A model without memory has, at best, a mean cross-entropy of
    length * log(symbols) / steps.

    Arjovsky, Shah & Bengio, "Unitary Evolution Recurrent Neural Networks", 2016, after Hochreiter
    & Schmidhuber, 1997.
    """
    n, delay = integer("n", n, 1), integer("delay", delay, 1)
    length, symbols = integer("length", length, 1), integer("symbols", symbols, 1)
    blank, delimiter = symbols, symbols + 1
    kept = generator(seed).integers(0, symbols, (n, length))
    read = np.full((n, delay + 2 * length), blank)
    read[:, :length] = kept
    read[:, length + delay - 1] = delimiter
    y = np.full(read.shape, blank, np.int64)
    y[:, length + delay :] = kept
    return one_hot(read, symbols + 2, dtype=dtype), y
