"""ONNX's published cases of LSTM, GRU and RNN (tests/vectors/make_onnx.py).

ONNX stacks its gates as i, o, f, c (LSTM) and z, r, h (GRU), puts directions first, and joins the
two biases. Its default GRU resets the hidden state before the product, PyTorch's and ours after.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_lstm import nn

VECTORS = Path(__file__).parent.parent / "vectors"
CASES: dict[str, Any] = json.loads((VECTORS / "onnx_recurrent.json").read_text())

OURS = {"LSTM": ("iofc", "ifco"), "GRU": ("zrh", "rzh"), "RNN": ("h", "h")}
"""Each op's gates in ONNX's order and in ours; c is the candidate g, h the GRU's n."""

OTHERS = {"test_gru_seq_length": "resets before the product, which its weights can tell apart"}

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def stored() -> Arrays:
    with np.load(VECTORS / "onnx_recurrent.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def in_our_order(op: str, rows: np.ndarray) -> np.ndarray:
    theirs, ours = OURS[op]
    parts = dict(zip(theirs, np.split(rows, len(theirs)), strict=True))
    return np.concatenate([parts[gate] for gate in ours])


def build(op: str, given: Arrays, hidden_size: int, directions: int) -> Any:
    options: dict[str, Any] = {"peephole": True} if "P" in given else {}
    layer = getattr(nn, op)(
        given["X"].shape[-1], hidden_size, bidirectional=directions == 2, **options
    )
    for k, suffix in enumerate(["l0", "l0_reverse"][:directions]):
        state = {"weight_ih": given["W"][k], "weight_hh": given["R"][k]}
        both = given["B"][k] if "B" in given else np.zeros(2 * len(given["W"][k]), np.float32)
        state["bias_ih"], state["bias_hh"] = np.split(both, 2)
        for name, values in state.items():
            getattr(layer, f"{name}_{suffix}").data = in_our_order(op, values)
        if "P" in given:
            for letter, values in zip("iof", np.split(given["P"][k], 3), strict=True):
                getattr(layer, f"weight_c{letter}_{suffix}").data = values
    return layer


def run(op: str, given: Arrays, attributes: dict[str, Any], unroll: bool) -> Arrays:
    """What our layer gives, in ONNX's layout."""
    direction = attributes.get("direction", "forward")
    batch_first, directions = attributes.get("layout", 0) == 1, len(given["W"])
    layer = build(op, given, attributes["hidden_size"], directions)
    x = given["X"].swapaxes(0, 1) if batch_first else given["X"]
    x = x[::-1] if direction == "reverse" else x
    initial = [given[key] for key in ("initial_h", "initial_c") if key in given]
    state = tuple(initial) if op == "LSTM" and initial else (initial[0] if initial else None)
    y, final = layer(x, state, lengths=given.get("sequence_lens"), unroll=unroll)
    h, *c = (t.numpy() for t in (final if isinstance(final, tuple) else (final,)))
    steps = y.numpy().reshape(*y.shape[:2], directions, -1).swapaxes(1, 2)
    steps = steps[::-1] if direction == "reverse" else steps
    if batch_first:
        steps, h = steps.transpose(2, 0, 1, 3), h.swapaxes(0, 1)
    return {"Y": steps, "Y_h": h, **({"Y_c": c[0]} if c else {})}


def test_every_kind_of_case_is_there():
    assert {case["op"] for case in CASES.values()} == set(OURS)
    assert {"test_lstm_defaults", "test_lstm_with_initial_bias", "test_lstm_with_peepholes"} <= set(
        CASES
    )


@pytest.mark.parametrize("unroll", [False, True], ids=["compiled", "unrolled"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in OTHERS])
def test_onnx(name: str, unroll: bool, stored: Arrays):
    case = CASES[name]
    given = {key: stored[f"{name}/{key}"] for key in case["inputs"] if key}
    if "sequence_lens" in given and name == "test_lstm_with_peepholes":
        assert (given["sequence_lens"] == len(given["X"])).all()
    found = run(case["op"], given, case["attributes"], unroll)
    for label in filter(None, case["outputs"]):
        expected = stored[f"{name}/{label}"]
        assert found[label].shape == expected.shape and found[label].dtype == np.float32
        np.testing.assert_allclose(found[label], expected, rtol=1e-5, atol=1e-6)
