"""The benchmarks' harness, our side of every race and the tables; no peers are needed."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
NAMES = ("op_by_op", "sequence", "memory", "scaling", "startup")
TINY = (3, 2, 2, 3)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every module of the folder, by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = (*NAMES, "harness", "tables")
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    wide = {**os.environ, "COLUMNS": "120"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=wide, cwd=ROOT)


def sigmoid(a: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-a))


# -- what is raced ------------------------------------------------------------------------------


def test_our_number_is_the_loss_and_a_gradient_by_finite_differences(bench):
    x, weights = bench.op_by_op.arrays(TINY)
    zeros = np.zeros((TINY[1], TINY[3]))

    def loss(change: float) -> float:
        moved = [w.astype(np.float64) for w in weights]
        moved[0][0, 0] += change
        return bench.op_by_op.unrolled(x.astype(np.float64), moved, zeros, zeros, sigmoid, np.tanh)

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert bench.op_by_op.ours(TINY)() == pytest.approx(loss(0.0) + slope, rel=1e-5)


def outputs(x: Any, weights: dict[str, Any]) -> Any:
    """The LSTM's y by the textbook, in the dtype of the weights."""
    of_x, of_h, b_x, b_h = weights.values()
    h = c = np.zeros((x.shape[1], of_h.shape[1]))
    ys = []
    for x_t in x:
        i, f, g, o = np.split(x_t @ of_x.T + b_x + h @ of_h.T + b_h, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return np.stack(ys)


@pytest.mark.parametrize("peer", ["ours", "ours, NumPy", "ours, unrolled"])
def test_our_sequence_gives_the_loss_and_gradients_of_finite_differences(bench, peer):
    x, weights, w = bench.sequence.arrays(TINY)
    exact = {name: value.astype(np.float64) for name, value in weights.items()}

    def slope(name: str, place: tuple[int, ...]) -> float:
        ends = []
        for change in (1e-5, -1e-5):
            moved = exact[name].copy()
            moved[place] += change
            ends.append((outputs(x, {**exact, name: moved}) * w).sum())
        return (ends[0] - ends[1]) / 2e-5

    y = outputs(x, exact)
    loss, *gradients = bench.sequence.PEERS[peer](TINY, True)()
    assert loss == pytest.approx((y * w).sum(), rel=1e-5)
    for name, gradient in zip(exact, gradients, strict=True):
        expected = [slope(name, place) for place in np.ndindex(gradient.shape)]
        np.testing.assert_allclose(gradient.data.ravel(), expected, rtol=1e-4, atol=1e-6)
    (inferred,) = bench.sequence.PEERS[peer](TINY, False)()
    np.testing.assert_allclose(inferred.data, y, rtol=1e-5, atol=1e-7)


def test_a_sequences_check_is_the_size_of_all_it_computes(bench):
    arrays = [np.array(-2.0, np.float32), np.array([[3.0, 4.0]], np.float32)]
    assert bench.sequence.norms(arrays) == [2.0, 5.0]
    assert len(bench.sequence.run("ours", TINY, True, seconds=0.0).check) == 5


def test_we_come_first_in_every_case(bench):
    for name in NAMES:
        for case in getattr(bench, name).CASES:
            assert next(iter(case.peers)) == "ours", (name, case.name)


def test_a_sequence_is_raced_in_training_and_inference_at_every_shape(bench):
    names = [case.name for case in bench.sequence.CASES]
    assert len(names) == len(set(names)) == 2 * len(bench.sequence.SHAPES) == 14
    without = [c.name for c in bench.sequence.CASES if "ours, unrolled" not in c.peers]
    assert without == [
        f"{shape} {mode}"
        for mode in ("train", "infer")
        for shape in ("100,64,64,256", "128,64,128,512")
    ]


# -- memory, start-up, scaling --------------------------------------------------------------------


def test_what_is_kept_of_a_step_is_counted_and_nothing_stays(bench):
    shape = (6, 8, 4, 16)
    figures = bench.memory.measure(shape, "numpy", steps=3).figures
    assert figures["needed"] == 7 * 6 * 8 * 16 * 4
    output = 6 * 8 * 16 * 4
    assert output < figures["kept"] < figures["peak"] < 10 * figures["needed"]
    assert figures["growth"] == 0 and figures["objects"] < 3  # fewer than one a step


def test_arrays_that_stay_after_a_step_are_growth(bench, monkeypatch):
    forward, kept = tg.nn.LSTM.forward, []

    def leaking(*args: Any, **how: Any) -> Any:
        kept.append(np.ones(1000, np.float32))
        return forward(*args, **how)

    monkeypatch.setattr(tg.nn.LSTM, "forward", leaking)
    assert bench.memory.measure(TINY, "numpy", steps=5).figures["growth"] == 5 * 4000


def row(bench: Any, case: str, **seconds: float) -> Any:
    figures = {peer: {"seconds": s, "least": s} for peer, s in seconds.items()}
    return bench.harness.Row(case, figures, {p: [f] for p, f in figures.items()}, {})


def test_memory_is_shown_over_what_must_be_kept(bench):
    names = ("needed", "kept", "idle", "peak", "growth", "objects", "resident")
    figures = {"ours": dict(zip(names, (2e6, 3e6, 1e6, 5e6, 0, 0, 4096), strict=True))}
    (line,) = bench.memory.table([bench.harness.Row("10,1,4,4", figures, {}, {})]).rows
    assert line == ["10,1,4,4", "ours", "2.0", "3.0", "1.50x", "1.0", "5.0", "+0.0", "+0", "+0.0"]


def test_an_import_is_timed_in_fresh_interpreters(bench, monkeypatch):
    monkeypatch.setattr(bench.startup, "IMPORTS", 1)
    figures = bench.startup.import_time("json").figures
    assert 0.0 < figures["least"] == figures["seconds"] < 10.0


def test_the_import_is_shown_over_that_of_numpy(bench):
    rows = [row(bench, "import", ours=0.3, **{"NumPy alone": 0.2}), row(bench, "step", ours=1.0)]
    assert bench.startup.table(rows).notes[-1] == "Import: 1.50 times NumPy alone."


def test_a_first_step_finds_no_kernels_or_those_of_another_process(bench, monkeypatch):
    monkeypatch.setenv(bench.startup.CACHE, "the user's")  # so that it is put back
    seen: list[tuple[str, str, list[str]]] = []

    def folder() -> Path:
        return Path(os.environ[bench.startup.CACHE])

    def other_process(command: list[str], **_: Any) -> None:
        assert "first_step('ours')" in command[-1]
        (folder() / "kernel").touch()

    def first_step(peer: str) -> None:
        seen.append((peer, str(folder()), [p.name for p in folder().iterdir()]))

    monkeypatch.setattr(bench.startup.subprocess, "run", other_process)
    monkeypatch.setattr(bench.startup, "first_step", first_step)
    bench.startup.uncached("ours")
    bench.startup.cached("ours")
    assert [(peer, files) for peer, _, files in seen] == [("ours", []), ("ours", ["kernel"])]
    assert not any(Path(used).exists() for _, used, _ in seen)


def test_the_exponent_of_a_power_is_found(bench):
    sizes = [16, 32, 64]
    assert bench.scaling.exponent(sizes, [3e-4 * n**1.5 for n in sizes]) == pytest.approx(1.5)


def test_scaling_has_a_line_per_size_that_grows(bench):
    rows = [row(bench, f"T={n}", ours=n * 1e-3, PyTorch=0.5) for n in (16, 32, 64)]
    table = bench.scaling.table([*rows, row(bench, "H=32", ours=0.5, PyTorch=0.25)])
    assert table.rows == [
        ["T=16 to 64", "16.0 to 64.0", "1.00", "500 to 500", "0.00"],
        ["H=32", "-", "-", "-", "-"],
    ]
    assert bench.scaling.shape("B", 8) == (64, 8, 64, 128)


# -- the harness ----------------------------------------------------------------------------------


def test_a_call_is_timed_by_its_median_and_least_after_warming_up(bench):
    calls: list[int] = []

    def call() -> int:
        calls.append(1)
        return len(calls)

    result = bench.harness.time_calls(call, lambda n: [n], seconds=0.0)
    assert result.check == [1] and len(calls) == 7
    assert 0.0 < result.figures["least"] <= result.figures["seconds"] < 1.0


def test_other_work_is_all_work_but_ours(bench, monkeypatch):
    monkeypatch.setattr(bench.harness.os, "cpu_count", lambda: 2)
    share = bench.harness._others_share
    assert share((10.0, 100.0, 1.0), (20.0, 112.0, 8.0)) == pytest.approx(5.0 / 20.0)
    assert share((0.0, 0.0, 0.0), (10.0, 4.0, 5.0)) == 0.0
    assert share(None, None) is None


def test_numbers_are_shown_to_three_digits(bench):
    shown = {0.0000214: "0.021", 0.00123456: "1.23", 0.0099951: "10.0", 0.0999: "99.9", 2.5: "2500"}
    assert {s: bench.harness.milliseconds(s) for s in shown} == shown
    assert [bench.harness.ratio(r) for r in (0.051, 4.0, 100.01)] == ["0.05x", "4.00x", "100x"]


CASES = """
import sys
sys.path.insert(0, {folder!r})
from harness import Case, Result, main

def gives(seconds, *check):
    return lambda: Result({{"seconds": seconds, "least": min(seconds / 2, 0.8)}}, check)

main("four", [
    Case("same", {{"ours": gives(0.5, 1.0), "slow": gives(2.0, 1.0001)}}),
    Case("broken", {{"ours": gives(0.5, 1.0), "bad": lambda: 1 / 0}}),
    Case("wrong", {{"ours": gives(0.5, 1.0), "bad": gives(0.1, 2.0)}}),
    Case("small", {{"ours": gives(0.5, 5.0, 1e-5), "bad": gives(0.1, 5.0, 2e-5)}}),
])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "cases.py"
    path.write_text(CASES.format(folder=str(BENCHMARKS)))
    return path


def test_the_table_shows_times_over_ours_and_who_did_not_run(script, tmp_path):
    out = tmp_path / "new" / "out.json"
    done = run(script, "--rounds", "1", "--only", "sa", "--peers", "slow", "--json", out)
    assert done.returncode == 0, done.stderr
    assert "500 / 250" in done.stdout and "2000 / 800 (4.00x / 3.20x)" in done.stdout
    found = json.loads(out.read_text())
    (line,) = found["rows"]
    assert line["case"] == "same" and line["figures"]["slow"] == {"seconds": 2.0, "least": 0.8}
    assert found["conditions"]["rounds"] == 1 and found["conditions"]["packages"]["numpy"]
    done = run(script, "--rounds", "2", "--only", "broken")
    assert done.returncode == 0 and "broken: bad did not run: ZeroDivisionError" in done.stdout


def test_figures_of_many_processes_are_their_median_and_the_least(bench):
    runs = [{"seconds": s, "least": s / 2} for s in (0.2, 0.6, 0.4)]
    assert bench.harness._folded(runs) == {"seconds": 0.4, "least": 0.1}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("wrong", "wrong: bad computed [2.0], ours [1.0]"),
        ("small", "small: bad computed [5.0, 2e-05], ours [5.0, 1e-05]"),
    ],
)
def test_peers_that_compute_something_else_stop_the_race(script, case, message):
    done = run(script, "--rounds", "1", "--only", case)
    assert done.returncode != 0 and message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "none"], "no case contains 'none'; there are: same; broken; wrong; small"),
        (["--rounds", "0"], "--rounds: expected 1 or more, got 0"),
        (["--only", "same", "--peers", "bad"], "no case has 'bad'; there are: ours; slow"),
    ],
)
def test_options_that_leave_nothing_to_run_are_refused(script, arguments, message):
    done = run(script, *arguments)
    assert done.returncode == 2 and message in done.stderr


# -- all of them, and the document ----------------------------------------------------------------


def test_the_benchmarks_run_without_peers_and_leave_their_figures(tmp_path):
    options = ("--rounds", "1", "--only", "16,2,4,4", "--peers")
    done = run("-m", "benchmarks", "--benchmarks", "op_by_op", "--out", tmp_path, *options)
    assert done.returncode == 0, done.stderr
    (line,) = json.loads((tmp_path / "op_by_op.json").read_text())["rows"]
    assert line["case"] == "16,2,4,4" and list(line["figures"]) == ["ours"] and not line["failed"]
    assert 0.0 < line["figures"]["ours"]["seconds"] < 10.0


def test_an_unknown_benchmark_is_refused():
    done = run("-m", "benchmarks", "--benchmarks", "sequence,speed")
    assert done.returncode == 2 and "no 'speed'; there are: op_by_op, sequence" in done.stderr


def test_a_region_of_the_document_becomes_the_table(bench, tmp_path):
    table = {"columns": ["case", "ours"], "rows": [["a", "1 / 1"]], "notes": ["In ms."]}
    conditions = {
        "date": "2001-02-03",
        "processor": "abacus",
        "blas": "beads for fingers",
        "cores": 4,
        "threads": 2,
        "rounds": 5,
        "others": 0.0625,
        "python": "3.11.0",
        "packages": {"numpy": "2.0"},
    }
    figures = {"table": table, "conditions": conditions}
    (tmp_path / "speed.json").write_text(json.dumps(figures))
    region: Callable[[str], str] = lambda inner: (  # noqa: E731
        f"Before.\n<!-- results: speed -->\n{inner}<!-- end of results -->\nAfter.\n"
    )
    written = bench.tables.updated(region("old\n"), tmp_path)
    assert written == region(
        "| case | ours |\n| :--- | ---: |\n| a | 1 / 1 |\n\nIn ms.\n\n"
        "*2001-02-03; abacus; beads for fingers; cores: 4, threads: 2, rounds: 5;"
        " 6% of the machine's time went to other work; Python 3.11.0, numpy 2.0.*\n"
    )
    assert bench.tables.updated(written, tmp_path) == written
