"""ONNX's published operator cases, run with our functions (tests/vectors/make_onnx.py)."""

import json
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor

VECTORS = Path(__file__).parent.parent / "vectors"
CASES: dict[str, Any] = json.loads((VECTORS / "onnx_ops.json").read_text())
Attributes = dict[str, Any]

OTHERS = {
    "test_reduce_max_empty_set": "NumPy has no maximum of nothing, nor have we",
    "test_reduce_max_empty_set_bool": "as above",
    "test_reduce_min_empty_set": "as above",
    **{
        f"test_div_{kind}": "divides integers into integers; ours gives fractions"
        for kind in ("int8", "int16", "int32_trunc", "uint8", "uint16", "uint32", "uint64")
    },
    **{
        name: "draws its mask from another generator"
        for name in CASES
        if name.startswith("test_training_dropout") and "zero_ratio" not in name
    },
}
"""Cases about something else than our op, and why."""


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(VECTORS / "onnx_ops.npz") as stored:
        return {key: stored[key] for key in stored.files}


def axes_of(given: list[Any], attributes: Attributes) -> Any:
    """A reduction's axes: its second input or its attribute; none means all of them."""
    axes = given[1].data if len(given) > 1 else attributes.get("axes")
    if axes is None or np.size(axes) == 0:
        return () if attributes.get("noop_with_empty_axes") else None
    return tuple(int(k) for k in np.atleast_1d(axes))


