"""Random graphs: all ways of sweeping one agree, and all agree with finite differences."""

from collections.abc import Sequence

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor, grad
from tinygrad_lstm.sweep import sweep

SHAPES = ((3, 3), (3,), (2, 3))


def grown(leaves: Sequence[Tensor], seed: int) -> Tensor:
    """A scalar made of the leaves by some twenty random ops; values stay near 1."""
    rng = np.random.default_rng(seed)
    pool = list(leaves)

    def pick() -> Tensor:
        return pool[rng.integers(len(pool))]

    makers = (
        lambda: pick() + pick(),
        lambda: pick() - pick(),
        lambda: tg.tanh(pick() * pick()),
        lambda: tg.tanh(pick() @ pick()),
        lambda: tg.tanh(pick()),
        lambda: tg.sigmoid(pick()),
        lambda: tg.softmax(pick()),
        lambda: tg.maximum(pick(), pick()),
        lambda: tg.tanh(pick().sum(axis=0)),
        lambda: pick()[1:],
        lambda: pick().T,
        lambda: pick().reshape(-1),
        lambda: tg.take(pick(), [0, 0, -1], axis=0),
        lambda: tg.concatenate([pick(), pick()]),
    )
    for _ in range(25):
        try:
            made = makers[rng.integers(len(makers))]()
        except (ValueError, IndexError):  # shapes drawn at random often do not fit
            continue
        if made.ndim and 0 < made.size < 200:
            pool.append(made)
    return tg.stack([t.sum() for t in pool]).sum()


@pytest.mark.parametrize("seed", range(60))
def test_every_way_back_through_a_random_graph_gives_the_same(seed: int):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in SHAPES]
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    output = grown(leaves, seed)
    plain = grad(output, leaves)
    recorded = grad(output, leaves, create_graph=True)
    observed = sweep([output], [np.ones(())], None, observer=lambda *edge: None)
    output.backward()
    for leaf, g, same in zip(leaves, plain, recorded, strict=True):
        alone = grad(output, leaf)
        assert leaf.grad is not None
        for other in (same.data, np.asarray(observed[leaf]), alone.data, leaf.grad.data):
            np.testing.assert_allclose(other, g.data, rtol=1e-9, atol=1e-11)
    directions = [rng.normal(size=shape) for shape in SHAPES]

    def along(step: float) -> float:
        moved = [Tensor(a + step * d) for a, d in zip(arrays, directions, strict=True)]
        return float(grown(moved, seed).item())

    slope = sum(float((g.data * d).sum()) for g, d in zip(plain, directions, strict=True))
    np.testing.assert_allclose(slope, (along(1e-6) - along(-1e-6)) / 2e-6, rtol=1e-4, atol=1e-4)
