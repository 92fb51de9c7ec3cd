"""The generator that initialisation and dropout draw from when they are not given one.

Unseeded at the start, as NumPy's; `manual_seed` makes everything that follows repeatable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

__all__ = ["Rng", "default_rng", "manual_seed", "resolve_rng"]

if TYPE_CHECKING:
    Rng = np.random.Generator | int | None
    """What an `rng` argument takes: a generator, a seed, or None for the default generator."""
else:
    Rng = Any  # np.random, which takes as long to load as all of this package, only when used

_default: np.random.Generator | None = None


def manual_seed(seed: int) -> np.random.Generator:
    """Restart the default generator from `seed`, a non-negative integer, and return it."""
    global _default
    _default = _seeded(seed, "manual_seed: seed")
    return _default


def default_rng() -> np.random.Generator:
    """The generator in force. Ask each time: `manual_seed` replaces it."""
    global _default
    if _default is None:
        _default = np.random.default_rng()
    return _default


def resolve_rng(rng: Rng) -> np.random.Generator:
    """The generator an `rng` argument stands for; an integer starts a new one."""
    if rng is None:
        return default_rng()
    return rng if isinstance(rng, np.random.Generator) else _seeded(rng, "rng")


def _seeded(seed: object, argument: str) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"{argument} must be a non-negative integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"{argument} must be a non-negative integer, got {seed}")
    return np.random.default_rng(int(seed))
