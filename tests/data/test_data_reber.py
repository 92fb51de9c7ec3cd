"""The Reber grammars against a regular expression written down from the graph of the grammar."""

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_lstm import data
from tinygrad_lstm.data import (
    REBER_SYMBOLS,
    embedded_reber,
    encode_reber,
    is_reber,
    legal_next,
    reber_correct,
    reber_strings,
)

untyped: Any = data  # for calls with wrong types, past the type checker

TAIL = "(?:XT*VP)*(?:S|XT*VV)"
INNER = f"B(?:TS*X{TAIL}|PT*V(?:V|P{TAIL}))E"
REBER = re.compile(INNER)
EMBEDDED = re.compile(f"B(?:T{INNER}T|P{INNER}P)E")
GRAMMARS = {False: REBER, True: EMBEDDED}
# From each state of the inner grammar, its shortest way to the end.
INNER_ENDS = ["", "E", "SE", "VE", "VVE", "XSE", "TXSE", "BTXSE"]
ENDS = {
    False: INNER_ENDS,
    True: ["", "E", "TBTXSETE", "BTBTXSETE"] + [e + b for e in INNER_ENDS for b in ("TE", "PE")],
}


@pytest.mark.parametrize("embedded", [True, False])
def test_every_drawn_string_is_legal(embedded):
    for string in reber_strings(2000, seed=0, embedded=embedded):
        assert GRAMMARS[embedded].fullmatch(string)
        assert is_reber(string, embedded=embedded)


def test_strings_published_as_reber_and_not_reber_are_told_apart():
    assert all(is_reber(s, embedded=False) for s in ["BTSSXXTVVE", "BPVVE", "BTXXVPSE"])
    assert not any(is_reber(s, embedded=False) for s in ["BTSSPXSE", "BPTVVB", "BTXXVVSE"])


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 6])
def test_the_checker_agrees_with_the_expression_on_all_short_strings(length):
    for symbols in itertools.product(REBER_SYMBOLS, repeat=length):
        string = "".join(symbols)
        assert is_reber(string, embedded=False) == bool(REBER.fullmatch(string))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.booleans(), st.data())
def test_the_checker_agrees_with_the_expression_on_strings_with_a_slip(seed, embedded, data):
    string = reber_strings(1, seed=seed, embedded=embedded)[0]
    place = data.draw(st.integers(0, len(string) - 1))
    slip = data.draw(st.sampled_from(["", *REBER_SYMBOLS, string[place] * 2, "b", "é"]))
    changed = string[:place] + slip + string[place + 1 :]
    assert is_reber(changed, embedded=embedded) == bool(GRAMMARS[embedded].fullmatch(changed))


def test_the_second_symbol_has_to_come_again_before_the_end():
    assert is_reber("BTBTXSETE") and is_reber("BPBTXSEPE")
    assert not is_reber("BTBTXSEPE") and not is_reber("BPBTXSETE")
    assert not is_reber("BTXSE") and is_reber("BTXSE", embedded=False)


@pytest.mark.parametrize("embedded", [True, False])
def test_the_legal_next_symbols_are_those_from_which_the_end_can_be_reached(embedded):
    grammar, ends = GRAMMARS[embedded], ENDS[embedded]
    for string in set(reber_strings(150, seed=1, embedded=embedded)):
        for position, symbols in enumerate(legal_next(string, embedded=embedded)):
            begun = string[: position + 1]
            expected = {
                s for s in REBER_SYMBOLS if any(grammar.fullmatch(begun + s + e) for e in ends)
            }
            assert symbols == expected


def test_the_beginning_of_a_string_has_legal_next_symbols_too():
    assert legal_next("BT") == [{"T", "P"}, {"B"}]
    assert legal_next("") == []


def test_symbols_are_drawn_with_equal_chances():
    n = 4000
    strings = reber_strings(n, seed=2)
    spread = 5 * math.sqrt(n / 4)
    assert abs(sum(s[1] == "T" for s in strings) - n / 2) < spread
    # The shortest ways through the inner grammar: PVV is 1/2 * 1/2 * 1/2, and so is TXS.
    for inner in ("BPVVE", "BTXSE"):
        assert abs(sum(s[2:-2] == inner for s in strings) - n / 8) < spread


def test_seeds_repeat_and_differ():
    assert reber_strings(50, seed=3) == reber_strings(50, seed=3)
    assert reber_strings(50, seed=3) != reber_strings(50, seed=4)


