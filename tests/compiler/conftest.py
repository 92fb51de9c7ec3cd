"""Every test that asks for `backend`, or for `assert_same`, runs with each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import both_ways
import pytest

from tinygrad_lstm.compiler.backends import BACKENDS


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend that is installed."""
    if request.param == "numba":
        pytest.importorskip("llvmlite")
    return request.param


@pytest.fixture
def assert_same(backend: str) -> Callable[..., None]:
    """`both_ways.assert_same`, compiled by the backend; that it falls back to NumPy is an error."""
    return partial(both_ways.assert_same, backend=backend)
