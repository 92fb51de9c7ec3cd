"""Text, vocabulary and streams: nothing is lost, nothing out of order, state can be carried."""

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinygrad_lstm import data
from tinygrad_lstm.data import CharVocabulary, char_batches, text, time_split

untyped: Any = data  # for calls with wrong types, past the type checker

# --- text -----------------------------------------------------------------------------------


def test_the_default_text_is_pythons_reference():
    found = text()
    assert len(found) > 300_000 and found == text()
    order = [found.index(s) for s in ('The "assert" statement', 'The "while" statement')]
    assert order == sorted(order)
    assert found.endswith("\n") and "\r" not in found
    assert " " * 8 in found and " " * 9 not in found and "-" * 9 not in found


def test_the_default_text_does_not_depend_on_the_order_of_the_topics(monkeypatch):
    from pydoc_data import topics

    before = text()
    monkeypatch.setattr(topics, "topics", dict(reversed(topics.topics.items())))
    assert text() == before


def test_without_the_reference_text_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(FileNotFoundError, match=r"path must name .*, got None, .*pydoc_data"):
        text()


def test_a_file_is_read_as_utf8_with_plain_ends_of_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffŽluťoučký\r\nkočka 🐈\n".encode())
    assert text(path) == text(str(path)) == "Žluťoučký\nkočka 🐈\n"


def test_files_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc\xff\xfe")
    with pytest.raises(
        ValueError, match=r"path must name a UTF-8 text, .*a\.bin' with byte 0xff at offset 3"
    ):
        text(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"path must name a text that is not empty, got .*a\.bin"):
        text(path)
    with pytest.raises(FileNotFoundError):
        text(tmp_path / "missing.txt")
    with pytest.raises(TypeError, match="path must be a str, a path or None, got 3"):
        untyped.text(3)


# --- vocabulary -----------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=40))
def test_decoding_undoes_encoding(sample):
    vocabulary = CharVocabulary(sample)
    codes = vocabulary.encode(sample)
    assert codes.dtype == np.int64 and codes.shape == (len(sample),)
    assert vocabulary.decode(codes) == sample
    assert vocabulary.characters == "".join(sorted(set(sample)))
    assert codes.tolist() == [vocabulary.characters.index(c) for c in sample]


def test_a_vocabulary_is_restored_from_its_characters():
    vocabulary = CharVocabulary("to be or not to be")
    restored = CharVocabulary(vocabulary.characters)
    assert restored == vocabulary and hash(restored) == hash(vocabulary)
    assert vocabulary != CharVocabulary("to be") and vocabulary != " beonrt"
    assert len(vocabulary) == 7 and repr(vocabulary) == "CharVocabulary(' benort')"
    assert "b" in vocabulary and "z" not in vocabulary
    assert "be" not in vocabulary and 1 not in vocabulary


def test_nothing_and_single_codes_are_decoded():
    vocabulary = CharVocabulary("abc")
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == "" and vocabulary.decode(2) == "c"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: untyped.CharVocabulary("abc").encode("abéc"),
            ValueError,
            r"text must consist of the vocabulary's 3 characters, got 'é' \(U\+00E9\) at "
            "position 2",
        ),
        (
            lambda: untyped.CharVocabulary("bc").encode("a"),
            ValueError,
            r"got 'a' \(U\+0061\) at position 0",
        ),
        (
            lambda: untyped.CharVocabulary("ac").encode("b"),
            ValueError,
            r"got 'b' \(U\+0062\) at position 0",
        ),
        (
            lambda: untyped.CharVocabulary("ac").encode(5),
            TypeError,
            "text must be a str, got 5 of type int",
        ),
        (
            lambda: untyped.CharVocabulary(""),
            ValueError,
            "text must hold at least one character, got ''",
        ),
        (
            lambda: untyped.CharVocabulary(["a"]),
            TypeError,
            r"text must be a str, got \['a'\] of type list",
        ),
        (
            lambda: untyped.CharVocabulary("ab").decode([0, 2, -1]),
            ValueError,
            r"indices must lie in \[0, 2\), got 2 at position 1",
        ),
        (lambda: untyped.CharVocabulary("ab").decode([-1]), ValueError, "got -1 at position 0"),
        (
            lambda: untyped.CharVocabulary("ab").decode([0.5]),
            TypeError,
            "indices must be integers, got dtype float64",
        ),
        (
            lambda: untyped.CharVocabulary("ab").decode([[0]]),
            ValueError,
            r"indices must have 1 axis, got shape \(1, 1\)",
        ),
        (
            lambda: untyped.char_batches(np.zeros((4, 2), int), batch_size=1, steps=1),
            ValueError,
            r"indices must have 1 axis, got shape \(4, 2\)",
        ),
        (
            lambda: untyped.char_batches([0.0, 1.0], batch_size=1, steps=1),
            TypeError,
            "indices must be integers, got dtype float64",
        ),
        (
            lambda: untyped.char_batches([1, 2, 3], batch_size=3, steps=2),
            ValueError,
            "indices must hold at least 4 characters for 3 streams of 1 steps, got 3",
        ),
        (
            lambda: untyped.char_batches(range(8), batch_size=2, steps=4, drop_last=True),
            ValueError,
            "indices must hold at least 9 characters for 2 streams of 4 steps, got 8",
        ),
        (
            lambda: untyped.char_batches(range(8), batch_size=0, steps=4),
            ValueError,
            "batch_size must be an integer of at least 1, got 0",
        ),
        (
            lambda: untyped.char_batches(range(8), batch_size=2, steps=2.5),
            TypeError,
            "steps must be an integer of at least 1, got 2.5 of type float",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- streams --------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(2, 120), st.integers(1, 7), st.integers(1, 9), st.booleans())
def test_streams_are_contiguous_and_targets_are_one_character_later(n, size, steps, drop_last):
    length = (n - 1) // size
    assume(length >= (steps if drop_last else 1))
    found = char_batches(np.arange(n), batch_size=size, steps=steps, drop_last=drop_last)
    for x, y in found:
        np.testing.assert_array_equal(y, x + 1)
        assert x.shape[1] == size and x.dtype == y.dtype == np.int64
    assert all(len(x) == steps for x, _ in found[:-1])
    # Window by window, each column goes on without a gap, and no two columns share a character.
    columns = np.concatenate([x for x, _ in found])
    kept = length - length % steps if drop_last else length
    assert columns.shape == (kept, size)
    np.testing.assert_array_equal(columns, np.arange(kept)[:, None] + length * np.arange(size))


def test_windows_can_be_changed_without_changing_each_other():
    found = char_batches(np.arange(13), batch_size=2, steps=3)
    found[0][0][:] = -1
    assert found[0][1].tolist() == [[1, 7], [2, 8], [3, 9]]
    assert found[1][0].tolist() == [[3, 9], [4, 10], [5, 11]]


def test_train_and_validation_share_no_character_of_the_text():
    codes = np.arange(1000)
    split = time_split(len(codes), validation=0.1)
    seen = [
        {
            int(c)
            for window in char_batches(codes[part], batch_size=4, steps=10)
            for w in window
            for c in w.ravel()
        }
        for part in (split.train, split.validation)
    ]
    assert max(seen[0]) < 900 <= min(seen[1])
