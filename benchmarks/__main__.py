"""Run every benchmark in turn: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_BENCHMARKS = {"__init__.py", "__main__.py", "harness.py"}


def main() -> int:
    """Each benchmark as a script of its own; options are handed on. The worst exit code."""
    scripts = sorted(p for p in HERE.glob("*.py") if p.name not in NOT_BENCHMARKS)
    return max(subprocess.call([sys.executable, p.name, *sys.argv[1:]], cwd=HERE) for p in scripts)


if __name__ == "__main__":
    raise SystemExit(main())
