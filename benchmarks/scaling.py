"""How the time of a training step grows with T, B and H: fitted exponents.

One size is doubled a few times while the others stay as they are; the slope of a straight line
through the logarithms of size and time is the exponent: 1 where twice the size takes twice as long.
For T it should be 1; for B less than 1, as long as larger products run better; for H it goes from
1, the elementwise work, to 2, the products.

    python benchmarks/scaling.py [--only H=] [--rounds 3] [--json out.json]
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sequence
from harness import Case, Row, Table, main, milliseconds, peers_of

BASE = {"T": 64, "B": 32, "I": 64, "H": 128}
SIZES = {"T": (16, 32, 64, 128, 256), "B": (8, 16, 32, 64, 128), "H": (32, 64, 128, 256, 512)}
PEERS = ("ours", "PyTorch")


def shape(variable: str, size: int) -> sequence.Shape:
    """The base with one size changed."""
    changed = {**BASE, variable: size}
    return changed["T"], changed["B"], changed["I"], changed["H"]


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log(seconds) over log(sizes)."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def table(rows: list[Row]) -> Table:
    """A line per variable."""
    peers = peers_of(rows)
    columns = ["grown", *(f"{peer}: {what}" for peer in peers for what in ("ms", "exponent"))]
    lines: list[list[str]] = []
    for variable in SIZES:
        own = [row for row in rows if row.case.startswith(f"{variable}=")]
        if own:
            sizes = [row.case.partition("=")[2] for row in own]
            reach = f"{variable}={' to '.join(dict.fromkeys((sizes[0], sizes[-1])))}"
            lines.append([reach, *(cell for peer in peers for cell in _cells(own, peer))])
    sizes = ", ".join(f"{name}={size}" for name, size in BASE.items())
    return Table(columns, lines, [f"Medians at the ends. The sizes that are not grown: {sizes}."])


def _cells(rows: list[Row], peer: str) -> list[str]:
    ran = [row for row in rows if peer in row.figures]
    if len(ran) < 2:
        return ["-", "-"]
    sizes = [int(row.case.partition("=")[2]) for row in ran]
    seconds = [row.figures[peer]["seconds"] for row in ran]
    ends = f"{milliseconds(seconds[0])} to {milliseconds(seconds[-1])}"
    return [ends, f"{exponent(sizes, seconds):.2f}"]


CASES = [
    Case(
        f"{variable}={size}",
        {p: partial(sequence.run, p, shape(variable, size), True, 0.5) for p in PEERS},
    )
    for variable, sizes in SIZES.items()
    for size in sizes
]

if __name__ == "__main__":
    main("Time of a training step over T, B and H, float32", CASES, table, rounds=3)
