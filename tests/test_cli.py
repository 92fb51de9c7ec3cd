"""The command line: what it writes and prints, and one readable line for every error."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import tinygrad_lstm
from tinygrad_lstm.cli import main
from tinygrad_lstm.ops import OPS
from tinygrad_lstm.tasks import checks

SVG = "{http://www.w3.org/2000/svg}svg"


def text_of(picture: Path) -> str:
    """All that can be read in an SVG."""
    root = ET.parse(picture).getroot()
    assert root.tag == SVG
    return " ".join(root.itertext())


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tinygrad-lstm {tinygrad_lstm.__version__}\n"


def test_without_a_command_it_lists_the_commands(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("demo", "train", "draw", "explain", "check"))


def test_help_loads_neither_pictures_nor_plots():
    code = (
        "import sys; from tinygrad_lstm.cli import main; main(['draw', '--help']); "
        "print([m for m in ('viz', 'matplotlib', 'rich', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("kind", "scopes"),
    [
        ("lstm", ("forget gate", "input gate", "candidate", "output gate", "long-term memory")),
        ("gru", ("reset gate", "update gate", "candidate", "short-term memory")),
        ("rnn", ("short-term memory",)),
    ],
)
def test_draw_shows_the_gates_of_a_cell(kind: str, scopes: tuple[str, ...], tmp_path: Path):
    picture = tmp_path / "new" / "cell.svg"
    assert main(["draw", kind, "--values", "--grads", "--out", str(picture)]) == 0
    shown = " ".join(text_of(picture).split())
    for scope in scopes:
        assert scope in shown


def test_draw_takes_views_steps_and_the_backward_graph(tmp_path: Path):
    def nodes(*options: str) -> int:
        path = tmp_path / "cell.json"
        assert main(["draw", "lstm", *options, "--out", str(path)]) == 0
        return len(json.loads(path.read_text("utf-8"))["nodes"])

    gates = nodes()
    assert nodes("--view", "cells") < gates < nodes("--view", "ops")
    assert nodes("--open", "*/forget gate/ANN") > gates
    assert nodes("--fold", "*/forget gate") < gates
    assert nodes("--backward") > gates
    assert nodes("--view", "cells", "--steps", "3") > nodes("--view", "cells")
    assert nodes("--peephole") > gates


def test_the_same_seed_draws_the_same_picture(tmp_path: Path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert (
            main(["draw", "gru", "--values", "--seed", seed, "--out", f"{tmp_path}/{name}.svg"])
            == 0
        )
    a, b, c = ((tmp_path / f"{name}.svg").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("options", [["gru"], ["lstm", "--peephole", "--backend", "numpy"], []])
def test_explain_tells_how_a_layer_is_compiled(
    options: list[str], capsys: pytest.CaptureFixture[str]
):
    sizes = ["--steps", "3", "--batch", "2", "--input-size", "4", "--hidden-size", "5"]
    assert main(["explain", *options, *sizes]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("3 steps in float32")
    gates = 3 if "gru" in options else 4
    assert f"one product, (2, 5) @ (5, {5 * gates}), {gates} products of the step in one" in shown
    assert "kept for the backward pass" in shown
    assert ("weight_ci_l0" in shown) == ("--peephole" in options)


def test_check_lists_every_op_once(capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--order", "1"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    named = [row[0] for row in rows if row and row[0] in OPS]
    assert sorted(named) == sorted(OPS)


def test_check_fails_with_the_op_and_element_that_are_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    wrong = (lambda g, out, a: g * 1.001 * (1 - out * out),)
    monkeypatch.setattr(OPS["tanh"], "vjps", wrong)
    assert main(["check", "--op", "tanh", "--op", "exp"]) == 1
    shown = capsys.readouterr()
    assert shown.err == "tinygrad-lstm: 1 ops failed: tanh\n"
    assert "inputs[0][0, 0]: analytic" in shown.out
    assert "1 of 2 ops pass" in shown.out


def test_an_op_without_a_sample_does_not_pass(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(checks.OPS, "new", OPS["exp"])
    (found,) = checks.check_ops(["new"])
    assert found.problem == "has no sample"


TRAIN = ["--quiet", "--epochs", "1", "--hidden", "3"]


def test_train_sunspots_shows_all_baselines_and_the_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    done = main(
        ["train", "sunspots", *TRAIN, "--window", "3", "--models", "2", "--out", str(tmp_path)]
    )
    shown = capsys.readouterr()
    assert (done, shown.err) == (0, "")
    for method in ("persistence", "linear, 3 years", "linear, 3 square roots", "2 LSTMs"):
        assert method in shown.out
    assert "measured" in text_of(tmp_path / "forecast.svg")
    assert "validation" in text_of(tmp_path / "losses.svg")


def test_train_goes_on_from_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def adding(epochs: str, *more: str) -> str:
        options = ["--quiet", "--length", "2", "--hidden", "2", "--epochs", epochs]
        assert main(["train", "adding", *options, "--out", str(tmp_path), *more]) == 0
        return capsys.readouterr().out

    whole = adding("2")
    file = str(tmp_path / "c.safetensors")
    adding("1", "--checkpoint", file)
    assert adding("2", "--checkpoint", file, "--resume") == whole


def test_train_chars_writes_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    book = tmp_path / "book.txt"
    book.write_text("to be or not to be. " * 200, "utf-8")
    options = ["--text", str(book), "--start", "to", "--length", "20", "--out", str(tmp_path)]
    assert main(["train", "chars", *TRAIN, *options]) == 0
    shown = capsys.readouterr().out
    assert "bits per character" in shown
    written = next(line for line in shown.splitlines() if line.startswith("to"))
    assert len(written) == 22 and set(written) <= set("tobernt. ")


def test_demo_writes_every_picture_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert main(["demo", "--epochs", "1", "--models", "1", "--quiet", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    names = ["backward.svg", "forecast.svg", "gates-over-time.svg", "gates.png", "gates.svg"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "losses.svg"])
    assert all(str(out / name) in shown.out for name in names)
    assert (out / "gates.png").read_bytes().startswith(b"\x89PNG")
    gates = text_of(out / "gates.svg")
    assert "grad" in gates and "mean" in gates and "2006" in gates
    assert "∂" in text_of(out / "backward.svg")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["draw", "elman"], 2, "'elman' is not one of 'lstm', 'gru', 'rnn'"),
        (["draw", "lstm", "--hidden-size", "0"], 2, "0 is not in the range x>=1"),
        (["draw", "gru", "--peephole"], 2, "only an LSTM has peepholes"),
        (["explain", "rnn", "--peephole"], 2, "only an LSTM has peepholes"),
        (["draw", "lstm", "--out", "cell.bmp"], 1, "must end in one of .svg"),
        (["draw", "lstm", "--fold", "attention"], 1, "no scope matches 'attention'"),
        (["draw", "lstm", "--steps", "400", "--view", "ops"], 1, "more than max_nodes"),
        (["check", "--op", "sinus"], 1, "no op is called 'sinus'"),
        (["train", "chars", "--text", "no-such-file"], 1, "no-such-file: No such file"),
        (["train", "chars", "--temperature", "0"], 2, "0.0 is not in the range x>0"),
        (["train", "chars", "--start", "\u2603"], 1, "got '\u2603'"),
        (["train", "adding", "--resume"], 1, "resume needs a checkpoint file"),
        (["train", "sunspots", "--window", "400"], 1, "train part must have at least"),
        (["train", "poems"], 2, "No such command 'poems'"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("tinygrad-lstm: ") and shown.err.count("\n") == 1


def test_traceback_shows_where_an_error_came_from():
    with pytest.raises(ValueError, match="no op is called"):
        main(["--traceback", "check", "--op", "sinus"])


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "check_ops", interrupted)
    assert main(["check"]) == 130
    assert capsys.readouterr().err.strip() == "tinygrad-lstm: stopped"
