"""draw and Drawing: what they take, what they refuse, files, Graphviz and its absence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import dot_edges, lstm_cell, scalar_graph, sequence

import tinygrad_lstm as tg
import viz
from viz import layout as layout_module
from viz.scopes import Scopes
from viz.trace import Trace
from viz.views import build

# -- what goes in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [3, "x", None, [1, 2], np.ones(3), tg.nn.LSTMCell(1, 1)])
def test_only_tensors_can_be_drawn(given: Any) -> None:
    with pytest.raises(TypeError, match="draw: expected a Tensor or a list of them, got"):
        viz.draw(given)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="draw: got an empty list"):
        viz.draw([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "gate"}, "view: expected one of 'gates', 'ops', 'cells', got 'gate'"),
        ({"theme": "blue"}, "theme: expected one of 'light', 'dark', got 'blue'"),
        ({"timeout": 0}, "timeout: expected a positive number of seconds, got 0"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viz.draw(scalar_graph()["L"], **options)


def test_what_a_layer_returns_can_be_drawn_as_it_is() -> None:
    assert viz.draw(sequence()).model.view == "gates"


def test_a_leaf_alone_is_a_picture_too() -> None:
    model = viz.draw(tg.tensor([1.0], name="x")).model
    assert [(n.name, n.kind, n.is_output) for n in model.nodes] == [("x", "input", True)]


def test_a_title_of_ones_own() -> None:
    for tensors in (scalar_graph()["L"], lstm_cell(), sequence()):
        drawing = viz.draw(tensors, title="chain & rule")
        assert drawing.svg.count("chain &amp; rule") == 3  # title, description and text
        assert "chain &amp; rule" in drawing.dot and drawing.png()
    narrow = viz.draw(tg.tensor(1.0), title="a long title over a small picture")
    assert narrow.layout.width > 200
    with pytest.raises(TypeError, match="title: expected a string"):
        viz.draw(scalar_graph()["L"], title=3)  # type: ignore[arg-type]


# -- large and deep graphs ------------------------------------------------------------------------


def chain(length: int) -> tg.Tensor:
    x = tg.tensor(1.0, requires_grad=True, name="x")
    for _ in range(length):
        x = x + 1.0
    return x


def test_a_graph_too_large_says_how_large_and_which_view_to_take() -> None:
    with pytest.raises(viz.PictureTooLargeError, match=r"the ops view .* 6,000 nodes"):
        viz.draw(chain(6000))
    with pytest.raises(viz.PictureTooLargeError, match=r'take view="gates" or view="cells"'):
        viz.draw(sequence(steps=30), view="ops", max_nodes=500)
    with pytest.raises(viz.PictureTooLargeError, match=r'take view="cells"'):
        viz.draw(sequence(steps=30), max_nodes=300)
    assert len(viz.draw(chain(3000), max_nodes=3000).model.nodes) == 6001


@pytest.mark.slow
def test_a_chain_of_a_hundred_thousand_ops_is_modelled() -> None:
    trace = Trace([chain(100_000)])
    model = build(trace, Scopes(trace, "gates"), "gates")
    assert len(model.nodes) == 100_001 and len(model.edges) == 100_000


def test_a_thousand_nested_scopes_are_a_thousand_clusters() -> None:
    with ExitStack() as stack:
        for depth in range(1000):
            stack.enter_context(tg.scope(f"s{depth}"))
        y = chain(2)
    drawing = viz.draw(y)
    assert len(drawing.model.clusters) == 1000
    assert drawing.dot.count("subgraph cluster_") == drawing.dot.count("\t}\n") == 1000
    folded = viz.draw(y, fold="s500").model
    assert [n.symbol for n in folded.nodes if n.kind == "box"] == ["s500"]


def test_a_model_of_thousands_of_nodes_takes_a_fraction_of_a_second() -> None:
    trace = Trace([sequence(steps=190)[0]])
    assert len(trace.nodes) > 4900
    start = time.process_time()
    build(trace, Scopes(trace, "ops"), "ops")
    assert time.process_time() - start < 2.0  # a quarter of that on a machine with nothing to do


# -- DOT ------------------------------------------------------------------------------------------


def test_the_dot_has_the_models_edges_in_the_models_clusters() -> None:
    drawing = viz.draw(lstm_cell())
    assert dot_edges(drawing.dot) == {(e.tail, e.head) for e in drawing.model.edges}
    assert drawing.dot.count("->") == len(drawing.model.edges)
    inside = drawing.dot.split("subgraph cluster_")[1:]
    for cluster, text in zip(drawing.model.clusters, inside, strict=True):
        assert text.startswith(cluster.id)
        body = text.partition("\t}\n")[0]
        for node in drawing.model.members(cluster):
            assert f"{node.id} [" in body


def test_graphviz_lays_the_dot_out_again() -> None:
    for view in ("gates", "ops"):
        drawing = viz.draw(lstm_cell(), view=view)
        answer = json.loads(layout_module.render(drawing.dot, "dot", "json0", 30))
        assert {o["name"] for o in answer["objects"] if "pos" in o} == {
            n.id for n in drawing.model.nodes
        }


# -- files ----------------------------------------------------------------------------------------


def test_every_kind_of_file_is_written(tmp_path: Path) -> None:
    drawing = viz.draw(scalar_graph()["L"], values=True)
    begins = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph", "json": b"{"}
    for suffix, start in begins.items():
        path = drawing.save(tmp_path / f"picture.{suffix}")
        assert path.read_bytes().lstrip().startswith(start)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"picture.{s}" for s in begins)
    assert (tmp_path / "picture.svg").read_text("utf-8") == drawing.svg
    record = json.loads((tmp_path / "picture.json").read_text("utf-8"))
    assert {n["id"] for n in record["nodes"]} == {n.id for n in drawing.model.nodes}
    assert {"tail", "head", "position"} <= record["edges"][0].keys()
    assert viz.draw(scalar_graph()["L"]).save(str(tmp_path / "UPPER.SVG")).exists()


def test_the_json_of_a_picture_with_nans_is_json() -> None:
    wild = tg.tensor([np.nan, np.inf, 0.0], name="wild")
    record = json.loads(viz.draw(wild, values=True).json(), parse_constant=pytest.fail)
    assert record["nodes"][0]["value"]["elements"] == ["nan", "inf", 0.0]
    assert record["nodes"][0]["shape"] == [3]


def test_an_unknown_suffix_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in one of .svg, .png, .pdf, .dot, .json"):
        viz.draw(scalar_graph()["L"]).save(tmp_path / "picture.gif")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        viz.draw(scalar_graph()["L"]).save(tmp_path / "nowhere" / "picture.svg")


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.svg"
    path.write_text("the old picture")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        viz.draw(scalar_graph()["L"]).save(path)
    assert path.read_text() == "the old picture"
    assert [p.name for p in tmp_path.iterdir()] == ["picture.svg"]


def test_a_png_is_as_large_as_asked_for_and_never_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viz.drawing.LARGEST_PNG", 1500)
    drawing = viz.draw(scalar_graph()["L"])

    def width(png: bytes) -> int:
        return int.from_bytes(png[16:20], "big")

    assert width(drawing.png(scale=1)) == pytest.approx(drawing.layout.width, abs=6)
    assert width(drawing.png(scale=3)) == pytest.approx(3 * drawing.layout.width, abs=12)
    assert width(drawing.png(scale=1000)) <= 1550
    with pytest.raises(ValueError, match="scale: expected a positive number"):
        drawing.png(scale=0)


# -- Graphviz -------------------------------------------------------------------------------------


def test_without_graphviz_draw_says_at_once_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout_module, "_wheel", lambda: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(viz.GraphvizNotFoundError, match="pip install pygraphviz"):
        viz.draw(scalar_graph()["L"])


def test_without_the_wheel_a_dot_on_path_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "dot"
    wheel = layout_module._wheel()
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -I -S {layout_module._CHILD} {wheel} "
        '"${1#-K}" "${2#-T}"\n'
    )
    program.chmod(0o755)
    expected = viz.draw(scalar_graph()["L"]).svg
    monkeypatch.setattr(layout_module, "_wheel", lambda: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert viz.draw(scalar_graph()["L"]).svg == expected


def test_a_layout_that_takes_too_long_is_stopped_and_its_dot_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sleeper = tmp_path / "sleeper.py"
    sleeper.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(layout_module, "_CHILD", sleeper)
    drawing = viz.draw(scalar_graph()["L"], timeout=0.3)
    start = time.monotonic()
    with pytest.raises(viz.LayoutTimeoutError, match=r"within 0.3 s for 7 nodes") as caught:
        _ = drawing.svg
    assert time.monotonic() - start < 10
    saved = Path(str(caught.value).partition("saved as ")[2].partition(";")[0])
    assert saved.read_text("utf-8").startswith("digraph")
    saved.unlink()


def test_what_graphviz_complains_about_is_in_the_error() -> None:
    with pytest.raises(viz.LayoutError, match="could not draw this graph"):
        layout_module.render("this is not dot {", "dot", "svg", 30)


def test_a_machine_without_fonts_or_their_configuration_draws_the_same() -> None:
    program = (
        "import tinygrad_lstm as tg, viz, hashlib; x = tg.tensor(1.0, name='x');"
        "d = viz.draw((x * x).named('y')); d.png(); print(d.svg)"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        for environment in (
            dict(os.environ),
            {"FONTCONFIG_FILE": "/nowhere", "HOME": "/nowhere", "PYTHONIOENCODING": "utf-8"},
        )
    ]
    assert answers[0].stdout == answers[1].stdout
    assert [a.stderr for a in answers] == ["", ""]


def test_importing_viz_loads_nothing_heavy() -> None:
    program = (
        "import sys, viz; heavy = {'matplotlib', 'graphviz', 'pygraphviz', 'sympy'};"
        "assert not heavy & set(sys.modules); viz.draw; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        _ = viz.paint  # type: ignore[attr-defined]
    assert {"draw", "Drawing"} <= set(dir(viz))
