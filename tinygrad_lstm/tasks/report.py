"""Tables and pictures of what the tasks found: the one place here that knows `viz` and `rich`.

Both load when they are used. Tables go to standard output, pictures into a folder; every function
that draws returns the files it wrote with a line about each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from ..context import no_grad
from ..tensor import Array, Tensor
from ..training import History
from . import adding, chars
from .cells import record_step
from .chars import CharModel
from .checks import OpCheck
from .regressor import SequenceRegressor
from .sunspots import Forecast, SunspotData

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "adding_result",
    "character_result",
    "character_sample",
    "check_table",
    "draw_forecasts",
    "draw_losses",
    "draw_trained_cell",
    "forecast_table",
    "list_files",
]

Files = dict[Path, str]
"""What was written, and a line about each."""


# -- tables -----------------------------------------------------------------------------------


def forecast_table(scores: Sequence[Forecast], years: Array) -> None:
    """Print the errors of each method over the held-out years, the best one marked."""
    table = _table(f"Next year's sunspots, {years[0]} to {years[-1]}")
    table.add_column("method")
    table.add_column("RMSE", justify="right")
    table.add_column("mean error", justify="right")
    best = min(score.rmse for score in scores)
    for score in scores:
        style = "bold green" if score.rmse == best else None
        table.add_row(score.name, f"{score.rmse:.2f}", f"{score.mae:.2f}", style=style)
    _print(table)


def adding_result(error: float, history: History) -> None:
    """Print the error on new sequences beside that of always answering the mean."""
    table = _table(f"Adding problem after {_epochs(history)} ({history.stopped})")
    table.add_column("answer")
    table.add_column("mean squared error", justify="right")
    table.add_row("always 1, the mean", f"{adding.MEAN_ERROR:.4f}")
    table.add_row("LSTM, on new sequences", f"{error:.4f}", style="bold green")
    _print(table)


def _epochs(history: History) -> str:
    return f"{history.epochs} epoch{'' if history.epochs == 1 else 's'}"


def character_result(history: History, model: CharModel) -> None:
    """Print the loss per character, in nats and bits, beside that of guessing."""
    count = len(model.vocabulary)
    table = _table(f"Characters held out, after {_epochs(history)}")
    table.add_column("model")
    table.add_column("loss", justify="right")
    table.add_column("bits per character", justify="right")
    for label, loss, style in (
        (f"all {count} alike", math.log(count), None),
        ("LSTM", history.best, "bold green"),
    ):
        table.add_row(label, f"{loss:.3f}", f"{loss / math.log(2):.2f}", style=style)
    _print(table)


def character_sample(
    model: CharModel,
    start: str,
    length: int,
    *,
    temperature: float,
    seed: int,
    training_speed: float,
) -> None:
    """Print what the model writes, and how many characters a second it learnt from and wrote."""
    writer = chars.Writer(model)
    began = perf_counter()
    written = writer.write(start, length, temperature=temperature, seed=seed)
    speeds = {"training": training_speed, "writing": length / (perf_counter() - began)}
    print(written)  # as it is: rich would read `:x:` as a picture
    told = (f"{speed:,.0f} in {what}" for what, speed in speeds.items() if speed)
    _print(f"\nCharacters per second: {', '.join(told) or 'none'}")


def check_table(results: Sequence[OpCheck], order: int) -> None:
    """Print a row for each op, and the report on each that failed."""
    table = _table(f"Gradients against finite differences, to order {order}")
    table.add_column("op")
    table.add_column("symbol", justify="center")
    table.add_column("calls", justify="right")
    table.add_column("result")
    for found in results:
        if found.problem:
            result = "[bold red]fail[/]"
        else:
            result = "[green]pass[/]" if found.differentiable else "[dim]stops gradients[/]"
        table.add_row(found.op, found.symbol, str(found.calls), result)
    _print(table)
    failed = [found for found in results if found.problem]
    for found in failed:
        _print(f"{found.op}: {found.problem}")
    _print(f"{len(results) - len(failed)} of {len(results)} ops pass")


def list_files(files: Mapping[Path, str]) -> None:
    """Print where the pictures are."""
    width = max(len(str(path)) for path in files)
    for path, about in files.items():
        _print(f"{path!s:<{width}}  {about}")


def _table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")


def _print(what: Table | str) -> None:
    from rich.console import Console

    console = Console()
    if isinstance(what, str):
        console.print(what, markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(what)


# -- pictures ---------------------------------------------------------------------------------


def draw_losses(history: History, out: Path, *, baseline: float | None = None) -> Files:
    """losses.svg: training and validation loss by epoch."""
    from viz import plots

    path = _folder(out) / "losses.svg"
    curves = {"training": history.loss, "validation": history.validation}
    if baseline is not None:
        curves = {"always the mean": [baseline] * history.epochs, **curves}
    plots.loss_curves(curves, path=path)
    return {path: "training and validation loss"}


def draw_forecasts(
    data: SunspotData,
    scores: Sequence[Forecast],
    trained: Sequence[tuple[SequenceRegressor, History]],
    out: Path,
) -> Files:
    """forecast.svg, the held-out years with the three best forecasts; losses.svg, of the first."""
    from viz import plots

    path = _folder(out) / "forecast.svg"
    held_out = data.years[data.test]
    shown = sorted(scores, key=lambda score: score.rmse)[:3]

    def over_all_years(predicted: Array) -> Array:
        return np.concatenate([np.full(data.test.start, np.nan), predicted])

    plots.forecast(
        data.years,
        data.values,
        {score.name: over_all_years(score.predicted) for score in shown},
        split=held_out[0],
        title="Next year's sunspots, forecast from the years before",
        y_label="sunspot number",
        path=path,
    )
    files = {path: "held-out years: truth and forecasts"}
    return files | draw_losses(trained[0][1], out)


def draw_trained_cell(
    data: SunspotData, model: SequenceRegressor, out: Path, *, theme: str = "light"
) -> Files:
    """The trained cell at one step of a forecast, its backward graph, its gates over the years."""
    import viz
    from viz import plots

    folder = _folder(out)
    step = record_step(model, data.windows.test.x[-1], data.windows.test.y[-1])
    outputs = [step.h_t, step.c_t]
    cotangents = [
        Tensor(step.h_gradient, name="∂h_t"),
        Tensor(step.c_gradient, name="∂c_t"),
    ]
    year = data.years[data.test][-1] - 2
    forward = viz.draw(
        outputs,
        values=True,
        grads=True,
        grad_outputs=cotangents,
        theme=theme,
        title=f"The trained LSTM cell in {year}",
    )
    backward = viz.draw(
        outputs,
        backward=True,
        grad_outputs=cotangents,
        theme=theme,
        title=f"The trained LSTM cell in {year}, and its gradients",
    )
    heat_maps = folder / "gates-over-time.svg"
    years = data.years[data.test]
    series = data.windows.scale.transform(np.sqrt(data.values))[np.newaxis, :, np.newaxis]
    with no_grad(), model.lstm.record("f_t", "i_t", "g_t", "o_t", "c_t", "h_t") as seen:
        model.lstm(series)
    plots.gate_heatmaps(
        {str(name): values[data.test, 0] for name, values in seen.items()},
        steps=[str(year) if year % 10 == 0 else "" for year in years],
        title="What the trained LSTM's gates did over the held-out years",
        x_label="year",
        path=heat_maps,
    )
    return {
        forward.save(folder / "gates.svg"): "the trained cell: its gates, values and gradients",
        forward.save(folder / "gates.png"): "the same",
        backward.save(folder / "backward.svg"): "the same with its backward graph",
        heat_maps: f"what each gate did, {years[0]} to {years[-1]}",
    }


def _folder(out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    return out
