"""What the tests of pictures share: small recorded graphs, and ways to read a picture."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

import tinygrad_lstm as tg
from viz import Drawing, Model

SVG = "{http://www.w3.org/2000/svg}"


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def lstm_cell(**options: Any) -> tuple[tg.Tensor, tg.Tensor]:
    """h_t and c_t of one LSTM cell with a batch of 2, 3 inputs and 4 units."""
    cell = tg.nn.LSTMCell(3, 4, rng=0, **options)
    state = (rng().normal(size=(2, 4)).astype("f4"), rng().normal(size=(2, 4)).astype("f4"))
    return cell(rng().normal(size=(2, 3)).astype("f4"), state)


def sequence(kind: Any = None, steps: int = 3, **options: Any) -> Any:
    """What a recurrent layer returns for a few steps, every op of them recorded."""
    layer = (kind or tg.nn.LSTM)(3, 4, rng=0, **options)
    return layer(rng().normal(size=(steps, 2, 3)).astype("f4"), unroll=True)


def scalar_graph() -> dict[str, tg.Tensor]:
    """L = (a b + c) f, with every part named."""
    values = {"a": 2.0, "b": -3.0, "c": 10.0, "f": -2.0}
    leaves = {k: tg.tensor(v, requires_grad=True, name=k) for k, v in values.items()}
    e = (leaves["a"] * leaves["b"]).named("e")
    d = (e + leaves["c"]).named("d")
    return {**leaves, "e": e, "d": d, "L": (d * leaves["f"]).named("L")}


def labels(model: Model) -> dict[str, str]:
    """A readable name for each node: `forget gate/σ`, `c_t (output)`, `a`."""
    scopes = {cluster.id: cluster.name for cluster in model.clusters}
    return {
        node.id: f"{scopes[node.cluster]}/{node.symbol or node.name}"
        if node.cluster
        else f"{node.name or node.symbol} ({node.kind})"
        for node in model.nodes
    }


def edges(model: Model) -> list[tuple[str, str]]:
    """The edges by readable names, sorted."""
    names = labels(model)
    return sorted((names[edge.tail], names[edge.head]) for edge in model.edges)


def contents(model: Model) -> dict[str, list[str]]:
    """For each cluster's name, the symbols in it."""
    return {
        cluster.name: sorted(n.symbol or n.name or "" for n in model.members(cluster))
        for cluster in model.clusters
    }


def parsed(drawing: Drawing) -> ET.Element:
    """The SVG as XML."""
    return ET.fromstring(drawing.svg)


def texts(root: ET.Element) -> list[str]:
    """Every line of text in an SVG, sub- and superscripts included."""
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def groups(root: ET.Element, kind: str) -> dict[str, ET.Element]:
    """The groups of a class, by identifier."""
    found = [g for g in root.iter(f"{SVG}g") if kind in g.get("class", "").split()]
    return {g.get("data-id", ""): g for g in found}


def dot_edges(dot: str) -> set[tuple[str, str]]:
    """Tail and head of every edge in a DOT text."""
    return set(re.findall(r'^\s*"?([\w.]+)"? -> "?([\w.]+)"?', dot, flags=re.MULTILINE))
