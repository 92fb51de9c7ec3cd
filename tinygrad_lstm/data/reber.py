"""The Reber grammar and the embedded Reber grammar: strings, a checker, arrays to learn from.

A string of the embedded grammar is B, then T or P, then a whole Reber string, then the same T or P
again, then E: the second symbol has to be remembered over the whole inner string. Source:
experiment 1 of Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997, after Reber, 1967.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._checks import Seed, float_dtype, generator, integer

REBER_SYMBOLS = "BTPSXVE"
IGNORE = -100  # the class index that stands for "no target here"

Automaton = Mapping[str, Mapping[str, str]]  # state -> symbol -> next state
START, END = "start", "end"

_REBER: Automaton = {
    START: {"B": "1"},
    "1": {"T": "2", "P": "3"},
    "2": {"S": "2", "X": "4"},
    "3": {"T": "3", "V": "5"},
    "4": {"X": "3", "S": "6"},
    "5": {"P": "4", "V": "6"},
    "6": {"E": END},
    END: {},
}


def _embed(inner: Automaton) -> Automaton:
    """`inner` twice, once between two T and once between two P, so that the state remembers."""
    outer = {START: {"B": "fork"}, "fork": {}, "close": {"E": END}, END: {}}
    for branch in "TP":
        for state, arcs in inner.items():
            outer[branch + state] = {symbol: branch + then for symbol, then in arcs.items()}
        outer["fork"][branch] = branch + START
        outer[branch + END] = {branch: "close"}
    return outer


_EMBEDDED = _embed(_REBER)


class ReberData(NamedTuple):
    """Strings as arrays; T is the longest string's number of symbols less one.

    x: (n, T, 7), one-hot in the order of REBER_SYMBOLS, zero beyond a string's end; the last symbol
    of a string is not among the inputs, as nothing follows it. target: (n, T) int64, the symbol
    that does follow, -100 beyond the end. legal: (n, T, 7) bool, the symbols that may follow.
    lengths: (n,) int64. strings: the strings themselves.
    """

    x: NDArray[np.floating]
    target: NDArray[np.int64]
    legal: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    strings: list[str]


def reber_strings(
    n: int, *, seed: Seed, embedded: bool = True, exclude: Collection[str] = ()
) -> list[str]:
    """`n` strings of the grammar, drawn with equal chances wherever two symbols are legal.

    Short strings come up again and again: give the training strings as `exclude` to get test
    strings that are all unseen.
    """
    n = integer("n", n, 1)
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be a collection of strings, got the string {exclude!r}")
    automaton, rng, unwanted = _automaton(embedded), generator(seed), frozenset(exclude)
    strings: list[str] = []
    while len(strings) < n:
        string = _walk(automaton, rng)
        if string not in unwanted:
            strings.append(string)
    return strings


def _walk(automaton: Automaton, rng: np.random.Generator) -> str:
    state, symbols = START, []
    while arcs := automaton[state]:
        choices = list(arcs)
        symbol = choices[int(rng.random() * len(choices))] if len(choices) > 1 else choices[0]
        symbols.append(symbol)
        state = arcs[symbol]
    return "".join(symbols)


def legal_next(string: str, *, embedded: bool = True) -> list[frozenset[str]]:
    """The symbols that may follow each symbol of `string`; none follows the closing E.

    `string` may be a whole string of the grammar or the beginning of one; ValueError for anything
    else, naming the first symbol that is not legal.
    """
    if not isinstance(string, str):
        raise TypeError(f"string must be a str, got {string!r} of type {type(string).__name__}")
    automaton, state = _automaton(embedded), START
    following = []
    for position, symbol in enumerate(string):
        arcs = automaton[state]
        if symbol not in arcs:
            expected = " or ".join(arcs) or "the end"
            raise ValueError(
                f"string {string!r} is not of the grammar: "
                f"expected {expected} at position {position}, got {symbol!r}"
            )
        state = arcs[symbol]
        following.append(frozenset(automaton[state]))
    return following


def is_reber(string: str, *, embedded: bool = True) -> bool:
    """Whether `string` is a whole, legal string of the grammar."""
    try:
        following = legal_next(string, embedded=embedded)
    except ValueError:
        return False
    return bool(following) and not following[-1]


def encode_reber(
    strings: Sequence[str], *, embedded: bool = True, dtype: DTypeLike = np.float32
) -> ReberData:
    """Strings of the grammar as padded arrays (see ReberData); ValueError for an illegal string."""
    if isinstance(strings, str):
        raise TypeError(f"strings must be a list of strings, got the string {strings!r}")
    if len(strings) == 0:
        raise ValueError(f"strings must hold at least one string, got {strings!r}")
    following: list[frozenset[str]] = []
    for i, string in enumerate(strings):
        if not is_reber(string, embedded=embedded):
            raise ValueError(f"strings[{i}] must be a whole string of the grammar, got {string!r}")
        following += legal_next(string, embedded=embedded)[:-1]
    lengths = np.array([len(string) - 1 for string in strings], np.int64)
    shape = len(strings), int(lengths.max()), len(REBER_SYMBOLS)
    x, legal = np.zeros(shape, float_dtype(dtype)), np.zeros(shape, np.bool_)
    target = np.full(shape[:2], IGNORE, np.int64)
    # The steps of all strings, one string after the other, in the order of `following`.
    rows, steps = np.nonzero(np.arange(shape[1]) < lengths[:, np.newaxis])
    x[rows, steps, _codes(string[:-1] for string in strings)] = 1
    target[rows, steps] = _codes(string[1:] for string in strings)
    masks = {symbols: [s in symbols for s in REBER_SYMBOLS] for symbols in set(following)}
    legal[rows, steps] = [masks[symbols] for symbols in following]
    return ReberData(x, target, legal, lengths, list(strings))


def _codes(strings: Iterable[str]) -> list[int]:
    return [REBER_SYMBOLS.index(symbol) for symbol in "".join(strings)]


def embedded_reber(
    n: int, *, seed: Seed, exclude: Collection[str] = (), dtype: DTypeLike = np.float32
) -> ReberData:
    """`n` random strings of the embedded Reber grammar, as padded arrays (see ReberData)."""
    return encode_reber(reber_strings(n, seed=seed, exclude=exclude), dtype=dtype)


def reber_correct(outputs: ArrayLike, data: ReberData) -> NDArray[np.bool_]:
    """For each string, whether every step is predicted right: the paper's measure of success.

    A step is right when each legal next symbol has a higher output than each illegal one.
    outputs: (n, T, 7), scores or probabilities for the next symbol. Returns (n,) bool.
    Raises ValueError for another shape. NaN is never right.
    """
    scores = np.asarray(outputs)
    if scores.shape != data.legal.shape:
        raise ValueError(f"outputs must have shape {data.legal.shape}, got {scores.shape}")
    lowest_legal = np.where(data.legal, scores, np.inf).min(axis=2)
    highest_illegal = np.where(data.legal, -np.inf, scores).max(axis=2)
    beyond_end = np.arange(scores.shape[1]) >= data.lengths[:, np.newaxis]
    return ((lowest_legal > highest_illegal) | beyond_end).all(axis=1)


def _automaton(embedded: bool) -> Automaton:
    return _EMBEDDED if embedded else _REBER