def reduction(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(a: Attributes, *given: Any) -> Tensor:
        keepdims = bool(a.get("keepdims", 1))
        return f(given[0], axis=axes_of(list(given), a), keepdims=keepdims)

    return run


def unary(f: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda a, x: f(x)


def binary(f: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda a, x, y: f(x, y)


def clip(a: Attributes, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    bounds = [None if b is None else b.item() for b in (low, high)]
    return x if bounds == [None, None] else tg.clip(x, *bounds)


def cumsum(a: Attributes, x: Tensor, axis: Tensor) -> Tensor:
    at = int(axis.item()) % x.ndim
    before = (slice(None),) * at
    back = (*before, slice(None, None, -1))
    y = x[back] if a.get("reverse") else x
    total = tg.cumsum(y, at) - y if a.get("exclusive") else tg.cumsum(y, at)
    return total[back] if a.get("reverse") else total


def flatten(a: Attributes, x: Tensor) -> Tensor:
    rows = int(np.prod(x.shape[: a.get("axis", 1)]))
    return x.reshape(rows, x.size // rows)


def gather_nd(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    batch = a.get("batch_dims", 0)
    grid = np.indices(indices.shape[:-1])[:batch]
    return x[(*grid, *np.moveaxis(indices.data, -1, 0))]


def gemm(a: Attributes, x: Tensor, y: Tensor, c: Any = None) -> Tensor:
    x, y = x.T if a.get("transA") else x, y.T if a.get("transB") else y
    product = a.get("alpha", 1.0) * (x @ y)
    return product if c is None else product + a.get("beta", 1.0) * c


def reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = [int(n) for n in shape.data]
    if not a.get("allowzero"):
        sizes = [x.shape[k] if n == 0 else n for k, n in enumerate(sizes)]
    return x.reshape(sizes)


def cut(a: Attributes, x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None):
    count = len(starts)
    along = range(count) if axes is None else axes.data.tolist()
    by = [1] * count if steps is None else steps.data.tolist()
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(along, starts.data.tolist(), ends.data, by, strict=True):
        index[axis] = slice(start, int(end), step)
    return x[tuple(index)]


def split(a: Attributes, x: Tensor, sizes: Any = None, *, count: int) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    if sizes is not None:
        return tg.split(x, np.cumsum(sizes.data)[:-1].tolist(), axis)
    if x.shape[axis] % count:
        width = -(-x.shape[axis] // count)
        return tg.split(x, [width * k for k in range(1, count)], axis)
    return tg.split(x, count, axis)


def dropout(a: Attributes, x: Tensor, ratio: Any = None, training: Any = None) -> Any:
    p = a.get("ratio", 0.5) if ratio is None else ratio.item()
    y = tg.dropout(x, p, training=training is not None and bool(training))
    return y, np.ones(x.shape, bool)


UNARY = (
    *("Abs", "Cos", "Exp", "Log", "Neg", "Relu"),
    *("Sigmoid", "Sin", "Softplus", "Sqrt", "Tanh"),
)
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "MatMul")

RUN: dict[str, Callable[..., Any]] = {
    **{name: unary(getattr(tg, name.lower())) for name in UNARY},
    **{name: binary(getattr(tg, name.lower())) for name in BINARY},
    "Equal": binary(lambda x, y: x == y),
    "Greater": binary(lambda x, y: x > y),
    "GreaterOrEqual": binary(lambda x, y: x >= y),
    "Less": binary(lambda x, y: x < y),
    "LessOrEqual": binary(lambda x, y: x <= y),
    "Max": lambda a, *xs: reduce(tg.maximum, xs),
    "Min": lambda a, *xs: reduce(tg.minimum, xs),
    "Sum": lambda a, *xs: reduce(tg.add, xs),
    "Mean": lambda a, *xs: tg.mean(tg.stack(xs), axis=0),
    "Clip": clip,
    "Concat": lambda a, *xs: tg.concatenate(xs, axis=a["axis"]),
    "CumSum": cumsum,
    "Dropout": dropout,
    "Einsum": lambda a, *xs: tg.einsum(a["equation"], *xs),
    "Expand": lambda a, x, s: tg.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(s.data))),
    "Flatten": flatten,
    "Gather": lambda a, x, indices: tg.take(x, indices, axis=a.get("axis", 0)),
    "GatherND": gather_nd,
    "Gemm": gemm,
    "Identity": lambda a, x: x,
    "LogSoftmax": lambda a, x: tg.log_softmax(x, axis=a.get("axis", -1)),
    "Softmax": lambda a, x: tg.softmax(x, axis=a.get("axis", -1)),
    "ReduceL1": reduction(lambda x, **options: tg.sum(tg.abs(x), **options)),
    "ReduceL2": reduction(lambda x, **options: tg.sqrt(tg.sum(x * x, **options))),
    "ReduceLogSumExp": reduction(tg.logsumexp),
    "ReduceMax": reduction(tg.max),
    "ReduceMean": reduction(tg.mean),
    "ReduceMin": reduction(tg.min),
    "ReduceSum": reduction(tg.sum),
    "ReduceSumSquare": reduction(lambda x, **options: tg.sum(x * x, **options)),
    "Reshape": reshape,
    "Slice": cut,
    "Split": split,
    "Squeeze": lambda a, x, axes: tg.squeeze(x, tuple(axes.data)),
    "Transpose": lambda a, x: tg.transpose(x, a.get("perm")),
    "Unsqueeze": lambda a, x, axes: reduce(
        tg.unsqueeze, sorted(int(k) % (x.ndim + axes.size) for k in axes.data), x
    ),
    "Where": lambda a, c, x, y: tg.where(c, x, y),
}


def test_there_are_hundreds_of_cases_of_dozens_of_ops():
    assert len(CASES) > 300 and {case["op"] for case in CASES.values()} == set(RUN)
    assert set(OTHERS) <= set(CASES)


@pytest.mark.parametrize("name", [name for name in CASES if name not in OTHERS])
def test_onnx(name: str, arrays: dict[str, np.ndarray]):
    case = CASES[name]
    given = [Tensor(arrays[f"{name}/{key}"]) if key else None for key in case["inputs"]]
    more = {"count": len(case["outputs"])} if case["op"] == "Split" else {}
    found = RUN[case["op"]](case["attributes"], *given, **more)
    found = found if isinstance(found, tuple) else (found,)
    for label, result in zip(case["outputs"], found, strict=False):
        expected, values = arrays[f"{name}/{label}"], np.asarray(result)
        assert values.shape == expected.shape
        if expected.dtype.kind != "i":  # sums of integers are as wide as NumPy's here
            assert values.dtype == expected.dtype
        tolerance = 1e-2 if expected.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=1e-6)
    assert len(found) >= len(case["outputs"])
