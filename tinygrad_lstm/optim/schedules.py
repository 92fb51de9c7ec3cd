"""Learning-rate schedules: call `step()` once per epoch, after the optimizer's.

They change "lr" in the optimizer's groups and know nothing else of it. The rate it had when the
schedule was made stands in each group as "initial_lr".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

from .optimizer import Group, Optimizer

__all__ = ["CosineAnnealingLR", "ReduceLROnPlateau", "StepLR"]


class _Schedule:
    """Counts epochs, and asks `_rate` for each group's next rate, given the one it has."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = _checked(optimizer)
        self.last_epoch = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def step(self) -> None:
        """Go on to the next epoch."""
        self.last_epoch += 1
        for group in self.optimizer.param_groups:
            base = float(group.setdefault("initial_lr", group["lr"]))  # may be a new group
            group["lr"] = self._rate(float(group["lr"]), base)

    def get_last_lr(self) -> list[float]:
        """Each group's rate in force."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _rate(self, now: float, base: float) -> float:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Settings and position as plain numbers and lists."""
        return _plain(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up at a saved position; the rates themselves are in the optimizer's state.

        Raises ValueError for entries that are missing or unknown.
        """
        _restore(self, state_dict)


class StepLR(_Schedule):
    """The rate times gamma, every `step_size` epochs. Raises ValueError for step_size < 1."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"step_size must be at least 1, got {step_size!r}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer)

    def _rate(self, now: float, base: float) -> float:
        return now * self.gamma if self.last_epoch % self.step_size == 0 else now


class CosineAnnealingLR(_Schedule):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2 at epoch t.

    Written as a change from the rate in force, so that a rate changed by hand, or by another
    schedule, is scaled and not overwritten. Beyond T_max it rises again. Raises ValueError for
    T_max < 1. Source: Loshchilov & Hutter, "SGDR", ICLR 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ValueError(f"T_max must be at least 1, got {T_max!r}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer)

    def _rate(self, now: float, base: float) -> float:
        t, period = self.last_epoch, self.T_max
        if (t - 1 - period) % (2 * period) == 0:  # at the bottom nothing is left to scale
            return now + (base - self.eta_min) * (1.0 - math.cos(math.pi / period)) / 2.0
        before = 1.0 + math.cos(math.pi * (t - 1) / period)
        return (1.0 + math.cos(math.pi * t / period)) / before * (
            now - self.eta_min
        ) + self.eta_min


class ReduceLROnPlateau:
    """The rate times factor when the metric has not improved for more than `patience` epochs.

    mode: "min" if lower is better, else "max". threshold: by how much a metric has to beat the
    best, as a share of it (threshold_mode "rel") or absolutely ("abs"). cooldown: epochs after a
    change that do not count as bad. min_lr: a bound, for all groups or one each. eps: smaller
    changes are not made. Raises ValueError for settings out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not factor < 1.0:
            raise ValueError(f"factor must be below 1, got {factor!r}")
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        groups = len(_checked(optimizer).param_groups)
        bounds = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * groups
        if len(bounds) != groups:
            raise ValueError(f"min_lr: {len(bounds)} given for {groups} groups")
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = bounds
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0

    def step(self, metrics: SupportsFloat) -> None:
        """Go on to the next epoch, with the metric the last one reached."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, bound in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                self._reduce(group, bound)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """Each group's rate in force."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _better(self, value: float) -> bool:
        margin = self.threshold
        if self.mode == "min":
            relative = self.threshold_mode == "rel"
            return value < (self.best * (1.0 - margin) if relative else self.best - margin)
        relative = self.threshold_mode == "rel"
        return value > (self.best * (1.0 + margin) if relative else self.best + margin)

    def _reduce(self, group: Group, bound: float) -> None:
        old = float(group["lr"])
        new = max(old * self.factor, bound)
        if old - new > self.eps:
            group["lr"] = new

    def state_dict(self) -> dict[str, Any]:
        """Settings and position as plain numbers, strings and lists."""
        return _plain(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up at a saved position; the rates themselves are in the optimizer's state.

        Raises ValueError for entries that are missing or unknown.
        """
        _restore(self, state_dict)


def _checked(optimizer: object) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def _plain(schedule: object) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, list) else value
        for name, value in vars(schedule).items()
        if name != "optimizer"
    }


def _restore(schedule: object, state: Mapping[str, Any]) -> None:
    expected = set(_plain(schedule))
    if set(state) != expected:
        raise ValueError(
            f"state_dict: missing {sorted(expected - set(state))}, "
            f"unexpected {sorted(set(state) - expected)}"
        )
    vars(schedule).update(state)
