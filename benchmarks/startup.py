"""What a fresh process pays: the import, and its first training step.

The import is timed inside a bare interpreter, ours and NumPy's in turn. The first step is that of
an LSTM (100,32,65,128) after the import: planned, with the native backend compiled too, once with
an empty folder for compiled kernels and once with one that another process has filled.

    python benchmarks/startup.py [--only import] [--rounds 5] [--json out.json]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness import Case, Result, Row, Table, main, times

CACHE = "TINYGRAD_LSTM_CACHE"
SHAPE = (100, 32, 65, 128)
IMPORTS = 7
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def import_time(package: str) -> Result:
    """Of several fresh interpreters after one that warms the disk's cache and writes bytecode."""
    code = [sys.executable, "-c", IMPORT.format(package)]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    found = [
        float(subprocess.run(code, env=env, capture_output=True, text=True, check=True).stdout)
        for _ in range(IMPORTS + 1)
    ][1:]
    return Result({"seconds": statistics.median(found), "least": min(found)})


def first_step(peer: str) -> Result:
    """The time of this process's first step. The peer is one of the `sequence` benchmark's."""
    import sequence

    step = sequence.PEERS[peer](SHAPE, True)
    start = time.perf_counter()
    found = step()
    seconds = time.perf_counter() - start
    return Result({"seconds": seconds, "least": seconds}, sequence.norms(found))


def uncached(peer: str) -> Result:
    """The first step with an empty folder for kernels."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE] = folder
        return first_step(peer)


def cached(peer: str) -> Result:
    """The first step with the folder filled by another process."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE] = folder
        fill = [sys.executable, "-c", f"import startup; startup.first_step({peer!r})"]
        subprocess.run(fill, check=True, capture_output=True, cwd=Path(__file__).parent)
        return first_step(peer)


def table(rows: list[Row]) -> Table:
    """The times, and what the acceptance of the import is measured by."""
    shown = times(rows)
    ratios = [
        f"Import: {row.figures['ours']['seconds'] / row.figures['NumPy alone']['seconds']:.2f}"
        " times NumPy alone."
        for row in rows
        if "NumPy alone" in row.figures
    ]
    return replace(shown, notes=[*shown.notes, *ratios])


def _peers(run: Callable[[str], Result], *names: str) -> dict[str, Callable[[], Result]]:
    return {name: partial(run, name) for name in names}


CASES = [
    Case(
        "import",
        {
            "ours": partial(import_time, "tinygrad_lstm"),
            "NumPy alone": partial(import_time, "numpy"),
        },
    ),
    Case("first step, nothing cached", _peers(uncached, "ours", "ours, NumPy", "PyTorch", "JAX")),
    Case("first step, kernels cached", _peers(cached, "ours")),
]

if __name__ == "__main__":
    main("Start-up: import, and the first training step of a process", CASES, table)
