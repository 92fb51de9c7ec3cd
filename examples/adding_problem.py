"""The adding problem: an LSTM that remembers two marked numbers and gives their sum.

Each step of a sequence brings a random number and a mark, which is 1 at two steps, one in each
half, and 0 elsewhere; the answer is the sum of the two marked numbers. Always answering 1, the
mean, has a squared error of 0.167. To do better a network has to keep a number over dozens of
steps and let nothing else in: what the gates are for.

    python examples/adding_problem.py --length 50 --seed 1
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from tinygrad_lstm import data
from tinygrad_lstm.tasks import adding, report


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--length", type=click.IntRange(2), default=100, show_default=True, help="Steps.")
@click.option("--hidden", type=click.IntRange(1), default=32, show_default=True, help="Units.")
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="At most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/adding"),
    show_default=True,
    help="Folder for the plot.",
)
def main(length: int, hidden: int, epochs: int, seed: int, out: Path) -> None:
    model, history = adding.train_adding(
        length, hidden_size=hidden, epochs=epochs, seed=seed, progress="adding problem"
    )
    error = adding.mean_squared_error(model, length, seed=seed)
    report.adding_result(error, history)

    print("Three sequences it has never seen:")
    x, y = data.adding_problem(3, length, seed=10**6 + seed)
    answers = model(x).numpy()
    for numbers, truth, answer in zip(x, y[:, 0], answers[:, 0], strict=True):
        (first, second) = np.flatnonzero(numbers[:, 1])
        print(
            f"  step {first:2d}: {numbers[first, 0]:.3f}   step {second:2d}: "
            f"{numbers[second, 0]:.3f}   sum {truth:.3f}   LSTM {answer:.3f}"
        )
    print()
    report.list_files(report.draw_losses(history, out, baseline=adding.MEAN_ERROR))


if __name__ == "__main__":
    main()
