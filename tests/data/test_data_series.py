"""Sunspots, windows, splits and scaling: the figures, the edges, and that nothing leaks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_lstm import data
from tinygrad_lstm.data import (
    Standardizer,
    TimeSplit,
    forecast_data,
    sunspots,
    time_split,
    windows,
)

untyped: Any = data  # for calls with wrong types, past the type checker

# --- sunspots -------------------------------------------------------------------------------


def test_the_sunspot_numbers_are_the_published_ones():
    years, values = sunspots(dtype=np.float64)
    np.testing.assert_array_equal(years, np.arange(1700, 2009))
    assert values.shape == (309,) and (values >= 0).all()
    number = dict(zip(years.tolist(), values.tolist(), strict=True))
    # The Maunder minimum's end, the Dalton minimum, the record of 1957, the minimum of 2008.
    published = {1700: 5, 1711: 0, 1712: 0, 1810: 0, 1778: 154.4, 1957: 190.2, 2008: 2.9}
    assert {year: number[year] for year in published} == published
    assert years[values.argmax()] == 1957
    assert round(float(values.mean()), 4) == 49.7521


def test_the_sun_has_a_period_of_eleven_years():
    _, values = sunspots(dtype=np.float64)
    power = np.abs(np.fft.rfft(values - values.mean(), 4096)) ** 2
    assert 10.5 < 4096 / power.argmax() < 11.5


def test_sunspots_come_in_either_precision():
    (_, single), (_, double) = sunspots(), sunspots(dtype="float64")
    assert single.dtype == np.float32 and double.dtype == np.float64
    np.testing.assert_array_equal(single, double.astype(np.float32))
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got int64"):
        sunspots(dtype=int)


# --- windows --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 20))
def test_windows_hold_every_run_and_what_follows_it(length, horizon, more):
    steps = length + horizon + more
    x, y = windows(np.arange(steps, dtype=np.float64), length, horizon)
    count = more + 1
    assert x.shape == (count, length, 1) and y.shape == (count, horizon)
    for i in range(count):
        assert x[i, :, 0].tolist() == list(range(i, i + length))
        assert y[i].tolist() == list(range(i + length, i + length + horizon))


def test_windows_keep_float_dtypes_and_turn_all_else_to_float32():
    for series, dtype in [
        (np.arange(5.0), np.float64),
        (np.arange(5, dtype=np.float32), np.float32),
        (np.arange(5), np.float32),
        ([0.5, 1.5, 2.5], np.float32),
    ]:
        x, y = windows(series, 1)
        assert x.dtype == y.dtype == dtype
    assert windows(np.arange(5), 2, dtype=np.float64)[0].dtype == np.float64


def test_windows_are_copies():
    series = np.arange(6.0)
    x, y = windows(series, 2)
    x[:], y[:] = -1, -1
    np.testing.assert_array_equal(series, np.arange(6.0))


# --- splits ---------------------------------------------------------------------------------


def test_a_split_takes_steps_or_shares():
    expected = TimeSplit(slice(0, 70), slice(70, 85), slice(85, 100))
    assert time_split(100, validation=15, test=15) == expected
    assert time_split(100, validation=0.15, test=0.15) == expected
    assert untyped.time_split(100, validation=np.float32(0.15), test=np.int64(15)) == expected
    assert time_split(10, validation=0.2) == (slice(0, 8), slice(8, 10), slice(10, 10))
    assert time_split(3, validation=1, test=1) == (slice(0, 1), slice(1, 2), slice(2, 3))
    assert time_split(1, validation=0) == (slice(0, 1), slice(1, 1), slice(1, 1))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 50), st.integers(0, 20), st.integers(0, 20))
def test_the_parts_cover_all_steps_once_and_in_order(train, validation, test):
    n = train + validation + test
    steps = np.arange(n)
    parts = [steps[part] for part in time_split(n, validation=validation, test=test)]
    assert [len(part) for part in parts] == [train, validation, test]
    np.testing.assert_array_equal(np.concatenate(parts), steps)


# --- scaling --------------------------------------------------------------------------------


def test_standardized_values_have_mean_zero_and_deviation_one_and_come_back():
    values = np.random.default_rng(0).gamma(2, 30, (40, 3))
    scale = Standardizer.fit(values)
    scaled = scale.transform(values)
    assert abs(scaled.mean()) < 1e-12 and abs(scaled.std() - 1) < 1e-12
    np.testing.assert_allclose(scale.inverse(scaled), values, rtol=1e-12)


def test_scaling_keeps_the_dtype():
    scale = Standardizer(2.0, 4.0)
    for values, dtype in [
        (np.ones(3), np.float64),
        (np.ones(3, np.float32), np.float32),
        ([1, 2], np.float32),
    ]:
        assert scale.transform(values).dtype == dtype
        assert scale.inverse(values).dtype == dtype
    assert scale.transform([6, 2]).tolist() == [1, 0]
    assert scale.inverse([1, 0]).tolist() == [6, 2]


def test_equal_values_are_shifted_only():
    scale = Standardizer.fit(np.full(7, 0.1))
    assert scale.std == 1
    np.testing.assert_allclose(scale.transform([0.1, 1.1]), [0, 1], atol=1e-6)


def test_large_single_precision_values_are_averaged_in_double():
    train = np.array([1e8, 1e8 + 8] * 5000, np.float32)
    scale = Standardizer.fit(train)
    assert (scale.mean, scale.std) == (1e8 + 4, 4)


# --- forecast data --------------------------------------------------------------------------


def series_of_distinct_values(n):
    return np.random.default_rng(n).permutation(n).astype(np.float64)


def steps_in(array, scale, series):
    """The steps of the series at which the values of a window array stand."""
    place = {value: step for step, value in enumerate(series)}
    return {place[round(value)] for value in scale.inverse(array).ravel()}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 9), st.integers(0, 9))
def test_windows_lie_within_their_part(length, horizon, more_validation, more_test):
    window = length + horizon
    sizes = window + more_validation, window + more_test
    series = series_of_distinct_values(30 + sum(sizes))
    data = forecast_data(series, length, horizon, validation=sizes[0], test=sizes[1])
    for part, steps in zip(data[:3], data.split, strict=True):
        assert len(part.x) == steps.stop - steps.start - window + 1
        seen = steps_in(part.x, data.scale, series) | steps_in(part.y, data.scale, series)
        assert seen == set(range(steps.start, steps.stop))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 9), st.integers(0, 9))
def test_with_context_every_held_out_value_is_a_target_and_inputs_come_before(
    length, horizon, more_validation, more_test
):
    sizes = horizon + more_validation, horizon + more_test
    series = series_of_distinct_values(30 + sum(sizes))
    data = forecast_data(series, length, horizon, validation=sizes[0], test=sizes[1], context=True)
    train_seen = steps_in(data.train.x, data.scale, series)
    train_seen |= steps_in(data.train.y, data.scale, series)
    assert train_seen == set(range(data.split.train.stop))
    for part, steps in ((data.validation, data.split.validation), (data.test, data.split.test)):
        assert steps_in(part.y, data.scale, series) == set(range(steps.start, steps.stop))
        for x, y in zip(part.x, part.y, strict=True):
            last_input = max(steps_in(x, data.scale, series))
            assert min(steps_in(y, data.scale, series)) == last_input + 1
        first = steps_in(part.x[0], data.scale, series)
        assert first == set(range(steps.start - length, steps.start))


def test_what_comes_later_changes_neither_the_scale_nor_the_earlier_windows():
    series = np.random.default_rng(1).normal(size=100)
    later = series.copy()
    later[80:] = 1000 * later[80:] + 50
    for context in (False, True):
        a, b = (
            forecast_data(s, 5, validation=0.1, test=0.2, context=context) for s in (series, later)
        )
        assert a.scale == b.scale == Standardizer.fit(series[:70])
        for part in ("train", "validation"):
            for u, v in zip(getattr(a, part), getattr(b, part), strict=True):
                np.testing.assert_array_equal(u, v)
        assert not np.array_equal(a.test.y, b.test.y)


def test_an_empty_part_has_no_windows():
    data = forecast_data(np.arange(20), 4, 2, validation=0)
    assert data.train.x.shape == (15, 4, 1) and data.train.x.dtype == np.float32
    for part in (data.validation, data.test):
        assert part.x.shape == (0, 4, 1) and part.y.shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: untyped.windows(np.arange(5), 4, 2),
            ValueError,
            r"series must have at least length \+ horizon = 6 values, got 5",
        ),
        (
            lambda: untyped.windows(np.zeros((5, 1)), 2),
            ValueError,
            r"series must have 1 axis, got shape \(5, 1\)",
        ),
        (
            lambda: untyped.windows([1, 2, np.nan, np.inf], 2),
            ValueError,
            r"series must be finite in float32, got nan at index \(2,\) \(2 such values\)",
        ),
        (
            lambda: untyped.windows([1, 1e300], 1),
            ValueError,
            r"series must be finite in float32, got 1e\+300 at index \(1,\) \(1 such values\)",
        ),
        (
            lambda: untyped.windows(["a", "b"], 1),
            TypeError,
            "series must hold real numbers, got dtype <U1",
        ),
        (
            lambda: untyped.windows([1j, 2], 1),
            TypeError,
            "series must hold .*, got dtype complex128",
        ),
        (lambda: untyped.windows([1, 2], 0), ValueError, "length must be .* at least 1, got 0"),
        (lambda: untyped.windows([1, 2], 1, 0), ValueError, "horizon must be .* at least 1, got 0"),
        (
            lambda: untyped.windows([1, 2], 1, dtype="f2"),
            TypeError,
            "dtype must be .*, got float16",
        ),
        (lambda: untyped.time_split(0, validation=0), ValueError, "n must be .* at least 1, got 0"),
        (
            lambda: untyped.time_split(10, validation=5, test=5),
            ValueError,
            "validation and test must leave at least one of the 10 steps for training, "
            "got 5 and 5 steps",
        ),
        (
            lambda: untyped.time_split(10, validation=0.6, test=0.6),
            ValueError,
            "must leave at least one .*, got 6 and 6 steps",
        ),
        (
            lambda: untyped.time_split(10, validation=1.0),
            ValueError,
            r"validation as a share must lie in \[0, 1\), got 1.0",
        ),
        (
            lambda: untyped.time_split(10, validation=0, test=float("nan")),
            ValueError,
            r"test as a share must lie in \[0, 1\), got nan",
        ),
        (
            lambda: untyped.time_split(10, validation=0.01),
            ValueError,
            "validation must hold at least one step, got 0.01 of 10 steps",
        ),
        (
            lambda: untyped.time_split(10, validation=-1),
            ValueError,
            "validation must be .*, got -1",
        ),
        (
            lambda: untyped.time_split(10, validation=True),
            TypeError,
            "validation must be .*, got True",
        ),
        (
            lambda: untyped.time_split(10, validation="1"),
            TypeError,
            "validation must be .*, got '1' of",
        ),
        (lambda: untyped.Standardizer(np.nan, 1), ValueError, "mean must be finite, got nan"),
        (lambda: untyped.Standardizer(0, 0), ValueError, "std must be finite and above 0, got 0"),
        (
            lambda: untyped.Standardizer(0, np.inf),
            ValueError,
            "std must be finite and above 0, got inf",
        ),
        (
            lambda: untyped.Standardizer.fit([]),
            ValueError,
            r"train must hold at least one value, got shape \(0,\)",
        ),
        (
            lambda: untyped.Standardizer.fit([[0, np.inf]]),
            ValueError,
            r"train must be finite in float64, got inf at index \(0, 1\) \(1 such values\)",
        ),
        (
            lambda: untyped.Standardizer(0, 1).transform(["x"]),
            TypeError,
            "values must hold real numbers",
        ),
        (lambda: untyped.Standardizer(0, 1).inverse([np.nan]), ValueError, "values must be finite"),
        (
            lambda: untyped.forecast_data(np.arange(20), 4, 2, validation=5),
            ValueError,
            r"the validation part must have at least length \+ horizon = 6 steps \(context "
            "included\\), got 5 of the 20 of the series",
        ),
        (
            lambda: untyped.forecast_data(np.arange(20), 9, validation=11, context=True),
            ValueError,
            "the train part must have at least .* = 10 steps .*, got 9 of the 20",
        ),
        (
            lambda: untyped.forecast_data(np.arange(40), 4, 3, validation=0, test=2, context=True),
            ValueError,
            "the test part must have at least .* = 7 steps .*, got 6 of the 40",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
