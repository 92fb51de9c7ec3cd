"""What every benchmark shares: peers in processes of their own, in turn, medians and ratios.

A benchmark lists `Case`s; each maps a peer's name to a function that runs in a fresh process and
returns seconds (a median over calls) and a check value that all peers must agree on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = tuple[float, float]
"""Seconds of one call, and the number it computed."""


@dataclass(frozen=True)
class Case:
    """One row of the table. The first peer is ours; ratios are the others' times over ours."""

    name: str
    peers: dict[str, Callable[[], Result]]
    tolerance: float = 1e-3


def time_calls(call: Callable[[], float], seconds: float = 1.0, most: int = 2000) -> Result:
    """Median time of `call` after a warm-up, over about `seconds` of calls."""
    check = call()
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), check


def main(title: str, cases: list[Case]) -> None:
    """Run the cases as the command line says and print the table."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer runs")
    parser.add_argument("--json", type=Path, help="write all figures here too")
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--peers", help="comma-separated peers besides ours")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, peer = options.one
        case = next(c for c in cases if c.name == name)
        print(json.dumps(case.peers[peer]()))
        return
    chosen = [c for c in cases if not options.only or options.only in c.name]
    wanted = set(options.peers.split(",")) if options.peers else None
    rows = [_run(case, options.rounds, wanted) for case in chosen]
    _print(title, rows)
    if options.json:
        document = {"title": title, "machine": _machine(), "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def _run(case: Case, rounds: int, wanted: set[str] | None) -> dict[str, Any]:
    """Every peer `rounds` times, in turn."""
    first = next(iter(case.peers))
    peers = [p for p in case.peers if wanted is None or p == first or p in wanted]
    times: dict[str, list[float]] = {p: [] for p in peers}
    checks: dict[str, float] = {}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for peer in peers:
            if peer in failed:
                continue
            command = [sys.executable, sys.argv[0], "--one", case.name, peer]
            done = subprocess.run(command, capture_output=True, text=True, env=_environment())
            if done.returncode:
                failed[peer] = done.stderr.strip().rpartition("\n")[2]
                continue
            seconds, checks[peer] = json.loads(done.stdout.strip().rpartition("\n")[2])
            times[peer].append(seconds)
    if first in failed:
        raise SystemExit(f"{case.name}: {failed[first]}")
    for peer, value in checks.items():
        if abs(value - checks[first]) > case.tolerance * max(1.0, abs(checks[first])):
            raise SystemExit(f"{case.name}: {peer} computed {value}, ours {checks[first]}")
    medians = {p: statistics.median(t) for p, t in times.items() if t}
    return {"case": case.name, "seconds": medians, "all": times, "failed": failed}


def _environment() -> dict[str, str]:
    """The same number of threads for every peer, unless the caller has chosen."""
    threads = str(os.cpu_count() or 1)
    chosen = {
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    return {**chosen, "JAX_PLATFORMS": "cpu", **os.environ}


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": sys.version.split()[0],
    }


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    table.add_column("case")
    peers = list(dict.fromkeys(p for row in rows for p in row["all"]))
    for peer in peers:
        table.add_column(peer, justify="right")
    for row in rows:
        own = row["seconds"][peers[0]]
        cells = [row["case"]]
        for peer in peers:
            seconds = row["seconds"].get(peer)
            if seconds is None:
                cells.append("-")
            elif peer == peers[0]:
                cells.append(f"{seconds * 1e3:.3f} ms")
            else:
                cells.append(f"{seconds * 1e3:.3f} ms ({seconds / own:.2f}x)")
        table.add_row(*cells)
    console = Console()
    console.print(table)
    console.print("(nx): that peer's time over ours; above 1 we are faster")
    for row in rows:
        for peer, reason in row["failed"].items():
            console.print(f"{row['case']}: {peer} did not run: {reason}", style="yellow")
