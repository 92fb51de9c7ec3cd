"""The command line: demo, train, draw, explain, check. Parses and reports; others do the work.

Every command imports what it needs when it runs, so that `--help` and `--version` are quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__

__all__ = ["main"]

Command = TypeVar("Command", bound=Callable[..., Any])

_PROGRAM = "tinygrad-lstm"
_EXPECTED = (ArithmeticError, ImportError, IndexError, OSError, RuntimeError, TypeError, ValueError)
"""What bad input, a full disk or a missing program raise: told in a line, without a traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; `arguments` default to the program's own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = cli.main(given, prog_name=_PROGRAM, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _complain("stopped", 130)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except _EXPECTED as error:
        if "--traceback" in given:
            raise
        return _complain(_told(error), 1)
    return result if isinstance(result, int) else 0


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _complain(message: str, code: int) -> int:
    click.echo(f"{_PROGRAM}: {' '.join(message.split())}", err=True)
    return code


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name=_PROGRAM, message="%(prog)s %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_context
def cli(context: click.Context, traceback: bool) -> None:
    """See an LSTM: train one, draw its gates, check its gradients."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _out(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(default),
        show_default=True,
        help="Folder for the pictures.",
    )


_seed = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same gives the same."
)
_quiet = click.option("--quiet", is_flag=True, help="No progress bar.")


def _checkpoint(function: Command) -> Command:
    """--checkpoint and --resume."""
    function = click.option("--resume", is_flag=True, help="Go on from the checkpoint.")(function)
    return click.option(
        "--checkpoint",
        type=click.Path(dir_okay=False),
        help="File to keep the state of the training in, epoch by epoch.",
    )(function)


# -- demo -------------------------------------------------------------------------------------


@cli.command()
@_seed
@_out("out")
@click.option("--epochs", type=click.IntRange(1), default=150, show_default=True)
@click.option(
    "--models", type=click.IntRange(1), default=3, show_default=True, help="LSTMs to average."
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
@_quiet
def demo(seed: int, out: Path, epochs: int, models: int, theme: str, quiet: bool) -> None:
    """Train LSTMs on the sunspots; draw the forecast and the trained cell, gate by gate."""
    from .tasks import report, sunspots

    data = sunspots.load_sunspots()
    years = data.years[data.test]
    click.echo(
        f"Yearly sunspot numbers, {data.years[0]} to {data.years[-1]}. From {data.window} years to "
        f"the next one; {years[0]} to {years[-1]} are held out."
    )
    trained = sunspots.train_forecasters(data, models, epochs=epochs, seed=seed, progress=not quiet)
    scores = [*sunspots.baselines(data), sunspots.forecast(data, [m for m, _ in trained])]
    report.forecast_table(scores, years)
    pictures = report.draw_forecasts(data, scores, trained, out)
    pictures |= report.draw_trained_cell(data, trained[0][0], out, theme=theme)
    report.list_files(pictures)


# -- train ------------------------------------------------------------------------------------


@cli.group()
def train() -> None:
    """Train a model on one of the tasks, and show how well it does."""


@train.command("sunspots")
@_seed
@_out("out/sunspots")
@click.option("--window", type=click.IntRange(1), default=22, show_default=True, help="Years seen.")
@click.option("--hidden", type=click.IntRange(1), default=16, show_default=True, help="Units.")
@click.option("--epochs", type=click.IntRange(1), default=150, show_default=True)
@click.option(
    "--models", type=click.IntRange(1), default=3, show_default=True, help="LSTMs to average."
)
@_quiet
def train_sunspots(
    seed: int, out: Path, window: int, hidden: int, epochs: int, models: int, quiet: bool
) -> None:
    """Forecast next year's sunspots; compare with persistence and linear models."""
    from .tasks import report, sunspots

    data = sunspots.load_sunspots(window)
    trained = sunspots.train_forecasters(
        data, models, hidden_size=hidden, epochs=epochs, seed=seed, progress=not quiet
    )
    scores = [*sunspots.baselines(data), sunspots.forecast(data, [m for m, _ in trained])]
    report.forecast_table(scores, data.years[data.test])
    report.list_files(report.draw_forecasts(data, scores, trained, out))


@train.command("adding")
@_seed
@_out("out/adding")
@click.option(
    "--length", type=click.IntRange(2), default=100, show_default=True, help="Steps in a sequence."
)
@click.option("--hidden", type=click.IntRange(1), default=32, show_default=True, help="Units.")
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="At most.")
@_checkpoint
@_quiet
def train_adding(
    seed: int,
    out: Path,
    length: int,
    hidden: int,
    epochs: int,
    checkpoint: str | None,
    resume: bool,
    quiet: bool,
) -> None:
    """The adding problem: remember two marked numbers, and give their sum."""
    from .tasks import adding, report

    model, history = adding.train_adding(
        length,
        hidden_size=hidden,
        epochs=epochs,
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=not quiet,
    )
    report.adding_result(adding.mean_squared_error(model, length, seed=seed), history)
    report.list_files(report.draw_losses(history, out, baseline=adding.MEAN_ERROR))


