"""Bytes of an LSTM's training step: kept for the backward pass, at the peak, and left behind.

Measured from outside: NumPy reports the memory of its arrays to tracemalloc. What must be kept is
four gates, c, tanh c and h of every step, T*B*H numbers each. `kept` are the arrays that go when
the result of the forward pass does, itself among them: what the graph holds on to. `idle` is what
stays between steps: memory that the next step uses again. `peak` is the most alive during a whole
step, gradients, the loss's own arrays and idle memory included. `growth` compares 50 steps of
training with none: arrays, and Python objects. `resident` is the same of the whole process, where
memory NumPy does not know of would show; the allocator makes it waver by a megabyte or so.

    python benchmarks/memory.py [--only 100,32] [--json out.json]
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
from harness import Case, Result, Row, Table, main, peers_of, ratio
from sequence import SHAPES, Shape, arrays

STEPS = 50
MEGABYTE = 1e6


def needed(shape: Shape) -> int:
    """Bytes of the activations that the backward pass reads, in float32."""
    steps, batch, _, hidden = shape
    return 7 * steps * batch * hidden * np.dtype(np.float32).itemsize


def array_bytes() -> int:
    """Bytes of all NumPy arrays alive."""
    gc.collect()
    ours = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(t.size for t in tracemalloc.take_snapshot().filter_traces([ours]).traces)


def resident_bytes() -> int:
    """Bytes of the process in memory; 0 where the system does not tell."""
    listing = Path("/proc/self/statm")
    pages = int(listing.read_text().split()[1]) if listing.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(shape: Shape, backend: str | None, steps: int = STEPS) -> Result:
    """All figures of our compiled LSTM, in bytes; growth over `steps` steps."""
    tracemalloc.start()  # before NumPy is used at all: nothing that a plan keeps may go unseen
    import tinygrad_lstm as tg
    from tinygrad_lstm.compiler import memory

    x, weights, w = arrays(shape)
    lstm = tg.nn.LSTM(shape[2], shape[3])
    lstm.load_state_dict(weights)
    optimizer = tg.optim.SGD(lstm.parameters(), lr=1e-4)

    def train() -> None:
        y, _ = lstm(x, backend=backend)
        (y * w).sum().backward()
        optimizer.step()
        lstm.zero_grad()

    first = array_bytes()
    train()
    train()
    idle = array_bytes() - first
    now = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    train()
    peak = tracemalloc.get_traced_memory()[1] - now + idle
    y = lstm(x, backend=backend)
    memory.release()  # what is idle is no part of it
    kept = array_bytes()
    del y
    memory.release()
    kept -= array_bytes()
    train()
    alive, objects, resident = array_bytes(), len(gc.get_objects()), resident_bytes()
    for _ in range(steps):
        train()
    figures = {
        "needed": needed(shape),
        "kept": kept,
        "idle": idle,
        "peak": peak,
        "growth": array_bytes() - alive,
        "objects": len(gc.get_objects()) - objects,
        "resident": resident_bytes() - resident,
    }
    tracemalloc.stop()
    return Result(figures)


def table(rows: list[Row]) -> Table:
    """A line per shape and backend."""
    columns = ["case", "run", "must keep", "keeps", "ratio", "idle", "peak"]
    columns += ["growth", "objects", "resident"]
    lines: list[list[str]] = []
    for row in rows:
        for peer in peers_of([row]):
            if peer in row.figures:
                lines.append([row.case, peer, *_cells(row.figures[peer])])
    notes = [
        "Sizes in MB. must keep: T*B*H*(4 gates + c + tanh c + h). ratio: keeps over must keep."
        " idle: what stays between steps, to be used again.",
        f"After {STEPS} more steps of training: growth of arrays in MB, of the number of Python"
        " objects, and of the process's resident memory in MB.",
    ]
    return Table(columns, lines, notes)


def _cells(figures: dict[str, float]) -> list[str]:
    over = ratio(figures["kept"] / figures["needed"])
    sizes = {name: f"{figures[name] / MEGABYTE:.1f}" for name in ("needed", "kept", "idle", "peak")}
    growth = [f"{figures['growth'] / MEGABYTE:+.1f}", f"{figures['objects']:+.0f}"]
    resident = f"{figures['resident'] / MEGABYTE:+.1f}"
    return [sizes["needed"], sizes["kept"], over, sizes["idle"], sizes["peak"], *growth, resident]


CASES = [
    Case(
        ",".join(map(str, shape)),
        {"ours": partial(measure, shape, None), "ours, NumPy": partial(measure, shape, "numpy")},
    )
    for shape in SHAPES[2:]
]

if __name__ == "__main__":
    main("Memory of an LSTM's training step, (T,B,I,H), float32", CASES, table, rounds=1)
