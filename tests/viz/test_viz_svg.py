"""The SVG is well-formed, self-contained, accessible, and shows names as the text they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import SVG, groups, lstm_cell, parsed, scalar_graph, sequence, texts

import tinygrad_lstm as tg
import viz
from viz.text import clean, number, runs, text_width
from viz.theme import THEMES, Accent, Theme


def drawn(*names: str) -> viz.Drawing:
    """A product of inputs with the given names."""
    inputs = [tg.tensor([1.0, 2.0], name=name) for name in names]
    with tg.scope(names[0] or "scope"):
        total = inputs[0] * 1.0
        for x in inputs:
            total = total * x
    return viz.draw(total.named(names[-1]))


def test_every_part_of_the_model_is_in_the_svg_once() -> None:
    for drawing in (viz.draw(lstm_cell()), viz.draw(lstm_cell(), view="ops")):
        root = parsed(drawing)
        assert list(groups(root, "cluster")) == [c.id for c in drawing.model.clusters]
        assert set(groups(root, "node")) == {n.id for n in drawing.model.nodes}
        ends = [(g.get("data-tail"), g.get("data-head")) for g in root.iter(f"{SVG}g")
                if "edge" in g.get("class", "").split()]  # fmt: skip
        assert sorted(ends) == sorted((e.tail, e.head) for e in drawing.model.edges)


def test_it_scales_and_says_in_words_what_it_shows() -> None:
    root = parsed(viz.draw(lstm_cell()))
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    title, description = root[0], root[1]
    assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
    assert title.text == "LSTMCell"
    said = description.text or ""
    assert "forget gate: ANN; σ gives f_t." in said
    assert "c_{t-1}, long-term memory, shape (2, 4), float32" in said
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert root.get("role") == "img"


def test_a_cotangent_is_told_by_its_name_and_an_op_s_gradient_by_the_op() -> None:
    said = parsed(viz.draw(lstm_cell(), backward=True))[1].text or ""
    assert "gradient of σ" in said and "∂" in said
    assert "gradient of ," not in said


def test_it_needs_nothing_from_outside() -> None:
    text = viz.draw(lstm_cell()).svg
    without_namespace = text.replace("http://www.w3.org/2000/svg", "")
    for word in ("http", "href", "url(", "<script", "<style", "<!DOCTYPE", "@import", "onload"):
        assert word not in without_namespace
    assert "sans-serif" in text


def test_subscripts_are_set_below_the_line() -> None:
    root = parsed(viz.draw(lstm_cell()))
    assert {"ct-1", "ht-1", "xt", "ft", "it", "gt", "ot"} <= set(texts(root))
    (memory,) = (e for e in root.iter(f"{SVG}text") if "".join(e.itertext()) == "ct-1")
    (below,) = memory.iter(f"{SVG}tspan")
    assert below.text == "t-1" and float(below.get("dy", "")) > 0
    assert memory.text == "c"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("f_t", [("f", 0), ("t", -1)]),
        ("c_{t-1}", [("c", 0), ("t-1", -1)]),
        ("W_{if}", [("W", 0), ("if", -1)]),
        ("x^2", [("x", 0), ("2", 1)]),
        ("loss_{val}", [("loss", 0), ("val", -1)]),
        ("∂L/∂W_{if}", [("∂L/∂W", 0), ("if", -1)]),
        ("h_n[1]", [("h", 0), ("n", -1), ("[1]", 0)]),
        ("weight_ih", [("weight_ih", 0)]),
        ("my_x_2", [("my_x_2", 0)]),
        ("a_{b_{c}}", [("a_{b_{c}}", 0)]),
        ("_", [("_", 0)]),
        ("", []),
    ],
)
def test_only_what_is_a_subscript_is_set_as_one(name: str, parts: list[tuple[str, int]]) -> None:
    assert [tuple(run) for run in runs(name)] == parts


HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "entity": "&lt;&amp;&#0;&nosuch;",
    "cdata": "]]>",
    "quotes": "\"'`",
    "backslashes": r"\N \G \E \L \n \\",
    "newline": "first\nsecond\r\n\tthird",
    "controls": "\x00\x01\x1b[31m\x7f\x9f",
    "bidi": "\u202eevil\u2066",
    "arabic": "ذاكرة",
    "surrogate": "\ud800",
    "not a character": "\ufffe\uffff",
    "braces": "{}{{}}|<f0>",
    "html": "<B>bold</B>",
    "dot": 'a" -> b; } //',
    "combining": "e\u0301\u0301\u0301",
    "wide": "長期記憶",
    "space": "   ",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_are_drawn_as_text(name: str) -> None:
    drawing = drawn(name, "x")
    root = parsed(drawing)
    if name.strip():
        assert clean(name) in texts(root)
    assert not root.findall(f".//{SVG}script")
    assert len(groups(root, "node")) == len(drawing.model.nodes)
    assert ET.fromstring(drawing.svg) is not None
    assert json.loads(drawing.json().encode("utf-8"))["nodes"][-1]["name"] == "x"


def test_graphviz_draws_hostile_names_too() -> None:
    drawing = drawn(*HOSTILE.values())
    assert drawing.png().startswith(b"\x89PNG") and drawing.pdf().startswith(b"%PDF")


def test_a_backslash_letter_is_not_replaced_by_the_nodes_name() -> None:
    from viz.layout import render

    svg = render(drawn(r"\N\G", "x").dot, "dot", "svg", 30).decode()
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    assert r"\N\G" in shown and "picture" not in shown


def test_ten_thousand_letters_are_cut_short() -> None:
    drawing = drawn("long" * 2500)
    assert max(map(len, texts(parsed(drawing)))) <= 48
    assert drawing.layout.width < 1000
    assert len(drawing.svg) < 20_000


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_breaks_what_is_drawn(name: str) -> None:
    shown = clean(name)
    assert shown.isprintable() and len(shown) <= 32
    ET.fromstring(f"<t>{''.join(r.text for r in runs(shown)).translate({38: 'a', 60: 'l'})}</t>")
    assert 0 <= text_width(runs(shown), 10) <= 12 * 32


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (1.0, "1"), (-2.5, "−2.5"), (1234567.0, "1.235e6"), (1e-9, "1e−9")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


# -- the same every time --------------------------------------------------------------------------

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import hashlib, viz
from pictures import lstm_cell, scalar_graph, sequence
for drawing in (
    viz.draw(lstm_cell(), values=True, grads=True),
    viz.draw(lstm_cell(), view="ops"),
    viz.draw(lstm_cell(), backward=True, theme="dark"),
    viz.draw(sequence(num_layers=2)),
    viz.draw(scalar_graph()["L"], values=True, grads=True, backward=True),
):
    for content in (drawing.svg.encode(), drawing.dot.encode(), drawing.json().encode()):
        print(hashlib.sha256(content).hexdigest())
print(hashlib.sha256(viz.draw(lstm_cell()).png()).hexdigest())
"""


