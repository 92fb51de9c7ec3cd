"""DOT -> positions and bytes, by Graphviz in a child process with a time limit.

Graphviz comes in the pygraphviz wheel; a `dot` on PATH is the fallback. Knows nothing of models.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import GraphvizNotFoundError, LayoutError, LayoutTimeoutError
from .geometry import Label, Layout, Point, Rect, Route

__all__ = ["positions", "render", "require_graphviz"]

_CHILD = Path(__file__).with_name("graphviz_child.py")
_CANNOT_IMPORT = 3
_HELP = (
    "Graphviz was not found. `pip install pygraphviz` (version 2 or newer) brings it along, "
    "without any system package; or install Graphviz so that `dot` is on PATH"
)
_FONT_DIRECTORIES = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "WINDOWSFONTDIR",
)


def require_graphviz() -> None:
    """Raise GraphvizNotFoundError, which says what to install, unless Graphviz can be run."""
    if _wheel() is None and _program() is None:
        raise GraphvizNotFoundError(_HELP)


def render(dot: str, engine: str, form: str, timeout: float, *, size: str = "") -> bytes:
    """What Graphviz makes of `dot`: engine "dot" or "nop2", form "json0", "png", "pdf" ...

    size: how large the graph is and what to do about it, for the message on a time-out.
    Raises GraphvizNotFoundError, LayoutTimeoutError (the DOT is saved), LayoutError.
    """
    require_graphviz()
    failures: list[str] = []
    with _fonts(needed=form in ("png", "pdf")) as environment:
        for command in _commands(engine, form):
            try:
                done = subprocess.run(
                    command,
                    input=dot.encode("utf-8"),
                    capture_output=True,
                    timeout=timeout,
                    env=environment,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise _timed_out(dot, timeout, size) from None
            except OSError as error:
                failures.append(str(error))
                continue
            if done.returncode == 0 and done.stdout:
                return done.stdout
            failures.append(_complaint(done))
            if done.returncode != _CANNOT_IMPORT:
                break
    raise LayoutError("Graphviz could not draw this graph: " + "; ".join(failures))


def _commands(engine: str, form: str) -> Iterator[list[str]]:
    wheel, program = _wheel(), _program()
    if wheel is not None:
        yield [sys.executable, "-I", "-S", str(_CHILD), wheel, engine, form]
    if program is not None:
        yield [program, f"-K{engine}", f"-T{form}"]


def _wheel() -> str | None:
    """The directory pygraphviz can be imported from."""
    spec = importlib.util.find_spec("pygraphviz")
    if spec is None or spec.origin is None or not sys.executable:
        return None
    return str(Path(spec.origin).parent.parent)


def _program() -> str | None:
    return shutil.which("dot")


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """What Graphviz said, without Fontconfig's remarks on the machine's configuration."""
    said = done.stderr.decode("utf-8", "replace").splitlines()
    lines = [text for text in said if text.strip() and not text.startswith("Fontconfig")]
    return " / ".join(lines[-3:]) or f"exit status {done.returncode}"


def _timed_out(dot: str, timeout: float, size: str) -> LayoutTimeoutError:
    handle, path = tempfile.mkstemp(prefix="tinygrad_lstm-", suffix=".dot")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(dot)
    return LayoutTimeoutError(
        f"Graphviz did not finish within {timeout:g} s{size}. The DOT was saved as {path}; "
        "allow more time with timeout="
    )


@contextmanager
def _fonts(needed: bool) -> Iterator[Mapping[str, str]]:
    """An environment in which Fontconfig finds fonts wherever it runs.

    Its own configuration may be missing or newer than the library in the wheel, and a machine may
    have no fonts at all: matplotlib carries some. A layout needs none, its sizes are all given.
    """
    with tempfile.TemporaryDirectory(prefix="tinygrad_lstm-") as folder:
        directories: list[str] = []
        if needed:
            found = importlib.util.find_spec("matplotlib")
            if found is not None and found.origin is not None:
                fonts = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
                directories.append(str(fonts))
            directories += _FONT_DIRECTORIES
        path = Path(folder) / "fonts.conf"
        listed = "".join(f"<dir>{_escaped(name)}</dir>" for name in directories)
        cache = '<cachedir prefix="xdg">fontconfig</cachedir>' if needed else ""
        path.write_text(
            f'<?xml version="1.0"?><fontconfig>{listed}{cache}</fontconfig>', encoding="utf-8"
        )
        yield {**os.environ, "FONTCONFIG_FILE": str(path), "FONTCONFIG_PATH": folder}


def _escaped(path: str) -> str:
    return path.replace("&", "&amp;").replace("<", "&lt;")


# -- reading positions ----------------------------------------------------------------------------


def positions(dot: str, timeout: float, *, margin: float, size: str = "") -> Layout:
    """The layout Graphviz computes; nodes, clusters and edges by their `id` attributes."""
    answer = json.loads(render(dot, "dot", "json0", timeout, size=size))
    left, bottom, right, top = map(float, answer["bb"].split(","))

    def point(text: str) -> Point:
        x, y = text.split(",")[:2]
        return float(x) - left + margin, top - float(y) + margin

    layout = Layout(right - left + 2 * margin, top - bottom + 2 * margin)
    for item in answer.get("objects", ()):
        if "pos" in item:
            layout.nodes[item["name"]] = point(item["pos"])
        elif "bb" in item and item.get("id"):
            _read_cluster(item, point, layout)
    for edge in answer.get("edges", ()):
        if edge.get("id") and "pos" in edge:
            layout.edges[int(edge["id"][1:])] = _route(edge, point)
    return layout


def _read_cluster(item: Mapping[str, Any], point: Any, layout: Layout) -> None:
    x0, y0, x1, y1 = item["bb"].split(",")
    (left, low), (right, high) = point(f"{x0},{y0}"), point(f"{x1},{y1}")
    layout.clusters[item["id"]] = Rect(left, high, right - left, low - high)
    layout.titles[item["id"]] = (Label(left + 9, high + 5, "start"), ())


def _route(edge: Mapping[str, Any], point: Any) -> Route:
    """An edge's curve from tail to head."""
    points: list[Point] = []
    tip: Point | None = None
    for word in edge["pos"].split():
        if word[:2] in ("e,", "s,"):
            tip = point(word[2:])
        else:
            points.append(point(word))
    if edge.get("dir") == "back":  # drawn from head to tail, so that the layout flows backwards
        points.reverse()
    label = point(edge["lp"]) if "lp" in edge else None
    return Route(tuple(points), tip or points[-1], label)
