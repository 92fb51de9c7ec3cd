"""One step through an LSTM cell, gate by gate, with every number and a picture of each stage.

The cell has one input feature and one number of each memory, and weights chosen by hand, so that
every line can be checked with a pocket calculator.

    python examples/lstm_in_action.py --out out/lstm-in-action
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

import tinygrad_lstm as tg
import viz
from tinygrad_lstm import nn

#            input gate, forget gate, candidate, output gate
INPUT = [1.5, 1.0, 2.0, 1.0]  # weights of the input feature x_t
HIDDEN = [0.5, 1.0, -0.5, 0.5]  # weights of the short-term memory h_{t-1}
BIAS = [0.5, 1.0, 0.0, 0.5]


def hand_made_cell() -> nn.LSTMCell:
    """An LSTM cell with one unit and the weights above."""
    cell = nn.LSTMCell(1, 1, rng=0)
    cell.load_state_dict(
        {
            "weight_ih": np.array(INPUT).reshape(4, 1),
            "weight_hh": np.array(HIDDEN).reshape(4, 1),
            "bias_ih": np.array(BIAS),
            "bias_hh": np.zeros(4),
        }
    )
    return cell


def named_values(*results: tg.Tensor) -> dict[str, tg.Tensor]:
    """Everything with a name that the results were computed from: f_t, i_t, g_t, c_t, o_t, h_t."""
    return {node.name: node.output() for node in tg.toposort(results) if node.name}


def stages(v: dict[str, tg.Tensor], cell: nn.LSTMCell) -> list[tuple[str, str, list[str], str]]:
    """(title, what happens, the tensors to draw, the view) for each stage."""
    n = {name: f"{tensor.item():.3f}" for name, tensor in v.items()}
    w, u, b, more = (p.numpy()[1].item() for p in cell.parameters())  # the forget gate's
    return [
        (
            "States in and out",
            f"Into the cell come the input feature x_t = {n['x_t']}, the short-term memory\n"
            f"h = {n['h_{t-1}']} and the long-term memory c = {n['c_{t-1}']} of the step before.\n"
            f"Out of it come the new ones: h = {n['h_t']}, c = {n['c_t']}.",
            ["h_t", "c_t"],
            "cells",
        ),
        (
            "Forget gate",
            "An ANN of x_t and h_{t-1}, then a sigmoid: the share of the old long-term memory\n"
            f"that stays. f_t = sigmoid({w:.3g} x_t {u:+.3g} h {b + more:+.3g}) = {n['f_t']}",
            ["f_t"],
            "gates",
        ),
        (
            "Input gate and candidate",
            "A second ANN, then tanh: the candidate, a number in (-1, 1) that may be added to the\n"
            "long-term memory or, if it is negative, subtracted. A third ANN, then a sigmoid: the\n"
            f"share of the candidate that is let in. g_t = {n['g_t']}, i_t = {n['i_t']}",
            ["i_t", "g_t"],
            "gates",
        ),
        (
            "Long-term memory",
            "What stays of the old, and what is let in of the new:\n"
            f"c_t = f_t c_{{t-1}} + i_t g_t = {n['f_t']} x {n['c_{t-1}']} + {n['i_t']} x {n['g_t']}"
            f" = {n['c_t']}",
            ["c_t"],
            "gates",
        ),
        (
            "Output gate",
            "A fourth ANN, then a sigmoid: the share of the long-term memory to be shown.\n"
            f"o_t = {n['o_t']}",
            ["o_t"],
            "gates",
        ),
        (
            "Short-term memory",
            "The long-term memory through tanh, times that share. It is the short-term memory of\n"
            "the next step and the output y_t of this one:\n"
            f"h_t = o_t tanh(c_t) = {n['o_t']} x tanh({n['c_t']}) = {n['h_t']}",
            ["h_t", "c_t"],
            "gates",
        ),
    ]


def file_name(number: int, title: str, form: str = "svg") -> str:
    """`2-forget-gate.svg`, for example."""
    return f"{number}-{title.lower().replace(' ', '-')}.{form}"


def over_time(cell: nn.LSTMCell, features: Sequence[float], h: float, c: float) -> None:
    """Run the cell over several input features and print what its gates do."""
    print("\n   t     x_t     f_t     i_t     g_t     c_t     o_t     h_t")
    state = tg.tensor([[h]], name="h_{t-1}"), tg.tensor([[c]], name="c_{t-1}")
    for t, x in enumerate(features):
        state = cell(tg.tensor([[x]], name="x_t"), state)
        v = named_values(*state)
        gates = [v[name].item() for name in ("f_t", "i_t", "g_t", "c_t", "o_t", "h_t")]
        print(f"{t:4d}" + "".join(f"{value:8.3f}" for value in [x, *gates]))
        state = state[0].detach(), state[1].detach()


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--x", "feature", default=1.0, show_default=True, help="The input feature x_t.")
@click.option("--h", default=0.2, show_default=True, help="The short-term memory before.")
@click.option("--c", default=0.6, show_default=True, help="The long-term memory before.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Draw the weights at random instead of taking those made by hand.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/lstm-in-action"),
    show_default=True,
    help="Folder for the pictures.",
)
@click.option(
    "--format", "form", type=click.Choice(["svg", "png", "pdf"]), default="svg", show_default=True
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
def main(
    feature: float, h: float, c: float, seed: int | None, out: Path, form: str, theme: str
) -> None:
    cell = hand_made_cell() if seed is None else nn.LSTMCell(1, 1, rng=seed)
    given = {"x_t": feature, "h_{t-1}": h, "c_{t-1}": c}
    x_t, h_before, c_before = (tg.tensor([[value]], name=name) for name, value in given.items())
    h_t, c_t = cell(x_t, (h_before, c_before))
    values = {t.name: t for t in (x_t, h_before, c_before) if t.name} | named_values(h_t, c_t)

    out.mkdir(parents=True, exist_ok=True)
    for number, (title, text, drawn, view) in enumerate(stages(values, cell), start=1):
        print(f"{number}. {title}\n{text}\n")
        picture = viz.draw([values[name] for name in drawn], view=view, values=True, theme=theme)
        picture.save(out / file_name(number, title, form))

    print("The same cell over five input features; where the candidate is negative, the long-term")
    print("memory shrinks:")
    over_time(cell, [1.0, -1.0, 0.5, 0.0, -1.0], h, c)
    print(f"\nPictures, one per stage, are in {out}/")


if __name__ == "__main__":
    main()
