"""What every benchmark shares: peers in processes of their own, in turn, one table, one JSON file.

A benchmark lists `Case`s; each maps a peer's name to a function that runs in a fresh process and
returns a `Result`: figures, and numbers that all peers must agree on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

THREADS = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What one process of a peer found: named figures, and what it computed."""

    figures: Mapping[str, float]
    check: Sequence[float] = ()


@dataclass(frozen=True)
class Case:
    """One row of figures. The first peer is ours; the others' checks are held against its."""

    name: str
    peers: dict[str, Callable[[], Result]]
    tolerance: float = 1e-3


@dataclass(frozen=True)
class Row:
    """The figures of a case: by peer, over all its processes. failed: why a peer did not run."""

    case: str
    figures: dict[str, dict[str, float]]
    runs: dict[str, list[Mapping[str, float]]]
    failed: dict[str, str]


@dataclass(frozen=True)
class Table:
    """What is shown, as text: the same in the terminal and in docs/performance.md."""

    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def time_calls(
    call: Callable[[], T],
    check: Callable[[T], Sequence[float]],
    seconds: float = 1.0,
    most: int = 2000,
) -> Result:
    """Median and least time of `call` after a warm-up, over about `seconds` of calls.

    check: what the call's result comes to, in numbers; taken of the first call, off the clock.
    """
    found = check(call())
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return Result({"seconds": statistics.median(times), "least": min(times)}, found)


def times(rows: list[Row]) -> Table:
    """Median and least time of each peer, and its median over ours."""
    peers = peers_of(rows)
    cells = [[row.case, *(_time(row, peer, peers[0]) for peer in peers)] for row in rows]
    notes = [
        "Median / least time of a call in ms, and (nx / nx) both over ours: above 1 we are faster."
    ]
    return Table(["case", *peers], cells, notes)


def _time(row: Row, peer: str, first: str) -> str:
    if peer not in row.figures:
        return "-"
    own, figures = row.figures[first], row.figures[peer]
    names = ("seconds", "least")
    shown = " / ".join(milliseconds(figures[name]) for name in names)
    over = " / ".join(ratio(figures[name] / own[name]) for name in names)
    return shown if peer == first else f"{shown} ({over})"


def peers_of(rows: list[Row]) -> list[str]:
    """Every peer of the rows, ours first."""
    return list(dict.fromkeys(peer for row in rows for peer in (*row.figures, *row.failed)))


def milliseconds(seconds: float) -> str:
    """Without the unit, to three digits that count."""
    ms = seconds * 1e3
    return f"{ms:.3f}" if ms < 1 else _digits(ms)


def ratio(number: float) -> str:
    """How many times."""
    return f"{_digits(number)}x"


