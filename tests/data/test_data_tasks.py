"""The adding problem, temporal order and copy memory: what is in the arrays, and errors."""

import math
from typing import Any

import numpy as np
import pytest

from tinygrad_lstm import data
from tinygrad_lstm.data import (
    TEMPORAL_ORDER_CLASSES,
    TEMPORAL_ORDER_SYMBOLS,
    adding_problem,
    copy_memory,
    temporal_order,
)

untyped: Any = data  # for calls with wrong types, past the type checker
untyped_random: Any = np.random


def symbols_of(x, lengths):
    return [
        "".join(TEMPORAL_ORDER_SYMBOLS[i] for i in row[:length].argmax(1))
        for row, length in zip(x, lengths, strict=True)
    ]


# --- adding ---------------------------------------------------------------------------------


def test_adding_has_the_promised_shapes_and_dtypes():
    x, y = adding_problem(5, 12, seed=0)
    assert (x.shape, y.shape) == ((5, 12, 2), (5, 1))
    assert x.dtype == y.dtype == np.float32
    assert adding_problem(5, 12, seed=0, dtype="float64")[0].dtype == np.float64


def test_predicting_the_mean_of_the_adding_problem_has_an_error_of_one_sixth():
    _, y = adding_problem(200_000, 4, seed=1, dtype=np.float64)
    # Variance of the sample variance of a triangular distribution: (mu4 - sigma^4) / n.
    deviation = math.sqrt((1 / 15 - 1 / 36) / 200_000)
    assert abs(np.mean((y - 1) ** 2) - 1 / 6) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * math.sqrt(1 / 6 / 200_000)


@pytest.mark.parametrize("length", [2, 3, 9, 30])
def test_each_half_of_an_adding_sequence_has_one_marker_and_they_reach_every_step(length):
    x, _ = adding_problem(2000, length, seed=2)
    markers, half = x[:, :, 1], length // 2
    assert set(np.unique(markers)) <= {0, 1}
    assert (markers[:, :half].sum(1) == 1).all()
    assert (markers[:, half:].sum(1) == 1).all()
    assert (markers.sum(0) > 0).all()


def test_the_target_is_the_sum_of_the_two_marked_values():
    x, y = adding_problem(300, 25, seed=3)
    assert (x[:, :, 0] >= 0).all() and (x[:, :, 0] <= 1).all()
    np.testing.assert_allclose(y[:, 0], (x[:, :, 0] * x[:, :, 1]).sum(1), rtol=1e-6)


def test_one_seed_gives_the_same_problem_in_either_precision():
    (x32, _), (x64, _) = (adding_problem(50, 7, seed=4, dtype=d) for d in ("f4", "f8"))
    np.testing.assert_array_equal(x32, x64.astype(np.float32))


# --- temporal order -------------------------------------------------------------------------


def test_temporal_order_sequences_are_those_of_the_paper():
    x, y, lengths = temporal_order(3000, seed=5)
    assert x.shape == (3000, 110, 8) and x.dtype == np.float32
    assert set(lengths) == set(range(100, 111))
    strings = symbols_of(x, lengths)
    places = np.array([[i for i, s in enumerate(string) if s in "XY"] for string in strings])
    assert places.shape == (3000, 2)
    assert set(places[:, 0]) == set(range(10, 21))
    assert set(places[:, 1]) == set(range(50, 61))
    for string in strings:
        assert string[0] == "E" and string[-1] == "B"
        assert set(string[1:-1]) <= set("abcdXY")
    rule = {"XX": "Q", "XY": "R", "YX": "S", "YY": "U"}
    expected = [rule["".join(s for s in string if s in "XY")] for string in strings]
    assert [TEMPORAL_ORDER_CLASSES[c] for c in y] == expected
    assert (np.abs(np.bincount(y, minlength=4) - 750) < 5 * math.sqrt(3000 * 3 / 16)).all()


def test_temporal_order_uses_all_four_distractors_equally():
    x, _, _ = temporal_order(500, seed=6)
    counts = x.sum((0, 1))[[TEMPORAL_ORDER_SYMBOLS.index(s) for s in "abcd"]]
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.02)


def test_temporal_order_is_zero_beyond_the_end():
    x, _, lengths = temporal_order(200, 10, seed=7, extra=6)
    assert x.shape == (200, 16, 8)
    inside = np.arange(16) < lengths[:, None]
    np.testing.assert_array_equal(x.sum(2), inside)


def test_temporal_order_without_extra_needs_no_padding():
    x, _, lengths = temporal_order(50, 30, seed=8, extra=0)
    assert x.shape == (50, 30, 8) and (lengths == 30).all() and (x.sum(2) == 1).all()


# --- copy memory ----------------------------------------------------------------------------


