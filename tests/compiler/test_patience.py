"""Whoever waits for the compiler is told what is going on, and nobody else."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor
from tinygrad_lstm.compiler import patience, plan, plans
from tinygrad_lstm.compiler.patience import told_if_slow
from tinygrad_lstm.compiler.recent import Recent
from tinygrad_lstm.compiler.single import SingleStep


def test_what_takes_long_is_told_once(monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(patience, "_PATIENCE", 0.02)
    with told_if_slow("counting sheep"):
        time.sleep(0.3)
    time.sleep(0.05)
    assert capsys.readouterr().err == "tinygrad_lstm: counting sheep\n"


@pytest.mark.parametrize("error", [False, True])
def test_what_is_done_soon_is_not(error, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(patience, "_PATIENCE", 0.1)
    try:
        with told_if_slow("counting sheep"):
            if error:
                raise LookupError
    except LookupError:
        pass
    time.sleep(0.2)
    assert not capsys.readouterr().err


def test_a_step_that_takes_long_to_compile(
    backend: str, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(patience, "_PATIENCE", 0.02)
    monkeypatch.setattr(plans, "_plans", Recent())
    chosen = plan.backend_named(backend)

    def slow(made: plan.Plan) -> Any:
        time.sleep(0.2)
        return chosen.runner(made)

    monkeypatch.setattr(plan, "backend_named", lambda name: chosen._replace(runner=slow))

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = tg.tanh(h + x)
        return h, h

    tg.scan(step, np.zeros(3), np.zeros((2, 3)), backend=backend)
    said = capsys.readouterr().err
    assert said.startswith("tinygrad_lstm: compiling a step of 2 ops") and said.count("\n") == 1
    tg.scan(step, np.zeros(3), np.zeros((2, 3)), backend=backend)
    assert not capsys.readouterr().err


def test_a_step_of_a_stream_that_takes_long_to_compile(
    monkeypatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(patience, "_PATIENCE", 0.02)
    build = SingleStep._build

    def slow(*given: Any) -> None:
        time.sleep(0.2)
        build(*given)

    monkeypatch.setattr(SingleStep, "_build", slow)
    h, x = tg.tensor(np.zeros(3)), tg.tensor(np.ones(3))
    SingleStep(lambda h, x: ([tg.tanh(h[0] + x[0])], []), [h], [x], "numpy")
    said = capsys.readouterr().err
    assert said.startswith("tinygrad_lstm: compiling a step of 2 ops") and said.count("\n") == 1