def _digits(number: float) -> str:
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def main(
    title: str,
    cases: list[Case],
    table: Callable[[list[Row]], Table] = times,
    rounds: int = 5,
) -> None:
    """Run the cases as the command line says and print the table."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"how often each peer runs ({rounds})"
    )
    parser.add_argument("--json", type=Path, help="write all figures here too")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--peers", nargs="*", metavar="PEER", help="peers besides ours, or none")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, peer = options.one
        case = next(c for c in cases if c.name == name)
        print(json.dumps(asdict(case.peers[peer]())))
        return
    chosen = [c for c in cases if options.only in c.name]
    if options.rounds < 1:
        parser.error(f"--rounds: expected 1 or more, got {options.rounds}")
    if not chosen:
        known = "; ".join(c.name for c in cases)
        parser.error(f"--only: no case contains {options.only!r}; there are: {known}")
    wanted = None if options.peers is None else set(options.peers)
    there = dict.fromkeys(peer for c in chosen for peer in c.peers)
    for peer in wanted or ():
        if peer not in there:
            parser.error(f"--peers: no case has {peer!r}; there are: {'; '.join(there)}")
    before = _spent()
    rows = [_run(case, options.rounds, wanted) for case in chosen]
    others = _others_share(before, _spent())
    shown = table(rows)
    missing = [f"{r.case}: {p} did not run: {why}" for r in rows for p, why in r.failed.items()]
    shown = replace(shown, notes=[*shown.notes, *missing])
    _print(title, shown)
    if options.json:
        conditions = {"rounds": options.rounds, "others": others, **_conditions()}
        document = {"title": title, "conditions": conditions, "table": asdict(shown)}
        document["rows"] = [asdict(row) for row in rows]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _run(case: Case, rounds: int, wanted: set[str] | None) -> Row:
    """Every peer `rounds` times, in turn."""
    first = next(iter(case.peers))
    peers = [p for p in case.peers if wanted is None or p == first or p in wanted]
    runs: dict[str, list[Mapping[str, float]]] = {p: [] for p in peers}
    checks: dict[str, Sequence[float]] = {}
    failed: dict[str, str] = {}
    for done in range(rounds):
        for peer in peers:
            if peer in failed:
                continue
            _say(f"{case.name}: {peer}, round {done + 1} of {rounds}")
            command = [sys.executable, sys.argv[0], "--one", case.name, peer]
            run = subprocess.run(command, capture_output=True, text=True, env=_environment())
            if run.returncode:
                failed[peer] = run.stderr.strip().rpartition("\n")[2]
                continue
            result = Result(**json.loads(run.stdout.strip().rpartition("\n")[2]))
            checks[peer] = result.check
            runs[peer].append(result.figures)
    _say("")
    if first in failed:
        raise SystemExit(f"{case.name}: {failed[first]}")
    for peer, found in checks.items():
        if not _agree(found, checks[first], case.tolerance):
            raise SystemExit(f"{case.name}: {peer} computed {found}, ours {checks[first]}")
    runs = {p: r for p, r in runs.items() if p not in failed}
    return Row(case.name, {p: _folded(r) for p, r in runs.items()}, runs, failed)


def _agree(found: Sequence[float], own: Sequence[float], tolerance: float) -> bool:
    return len(found) == len(own) and all(
        math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-9) for a, b in zip(found, own, strict=True)
    )


def _folded(runs: list[Mapping[str, float]]) -> dict[str, float]:
    """One figure of all processes': the median, of least times the least."""
    return {
        name: (min if name == "least" else statistics.median)(run[name] for run in runs)
        for name in runs[0]
    }


def _say(line: str) -> None:
    """What is running now, on one line that is overwritten; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _environment() -> dict[str, str]:
    """The same number of threads for every peer, unless the caller has chosen."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")  # NPROC: XLA's
    chosen = dict.fromkeys(names, os.environ.get("OMP_NUM_THREADS", str(THREADS)))
    return {**chosen, "JAX_PLATFORMS": "cpu", **os.environ}


def _conditions() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    packages = ("numpy", "scipy", "numba", "torch", "jax", "mygrad", "autograd")
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "blas": _blas(),
        "cores": os.cpu_count(),
        "threads": int(_environment()["OMP_NUM_THREADS"]),
        "python": platform.python_version(),
        "packages": {name: found for name in packages if (found := _version(name))},
    }


def _spent() -> tuple[float, float, float] | None:
    """Seconds of the clock, of all cores at work, and of them for our finished processes."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    ticks = [int(n) for n in stat.read_text().split("\n")[0].split()[1:9]]
    busy = sum(ticks) - sum(ticks[3:5])  # all but idle and waiting for the disk
    own = os.times()
    return own.elapsed, busy / os.sysconf("SC_CLK_TCK"), own.children_user + own.children_system


def _others_share(before: Sequence[float] | None, after: Sequence[float] | None) -> float | None:
    """Of the machine's time, what was spent on other work than ours: the noise in the figures."""
    if before is None or after is None:
        return None
    elapsed, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, busy - own) / (elapsed * (os.cpu_count() or 1))


def _processor() -> str:
    """Its name, and where it is told the family and the model: a name can stand for several."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().split("\n\n")[0].splitlines() if listing.exists() else []
    parts = (line.partition(":") for line in lines)
    told = {key.strip(): value.strip() for key, _, value in parts}
    name = told.get("model name", platform.machine())
    if not {"cpu family", "model"} <= told.keys():
        return name
    return f"{name} (family {told['cpu family']}, model {told['model']})"


def _blas() -> str | None:
    """NumPy's library for products and the processor its functions were written for."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    import_module("numpy")  # its library is found once it is loaded
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return f"{found[0]['internal_api']} for {found[0].get('architecture')}" if found else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(title: str, shown: Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    gap = int(len(shown.columns) < 8)  # 80 characters are to hold the many of memory.py
    table = RichTable(title=title, box=SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False)
    for k, column in enumerate(shown.columns):
        table.add_column(column, justify="right" if k else "left", no_wrap=not k)
    for cells in shown.rows:
        table.add_row(*cells)
    console = Console()
    console.print(table)
    for note in shown.notes:
        console.print(note, markup=False)
