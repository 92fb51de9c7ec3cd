"""The adding problem: remember two marked numbers over a long sequence, and give their sum.

Every training batch is drawn anew, so there is nothing to learn by heart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..context import no_grad
from ..data import adding_problem
from ..nn.losses import mse_loss
from ..optim import Adam
from ..tensor import Array, Tensor
from ..training import History, fit
from .regressor import SequenceRegressor

__all__ = ["MEAN_ERROR", "mean_squared_error", "train_adding"]

MEAN_ERROR = 2 / 12
"""The mean squared error of always answering 1, the mean of the sum of two U(0, 1) numbers."""

_HELD_OUT = 10_000  # added to the seed of the held-out sequences, so that they are others


def train_adding(
    length: int = 100,
    *,
    hidden_size: int = 32,
    epochs: int = 60,
    steps: int = 25,
    batch_size: int = 32,
    learning_rate: float = 0.02,
    target: float = 0.001,
    seed: int = 0,
    checkpoint: str | None = None,
    resume: bool = False,
    progress: bool | str = False,
) -> tuple[SequenceRegressor, History]:
    """An LSTM trained on sequences of `length` until its validation error is below `target`.

    An epoch is `steps` batches of new sequences, of which `batch_size` are in each; there are at
    most `epochs`. The units' memories last up to `length` steps from the start (`set_memory`),
    which saves most of the search for what has to be kept. See `fit` for the rest and for the
    errors.
    """
    model = SequenceRegressor(2, hidden_size, memory=length, rng=seed)
    validation = adding_problem(500, length, seed=_HELD_OUT + seed)

    def batches(rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        return (adding_problem(batch_size, length, seed=rng) for _ in range(steps))

    def loss(batch: tuple[Array, Array]) -> Tensor:
        x, y = batch
        return mse_loss(model(x), y)

    history = fit(
        model,
        loss,
        batches,
        Adam(model.parameters(), lr=learning_rate),
        epochs=epochs,
        validate=lambda: loss(validation).item(),
        clip_norm=1.0,
        target=target,
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    return model, history


def mean_squared_error(
    model: SequenceRegressor, length: int, *, count: int = 2000, seed: int = 1
) -> float:
    """The model's error on `count` sequences that neither training nor validation has seen."""
    x, y = adding_problem(count, length, seed=2 * _HELD_OUT + seed)
    with no_grad():
        return mse_loss(model(x), y).item()
