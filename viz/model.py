"""The drawing model: what a picture says, as plain data without positions, colours or Graphviz.

Every identifier comes from the order of recording, so the same computation gives the same model in
every process. `views` makes models of recorded graphs, `dot` and `svg` draw them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

__all__ = ["Cell", "Cluster", "Edge", "Model", "Node", "Summary", "summarize"]

FEW = 4
"""Arrays of up to so many elements are shown whole."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A value or a gradient: the elements themselves if they are few, else their range."""

    shape: tuple[int, ...]
    mean: float
    low: float
    high: float
    elements: tuple[float, ...] | None = None


def summarize(array: np.ndarray[Any, Any]) -> Summary | None:
    """The summary of an array; None if it has no elements."""
    if array.size == 0:
        return None
    exact = array.astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        mean, low, high = (float(f(exact)) for f in (np.mean, np.min, np.max))
    few = tuple(exact.ravel().tolist()) if array.size <= FEW else None
    return Summary(array.shape, mean, low, high, few)


@dataclass(slots=True)
class Node:
    """Something that is drawn.

    kind: "op"; "box", a folded scope or a backward rule; "input", "parameter" or "constant",
    leaves; "output", a terminal that stands for a value leaving the picture. caption: what it is in
    words. origin: what an input was taken from, such as `x[2]`. operands: what an op takes that is
    no node of its own, by input position, None where an edge comes in. parameters: the names of
    those used inside. reads: the names of forward values from elsewhere that a backward rule
    multiplies with. shared: the parameter is drawn in other clusters too.
    """

    id: str
    kind: str
    symbol: str
    name: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    cluster: str | None = None
    caption: str | None = None
    origin: str | None = None
    op: str | None = None
    operands: tuple[str | None, ...] = ()
    parameters: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    value: Summary | None = None
    grad: Summary | None = None
    requires_grad: bool = False
    is_backward: bool = False
    is_output: bool = False
    shared: bool = False
    where: str | None = None


@dataclass(slots=True)
class Edge:
    """A value on its way. position: which input of the head it is (None into a box or terminal).

    role: "long-term memory", "short-term memory" or "input feature" where the edge carries that,
    "output" into the terminal of one, else "".
    """

    tail: str
    head: str
    name: str | None = None
    position: int | None = None
    role: str = ""
    is_backward: bool = False
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """An open scope; `parent` is the cluster around it, `path` the names from the outermost in."""

    id: str
    name: str
    path: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One application of a recurrent cell: the cluster it is drawn in (None: the whole picture).

    folded: it is one box, and `cluster` is what that stands in.
    """

    cluster: str | None
    path: str
    nodes: tuple[str, ...]
    folded: bool = False


@dataclass(slots=True)
class Model:
    """A whole picture; `cells` in the order of recording, `heading` a title somebody gave."""

    view: str
    title: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    clusters: list[Cluster] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    description: str = ""
    heading: str | None = None

    def node(self, ident: str) -> Node:
        """The node called `ident`. Raises KeyError if there is none."""
        for node in self.nodes:
            if node.id == ident:
                return node
        raise KeyError(ident)

    def cluster_named(self, name: str) -> Cluster:
        """The first cluster of that scope name. Raises KeyError if there is none."""
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        raise KeyError(name)

    def members(self, cluster: Cluster | None) -> list[Node]:
        """The nodes that stand directly in a cluster, or in none."""
        ident = None if cluster is None else cluster.id
        return [node for node in self.nodes if node.cluster == ident]

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON can hold it; fields that say nothing are left out."""
        return {
            "view": self.view,
            "title": self.title,
            "description": self.description,
            "nodes": _records(self.nodes),
            "edges": _records(self.edges),
            "clusters": _records(self.clusters),
        }


def _records(items: Iterable[Any]) -> list[dict[str, Any]]:
    return [
        {k: _plain(v) for k, v in asdict(item).items() if k == "shape" or not _says_nothing(v)}
        for item in items
    ]


def _plain(value: Any) -> Any:
    """A value as JSON knows it: NaN and infinities become text."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not _says_nothing(v)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _says_nothing(value: object) -> bool:
    return value is None or value is False or value in ("", ())
