"""A picture in words, for people who hear it instead of seeing it."""

from __future__ import annotations

from collections import Counter

from .model import Model, Node
from .text import plain, shape_text

__all__ = ["describe", "label_of"]

_COMPARED = "greater", "greater_equal", "equal", "not_equal"
INFIX = frozenset(("add", "sub", "mul", "div", "pow", "matmul", *_COMPARED))

LONGEST = 40
"""Parts that are listed one by one; the others are counted."""


def label_of(node: Node) -> str:
    """A node in one phrase: `f_t = σ, shape (8, 4)`."""
    symbol = operation_text(node)
    parts = [f"{node.name} = {symbol}" if node.name and symbol else node.name or symbol or "value"]
    parts += [text for text in (node.caption, node.origin) if text]
    if node.shape:
        parts.append(f"shape {shape_text(node.shape)}")
    if node.dtype:
        parts.append(node.dtype)
    if node.parameters and node.kind == "box":
        parts.append("with " + ", ".join(node.parameters))
    if node.reads:
        parts.append("reading " + ", ".join(node.reads))
    if node.shared:
        parts.append("shared")
    return plain(", ".join(parts))


def operation_text(node: Node) -> str:
    """The symbol with the operands that are no nodes of their own: `1 -`, `@ W`."""
    before, after = operands_around(node)
    symbol = f"gradient of {node.symbol}" if node.is_backward and node.symbol else node.symbol
    return " ".join([*before, symbol, *after])


def operands_around(node: Node) -> tuple[list[str], list[str]]:
    """Undrawn operands left and right of the symbol; a function's are all on the right."""
    if node.op not in INFIX:
        return [], [text for text in node.operands if text]
    drawn = next((k for k, text in enumerate(node.operands) if text is None), 0)
    before = [text for text in node.operands[:drawn] if text]
    return before, [text for text in node.operands[drawn:] if text]


def describe(model: Model) -> str:
    """What goes in, what each scope computes, and what comes out."""
    inputs = [label_of(n) for n in model.nodes if n.kind in ("input", "parameter")]
    outputs = [label_of(n) for n in model.nodes if n.kind == "output" or n.is_output]
    parts = [plain(model.title) + "."]
    if inputs:
        parts.append(f"In: {_listed(inputs)}.")
    scopes: dict[str, list[str]] = {}
    names = {c.id: c.path.removeprefix(model.title + "/") for c in model.clusters}
    for node in model.nodes:
        if node.kind in ("op", "box") and node.cluster is not None:
            label = operation_text(node) + (f" gives {node.name}" if node.name else "")
            scopes.setdefault(names[node.cluster], []).append(plain(label))
    spoken = [f"{plain(path)}: {_listed(ops)}" for path, ops in scopes.items()]
    parts += [f"{sentence}." for sentence in spoken[:LONGEST]]
    if len(spoken) > LONGEST:
        parts.append(f"And {len(spoken) - LONGEST} more scopes.")
    if outputs:
        parts.append(f"Out: {_listed(outputs)}.")
    return " ".join(parts)


def _listed(items: list[str]) -> str:
    counted = [f"{text} ({n} times)" if n > 1 else text for text, n in Counter(items).items()]
    more = f" and {len(counted) - LONGEST} more" if len(counted) > LONGEST else ""
    return "; ".join(counted[:LONGEST]) + more
