"""LSTM, GRU and RNN give PyTorch's outputs and gradients, and exchange state files with it.

The numbers are PyTorch's own, written by vectors/make_torch_recurrent.py.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import tinygrad_lstm as tg
from tinygrad_lstm import Tensor, nn

VECTORS = Path(__file__).parents[1] / "vectors"
TORCH_LSTM = VECTORS / "torch_lstm.safetensors"
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}

with safe_open(VECTORS / "torch_recurrent.safetensors", "numpy") as stored:
    GRID = json.loads(stored.metadata()["grid"])
    SIZES = json.loads(stored.metadata()["sizes"])
    NUMBERS = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no dict

Shapes = dict[str, list[int]]


def label(model: dict[str, Any]) -> str:
    options = (f"{k}={v}" for k, v in model["options"].items())
    return f"{model['kind']} {' '.join(options)}"


MODELS = [pytest.param(k, model, id=label(model)) for k, model in enumerate(GRID)]


def taken_apart(values: np.ndarray, shapes: Shapes) -> dict[str, np.ndarray]:
    """A flat array as the named arrays it was made of."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    assert ends[-1] == values.size
    parts = np.split(values, ends[:-1])
    return {name: p.reshape(shapes[name]) for name, p in zip(shapes, parts, strict=True)}


def case_numbers(number: int, k: int) -> dict[str, np.ndarray]:
    """Inputs and outputs of a case by name, and gradients under `d ` and the name."""
    model, given = GRID[number], GRID[number]["cases"][k]["shapes"]
    inputs = {name: shape for name, shape in given.items() if name in ("x", "h_0", "c_0")}
    slopes = {f"d {name}": shape for name, shape in (inputs | model["shapes"]).items()}
    return taken_apart(NUMBERS[f"{number}.{k}"], given | slopes)


def loss_of(outputs: dict[str, Tensor]) -> Tensor:
    total = tg.tensor(0.0, dtype=outputs["y"].dtype)
    for k, t in enumerate(outputs.values(), 1):
        total = total + tg.cos(k * t).sum()
    return total


def made(number: int, dtype: str, **options: Any) -> Any:
    model = GRID[number]
    module = KINDS[model["kind"]](**SIZES, **model["options"], dtype=dtype, **options)
    module.load_state_dict(taken_apart(NUMBERS[str(number)], model["shapes"]))
    return module


def test_the_grid_holds_every_option_with_every_other():
    def combinations(kind: str, *names: str) -> int:
        rows = [
            {**m["options"], **c, "lengths": bool(c["lengths"])}
            for m in GRID
            for c in m["cases"]
            if m["kind"] == kind and m["options"].get("nonlinearity") is None
        ]
        return len({tuple(row.get(n) for n in names) for row in rows})

    common = ("num_layers", "bidirectional", "bias", "batch_first", "lengths")
    assert combinations("LSTM", *common, "proj_size") == 64
    assert combinations("GRU", *common) == combinations("RNN", *common) == 32


@pytest.mark.parametrize("unroll", [False, True], ids=["compiled", "unrolled"])
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("number", "model"), MODELS)
def test_outputs_and_all_gradients_are_pytorchs(number, model, dtype, unroll):
    for k, case in enumerate(model["cases"]):
        expected = case_numbers(number, k)
        module = made(number, dtype, batch_first=case["batch_first"])
        inputs = {
            name: tg.tensor(expected[name].astype(dtype), requires_grad=True)
            for name in ("x", "h_0", "c_0")
            if name in expected
        }
        x, *state = inputs.values()
        initial = tuple(state) if len(state) == 2 else state[0]
        y, final = module(x, initial, case["lengths"], unroll=unroll)
        final = final if isinstance(final, tuple) else (final,)
        outputs = {"y": y, **dict(zip(("h_n", "c_n"), final, strict=False))}
        leaves = inputs | dict(module.named_parameters())
        gradients = tg.grad(loss_of(outputs), list(leaves.values()))
        found = outputs | {f"d {n}": g for n, g in zip(leaves, gradients, strict=True)}
        assert {*inputs, *found} == expected.keys()
        for name, t in found.items():
            assert t.dtype == dtype
            np.testing.assert_allclose(
                t.data,
                expected[name],
                rtol=TOLERANCES[dtype],
                atol=TOLERANCES[dtype],
                err_msg=f"{name}, {case}",
            )


# -- parameters and files -------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "model"), MODELS)
def test_state_dicts_have_pytorchs_names_order_and_shapes(number, model):
    state = made(number, "float32").state_dict()
    assert [(n, list(a.shape)) for n, a in state.items()] == list(model["shapes"].items())


def lstm_of_the_file(**options: Any) -> nn.LSTM:
    return nn.LSTM(2, 3, num_layers=2, bidirectional=True, proj_size=2, **options)


def test_a_file_that_pytorch_saved_loads_as_it_is():
    lstm = lstm_of_the_file()
    assert lstm.load_state_dict(tg.load(TORCH_LSTM)) == ((), ())
    state = load_file(TORCH_LSTM)
    for name, p in lstm.named_parameters():
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p.data, state.pop(name))
    assert not state


def test_a_file_that_we_save_holds_the_tensors_of_pytorchs(tmp_path):
    lstm = lstm_of_the_file()
    lstm.load_state_dict(tg.load(TORCH_LSTM))
    tg.save(tmp_path / "ours.safetensors", lstm)
    ours, theirs = load_file(tmp_path / "ours.safetensors"), load_file(TORCH_LSTM)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        assert ours[name].dtype == values.dtype
        np.testing.assert_array_equal(ours[name], values)


def test_a_file_of_another_network_is_refused_with_all_that_differs():
    lstm = nn.LSTM(2, 3, num_layers=2, bidirectional=True, peephole=True)
    before = lstm.state_dict()
    with pytest.raises(ValueError, match="weight_ci_l0") as error:
        lstm.load_state_dict(tg.load(TORCH_LSTM))
    for text in ("weight_hr_l1_reverse", "weight_hh_l0", r"(12, 3)", r"(12, 2)"):
        assert text in str(error.value)
    for name, values in lstm.state_dict().items():
        np.testing.assert_array_equal(values, before[name])
