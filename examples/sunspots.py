"""Next year's sunspots from the last 22 years': LSTMs against persistence and linear models.

The years 1949 to 2008 are held out: nothing is fitted to them or chosen by them. The forty years
before decide when training stops, the rest is trained on. Three LSTMs start from different
random weights; their mean is the forecast. In training, every window is made stronger or weaker
by a random factor, so that cycles stronger than any in the past do not come as a surprise.

    python examples/sunspots.py --seed 1
"""

from __future__ import annotations

from pathlib import Path

import click

from tinygrad_lstm.tasks import report, sunspots


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--window", type=click.IntRange(1), default=22, show_default=True, help="Years seen.")
@click.option("--hidden", type=click.IntRange(1), default=16, show_default=True, help="Units.")
@click.option("--epochs", type=click.IntRange(1), default=150, show_default=True, help="At most.")
@click.option(
    "--models", type=click.IntRange(1), default=3, show_default=True, help="LSTMs to average."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/sunspots"),
    show_default=True,
    help="Folder for the plots.",
)
def main(window: int, hidden: int, epochs: int, models: int, seed: int, out: Path) -> None:
    data = sunspots.load_sunspots(window)
    trained = sunspots.train_forecasters(
        data, models, hidden_size=hidden, epochs=epochs, seed=seed, progress=True
    )

    # Each year is forecast from the true numbers of the years before it, as at the time.
    scores = sunspots.baselines(data)
    scores.append(sunspots.forecast(data, [model for model, _ in trained]))
    report.forecast_table(scores, data.years[data.test])
    report.list_files(report.draw_forecasts(data, scores, trained, out))


if __name__ == "__main__":
    main()
