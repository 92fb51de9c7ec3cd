"""Gradients of every op in the table against finite differences, as data for a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..gradcheck import GradcheckError, gradcheck
from ..ops import OPS

__all__ = ["OpCheck", "check_ops"]


@dataclass(frozen=True)
class OpCheck:
    """One op: how many calls of it were checked, and what went wrong, "" if nothing did.

    differentiable: False for ops such as comparisons, which no gradient passes.
    """

    op: str
    symbol: str
    calls: int
    differentiable: bool
    problem: str


def check_ops(names: Iterable[str] = (), *, order: int = 2) -> list[OpCheck]:
    """Check the ops named, or all, each on its samples. Raises ValueError for an unknown name."""
    from ..samples import SAMPLES  # it runs through the whole package

    wanted = tuple(names) or tuple(OPS)
    unknown = [name for name in wanted if name not in OPS]
    if unknown:
        raise ValueError(f"no op is called {unknown[0]!r}; there are {', '.join(OPS)}")
    results: list[OpCheck] = []
    for name in dict.fromkeys(wanted):
        samples = [s for s in SAMPLES if s.op == name]
        smooth = [s for s in samples if s.differentiable]
        problem = "" if samples else "has no sample"
        for sample in smooth:
            try:
                gradcheck(sample.f, sample.tensors(), order=order)
            except GradcheckError as error:
                problem = f"{sample}: {error}"
                break
        results.append(OpCheck(name, OPS[name].symbol, len(samples), bool(smooth), problem))
    return results
