"""How training shows that it is alive: a bar on a terminal, a few lines in a log, or nothing.

Everything goes to standard error, so that a program's results can be piped on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["progress_display"]

LINES = 10
"""How many lines a run writes where there is no terminal."""


class Scores(Protocol):
    """What is shown: a training history."""

    @property
    def loss(self) -> list[float]: ...
    @property
    def validation(self) -> list[float]: ...


@contextmanager
def progress_display(
    wanted: bool | str, total: int, scores: Scores
) -> Iterator[Callable[[], None]]:
    """A function to call after each of `total` epochs; `wanted`: whether to show, or the label."""
    if wanted is False:
        yield lambda: None
        return
    from rich.console import Console

    console = Console(stderr=True)
    label = wanted if isinstance(wanted, str) else "training"
    show = _bar if console.is_terminal else _lines
    with show(console, label, total, scores) as step:
        yield step


@contextmanager
def _bar(console, label: str, total: int, scores: Scores) -> Iterator[Callable[[], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[scores]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        done = len(scores.loss)
        task = progress.add_task(label, total=total, completed=done, scores=_written(scores))
        yield lambda: progress.update(task, advance=1, scores=_written(scores))
        if len(scores.loss) < total:  # stopped early: the bar ends where the run did
            progress.update(task, total=len(scores.loss))


@contextmanager
def _lines(console, label: str, total: int, scores: Scores) -> Iterator[Callable[[], None]]:
    every = max(total // LINES, 1)

    def step() -> None:
        done = len(scores.loss)
        if done % every == 0 or done == total:
            line = f"{label}: {done}/{total}  {_written(scores)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    yield step


def _written(scores: Scores) -> str:
    parts = [
        f"{name} {values[-1]:.4g}"
        for name, values in (("loss", scores.loss), ("validation", scores.validation))
        if values
    ]
    return "  ".join(parts)
