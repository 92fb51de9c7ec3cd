"""Forecasting: the yearly sunspot numbers, windows over a series, scaling without a look ahead."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._checks import float_array, float_dtype, integer
from .splitting import TimeSplit, time_split

Floats = NDArray[np.floating]


def sunspots(*, dtype: DTypeLike = np.float32) -> tuple[NDArray[np.int64], Floats]:
    """The yearly mean sunspot number, 1700 to 2008: years (309,) int64 and values (309,).

    Source: SIDC, Royal Observatory of Belgium, by way of NOAA's National Geophysical Data Center
    (more at the head of sunspots.csv, which is shipped with the package).
    """
    wanted = float_dtype(dtype)
    lines = files("tinygrad_lstm.data").joinpath("sunspots.csv").read_text("utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    years = np.array([int(row["year"]) for row in rows], np.int64)
    return years, np.array([float(row["sunspots"]) for row in rows], wanted)


def windows(
    series: ArrayLike, length: int, horizon: int = 1, *, dtype: DTypeLike | None = None
) -> tuple[Floats, Floats]:
    """Every run of `length` values, with the `horizon` values that come after it.

    series: (T,). Returns x (N, length, 1) and y (N, horizon) with N = T - length - horizon + 1,
    in order of time: x[i] is series[i : i + length]. The dtype is `dtype` if given, else the
    series' own if that is float32 or float64, else float32. Raises ValueError for a series that
    is too short, not 1-D or not finite.
    """
    values = float_array("series", series, ndim=1, dtype=dtype)
    length, horizon = integer("length", length, 1), integer("horizon", horizon, 1)
    if len(values) < length + horizon:
        raise ValueError(
            f"series must have at least length + horizon = {length + horizon} values, "
            f"got {len(values)}"
        )
    runs = np.lib.stride_tricks.sliding_window_view(values, length + horizon)
    return runs[:, :length, np.newaxis].copy(), runs[:, length:].copy()


@dataclass(frozen=True)
class Standardizer:
    """Shifts and scales values to mean 0 and standard deviation 1, and back.

    Fit it on the training part alone: mean and deviation of later values would tell of the future.
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {self.mean}")
        if not (np.isfinite(self.std) and self.std > 0):
            raise ValueError(f"std must be finite and above 0, got {self.std}")

    @classmethod
    def fit(cls, train: ArrayLike) -> Standardizer:
        """Mean and standard deviation over all values of `train` (any shape, not empty).

        Values that are all equal get the deviation 1: they are shifted only.
        """
        values = float_array("train", train, dtype=np.float64)
        if values.size == 0:
            raise ValueError(f"train must hold at least one value, got shape {values.shape}")
        # By range, as the deviation of equal values can come out as a tiny rounding error.
        constant = values.min() == values.max()
        return cls(float(values.mean()), 1.0 if constant else float(values.std()))

    def transform(self, values: ArrayLike) -> Floats:
        """(values - mean) / std, in the shape and float dtype of `values`."""
        return (float_array("values", values) - self.mean) / self.std

    def inverse(self, values: ArrayLike) -> Floats:
        """values * std + mean: from standardized numbers to the original units."""
        return float_array("values", values) * self.std + self.mean


class Windows(NamedTuple):
    """x: (N, length, 1) inputs and y: (N, horizon) targets."""

    x: Floats
    y: Floats


class ForecastData(NamedTuple):
    """Standardized windows of the three parts of a series, and how they were made.

    The first target of part p is the series' value number split.p.start + length, or split.p.start
    for validation and test made with context; y of the next window begins one step later.
    """

    train: Windows
    validation: Windows
    test: Windows
    scale: Standardizer
    split: TimeSplit


def forecast_data(
    series: ArrayLike,
    length: int,
    horizon: int = 1,
    *,
    validation: float,
    test: float = 0,
    context: bool = False,
    dtype: DTypeLike | None = None,
) -> ForecastData:
    """A series as standardized train, validation and test windows that do not leak over time.

    series: (T,), cut by `time_split`; the scale is fitted on the train part alone. A window lies
    within one part, inputs and targets both: those that would straddle a border are left out.
    With `context`, validation and test windows may reach back over their border for inputs, as
    a forecaster knows the past, and so every held-out value is a target; no target is ever seen
    by an earlier part. A part of size 0 has no windows.
    Raises ValueError when a part is too short for one window.
    """
    values = float_array("series", series, ndim=1, dtype=dtype)
    length, horizon = integer("length", length, 1), integer("horizon", horizon, 1)
    split = time_split(len(values), validation=validation, test=test)
    scale = Standardizer.fit(values[split.train])
    scaled = scale.transform(values)

    def cut(name: str, part: slice, reach: int) -> Windows:
        if part.start == part.stop:
            return Windows(scaled[:0].reshape(0, length, 1), scaled[:0].reshape(0, horizon))
        steps = scaled[max(part.start - reach, 0) : part.stop]
        if len(steps) < length + horizon:
            raise ValueError(
                f"the {name} part must have at least length + horizon = {length + horizon} steps "
                f"(context included), got {len(steps)} of the {len(values)} of the series"
            )
        return Windows(*windows(steps, length, horizon))

    reach = length if context else 0
    return ForecastData(
        cut("train", split.train, 0),
        cut("validation", split.validation, reach),
        cut("test", split.test, reach),
        scale,
        split,
    )
