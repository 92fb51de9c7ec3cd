"""Text for character models: a text, its characters as integers, streams for truncated BPTT."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import integer

_LONGEST_RUN = 8
"""Of one character in the reference text."""


def text(path: str | os.PathLike[str] | None = None) -> str:
    """The text of a UTF-8 file, or else Python's own reference text (some 440,000 characters).

    Without a path: the topics of `pydoc_data.topics`, which come with every CPython, in
    alphabetical order; their wording differs a little between versions of Python. Blanks and
    dashes, which draw tables there, are cut to eight in a row: a model gets caught in longer runs
    when it writes. Ends of lines become "\\n". Raises ValueError for a file that is empty or not
    UTF-8, OSError for one that can't be read.
    """
    if path is None:
        return _reference_text()
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a str, a path or None, got {path!r}")
    try:
        found = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"path must name a UTF-8 text, got {os.fspath(path)!r} "
            f"with byte 0x{error.object[error.start]:02x} at offset {error.start}"
        ) from None
    if not found:
        raise ValueError(f"path must name a text that is not empty, got {os.fspath(path)!r}")
    return found


def _reference_text() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileNotFoundError(
            "path must name a text file, got None, and this Python was installed without the "
            "reference text pydoc_data.topics"
        ) from None
    whole = "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"
    return re.sub(rf"(.)\1{{{_LONGEST_RUN},}}", lambda run: run[0][:_LONGEST_RUN], whole)


class CharVocabulary:
    """The distinct characters of a text, in order of their code points, as integers from 0.

    `CharVocabulary(vocabulary.characters)` makes an equal one, so the string `characters` is all
    that has to be saved beside a trained model.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {text!r} of type {type(text).__name__}")
        if not text:
            raise ValueError("text must hold at least one character, got ''")
        self._codes = np.unique(_code_points(text))
        self.characters = "".join(map(chr, self._codes))

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and len(character) == 1 and character in self.characters

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CharVocabulary) and other.characters == self.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"CharVocabulary({self.characters!r})"

    def encode(self, text: str) -> NDArray[np.int64]:
        """The integers of a text, (len(text),) int64; ValueError names an unknown character."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, got {text!r} of type {type(text).__name__}")
        points = _code_points(text)
        indices = np.searchsorted(self._codes, points)
        known = self._codes[np.minimum(indices, len(self) - 1)] == points
        if not known.all():
            position = int(np.argmin(known))
            raise ValueError(
                f"text must consist of the vocabulary's {len(self)} characters, got "
                f"{text[position]!r} (U+{ord(text[position]):04X}) at position {position}"
            )
        return indices.astype(np.int64, copy=False)

    def decode(self, indices: ArrayLike) -> str:
        """The text of some integers, (N,) or a single one; ValueError outside [0, len(self))."""
        found = np.atleast_1d(np.asarray(indices))
        if found.ndim != 1:
            raise ValueError(f"indices must have 1 axis, got shape {found.shape}")
        if found.size == 0:
            return ""
        if found.dtype.kind not in "iu":
            raise TypeError(f"indices must be integers, got dtype {found.dtype}")
        outside = (found < 0) | (found >= len(self))
        if outside.any():
            position = int(np.argmax(outside))
            raise ValueError(
                f"indices must lie in [0, {len(self)}), got {found[position]} "
                f"at position {position}"
            )
        return "".join([self.characters[i] for i in found.tolist()])


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def char_batches(
    indices: ArrayLike, *, batch_size: int, steps: int, drop_last: bool = False
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """A text as windows for truncated backpropagation through time, in the order of reading.

    indices: (N,) integers, such as CharVocabulary.encode gives. The text is cut into `batch_size`
    streams of equal length, one per column; window k + 1 goes on in each column where window k
    ended, so the state can be carried over. Returns windows of x (steps, batch_size) and
    y (steps, batch_size), int64, y being x one character later. The last window may be shorter
    and is left out with `drop_last`; fewer than `batch_size` characters at the end of the text
    have no place in a stream. Split the text first (`time_split`): train and validation then share
    no character. Raises ValueError for a text that is too short.
    """
    codes = np.asarray(indices)
    if codes.ndim != 1:
        raise ValueError(f"indices must have 1 axis, got shape {codes.shape}")
    if codes.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got dtype {codes.dtype}")
    batch_size, steps = integer("batch_size", batch_size, 1), integer("steps", steps, 1)
    length = (len(codes) - 1) // batch_size
    shortest = steps if drop_last else 1
    if length < shortest:
        raise ValueError(
            f"indices must hold at least {batch_size * shortest + 1} characters for "
            f"{batch_size} streams of {shortest} steps, got {len(codes)}"
        )
    used = batch_size * length
    x, y = (
        np.array(part.reshape(batch_size, length).T, np.int64, order="C")
        for part in (codes[:used], codes[1 : used + 1])
    )
    stop = length - length % steps if drop_last else length
    return [(x[t : t + steps], y[t : t + steps]) for t in range(0, stop, steps)]
