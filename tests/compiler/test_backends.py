"""Which backend is taken, and what is said of a compiler that can't be loaded."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm.compiler import backends

pytest.importorskip("llvmlite")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """llvmlite is installed, and importing it fails."""
    for name in ("llvmlite", "llvmlite.binding"):
        monkeypatch.setitem(sys.modules, name, None)
    caches: list[Any] = [backends._native, backends._warn_of_broken]
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_a_broken_compiler_is_warned_of_once_and_numpy_runs(broken: None) -> None:
    lstm, x = tg.nn.LSTM(2, 3, rng=0), np.ones((4, 7, 2), np.float32)
    told = r"llvmlite is installed, but can't be loaded \(ModuleNotFoundError: .*\); everything"
    with pytest.warns(RuntimeWarning, match=told) as caught:
        y, _ = lstm(x)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lstm(x[:3])
        lstm.streaming()(x[0, 0])
    np.testing.assert_allclose(y.data, lstm(x, unroll=True)[0].data, rtol=1e-5)


def test_a_broken_compiler_that_is_asked_for_is_an_error(broken: None) -> None:
    lstm, x = tg.nn.LSTM(2, 3, rng=0), np.ones((4, 7, 2), np.float32)
    with pytest.raises(ImportError, match=r'^backend="numba": llvmlite is installed, but can\'t'):
        lstm(x, backend="numba")
    with pytest.raises(ImportError, match=r'^backend="numba": llvmlite'):
        lstm.streaming(backend="numba")
    lstm(x, backend="numpy")


def test_the_compiler_is_not_loaded_before_it_is_used() -> None:
    look = "import sys, tinygrad_lstm; print('llvmlite' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
