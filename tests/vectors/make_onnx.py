"""Store ONNX's published operator test cases for the ops and the recurrent layers we have.

Run it where `onnx` is installed; the tests need only the files it leaves beside itself:
`onnx_ops` and `onnx_recurrent`, each a .json (what each case calls, with which attributes) and a
.npz (its inputs and outputs). Usage: python tests/vectors/make_onnx.py
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

HERE = Path(__file__).parent

OPS = [
    "Abs", "Add", "Clip", "Concat", "Cos", "CumSum", "Div", "Dropout", "Einsum", "Equal", "Exp",
    "Expand", "Flatten", "Gather", "GatherND", "Gemm", "Greater", "GreaterOrEqual", "Identity",
    "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "Mean", "Min", "Mul", "Neg",
    "Pow", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Sigmoid", "Sin", "Slice", "Softmax",
    "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze",
    "Where",
]
RECURRENT = ["LSTM", "GRU", "RNN"]

KINDS = "fiub"
LARGEST = 3000
"""Elements in all arrays of a case; the few beyond it repeat a smaller case."""


def attribute(given: AttributeProto) -> Any:
    value = helper.get_attribute_value(given)
    if isinstance(value, bytes):
        return value.decode()
    if given.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(value).tolist()
    return list(value) if given.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def usable(case: Any) -> bool:
    """One plain node, with arrays of numbers only, that keeps to its inputs' dtype family."""
    nodes = case.model.graph.node
    if len(nodes) != 1 or nodes[0].op_type not in OPS + RECURRENT or "expanded" in case.name:
        return False
    if not case.data_sets or len(case.data_sets) != 1:
        return False
    given = [a for side in case.data_sets[0] for a in side]
    if not all(isinstance(a, np.ndarray | np.generic) and a.dtype.kind in KINDS for a in given):
        return False
    arrays = [np.asarray(a) for a in given]
    return sum(a.size for a in arrays) <= LARGEST


def store(name: str, cases: list[Any]) -> None:
    calls: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for case in sorted(cases, key=lambda c: c.name):
        node = case.model.graph.node[0]
        given, expected = case.data_sets[0]
        calls[case.name] = {
            "op": node.op_type,
            "attributes": {a.name: attribute(a) for a in node.attribute},
            "inputs": list(node.input),
            "outputs": list(node.output),
            "opset": case.model.opset_import[0].version,
        }
        for label, values in zip((n for n in node.input if n), given, strict=True):
            arrays[f"{case.name}/{label}"] = values
        for label, values in zip((n for n in node.output if n), expected, strict=True):
            arrays[f"{case.name}/{label}"] = values
    (HERE / f"{name}.json").write_text(json.dumps(calls, indent=1) + "\n")
    np.savez_compressed(HERE / f"{name}.npz", allow_pickle=False, **arrays)
    print(f"{name}: {len(calls)} cases of {len({c['op'] for c in calls.values()})} ops")


def main() -> None:
    np.random.seed(0)  # the cases draw their inputs from NumPy's global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for case in collect_testcases(None) if usable(case)]
    recurrent = [c for c in cases if c.model.graph.node[0].op_type in RECURRENT]
    store("onnx_recurrent", recurrent)
    store("onnx_ops", [c for c in cases if c not in recurrent])


if __name__ == "__main__":
    main()
