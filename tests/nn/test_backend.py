"""`backend`: what it may be, and with what it may not be given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn

X = np.ones((4, 2, 3), np.float32)


def run_scan(**options: Any) -> Any:
    return tg.scan(lambda h, x: (h + x, h), np.zeros((2, 3), np.float32), X, **options)


RUNS = {
    "scan": run_scan,
    "LSTM": lambda **options: nn.LSTM(3, 2, rng=0)(X, **options),
    "GRU": lambda **options: nn.GRU(3, 2, rng=0)(X, **options),
    "RNN": lambda **options: nn.RNN(3, 2, rng=0)(X, **options),
}


@pytest.mark.parametrize("name", RUNS)
def test_an_unknown_backend_is_refused_with_those_there_are(name: str) -> None:
    for unroll in (False, True):
        with pytest.raises(ValueError, match=r"^backend: expected .*'numpy', 'numba', got 'cuda'"):
            RUNS[name](backend="cuda", unroll=unroll)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_not_compiled_takes_no_backend(name: str) -> None:
    with pytest.raises(ValueError, match=r"^backend: 'numpy' runs a compiled step.*unroll=True"):
        RUNS[name](backend="numpy", unroll=True)


@pytest.mark.parametrize("name", RUNS)
def test_the_numpy_backend_gives_what_the_unrolled_run_gives(name: str) -> None:
    last, ys = RUNS[name](backend="numpy", unroll=False)
    expected, expected_ys = RUNS[name](unroll=True)
    for found, wanted in ((last, expected), (ys, expected_ys)):
        pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
        for t, other in pairs:
            np.testing.assert_allclose(t.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
