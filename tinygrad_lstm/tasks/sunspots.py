"""Next year's sunspots from the last 22 years': LSTMs against persistence and a linear model.

All models see the same windows of square roots, which make the error alike for weak and strong
cycles; all scores are in sunspot numbers, on years that nothing was fitted or chosen on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..context import no_grad
from ..data import ForecastData, batches, forecast_data, sunspots
from ..nn.losses import mse_loss
from ..optim import Adam
from ..tensor import Array, Tensor
from ..training import History, fit
from .regressor import SequenceRegressor

__all__ = [
    "Forecast",
    "SunspotData",
    "baselines",
    "forecast",
    "load_sunspots",
    "train_forecaster",
    "train_forecasters",
]

WINDOW = 22  # years: two cycles of about eleven


@dataclass(frozen=True)
class SunspotData:
    """The series, its windows, and the years of the test part.

    years, values: (309,), the whole series. windows: standardized square roots, in parts that do
    not overlap in time. test: the slice of the series that is held out.
    """

    years: Array
    values: Array
    windows: ForecastData

    @property
    def window(self) -> int:
        """How many years a model sees."""
        return self.windows.train.x.shape[1]

    @property
    def test(self) -> slice:
        """Where the held-out years stand in the series."""
        return self.windows.split.test

    def to_numbers(self, standardized: Array) -> Array:
        """Sunspot numbers of a model's answers: (N, 1) or (N,) -> (N,)."""
        roots = self.windows.scale.inverse(standardized.reshape(-1))
        return np.maximum(roots, 0.0) ** 2


@dataclass(frozen=True)
class Forecast:
    """What one method expected for each held-out year. predicted: (N,), sunspot numbers."""

    name: str
    predicted: Array
    rmse: float
    mae: float


def load_sunspots(window: int = WINDOW, *, validation: int = 40, test: int = 60) -> SunspotData:
    """The series in windows: the last `test` years held out, `validation` years before them.

    Raises ValueError where that leaves too few years to train on.
    """
    years, values = sunspots()
    parts = forecast_data(np.sqrt(values), window, validation=validation, test=test, context=True)
    return SunspotData(years, values, parts)


def train_forecaster(
    data: SunspotData,
    *,
    hidden_size: int = 16,
    epochs: int = 150,
    patience: int = 30,
    batch_size: int = 32,
    learning_rate: float = 0.01,
    strength: float = 0.2,
    seed: int = 0,
    checkpoint: str | None = None,
    resume: bool = False,
    progress: bool | str = False,
) -> tuple[SequenceRegressor, History]:
    """One LSTM, stopped by the validation years.

    strength: how much the strength of the cycles is varied in training. Each window is multiplied
    by exp(strength times a normal random number), as a cycle's shape matters more than its
    height, and the strongest cycles of all are among the years held out. See `fit` for the rest.
    """
    parts, scale = data.windows, data.windows.scale
    model = SequenceRegressor(1, hidden_size, rng=seed)

    def varied(rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        for x, y in batches(parts.train.x, parts.train.y, batch_size=batch_size, seed=rng):
            factor = np.exp(strength * rng.standard_normal(len(x))).astype(np.float32)
            yield (
                scale.transform(scale.inverse(x) * factor[:, None, None]),
                scale.transform(scale.inverse(y) * factor[:, None]),
            )

    def loss(batch: tuple[Array, Array]) -> Tensor:
        x, y = batch
        return mse_loss(model(x), y)

    history = fit(
        model,
        loss,
        varied,
        Adam(model.parameters(), lr=learning_rate),
        epochs=epochs,
        validate=lambda: loss(parts.validation).item(),
        clip_norm=1.0,
        patience=patience,
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    return model, history


def train_forecasters(
    data: SunspotData, count: int, *, seed: int = 0, progress: bool = False, **settings: Any
) -> list[tuple[SequenceRegressor, History]]:
    """`count` LSTMs that differ in their seeds; settings as for `train_forecaster`.

    The mean of several is surer than any of them: what each has learnt by chance averages out.
    """
    return [
        train_forecaster(
            data,
            seed=1000 * seed + k,
            progress=f"LSTM {k + 1} of {count}" if progress else False,
            **settings,
        )
        for k in range(count)
    ]


def forecast(data: SunspotData, models: Sequence[SequenceRegressor]) -> Forecast:
    """The mean of what the models expect for each held-out year, from the true years before it."""
    with no_grad():
        answers = [model(data.windows.test.x).numpy() for model in models]
    name = "LSTM" if len(models) == 1 else f"{len(models)} LSTMs, their mean"
    return _scored(data, name, data.to_numbers(np.mean(answers, axis=0)))


def baselines(data: SunspotData) -> list[Forecast]:
    """What has to be beaten: last year's number again, and linear models of the same window.

    The linear models are fitted by least squares to every year before the test part (they need no
    validation years), one to the numbers and one to their square roots, as the LSTM gets them.
    """
    start = data.test.start
    values = data.values.astype(np.float64)
    roots = np.sqrt(values)
    return [
        _scored(data, "persistence", values[start - 1 : data.test.stop - 1]),
        _scored(data, f"linear, {data.window} years", _linear(values, data.window, start)),
        _scored(
            data,
            f"linear, {data.window} square roots",
            np.maximum(_linear(roots, data.window, start), 0.0) ** 2,
        ),
    ]


def _linear(values: Array, window: int, start: int) -> Array:
    """One-step forecasts from `start` on, by least squares on what is before."""
    rows = np.lib.stride_tricks.sliding_window_view(values, window)[:-1]
    design = np.column_stack([np.ones(len(rows)), rows])
    fitted = start - window  # row i forecasts value i + window
    weights, *_ = np.linalg.lstsq(design[:fitted], values[window:start], rcond=None)
    return design[fitted:] @ weights


def _scored(data: SunspotData, name: str, predicted: Array) -> Forecast:
    errors = predicted - data.values[data.test]
    return Forecast(
        name, predicted, float(np.sqrt(np.mean(errors**2))), float(np.mean(np.abs(errors)))
    )
