"""A character model: read a text letter by letter, guess the next one, then write.

It reads the text in windows, one after the other, and carries its memory from each to the next;
gradients stop at the borders (`nn.Stateful`: truncated backpropagation through time).
By default the text is the reference that comes with every Python (what `help("topics")` shows).

    python examples/char_lm.py --temperature 0.4 --start "If the class"
    python examples/char_lm.py --text my_book.txt --epochs 30
"""

from __future__ import annotations

from pathlib import Path

import click

from tinygrad_lstm import data
from tinygrad_lstm.tasks import chars, report


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--text", type=click.Path(exists=True, dir_okay=False), help="A UTF-8 file.")
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
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/chars"),
    show_default=True,
    help="Folder for the plot.",
)
def main(
    text: str | None,
    hidden: int,
    epochs: int,
    start: str,
    length: int,
    temperature: float,
    seed: int,
    out: Path,
) -> None:
    book = data.text(text)
    chars.start_codes(start, data.CharVocabulary(book))  # an unknown letter is told before training
    model, history, speed = chars.train_characters(
        book, hidden_size=hidden, epochs=epochs, seed=seed, progress="character model"
    )
    report.character_result(history, model)
    report.character_sample(
        model, start, length, temperature=temperature, seed=seed, training_speed=speed
    )
    print()
    report.list_files(report.draw_losses(history, out))


if __name__ == "__main__":
    main()
