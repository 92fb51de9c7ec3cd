"""How far back does a gradient reach? A plain recurrent network against two LSTMs.

The loss looks at the last step alone; shown is the norm of its gradient with respect to the
short-term memory h_t of every step before. All are untrained. The LSTMs differ in one thing, the
bias of the forget gate: it decides which share of the long-term memory, and of its gradient,
passes from step to step.

    python examples/vanishing_gradient.py --steps 100
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from tinygrad_lstm import nn
from tinygrad_lstm.tasks.regressor import set_forget_bias
from viz import plots


def norms(layer: nn.RNN | nn.LSTM, x: np.ndarray) -> list[float]:
    """The norm of dL/dh_t for each step, where L is the sum of the last step's memory."""
    with layer.record("h_t", grads=True) as seen:
        y, _ = layer(x)
        y[-1].sum().backward()
    return [float(np.linalg.norm(g)) for g in seen.grad["h_t"]]


def forgetting(lstm: nn.LSTM, bias: float) -> nn.LSTM:
    """The LSTM with this bias at its forget gate."""
    set_forget_bias(lstm, bias)
    return lstm


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option(
    "--steps", type=click.IntRange(2), default=60, show_default=True, help="Length of the sequence."
)
@click.option(
    "--hidden", type=click.IntRange(1), default=32, show_default=True, help="Units of each memory."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for the plot.",
)
def main(steps: int, hidden: int, seed: int, out: Path) -> None:
    x = np.random.default_rng(seed).standard_normal((steps, 1, 4)).astype(np.float32)
    layers = {
        "RNN": nn.RNN(4, hidden, rng=seed),
        "LSTM, forget bias 0": forgetting(nn.LSTM(4, hidden, rng=seed), 0.0),
        "LSTM, forget bias 3": forgetting(nn.LSTM(4, hidden, rng=seed), 3.0),
    }
    curves = {label: norms(layer, x) for label, layer in layers.items()}

    back = [k for k in (1, 5, 10, 20, 40, 80, 160) if k < steps]
    print("norm of dL/dh_t, so many steps before the loss")
    print(" " * 22 + "".join(f"{k:>10d}" for k in back))
    for label, values in curves.items():
        print(f"{label:<22}" + "".join(f"{values[-1 - k]:10.1e}" for k in back))

    out.mkdir(parents=True, exist_ok=True)
    path = out / "vanishing_gradient.svg"
    plots.gradient_through_time(curves, path=path)
    print(f"\nThe plot is {path}")


if __name__ == "__main__":
    main()
