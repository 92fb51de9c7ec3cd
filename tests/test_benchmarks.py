"""The benchmarks' harness and our side of the op-by-op race; no peers are needed."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = (3, 2, 2, 3)


@pytest.fixture
def op_by_op(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("op_by_op")


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("harness")


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *arguments]
    wide = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=wide)


def test_our_number_is_the_loss_and_a_gradient_by_finite_differences(op_by_op):
    x, weights = op_by_op.arrays(TINY)
    zeros = np.zeros((TINY[1], TINY[3]))

    def loss(change: float) -> float:
        moved = [w.astype(np.float64) for w in weights]
        moved[0][0, 0] += change
        sigmoid = lambda a: 1.0 / (1.0 + np.exp(-a))  # noqa: E731
        return op_by_op.unrolled(x.astype(np.float64), moved, zeros, zeros, sigmoid, np.tanh)

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert op_by_op.ours(TINY)() == pytest.approx(loss(0.0) + slope, rel=1e-5)


def test_we_come_first_in_every_case(op_by_op):
    assert [case.name for case in op_by_op.CASES] == list(op_by_op.SHAPES)
    for case in op_by_op.CASES:
        assert list(case.peers) == ["ours", "PyTorch", "MyGrad", "HIPS autograd"]


def test_a_call_is_timed_by_its_median_after_warming_up(harness):
    calls: list[int] = []

    def call() -> float:
        calls.append(1)
        return float(len(calls))

    seconds, check = harness.time_calls(call, seconds=0.0)
    assert check == 1.0 and len(calls) == 7 and 0.0 < seconds < 1.0


CASES = """
import sys
sys.path.insert(0, {folder!r})
from harness import Case, main
main("three", [
    Case("same", {{"ours": lambda: (0.5, 1.0), "slow": lambda: (2.0, 1.0001)}}),
    Case("broken", {{"ours": lambda: (0.5, 1.0), "bad": lambda: (0.1, 1 / 0)}}),
    Case("wrong", {{"ours": lambda: (0.5, 1.0), "bad": lambda: (0.1, 2.0)}}),
])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "cases.py"
    path.write_text(CASES.format(folder=str(BENCHMARKS)))
    return path


def test_the_table_shows_times_over_ours_and_who_did_not_run(script, tmp_path):
    out = tmp_path / "out.json"
    done = run(script, "--rounds", "1", "--only", "s", "--peers", "slow", "--json", str(out))
    assert done.returncode == 0, done.stderr
    assert "500.000 ms" in done.stdout and "2000.000 ms (4.00x)" in done.stdout
    (row,) = json.loads(out.read_text())["rows"]
    assert row["case"] == "same" and row["seconds"] == {"ours": 0.5, "slow": 2.0}
    done = run(script, "--rounds", "2", "--only", "broken")
    assert done.returncode == 0 and "ZeroDivisionError" in done.stdout


def test_peers_that_compute_something_else_stop_the_race(script):
    done = run(script, "--rounds", "1", "--only", "wrong")
    assert done.returncode != 0 and "wrong: bad computed 2.0, ours 1.0" in done.stderr


def test_the_race_runs_without_peers(tmp_path):
    out = tmp_path / "out.json"
    arguments = ("--rounds", "1", "--only", "16,2,4,4", "--peers", "nobody", "--json", str(out))
    done = run(BENCHMARKS / "op_by_op.py", *arguments)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert row["case"] == "16,2,4,4" and list(row["seconds"]) == ["ours"] and not row["failed"]
    assert 0.0 < row["seconds"]["ours"] < 10.0
