"""Run the benchmarks in turn: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("op_by_op", "sequence", "memory", "scaling", "startup")


def main() -> int:
    """Each benchmark as a script of its own; other options are handed on. The worst exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run the benchmarks in turn. Other options, such as --rounds, go to each.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--benchmarks", default=",".join(BENCHMARKS), help="comma-separated names (%(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write figures to NAME.json in this folder")
    options, handed_on = parser.parse_known_args()
    names = options.benchmarks.split(",")
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"--benchmarks: no {name!r}; there are: {', '.join(BENCHMARKS)}")
    return max(_run(name, handed_on, options.out) for name in names)


def _run(name: str, options: list[str], out: Path | None) -> int:
    kept = [] if out is None else ["--json", str(out.resolve() / f"{name}.json")]
    return abs(subprocess.call([sys.executable, f"{name}.py", *options, *kept], cwd=HERE))


if __name__ == "__main__":
    raise SystemExit(main())