def test_excluded_strings_are_not_drawn():
    train = reber_strings(300, seed=5)
    unseen = reber_strings(100, seed=6, exclude=train)
    assert len(unseen) == 100 and not set(unseen) & set(train)
    assert set(reber_strings(100, seed=6)) & set(train)


def test_the_arrays_hold_the_strings():
    data = embedded_reber(64, seed=7)
    assert data.x.dtype == np.float32 and data.x.shape == (64, max(map(len, data.strings)) - 1, 7)
    assert data.strings == reber_strings(64, seed=7)
    for i, string in enumerate(data.strings):
        length = data.lengths[i]
        assert length == len(string) - 1
        assert "".join(REBER_SYMBOLS[c] for c in data.x[i, :length].argmax(1)) == string[:-1]
        assert "".join(REBER_SYMBOLS[c] for c in data.target[i, :length]) == string[1:]
        assert (data.x[i, :length].sum(1) == 1).all() and not data.x[i, length:].any()
        assert (data.target[i, length:] == -100).all() and not data.legal[i, length:].any()
        for t, symbols in enumerate(legal_next(string)[:-1]):
            assert {REBER_SYMBOLS[c] for c in np.flatnonzero(data.legal[i, t])} == symbols


def test_strings_of_the_plain_grammar_become_arrays_too():
    data = encode_reber(["BTXSE", "BPVVE"], embedded=False, dtype=np.float64)
    assert data.x.shape == (2, 4, 7) and data.x.dtype == np.float64


def test_a_predictor_that_knows_the_grammar_is_right_and_one_slip_is_counted():
    data = embedded_reber(20, seed=8)
    outputs = data.legal * 0.5 + np.random.default_rng(0).random(data.legal.shape) * 0.4
    assert reber_correct(outputs, data).all()
    step = data.lengths[3] - 2  # where the remembered symbol is due
    outputs[3, step] = [0, 1, 1, 0, 0, 0, 0]
    assert np.flatnonzero(~reber_correct(outputs, data)).tolist() == [3]


def test_ties_and_nan_are_not_right_and_padding_does_not_count():
    data = encode_reber(["BTBTXSETE", "BTBTSXSETE"])
    assert not reber_correct(np.zeros(data.legal.shape), data).any()
    outputs = data.legal.astype(float)
    outputs[0, data.lengths[0] :] = np.nan
    assert reber_correct(outputs, data).all()
    outputs[0, 0, 0] = np.nan
    assert reber_correct(outputs, data).tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: untyped.legal_next("BTX"),
            ValueError,
            "string 'BTX' is not of the grammar: expected B at position 2, got 'X'",
        ),
        (
            lambda: untyped.legal_next("BTBTQ"),
            ValueError,
            "expected S or X at position 4, got 'Q'",
        ),
        (
            lambda: untyped.legal_next("BPVVEE", embedded=False),
            ValueError,
            "expected the end at position 5, got 'E'",
        ),
        (lambda: untyped.legal_next(7), TypeError, "string must be a str, got 7 of type int"),
        (
            lambda: untyped.is_reber(None),
            TypeError,
            "string must be a str, got None of type NoneType",
        ),
        (
            lambda: untyped.encode_reber(["BTBTXSETE", "BTBTXSET"]),
            ValueError,
            r"strings\[1\] must be a whole string of the grammar, got 'BTBTXSET'",
        ),
        (
            lambda: untyped.encode_reber([]),
            ValueError,
            r"strings must hold at least one string, got \[\]",
        ),
        (
            lambda: untyped.encode_reber("BTXSE"),
            TypeError,
            "strings must be .*, got the string 'BTXSE'",
        ),
        (
            lambda: untyped.embedded_reber(2, seed=0, dtype="int8"),
            TypeError,
            "dtype must be float32 or float64, got int8",
        ),
        (lambda: untyped.reber_strings(0, seed=0), ValueError, "n must be .* at least 1, got 0"),
        (lambda: untyped.reber_strings(2, seed=None), TypeError, "seed must be .*, got None"),
        (
            lambda: untyped.reber_strings(2, seed=0, exclude="BTXSE"),
            TypeError,
            "exclude must be a collection of strings, got the string 'BTXSE'",
        ),
        (
            lambda: untyped.reber_correct(np.zeros((1, 3, 7)), untyped.encode_reber(["BTBTXSETE"])),
            ValueError,
            r"outputs must have shape \(1, 8, 7\), got \(1, 3, 7\)",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
