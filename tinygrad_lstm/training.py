"""The training loop: batches, gradients, steps; validation, early stopping, checkpoints.

Knows a model only by its parameters and a task only by three functions: one that gives an epoch's
batches, one that gives a batch's loss, one that gives a validation score.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .checkpoint import read_checkpoint, write_checkpoint
from .context import no_grad
from .errors import NonFiniteError
from .nn.module import Module
from .optim import CosineAnnealingLR, Optimizer, ReduceLROnPlateau, StepLR, clip_grad_norm_
from .parallel.blas import blas_threads
from .progress import progress_display
from .tensor import Array, Tensor

__all__ = ["History", "fit"]

Schedule = StepLR | CosineAnnealingLR | ReduceLROnPlateau


@dataclass
class History:
    """What a run went through, one entry per epoch.

    loss: mean over the epoch's batches. validation: empty without a `validate`. learning_rate:
    of the first parameter group. gradient_norm: mean over batches, before clipping; empty without
    a `clip_norm`. best_epoch: index of the lowest validation score, None without one. stopped:
    why the run ended.
    """

    loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = ""

    @property
    def epochs(self) -> int:
        """How many epochs were run."""
        return len(self.loss)

    @property
    def best(self) -> float:
        """The lowest validation score; infinity without one."""
        return math.inf if self.best_epoch is None else self.validation[self.best_epoch]


def fit(
    model: Module,
    loss: Callable[[Any], Tensor],
    batches: Callable[[np.random.Generator], Iterable[Any]],
    optimizer: Optimizer,
    *,
    epochs: int,
    validate: Callable[[], float] | None = None,
    schedule: Schedule | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    target: float | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    threads: int | None = 1,
    progress: bool | str = False,
) -> History:
    """Train `model` for some epochs and leave it with the weights that validated best.

    The model is in evaluation mode afterwards.

    loss: batch -> scalar tensor. batches: generator -> one epoch's batches, of any kind.
    epochs: at most so many. seed: of the generator given to `batches`.
    validate: run without gradients in evaluation mode after each epoch; lower is better.
    clip_norm: bound on the norm of all gradients together.
    patience: stop after so many epochs without a better score. target: stop at a score this low.
    checkpoint: a file written, whole or not at all, after every `checkpoint_every` epochs and at
    the end; with `resume`, training goes on from it exactly as if it had not stopped (also where
    `loss` draws from the generator that `manual_seed` sets).
    threads: how many BLAS may use (see `blas_threads`); more than one pay off from some hundreds
    of units on. None does not limit them.
    progress: show a bar, with this text beside it if it is one.
    Raises ValueError for settings that make no sense together, NonFiniteError when the loss is
    NaN or infinite, FileNotFoundError when there is nothing to resume from.
    """
    counts = {
        "epochs": epochs,
        "patience": patience,
        "checkpoint_every": checkpoint_every,
        "threads": threads,
    }
    _check_settings(counts, validate, target, checkpoint, resume)
    run = _Run(model, optimizer, schedule, np.random.default_rng(seed))
    if resume and checkpoint is not None:
        run.load(checkpoint)
    history = run.history
    with blas_threads(threads), progress_display(progress, epochs, history) as show:
        while not (done := _finished(history, epochs, patience, target)):
            run.epoch(loss, batches, clip_norm, validate)
            stopping = bool(_finished(history, epochs, patience, target))
            if checkpoint is not None and (stopping or history.epochs % checkpoint_every == 0):
                run.save(checkpoint)
            show()
    history.stopped = done
    if run.best_weights is not None:
        model.load_state_dict(run.best_weights)
    model.eval()
    return history


class _Run:
    """Everything that changes while training, and hence everything that a checkpoint holds."""

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: Schedule | None,
        rng: np.random.Generator,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.rng = rng
        self.history = History()
        self.best_weights: dict[str, Array] | None = None

    def epoch(
        self,
        loss: Callable[[Any], Tensor],
        batches: Callable[[np.random.Generator], Iterable[Any]],
        clip_norm: float | None,
        validate: Callable[[], float] | None,
    ) -> None:
        """One pass over the batches, then validation and the schedule."""
        history = self.history
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.model.train()
        losses: list[float] = []
        norms: list[float] = []
        for batch in batches(self.rng):
            losses.append(self._step(loss, batch, len(losses)))
            if clip_norm is not None:
                parameters = (p for g in self.optimizer.param_groups for p in g["params"])
                norms.append(clip_grad_norm_(parameters, clip_norm))
            self.optimizer.step()
        if not losses:
            raise ValueError("batches: gave no batch for an epoch")
        history.loss.append(math.fsum(losses) / len(losses))
        history.learning_rate.append(rate)
        if norms:
            history.gradient_norm.append(math.fsum(norms) / len(norms))
        if validate is not None:
            self._validate(validate)
        score = history.loss[-1] if validate is None else history.validation[-1]
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(score)
        elif self.schedule is not None:
            self.schedule.step()

    def _step(self, loss: Callable[[Any], Tensor], batch: Any, number: int) -> float:
        """The loss of one batch, its gradients left on the parameters."""
        self.optimizer.zero_grad()
        value = loss(batch)
        found = float(value.item())
        if not math.isfinite(found):
            raise NonFiniteError(
                f"fit: the loss is {found} in epoch {self.history.epochs + 1}, batch {number + 1}; "
                "a lower learning rate or clip_norm may help, detect_anomaly() names the op"
            )
        value.backward()
        return found

    def _validate(self, validate: Callable[[], float]) -> None:
        history = self.history
        self.model.eval()
        with no_grad():
            score = float(validate())
        if math.isnan(score):
            raise NonFiniteError(f"fit: the validation score is nan in epoch {history.epochs}")
        history.validation.append(score)
        if score < history.best:
            history.best_epoch = history.epochs - 1
            self.best_weights = self.model.state_dict()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to one file."""
        write_checkpoint(
            path,
            self.model,
            self.optimizer,
            self.schedule,
            self.rng,
            self.best_weights,
            vars(self.history),
        )

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take up where a file left off."""
        self.best_weights, history = read_checkpoint(
            path, self.model, self.optimizer, self.schedule, self.rng
        )
        vars(self.history).update(history)


def _finished(history: History, epochs: int, patience: int | None, target: float | None) -> str:
    """Why to stop now; empty to go on."""
    if target is not None and history.best <= target:
        return f"validation reached {target:g}"
    if patience is not None and history.best_epoch is not None:
        waited = history.epochs - 1 - history.best_epoch
        if waited >= patience:
            return f"no better validation for {waited} epochs"
    plural = "" if history.epochs == 1 else "s"
    return f"{history.epochs} epoch{plural} done" if history.epochs >= epochs else ""


def _check_settings(
    counts: Mapping[str, int | None],
    validate: object,
    target: float | None,
    checkpoint: object,
    resume: bool,
) -> None:
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or operator.index(value) < 1):
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    for name, value in (("patience", counts["patience"]), ("target", target)):
        if value is not None and validate is None:
            raise ValueError(f"{name} needs a validate function to go by, got none")
    if resume and checkpoint is None:
        raise ValueError("resume needs a checkpoint file to go on from, got none")
