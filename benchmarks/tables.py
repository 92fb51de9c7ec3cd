"""The tables of docs/performance.md, from the figures in benchmarks/results.

`python -m benchmarks --out benchmarks/results` leaves the figures there. A region of the document
that starts with the line `<!-- results: NAME -->` and ends with `<!-- end of results -->` is
replaced by the table of NAME.json, its notes, and what it was measured on.

    python benchmarks/tables.py        (or: make docs)
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
MOST_OTHER_WORK = 0.1
WARNING = "**Times of a busy machine, or of one that did not tell: nothing follows from them.**"

_REGION = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def markdown(figures: dict[str, Any]) -> str:
    """One benchmark's table, notes and conditions."""
    table = figures["table"]
    ruler = [":---", *["---:"] * (len(table["columns"]) - 1)]
    lines = [f"| {' | '.join(cells)} |" for cells in (table["columns"], ruler, *table["rows"])]
    return "\n".join([*lines, "", *table["notes"], "", _conditions(figures["conditions"]), ""])


def updated(document: str, results: Path) -> str:
    """The document with every region written anew."""

    def region(found: re.Match[str]) -> str:
        first, name, last = found.groups()
        figures = json.loads((results / f"{name}.json").read_text("utf-8"))
        return f"{first}{markdown(figures)}{last}"

    return _REGION.sub(region, document)


def _conditions(found: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    others = found["others"]
    parts = [
        found["date"],
        found["processor"],
        *([found["blas"]] if found.get("blas") else []),
        f"cores: {found['cores']}, threads: {found['threads']}, rounds: {found['rounds']}",
        *([] if others is None else [f"{others:.0%} of the machine's time went to other work"]),
        f"Python {found['python']}, {packages}",
    ]
    calm = others is not None and others <= MOST_OTHER_WORK
    return f"*{'; '.join(parts)}.*" + ("" if calm else f"\n{WARNING}")


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text("utf-8"), RESULTS), "utf-8")