@pytest.mark.parametrize(("delay", "length", "symbols"), [(20, 10, 8), (1, 1, 1), (5, 3, 2)])
def test_copy_memory_asks_for_the_symbols_after_the_delimiter(delay, length, symbols):
    x, y = copy_memory(40, delay, seed=9, length=length, symbols=symbols)
    steps = delay + 2 * length
    assert x.shape == (40, steps, symbols + 2) and y.shape == (40, steps)
    assert (x.sum(2) == 1).all()
    read, blank, delimiter = x.argmax(2), symbols, symbols + 1
    assert (read[:, :length] < symbols).all()
    assert (np.argwhere(read == delimiter)[:, 1] == delay + length - 1).all()
    assert ((read == delimiter).sum(1) == 1).all()
    rest = np.delete(read[:, length:], delay - 1, axis=1)
    assert (rest == blank).all()
    assert (y[:, : delay + length] == blank).all()
    np.testing.assert_array_equal(y[:, delay + length :], read[:, :length])


def test_a_model_without_memory_has_the_documented_cross_entropy_on_copy_memory():
    delay, length, symbols = 6, 5, 4
    _, y = copy_memory(20_000, delay, seed=10, length=length, symbols=symbols)
    # The best answer that knows the step alone: the frequencies of the classes at each step.
    frequency = np.stack([(y == c).mean(0) for c in range(symbols + 1)])
    entropy = -np.sum(frequency * np.log(np.where(frequency > 0, frequency, 1)), axis=0)
    documented = length * math.log(symbols) / (delay + 2 * length)
    assert abs(entropy.mean() - documented) < 1e-3


# --- seeds and errors -----------------------------------------------------------------------

TASKS = {
    "adding": lambda seed: adding_problem(20, 12, seed=seed),
    "order": lambda seed: temporal_order(20, 12, seed=seed),
    "copy": lambda seed: copy_memory(20, 12, seed=seed),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_equal_seeds_repeat_and_others_differ(task):
    for a, b in zip(task(0), task(0), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(task(0)[0], task(1)[0])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_generator_goes_on_and_the_global_random_state_is_left_alone(task):
    before = untyped_random.get_state(legacy=False)["state"]["key"].copy()
    rng = np.random.default_rng(0)
    first, second = task(rng)[0], task(rng)[0]
    np.testing.assert_array_equal(first, task(0)[0])
    assert not np.array_equal(first, second)
    after = untyped_random.get_state(legacy=False)["state"]["key"]
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: untyped.adding_problem(0, 9, seed=0),
            ValueError,
            "n must be an integer of at least 1, got 0",
        ),
        (
            lambda: untyped.adding_problem(3, 1, seed=0),
            ValueError,
            "length must be an integer of at least 2, got 1",
        ),
        (
            lambda: untyped.adding_problem(3.0, 9, seed=0),
            TypeError,
            "n must be an integer of at least 1, got 3.0 of type float",
        ),
        (
            lambda: untyped.adding_problem(True, 9, seed=0),
            TypeError,
            "n must be an integer of at least 1, got True",
        ),
        (
            lambda: untyped.adding_problem(3, 9, seed=None),
            TypeError,
            "seed must be a non-negative integer or a numpy.random.Generator, got None",
        ),
        (lambda: untyped.adding_problem(3, 9, seed=True), TypeError, "seed must be .*, got True"),
        (
            lambda: untyped.adding_problem(3, 9, seed=1.5),
            TypeError,
            "seed must be .*, got 1.5 of type",
        ),
        (
            lambda: untyped.adding_problem(3, 9, seed=-1),
            ValueError,
            "seed must be an integer of at least 0, got -1",
        ),
        (
            lambda: untyped.adding_problem(3, 9, seed=0, dtype="int32"),
            TypeError,
            "dtype must be float32 or float64, got int32",
        ),
        (
            lambda: untyped.adding_problem(3, 9, seed=0, dtype=None),
            TypeError,
            "dtype must be float32 or float64, got None",
        ),
        (
            lambda: untyped.adding_problem(3, 9, seed=0, dtype="florid"),
            TypeError,
            "dtype must be float32 or float64, got 'florid'",
        ),
        (
            lambda: untyped.temporal_order(3, 9, seed=0),
            ValueError,
            "length must be an integer of at least 10, got 9",
        ),
        (
            lambda: untyped.temporal_order(3, 20, seed=0, extra=-1),
            ValueError,
            "extra must be an integer of at least 0, got -1",
        ),
        (
            lambda: untyped.temporal_order(3, seed=0, dtype=int),
            TypeError,
            "dtype must be .*, got int64",
        ),
        (
            lambda: untyped.copy_memory(3, 0, seed=0),
            ValueError,
            "delay must be an integer of at least 1, got 0",
        ),
        (
            lambda: untyped.copy_memory(3, 5, seed=0, length=0),
            ValueError,
            "length must be an integer of at least 1, got 0",
        ),
        (
            lambda: untyped.copy_memory(3, 5, seed=0, symbols="8"),
            TypeError,
            "symbols must be an integer of at least 1, got '8' of type str",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
