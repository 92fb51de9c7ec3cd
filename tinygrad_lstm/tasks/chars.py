"""A character model: what comes next in a text, one character at a time; then texts of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

import numpy as np

from .. import nn
from ..context import no_grad
from ..data import CharVocabulary, char_batches, time_split
from ..functions import unsqueeze
from ..nn.losses import cross_entropy
from ..optim import Adam, CosineAnnealingLR
from ..random import Rng, resolve_rng
from ..stepping import compiled_step
from ..tensor import Array, Tensor, TensorLike
from ..training import History, fit

__all__ = [
    "CharModel",
    "CharTraining",
    "Writer",
    "bits_per_character",
    "start_codes",
    "train_characters",
]

State = tuple[Tensor, Tensor]


class CharModel(nn.Module):
    """Embedding, LSTM, and a linear layer that gives each character's score for coming next."""

    def __init__(
        self, vocabulary: CharVocabulary, hidden_size: int = 128, *, rng: Rng = None
    ) -> None:
        rng = resolve_rng(rng)
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(len(vocabulary), 32, rng=rng)
        self.lstm = nn.LSTM(32, hidden_size, rng=rng)
        self.head = nn.Linear(hidden_size, len(vocabulary), rng=rng)

    def forward(self, indices: TensorLike, state: State | None = None) -> tuple[Tensor, State]:
        """indices: (T, B) integers -> scores (T, B, characters) and the state to go on from."""
        y, last = self.lstm(self.embedding(indices), state)
        return self.head(y), last

    def step(self, state: State, index: Tensor) -> tuple[State, Tensor]:
        """One character of each of B texts, (B,) integers -> the state, scores (B, characters)."""
        scores, state = self(unsqueeze(index, 0), state)
        return state, scores[0]


class CharTraining(NamedTuple):
    """A trained model, and how many characters a second it learnt from, validation apart."""

    model: CharModel
    history: History
    speed: float


def train_characters(
    text: str,
    *,
    hidden_size: int = 96,
    epochs: int = 20,
    windows: int = 40,
    steps: int = 32,
    batch_size: int = 32,
    learning_rate: float = 0.015,
    seed: int = 0,
    checkpoint: str | None = None,
    resume: bool = False,
    progress: bool | str = False,
) -> CharTraining:
    """A model of `text`, its last twentieth held out for validation; losses are in nats.

    The text runs in `batch_size` streams side by side. An epoch reads `windows` stretches of
    `steps` characters from a random place of each stream on, and carries the state from one to
    the next; gradients stop at their borders. See `fit` for the rest.
    Raises ValueError for a text too short for that.
    """
    model = CharModel(CharVocabulary(text), hidden_size, rng=seed)
    codes = model.vocabulary.encode(text)
    split = time_split(len(codes), validation=0.05)
    stretch = char_batches(codes[split.train], batch_size=batch_size, steps=steps, drop_last=True)
    windows = min(windows, len(stretch))
    held_out = codes[split.validation]
    optimizer = Adam(model.parameters(), lr=learning_rate)
    reader = nn.Stateful(model)
    seconds, characters = 0.0, 0

    def batches(rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        nonlocal seconds, characters
        reader.reset()
        start = rng.integers(len(stretch) - windows + 1)
        began = perf_counter()
        for x, y in stretch[start : start + windows]:
            yield x, y
            characters += x.size
        seconds += perf_counter() - began

    def loss(batch: tuple[Array, Array]) -> Tensor:
        x, y = batch
        scores = reader(x)
        return cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))

    history = fit(
        model,
        loss,
        batches,
        optimizer,
        epochs=epochs,
        validate=lambda: bits_per_character(model, held_out) * math.log(2),
        schedule=CosineAnnealingLR(optimizer, epochs),
        clip_norm=1.0,
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    return CharTraining(model, history, characters / seconds if seconds else 0.0)


def bits_per_character(model: CharModel, codes: Array, *, streams: int = 64) -> float:
    """Bits the model needs for each character of (N,) integers; log2 of all characters at worst.

    The text is read in `streams` pieces at once, each from an empty memory.
    """
    streams = min(streams, len(codes) - 1)
    total, count, reader = 0.0, 0, nn.Stateful(model)
    with no_grad():
        for x, y in char_batches(codes, batch_size=streams, steps=64):
            scores = reader(x)
            flat = scores.reshape(-1, scores.shape[-1])
            total += cross_entropy(flat, y.reshape(-1), reduction="sum").item()
            count += y.size
    return total / count / math.log(2)


def start_codes(start: str, vocabulary: CharVocabulary) -> Array:
    """The integers of a text to go on from. Raises ValueError for none and for unknown ones."""
    if not start:
        raise ValueError("start must hold at least one character, got ''")
    unknown = [character for character in start if character not in vocabulary]
    if unknown:
        raise ValueError(f"start must consist of characters of the text, got {unknown[0]!r}")
    return vocabulary.encode(start)


class Writer:
    """Continues texts as a model has learnt to; its step is compiled once, for all of them."""

    def __init__(self, model: CharModel) -> None:
        self._vocabulary = model.vocabulary
        nothing = np.zeros((1, 1, model.lstm.hidden_size), np.float32)
        self._nothing = nothing, nothing
        self._go_on = compiled_step(model.step, self._nothing, np.zeros(1, np.int64))

    def write(self, start: str, length: int, *, temperature: float = 0.5, seed: int = 0) -> str:
        """`start`, continued by `length` characters drawn from softmax(scores / temperature).

        temperature: towards 0 always the likeliest character, 1 as the model believes, above 1
        bolder. Raises ValueError for an empty start, a character the model does not know, or a
        temperature that is not positive.
        """
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        codes = start_codes(start, self._vocabulary)
        rng = np.random.default_rng(seed)
        written: list[int] = []
        state = self._nothing
        for code in codes[:-1]:
            state, _ = self._go_on(state, code[np.newaxis])
        now = codes[-1:]
        for _ in range(length):
            state, scores = self._go_on(state, now)
            logits = scores[0].astype(np.float64) / temperature
            below = np.exp(logits - logits.max()).cumsum()
            written.append(int(below.searchsorted(rng.random() * below[-1], side="right")))
            now = np.array(written[-1:])
        return start + self._vocabulary.decode(written)
