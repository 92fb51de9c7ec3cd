"""The examples: each runs with tiny settings and, as a slow test, with its own to its claims."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import click
import pytest
from test_documents import ROOT, load

from tinygrad_lstm.cli import train
from tinygrad_lstm.data import text

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

TINY = {
    "adding_problem": ["--length", "2", "--hidden", "2", "--epochs", "1"],
    "chain_rule": [],
    "char_lm": ["--hidden", "4", "--epochs", "1", "--length", "10"],
    "lstm_in_action": [],
    "sunspots": ["--window", "2", "--hidden", "2", "--epochs", "1", "--models", "1"],
    "vanishing_gradient": ["--steps", "12", "--hidden", "3"],
}


def command(path: Path) -> click.Command:
    return load(path).main


def run(name: str, out: Path, *options: str) -> None:
    """Run an example's main function in this process."""
    arguments = [*options, "--out", str(out)]
    command(ROOT / "examples" / f"{name}.py").main(arguments, standalone_mode=False)


def figure_in(text: str, label: str) -> float:
    """The first number after a label in a printed table."""
    found = re.search(rf"{re.escape(label)}\s+([\d.]+)", text)
    assert found, f"{label!r} is not in\n{text}"
    return float(found.group(1))


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES} == set(TINY)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_takes_help_seed_and_out(path: Path):
    names = {option for p in command(path).params for option in p.opts}
    assert {"--seed", "--out"} <= names
    with click.Context(command(path)) as context:
        assert "--help" in command(path).get_help(context)
    assert all(p.help or p.name in ("seed", "theme", "epochs", "form") for p in options_of(path))


def options_of(path: Path) -> list[click.Option]:
    return [p for p in command(path).params if isinstance(p, click.Option)]


@pytest.mark.parametrize("name", TINY)
def test_an_example_runs_and_writes_pictures(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    run(name, out, *TINY[name])
    pictures = list(out.glob("*.svg"))
    assert pictures
    for picture in pictures:
        assert ET.parse(picture).getroot().tag.endswith("svg")
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_numbers_out_of_range_are_refused(path: Path, tmp_path: Path):
    numbers = [p for p in options_of(path) if isinstance(p.type, click.types.IntParamType)]
    assert numbers
    for option in numbers:
        with pytest.raises(click.BadParameter, match="not in the range"):
            run(path.stem, tmp_path, option.opts[0], "-1")
    if path.stem == "vanishing_gradient":  # a gradient reaches back from the last of two
        with pytest.raises(click.BadParameter):
            run(path.stem, tmp_path, "--steps", "1")


@pytest.mark.parametrize("name", ["chain_rule", "lstm_in_action"])
def test_another_seed_gives_other_numbers(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run(name, tmp_path, "--seed", "1")
    first = capsys.readouterr().out
    run(name, tmp_path, "--seed", "1")
    assert capsys.readouterr().out == first
    run(name, tmp_path, "--seed", "2")
    assert capsys.readouterr().out != first


def test_the_chain_rule_by_hand_agrees_with_the_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run("chain_rule", tmp_path, "--w", "-0.7", "--x", "1.3")
    pairs = re.findall(r": (-?[\d.]+), by hand (-?[\d.]+)", capsys.readouterr().out)
    assert len(pairs) == 4
    for engine, hand in pairs:
        assert engine == hand


def test_the_walk_through_writes_a_picture_for_each_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run("lstm_in_action", tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "1-states-in-and-out.svg",
        "2-forget-gate.svg",
        "3-input-gate-and-candidate.svg",
        "4-long-term-memory.svg",
        "5-output-gate.svg",
        "6-short-term-memory.svg",
    ]
    shown = capsys.readouterr().out
    assert "c_t = f_t c_{t-1} + i_t g_t = 0.900 x 0.600 + 0.891 x 0.956 = 1.392" in shown
    gate = " ".join(ET.parse(tmp_path / "2-forget-gate.svg").getroot().itertext())
    assert "forget gate" in gate and "0.9002" in gate


def test_an_open_forget_gate_lets_the_gradient_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run("vanishing_gradient", tmp_path, "--steps", "50", "--hidden", "8")
    rows = capsys.readouterr().out.splitlines()
    last = {row[:22].strip(): float(row.split()[-1]) for row in rows if row[:3] in ("RNN", "LST")}
    assert last["RNN"] < 1e-4 and last["LSTM, forget bias 0"] < 1e-4
    assert last["LSTM, forget bias 3"] > 1e-2


def test_the_adding_problem_has_a_hundred_steps_by_default():
    (length,) = (p for p in options_of(ROOT / "examples/adding_problem.py") if p.name == "length")
    (told,) = (p for p in train.commands["adding"].params if p.name == "length")
    assert length.default == told.default == 100


# -- the claims, with the settings the examples come with ---------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_adding_problem_is_solved(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run("adding_problem", tmp_path, "--seed", str(seed))
    assert figure_in(capsys.readouterr().out, "LSTM, on new sequences") < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_the_forecast_beats_every_baseline(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run("sunspots", tmp_path, "--seed", str(seed))
    shown = capsys.readouterr().out
    error = figure_in(shown, "3 LSTMs, their mean")
    for baseline in ("persistence", "linear, 22 years", "linear, 22 square roots"):
        assert error < figure_in(shown, baseline)


@pytest.mark.slow
def test_the_character_model_learns_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run("char_lm", tmp_path)
    shown = capsys.readouterr().out
    bits = re.search(r"LSTM\s+[\d.]+\s+([\d.]+)", shown)
    assert bits is not None and float(bits.group(1)) < 2.5
    known = set(re.findall(r"[a-z]+", text().lower()))
    written = re.findall(
        r"[a-z]+", shown[shown.index("The ") : shown.rindex(str(tmp_path))].lower()
    )
    assert len(written) > 20
    assert sum(word in known for word in written) > 0.6 * len(written)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_takes_less_than_a_minute(path: Path, tmp_path: Path):
    start = time.perf_counter()
    run(path.stem, tmp_path)
    assert time.perf_counter() - start < 60
