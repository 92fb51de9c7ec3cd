"""Draw every picture of README and docs again: run their code, keep the pictures it saves.

python docs/make.py            (or: make docs)
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import viz

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[str, str]]:
    """(language, text) of each code block, from the first to the last."""
    return _BLOCK.findall(document.read_text("utf-8"))


def run(document: Path, names: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Run a document's Python blocks as one program: (code, what it printed, what is promised).

    A block's promised output stands in the `text` block right after it; without one it promises to
    print nothing. names: where the program's variables go. Files go to the current folder.
    """
    found = blocks(document)
    names.setdefault("__name__", "document")
    for (language, code), (after, promised) in pairwise([*found, ("", "")]):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(document), "exec"), names)
        yield code, printed.getvalue(), promised if after == "text" else ""


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for document in DOCUMENTS:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            names: dict[str, Any] = {}
            for _ in run(document, names):
                pass
            if document.name == "README.md":  # its first picture, for readers with a dark page
                dark = viz.draw([names["h_t"], names["c_t"]], values=True, theme="dark")
                dark.save("lstm-cell-dark.svg")
            for picture in sorted(Path(folder).rglob("*.svg")):
                target = PICTURES / picture.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(picture, target)
                print(os.path.relpath(target, ROOT))


if __name__ == "__main__":
    main()