@train.command("chars")
@_seed
@_out("out/chars")
@click.option("--text", type=click.Path(), help="A UTF-8 file; Python's reference by default.")
@click.option("--hidden", type=click.IntRange(1), default=96, show_default=True, help="Units.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--start", default="The ", show_default=True, help="What to go on from.")
@click.option("--length", type=click.IntRange(0), default=300, show_default=True, help="To write.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, min_open=True),
    default=0.5,
    show_default=True,
    help="Towards 0 the likeliest characters, above 1 bold ones.",
)
@_checkpoint
@_quiet
def train_chars(
    seed: int,
    out: Path,
    text: str | None,
    hidden: int,
    epochs: int,
    start: str,
    length: int,
    temperature: float,
    checkpoint: str | None,
    resume: bool,
    quiet: bool,
) -> None:
    """A character model: train it on a text, then let it write."""
    from . import data
    from .tasks import chars, report

    book = data.text(text)
    chars.start_codes(start, data.CharVocabulary(book))  # before the training, not after it
    model, history, speed = chars.train_characters(
        book,
        hidden_size=hidden,
        epochs=epochs,
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=not quiet,
    )
    report.character_result(history, model)
    report.character_sample(
        model, start, length, temperature=temperature, seed=seed, training_speed=speed
    )
    report.list_files(report.draw_losses(history, out))


# -- draw -------------------------------------------------------------------------------------


@cli.command()
@click.argument("kind", type=click.Choice(["lstm", "gru", "rnn"]))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .svg, .png, .pdf, .dot or .json.  [default: KIND.svg]",
)
@click.option(
    "--view", type=click.Choice(["gates", "ops", "cells"]), default="gates", show_default=True
)
@click.option("--input-size", type=click.IntRange(1), default=3, show_default=True)
@click.option("--hidden-size", type=click.IntRange(1), default=4, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=1, show_default=True, help="In time.")
@click.option("--peephole", is_flag=True, help="LSTM only: gates see the long-term memory too.")
@click.option("--values", is_flag=True, help="Show the values: each number, or mean, min and max.")
@click.option("--grads", is_flag=True, help="Show gradients of the sum of the outputs.")
@click.option("--backward", is_flag=True, help="Draw the backward graph too.")
@click.option("--fold", multiple=True, metavar="SCOPE", help="Fold a scope; may be repeated.")
@click.option("--open", "opened", multiple=True, metavar="SCOPE", help="Open one that is folded.")
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
@_seed
def draw(
    kind: str,
    out: Path | None,
    view: str,
    input_size: int,
    hidden_size: int,
    batch: int,
    steps: int,
    peephole: bool,
    values: bool,
    grads: bool,
    backward: bool,
    fold: tuple[str, ...],
    opened: tuple[str, ...],
    theme: str,
    seed: int,
) -> None:
    """Draw a cell with random weights, run on a random input."""
    import viz

    from .tasks.cells import random_run

    _check_peephole(peephole, kind)
    outputs = random_run(
        kind, input_size, hidden_size, batch=batch, steps=steps, peephole=peephole, seed=seed
    )
    picture = viz.draw(
        outputs,
        view=view,
        fold=fold,
        open=opened,
        values=values,
        grads=grads,
        backward=backward,
        theme=theme,
    )
    target = out or Path(f"{kind}.svg")
    target.parent.mkdir(parents=True, exist_ok=True)
    click.echo(f"{picture.save(target)}: {len(picture.model.nodes)} nodes")


def _check_peephole(peephole: bool, kind: str) -> None:
    if peephole and kind != "lstm":
        raise click.UsageError(f"--peephole: only an LSTM has peepholes, not a {kind}")


# -- explain ----------------------------------------------------------------------------------


@cli.command()
@click.argument("kind", type=click.Choice(["lstm", "gru", "rnn"]), default="lstm")
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="In time.")
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option("--input-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--hidden-size", type=click.IntRange(1), default=128, show_default=True)
@click.option("--peephole", is_flag=True, help="LSTM only: gates see the long-term memory too.")
@click.option(
    "--backend", type=click.Choice(["numpy", "numba"]), help="[default: the fastest there is]"
)
def explain(
    kind: str,
    steps: int,
    batch: int,
    input_size: int,
    hidden_size: int,
    peephole: bool,
    backend: str | None,
) -> None:
    """Tell how a layer is compiled: products, fused gates, bytes kept, gradients."""
    import numpy as np

    from . import nn

    _check_peephole(peephole, kind)
    x = np.zeros((steps, batch, input_size), np.float32)
    if kind == "lstm":
        layer = nn.LSTM(input_size, hidden_size, peephole=peephole, rng=0)
    else:
        layer = {"gru": nn.GRU, "rnn": nn.RNN}[kind](input_size, hidden_size, rng=0)
    click.echo(str(layer.explain(x, backend=backend)))


# -- check ------------------------------------------------------------------------------------


@cli.command()
@click.option("--op", "names", multiple=True, metavar="NAME", help="Only this op; may be repeated.")
@click.option("--order", type=click.IntRange(1, 3), default=2, show_default=True)
def check(names: tuple[str, ...], order: int) -> int:
    """Compare the gradients of every op with finite differences, gradients of gradients too."""
    from .tasks import report
    from .tasks.checks import check_ops

    results = check_ops(names, order=order)
    report.check_table(results, order)
    failed = [result.op for result in results if result.problem]
    if failed:
        raise click.ClickException(f"{len(failed)} ops failed: {', '.join(failed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
