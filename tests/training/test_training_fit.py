"""fit: stops when told, keeps the best weights, and resumes as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn, optim
from tinygrad_lstm.data import adding_problem
from tinygrad_lstm.nn.losses import mse_loss
from tinygrad_lstm.training import History, fit

Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


class Regressor(nn.Module):
    """An LSTM with dropout, so that the default generator takes part, and a linear layer."""

    def __init__(self) -> None:
        self.lstm = nn.LSTM(2, 4, rng=1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4, 1, rng=2)

    def forward(self, x: Any) -> tg.Tensor:
        return self.head(self.drop(self.lstm(x)[0][-1]))


def fresh_batches(rng: np.random.Generator) -> Iterator[Batch]:
    for _ in range(2):
        x, y = adding_problem(8, 4, seed=rng)
        yield x.swapaxes(0, 1), y


def scores(*values: float) -> Callable[[], float]:
    """A validate function that gives these scores in turn."""
    remaining = iter(values)
    return lambda: next(remaining)


def one_weight() -> tuple[nn.Linear, optim.SGD, dict[str, Any]]:
    """A model of one weight, which every epoch makes larger by 1; what fit needs for it."""
    model = nn.Linear(1, 1, bias=False, rng=0)
    model.weight.data = np.zeros((1, 1), np.float32)
    loss_and_batches = {"loss": lambda _: -model.weight.sum(), "batches": lambda _: [None]}
    return model, optim.SGD(model.parameters(), lr=1.0), loss_and_batches


def run(path: Path | None, epochs: int, resume: bool = False) -> tuple[History, Regressor]:
    tg.manual_seed(5)
    model = Regressor()
    optimizer = optim.AdamW(model.parameters(), lr=0.02, betas=(0.8, 0.95))
    x, y = adding_problem(16, 4, seed=9)

    def loss(batch: Batch) -> tg.Tensor:
        return mse_loss(model(batch[0]), batch[1])

    history = fit(
        model,
        loss,
        fresh_batches,
        optimizer,
        epochs=epochs,
        validate=lambda: mse_loss(model(x.swapaxes(0, 1)), y).item(),
        schedule=optim.CosineAnnealingLR(optimizer, 8),
        clip_norm=0.5,
        seed=3,
        checkpoint=path,
        resume=resume,
    )
    return history, model


def test_a_resumed_run_has_the_same_numbers_as_one_that_never_stopped(tmp_path: Path) -> None:
    whole, model = run(None, 6)
    run(tmp_path / "c.safetensors", 3)
    resumed, again = run(tmp_path / "c.safetensors", 6, resume=True)
    assert resumed == whole
    for name, weights in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], weights)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    before, model = run(tmp_path / "c.safetensors", 3)
    after, again = run(tmp_path / "c.safetensors", 3, resume=True)
    assert after == before
    np.testing.assert_array_equal(again.head.weight.data, model.head.weight.data)


def test_plateau_schedule_is_resumed_too(tmp_path: Path) -> None:
    def plateau(epochs: int, resume: bool, *values: float) -> History:
        model, optimizer, task = one_weight()
        schedule = optim.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
        return fit(
            model,
            **task,
            optimizer=optimizer,
            epochs=epochs,
            schedule=schedule,
            validate=scores(*values),
            checkpoint=tmp_path / "c",
            resume=resume,
        )

    whole = plateau(6, False, 1, 2, 2, 2, 2, 2)
    plateau(3, False, 1, 2, 2)
    assert plateau(6, True, 2, 2, 2) == whole
    assert whole.learning_rate == [1, 1, 1, 0.5, 0.5, 0.25]


def test_early_stopping_gives_back_the_best_weights() -> None:
    model, optimizer, task = one_weight()
    history = fit(
        model,
        **task,
        optimizer=optimizer,
        epochs=50,
        validate=scores(4, 3, 5, 6, 1),
        patience=2,
    )
    assert history.stopped == "no better validation for 2 epochs"
    assert (history.epochs, history.best_epoch, history.best) == (4, 1, 3)
    assert model.weight.item() == 2  # as after the second epoch


def test_a_target_ends_the_run_as_soon_as_it_is_reached() -> None:
    model, optimizer, task = one_weight()
    history = fit(
        model, **task, optimizer=optimizer, epochs=50, validate=scores(4, 0.5, 9), target=0.5
    )
    assert history.stopped == "validation reached 0.5"
    assert history.epochs == 2


def test_without_validation_the_last_weights_stay() -> None:
    model, optimizer, task = one_weight()
    history = fit(model, **task, optimizer=optimizer, epochs=5)
    assert model.weight.item() == 5
    np.testing.assert_allclose(history.loss, [0, -1, -2, -3, -4])
    assert history.validation == [] and history.best_epoch is None
    assert history.stopped == "5 epochs done"


def test_gradients_are_clipped_and_their_norm_before_it_is_reported() -> None:
    model, optimizer, task = one_weight()
    history = fit(model, **task, optimizer=optimizer, epochs=2, clip_norm=0.25)
    assert history.gradient_norm == [1, 1]
    assert model.weight.item() == pytest.approx(0.5, abs=1e-5)


def test_dropout_is_on_in_training_and_off_in_validation() -> None:
    model, optimizer, _ = one_weight()
    modes: list[bool] = []

    def loss(_: None) -> tg.Tensor:
        modes.append(model.training)
        return model.weight.sum()

    def validate() -> float:
        modes.append(model.training)
        assert not model(np.ones((1, 1), np.float32)).requires_grad
        return 0.0

    fit(model, loss, lambda _: [None], optimizer, epochs=2, validate=validate)
    assert modes == [True, False, True, False]


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where() -> None:
    model, optimizer, _ = one_weight()
    values = iter([1.0, 1.0, np.inf])
    with pytest.raises(tg.NonFiniteError, match="inf in epoch 2, batch 1"):
        fit(
            model,
            lambda _: model.weight.sum() + next(values),
            lambda _: [None, None],
            optimizer,
            epochs=3,
        )


def test_a_checkpoint_of_another_model_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    run(path, 1)
    model, optimizer, task = one_weight()
    with pytest.raises(ValueError, match=r"c\.safetensors: load_state_dict"):
        fit(
            model,
            **task,
            optimizer=optimizer,
            epochs=1,
            checkpoint=path,
            resume=True,
            schedule=optim.StepLR(optimizer, 1),
        )
    with pytest.raises(ValueError, match="with a learning-rate schedule"):
        fit(model, **task, optimizer=optimizer, epochs=1, checkpoint=path, resume=True)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    model, optimizer, task = one_weight()
    tg.save(tmp_path / "m", model)
    with pytest.raises(ValueError, match="no training checkpoint"):
        fit(model, **task, optimizer=optimizer, epochs=1, checkpoint=tmp_path / "m", resume=True)
    with pytest.raises(FileNotFoundError):
        fit(model, **task, optimizer=optimizer, epochs=1, checkpoint=tmp_path / "n", resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"epochs": 1, "patience": 2}, "patience needs a validate function"),
        ({"epochs": 1, "target": 2.0}, "target needs a validate function"),
        ({"epochs": 1, "resume": True}, "resume needs a checkpoint file"),
        ({"epochs": 1, "checkpoint_every": 0}, "checkpoint_every must be a positive integer"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    model, optimizer, task = one_weight()
    with pytest.raises(ValueError, match=message):
        fit(model, **task, optimizer=optimizer, **settings)


def test_blas_has_one_thread_while_training_and_its_own_number_afterwards() -> None:
    pools = pytest.importorskip("threadpoolctl").threadpool_info

    def threads() -> list[int]:
        return [pool["num_threads"] for pool in pools() if pool["user_api"] == "blas"]

    before, during = threads(), []
    model, optimizer, task = one_weight()
    fit(
        model, **task, optimizer=optimizer, epochs=1, validate=lambda: during.append(threads()) or 0
    )
    assert during == [[1] * len(before)]
    assert threads() == before


def test_an_epoch_without_batches_is_an_error() -> None:
    model, optimizer, _ = one_weight()
    with pytest.raises(ValueError, match="gave no batch"):
        fit(model, lambda _: model.weight.sum(), lambda _: [], optimizer, epochs=1)


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    model, optimizer, task = one_weight()
    fit(
        model,
        **task,
        optimizer=optimizer,
        epochs=20,
        validate=scores(*range(20)),
        progress="one weight",
    )
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0] == "one weight: 2/20  loss -1  validation 1"
    assert len(lines) == 10
