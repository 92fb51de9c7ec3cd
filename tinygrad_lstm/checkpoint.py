"""Checkpoints: one safetensors file with all that training needs to go on as if never stopped.

Arrays are stored by name ("model.…", "best.…", "optimizer.3.exp_avg"); the numbers beside them,
among them the states of the random generators, as JSON in the file's header. Knows nothing of the
loop that calls it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from .nn.module import Module
from .optim import Optimizer
from .random import default_rng
from .serialization import load, load_metadata, save
from .tensor import Array

__all__ = ["read_checkpoint", "write_checkpoint"]

_KEY = "tinygrad_lstm.training"
Path = str | os.PathLike[str]


class HasPosition(Protocol):
    """A schedule: settings and position as plain numbers."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None: ...


def write_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    schedule: HasPosition | None,
    rng: np.random.Generator,
    best_weights: Mapping[str, Array] | None,
    history: Mapping[str, Any],
) -> None:
    """Write everything to `path`, whole or not at all; `history` holds plain numbers and lists."""
    arrays = _prefixed("model", model.state_dict()) | _prefixed("best", best_weights or {})
    state = optimizer.state_dict()
    counts: dict[str, dict[str, Any]] = {}
    for k, kept in state["state"].items():
        for name, value in kept.items():
            if isinstance(value, np.ndarray):
                arrays[f"optimizer.{k}.{name}"] = value
            else:
                counts.setdefault(str(k), {})[name] = value
    header = {
        "param_groups": state["param_groups"],
        "counts": counts,
        "schedule": None if schedule is None else schedule.state_dict(),
        "rng": rng.bit_generator.state,
        "default_rng": default_rng().bit_generator.state,
        "history": dict(history),
    }
    save(path, arrays, {_KEY: json.dumps(header)})


def read_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    schedule: HasPosition | None,
    rng: np.random.Generator,
) -> tuple[dict[str, Array] | None, dict[str, Any]]:
    """Put everything back in its place; return the best weights so far and the history.

    Raises FileNotFoundError, and ValueError for a file of another kind or of a run with another
    model, optimizer or schedule.
    """
    header = load_metadata(path).get(_KEY)
    if header is None:
        raise ValueError(f"{os.fspath(path)}: is no training checkpoint")
    plain = json.loads(header)
    arrays = load(path)
    if (schedule is None) != (plain["schedule"] is None):
        raise ValueError(
            f"{os.fspath(path)}: was written {'with' if schedule is None else 'without'} a "
            "learning-rate schedule, and must be resumed so"
        )
    kept: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in plain["counts"].items()}
    for name, array in arrays.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            position, _, entry = rest.partition(".")
            kept.setdefault(int(position), {})[entry] = array
    try:
        model.load_state_dict(_under("model", arrays))
        optimizer.load_state_dict({"state": kept, "param_groups": plain["param_groups"]})
        if schedule is not None:
            schedule.load_state_dict(plain["schedule"])
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    rng.bit_generator.state = plain["rng"]
    default_rng().bit_generator.state = plain["default_rng"]
    return _under("best", arrays) or None, plain["history"]


def _prefixed(kind: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{kind}.{name}": array for name, array in arrays.items()}


def _under(kind: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    start = f"{kind}."
    return {k.removeprefix(start): array for k, array in arrays.items() if k.startswith(start)}
