"""Mini-batches, padding and one-hot vectors: every sample once, nothing lost, clear errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinygrad_lstm import data
from tinygrad_lstm.data import batches, one_hot, pad_sequences

untyped: Any = data  # for calls with wrong types, past the type checker

# --- batches --------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.booleans())
def test_every_sample_comes_once_and_rows_stay_together(n, size, shuffle, drop_last):
    assume(n >= size or not drop_last)
    x, y = np.arange(n), np.arange(n)[:, None] * [1, 10]
    found = list(batches(x, y, batch_size=size, seed=0, shuffle=shuffle, drop_last=drop_last))
    assert [len(xb) for xb, _ in found[:-1]] == [size] * (len(found) - 1)
    kept = n - n % size if drop_last else n
    seen = np.concatenate([xb for xb, _ in found])
    assert len(set(seen.tolist())) == len(seen) == kept
    for xb, yb in found:
        np.testing.assert_array_equal(yb, xb[:, None] * [1, 10])
    if not shuffle:
        np.testing.assert_array_equal(seen, np.arange(kept))


def order(seed, n=50):
    return np.concatenate([b for (b,) in batches(np.arange(n), batch_size=8, seed=seed)]).tolist()


def test_a_seed_repeats_the_order_and_a_generator_goes_on():
    assert order(1) == order(1) != order(2)
    rng = np.random.default_rng(1)
    assert [order(rng), order(rng)] != [order(1), order(1)]
    assert order(np.random.default_rng(1)) == order(1) != list(range(50))


def test_batches_are_copies():
    x = np.zeros(4)
    for (xb,) in batches(x, batch_size=2, shuffle=False):
        xb[:] = 1
    assert not x.any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: untyped.batches(batch_size=1, seed=0),
            ValueError,
            "arrays must hold at least one array",
        ),
        (
            lambda: untyped.batches(np.zeros((0, 3)), batch_size=1, seed=0),
            ValueError,
            "arrays must hold at least one sample, got none",
        ),
        (
            lambda: untyped.batches(np.zeros(3), np.zeros((2, 5)), batch_size=1, seed=0),
            ValueError,
            r"arrays\[1\] must have as many samples as arrays\[0\], 3, got 2 \(shape \(2, 5\)\)",
        ),
        (
            lambda: untyped.batches(np.zeros(3), np.array(1), batch_size=1, seed=0),
            ValueError,
            r"arrays\[1\] must have at least one axis, got a scalar",
        ),
        (
            lambda: untyped.batches(np.zeros(3), batch_size=1),
            TypeError,
            "seed must be an integer or a Generator when shuffle is on, got None",
        ),
        (
            lambda: untyped.batches(np.zeros(3), batch_size=1, seed="a"),
            TypeError,
            "seed must be .*'a'",
        ),
        (
            lambda: untyped.batches(np.zeros(3), batch_size=0, seed=0),
            ValueError,
            "batch_size must be an integer of at least 1, got 0",
        ),
        (
            lambda: untyped.batches(np.zeros(3), batch_size=4, seed=0, drop_last=True),
            ValueError,
            "batch_size must be at most the 3 samples with drop_last, got 4",
        ),
        (
            lambda: untyped.one_hot([0, 3], 3),
            ValueError,
            r"indices must lie in \[0, 3\), got 3 at index \(1,\)",
        ),
        (lambda: untyped.one_hot([[0], [-1]], 3), ValueError, r"got -1 at index \(1, 0\)"),
        (
            lambda: untyped.one_hot([0.0], 3),
            TypeError,
            "indices must be integers, got dtype float64",
        ),
        (
            lambda: untyped.one_hot([0], 0),
            ValueError,
            "size must be an integer of at least 1, got 0",
        ),
        (lambda: untyped.one_hot([0], 2, dtype=bool), TypeError, "dtype must be .*, got bool"),
        (
            lambda: untyped.pad_sequences([]),
            ValueError,
            "sequences must hold at least one sequence, got",
        ),
        (
            lambda: untyped.pad_sequences([[1], []]),
            ValueError,
            r"sequences\[1\] must have at least one step, got shape \(0,\)",
        ),
        (lambda: untyped.pad_sequences([5]), ValueError, r"sequences\[0\] must .* got shape \(\)"),
        (
            lambda: untyped.pad_sequences([np.zeros((2, 3)), np.zeros((1, 4))]),
            ValueError,
            r"sequences\[1\] must have the trailing axes of sequences\[0\], \(3,\), got \(4,\)",
        ),
        (
            lambda: untyped.pad_sequences([["a"]]),
            TypeError,
            r"sequences\[0\] must hold numbers, got dtype <U1",
        ),
        (
            lambda: untyped.pad_sequences([[1], [2, 3]], value=0.5),
            TypeError,
            "value must be a number that dtype int64 can hold, got 0.5",
        ),
        (
            lambda: untyped.pad_sequences([np.zeros(2, np.uint8)], value=-1),
            TypeError,
            "value must be a number that dtype uint8 can hold, got -1",
        ),
        (
            lambda: untyped.pad_sequences([[1, 2]], value=np.nan),
            TypeError,
            "value must be a number that dtype int64 can hold, got nan",
        ),
        (
            lambda: untyped.pad_sequences([[1, 2]], value="0"),
            TypeError,
            "value must be a number that dtype int64 can hold, got '0'",
        ),
        (
            lambda: untyped.pad_sequences([[0.5]], dtype="U3"),
            TypeError,
            "dtype must be numeric, got <U3",
        ),
        (
            lambda: untyped.pad_sequences([[0.5]], dtype="florid"),
            TypeError,
            "dtype must be numeric, got 'florid'",
        ),
        (
            lambda: untyped.pad_sequences([[0.5]], dtype=int),
            TypeError,
            r"sequences\[0\] must be of a type that dtype int64 holds, got float32",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- one-hot --------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 3), max_size=3), st.integers(1, 6))
def test_one_hot_vectors_are_rows_of_the_unit_matrix(shape, size):
    indices = np.random.default_rng(0).integers(0, size, shape)
    for dtype in (np.float32, np.float64):
        vectors = one_hot(indices, size, dtype=dtype)
        assert vectors.dtype == dtype and vectors.shape == (*shape, size)
        np.testing.assert_array_equal(vectors, np.eye(size)[indices])


def test_one_hot_of_nothing_is_empty():
    assert one_hot(np.zeros((0, 4), int), 3).shape == (0, 4, 3)


# --- padding --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.booleans(), st.integers(0, 2))
def test_padding_keeps_every_sequence_and_fills_the_rest(sizes, batch_first, axes):
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(t, *(2, 3)[:axes])).astype(np.float32) for t in sizes]
    padded, lengths = pad_sequences(sequences, batch_first=batch_first, value=-7)
    assert lengths.tolist() == sizes and lengths.dtype == np.int64
    assert padded.dtype == np.float32 and padded.flags.c_contiguous
    by_sample = padded if batch_first else padded.swapaxes(0, 1)
    assert by_sample.shape == (len(sizes), max(sizes), *(2, 3)[:axes])
    for row, sequence in zip(by_sample, sequences, strict=True):
        np.testing.assert_array_equal(row[: len(sequence)], sequence)
        assert (row[len(sequence) :] == -7).all()


@pytest.mark.parametrize(
    ("sequences", "dtype"),
    [
        ([[0.5], [1.5, 2.5]], np.float32),
        ([np.array([0.5]), [1, 2]], np.float64),
        ([np.array([1, 2], np.float32), [0.5]], np.float32),
        ([[1], [2, 3]], np.int64),
        ([[True], [False, True]], np.bool_),
    ],
)
def test_padding_takes_the_common_dtype(sequences, dtype):
    assert pad_sequences(sequences)[0].dtype == dtype


def test_padding_takes_the_dtype_it_is_told():
    padded, _ = pad_sequences([[1, 2], [3]], dtype=np.float64, value=np.nan, batch_first=True)
    np.testing.assert_array_equal(padded, [[1, 2], [3, np.nan]])
    assert pad_sequences([np.ones(2), np.ones(1)], dtype=np.float32)[0].dtype == np.float32
    assert pad_sequences([[1], [2, 3]], value=-100)[0].tolist() == [[1, 2], [-100, 3]]