def test_the_same_graph_gives_the_same_bytes_in_every_process() -> None:
    program = PROGRAM.format(folder=os.path.dirname(__file__))
    answers = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""  # neither Graphviz nor Fontconfig says anything
        answers.append(done.stdout)
    assert answers[0] == answers[1] and len(answers[0].split()) == 16


# -- colours --------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def accents(theme: Theme) -> list[Accent]:
    special = [theme.neutral, theme.box, theme.parameter, theme.gradient]
    return [*special, *theme.accents.values()]


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES.keys())
def test_text_can_be_read_on_what_is_behind_it(theme: Theme) -> None:
    for accent in accents(theme):
        assert contrast(accent.text, accent.node) >= 4.5
        assert contrast(theme.muted, accent.node) >= 4.5, accent
        assert contrast(theme.gradient.text, accent.node) >= 4.5, accent
        assert contrast(accent.line, accent.area) >= 4.5
        for text in (theme.text, theme.muted, theme.gradient.text):
            assert contrast(text, accent.area) >= 4.5
    for text in (theme.text, theme.muted, theme.gradient.text):
        assert contrast(text, theme.background) >= 4.5
        assert contrast(text, theme.frame_area) >= 4.5


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES.keys())
def test_lines_can_be_seen(theme: Theme) -> None:
    for accent in accents(theme):
        assert contrast(accent.line, theme.background) >= 3
        assert contrast(accent.line, theme.frame_area) >= 3


def test_the_themes_differ_in_colours_alone() -> None:
    light, dark = (viz.draw(lstm_cell(), theme=name) for name in ("light", "dark"))
    assert light.layout == dark.layout and light.model == dark.model
    assert "#ffffff" in light.svg and "#ffffff" not in dark.svg


def test_a_notebook_shows_the_svg() -> None:
    drawing = viz.draw(scalar_graph()["L"])
    bundle = drawing._repr_mimebundle_()
    assert bundle["image/svg+xml"] == drawing._repr_svg_() == drawing.svg
    assert bundle["text/plain"] == repr(drawing)
    assert "3 nodes" not in repr(drawing) and "7 nodes" in repr(drawing)
    assert scalar_graph()["L"]._repr_mimebundle_()["image/svg+xml"].startswith("<svg")


def test_shapes_of_long_sequences_are_all_there() -> None:
    drawing = viz.draw(sequence(steps=20, num_layers=2))
    assert len(groups(parsed(drawing), "node")) == len(drawing.model.nodes) > 500
    assert np.isfinite(drawing.layout.width)
