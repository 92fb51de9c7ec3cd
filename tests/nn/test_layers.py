"""Linear, Embedding, LayerNorm, Dropout, Sequential, and how parameters start."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn
from tinygrad_lstm.nn import init

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "torch_layers.json").read_text())
TOLERANCES = {"float32": 2e-5, "float64": 1e-12}
untyped: Any = nn  # for calls with wrong types, past the type checker


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['layer']} {c['options']}")
def test_outputs_and_gradients_are_pytorchs(case, dtype):
    tolerance = TOLERANCES[dtype]
    layer = getattr(nn, case["layer"])(*case["arguments"], **case["options"], dtype=dtype)
    layer.load_state_dict(case["state"])
    given = np.array(case["input"])
    floating = given.dtype.kind == "f"
    x = tg.tensor(given.astype(dtype) if floating else given, requires_grad=floating)
    y = layer(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.data, case["output"], rtol=tolerance, atol=tolerance)
    tg.cos(y).sum().backward()
    found = {name: np.asarray(p.grad) for name, p in layer.named_parameters()}
    expected = dict(case["gradients"])
    if floating:
        found["x"], expected["x"] = np.asarray(x.grad), case["input_gradient"]
    assert found.keys() == expected.keys()
    for name, g in found.items():
        np.testing.assert_allclose(g, expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


# -- Linear -----------------------------------------------------------------------------------


def test_linear_starts_within_one_over_the_root_of_its_inputs():
    layer = nn.Linear(16, 400, rng=0)
    for p in layer.parameters():
        assert p.dtype == np.float32 and np.abs(p.data).max() <= 0.25
        assert np.abs(p.data).max() > 0.24 and abs(p.data.mean()) < 0.02


def test_linear_takes_lists_and_refuses_other_widths():
    layer = nn.Linear(2, 3, rng=0)
    assert layer([[1.0, 2.0]]).shape == (1, 3)
    with pytest.raises(tg.ShapeError, match=r"x must be \(\.\.\., 2\), got \(2, 3\)"):
        layer(np.zeros((2, 3)))
    with pytest.raises(tg.ShapeError, match="x must be"):
        layer(1.0)


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_must_be_positive(size):
    for make in (
        lambda: nn.Linear(size, 1),
        lambda: nn.Linear(1, size),
        lambda: nn.Embedding(size, 1),
        lambda: nn.LayerNorm(size),
    ):
        with pytest.raises(ValueError, match=f"positive integer, got {size}"):
            make()


def test_sizes_must_be_integers():
    for size in (1.5, "2", True, None):
        with pytest.raises(TypeError, match="in_features must be a positive integer"):
            untyped.Linear(size, 1)
    with pytest.raises(tg.DTypeError, match="floating-point, got int64"):
        nn.Linear(1, 1, dtype=np.int64)


# -- Embedding --------------------------------------------------------------------------------


def test_the_padding_row_starts_at_zero_and_gets_no_gradient():
    layer = nn.Embedding(4, 3, padding_idx=-2, rng=0)
    assert layer.padding_idx == 2 and (layer.weight.data[2] == 0).all()
    layer([[2, 0], [0, 2]]).sum().backward()
    assert layer.weight.grad is not None
    np.testing.assert_array_equal(layer.weight.grad.data, np.outer([2, 0, 0, 0], [1, 1, 1]))


def test_embedding_refuses_what_is_no_row():
    layer = nn.Embedding(3, 2, rng=0)
    with pytest.raises(IndexError, match=r"Embedding: .*indices from 3 to 3"):
        layer([3])
    with pytest.raises(IndexError, match="from 0 to 2, got -1"):
        layer([-1])
    with pytest.raises(tg.DTypeError, match="integers"):
        layer([0.5])
    with pytest.raises(ValueError, match=r"padding_idx must be in \[-3, 3\), got 3"):
        nn.Embedding(3, 2, padding_idx=3)


# -- LayerNorm --------------------------------------------------------------------------------


def test_layer_norm_gives_mean_zero_and_variance_one():
    x = np.random.default_rng(0).normal(5.0, 3.0, (4, 50))
    y = nn.LayerNorm(50, eps=0.0, dtype=np.float64)(x).data
    np.testing.assert_allclose(y.mean(1), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.var(1), 1.0, rtol=1e-12)


def test_layer_norm_holds_to_second_order():
    layer = nn.LayerNorm((2, 3), dtype=np.float64)
    x = tg.tensor(np.random.default_rng(1).normal(size=(2, 2, 3)), requires_grad=True)
    assert tg.gradcheck(layer, x)


def test_layer_norm_refuses_other_shapes():
    with pytest.raises(tg.ShapeError, match=r"x must be \(\.\.\., 2, 3\), got \(3, 2\)"):
        nn.LayerNorm((2, 3))(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="at least one axis"):
        nn.LayerNorm(())
    with pytest.raises(ValueError, match="eps"):
        nn.LayerNorm(2, eps=-1.0)


# -- Dropout and randomness -------------------------------------------------------------------


def test_dropout_zeros_a_share_p_and_scales_the_rest():
    y = nn.Dropout(0.25, rng=0)(np.ones(20_000, np.float32)).data
    assert set(np.unique(y)) == {np.float32(0.0), np.float32(1.0) / np.float32(0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01


def test_dropout_out_of_training_is_the_identity():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert nn.Dropout(0.9).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropout_draws_anew_at_each_call():
    layer, x = nn.Dropout(0.5, rng=0), np.ones(64)
    assert (layer(x).data != layer(x).data).any()


def test_dropout_refuses_a_p_that_is_no_share():
    for p in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"p must be a number in \[0, 1\)"):
            nn.Dropout(p)


def test_manual_seed_repeats_initial_values_and_dropout():
    def run() -> list[np.ndarray]:
        tg.manual_seed(7)
        model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 4), nn.Dropout(0.5))
        out = model([1, 2, 3])
        return [*model.state_dict().values(), out.data, tg.dropout(np.ones(30), 0.5).data]

    for one, other in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_generator_or_seed_of_its_own_leaves_the_default_alone():
    def after(make) -> float:
        tg.manual_seed(3)
        make()
        return nn.Linear(1, 1).weight.item()

    untouched = after(lambda: None)
    assert after(lambda: nn.Linear(5, 5, rng=1)) == untouched
    assert after(lambda: nn.Dropout(0.5, rng=1)(np.ones(9))) == untouched
    assert after(lambda: nn.Linear(5, 5)) != untouched
    one = nn.Linear(5, 5, rng=np.random.default_rng(1)).weight.data
    np.testing.assert_array_equal(one, nn.Linear(5, 5, rng=1).weight.data)


def test_seeds_are_non_negative_integers():
    for seed in (1.5, "1", True, None):
        with pytest.raises(TypeError, match="seed must be a non-negative integer"):
            untyped_seed(seed)
    with pytest.raises(ValueError, match="got -1"):
        tg.manual_seed(-1)
    with pytest.raises(TypeError, match="rng must be"):
        untyped.Linear(1, 1, rng="1")


def untyped_seed(seed: Any) -> None:
    tg.manual_seed(seed)


# -- Sequential and ModuleList ----------------------------------------------------------------


def test_sequential_calls_one_after_another():
    parts = [nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1), nn.ReLU(), nn.Sigmoid()]
    model, x = nn.Sequential(*parts), np.ones((2, 3), np.float32)
    hidden = np.tanh(x @ parts[0].weight.data.T + parts[0].bias.data)
    out = np.maximum(hidden @ parts[2].weight.data.T + parts[2].bias.data, 0)
    np.testing.assert_allclose(model(x).data, 1 / (1 + np.exp(-out)), rtol=1e-6)
    assert list(model) == parts and len(model) == 5 and model[-1] is parts[4]
    assert list(model[1:3]) == parts[1:3] and isinstance(model[1:3], nn.Sequential)


def test_sequential_takes_names_and_an_empty_one_is_the_identity():
    model = nn.Sequential({"encode": nn.Linear(2, 1, rng=0), "squash": nn.Tanh()})
    assert [name for name, _ in model.named_parameters()] == ["encode.weight", "encode.bias"]
    x = tg.tensor([1.0])
    assert nn.Sequential()(x) is x


def test_module_list_registers_its_parts():
    parts = nn.ModuleList([nn.Linear(1, 2)])
    parts.append(nn.Linear(2, 3)).extend([nn.Tanh()])
    assert list(parts.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(TypeError, match="expected a Module, got int"):
        untyped.ModuleList([3])
    with pytest.raises(IndexError, match="no part 3 among 3"):
        parts[3]


# -- init -------------------------------------------------------------------------------------


def _blank(*shape: int) -> tg.Parameter:
    return tg.Parameter(np.full(shape, np.nan, np.float32))


def test_uniform_fills_fill_their_interval():
    fans = {"in": 30 * 2, "out": 40 * 2}  # a (40, 30, 2) weight: the last axis is a field
    gain = math.sqrt(2.0 / (1 + 0.3**2))
    for fill, bound in (
        (lambda t: init.uniform_(t, -2.0, 2.0, rng=0), 2.0),
        (lambda t: init.xavier_uniform_(t, 3.0, rng=0), 3 * math.sqrt(6 / (60 + 80))),
        (lambda t: init.kaiming_uniform_(t, rng=0), math.sqrt(6 / fans["in"])),
        (
            lambda t: init.kaiming_uniform_(t, 0.3, "fan_out", rng=0),
            gain * math.sqrt(3 / fans["out"]),
        ),
    ):
        t = _blank(40, 30, 2)
        assert fill(t) is t and t.dtype == np.float32
        assert 0.99 * bound < np.abs(t.data).max() <= bound * (1 + 1e-6)
        assert t.data.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_normal_fills_have_their_mean_and_deviation():
    for fill, mean, std in (
        (lambda t: init.normal_(t, 1.5, 0.2, rng=0), 1.5, 0.2),
        (lambda t: init.xavier_normal_(t, 2.0, rng=0), 0.0, 2 * math.sqrt(2 / 140)),
        (
            lambda t: init.kaiming_normal_(t, nonlinearity="relu", rng=0),
            0.0,
            math.sqrt(2 / 60),
        ),
    ):
        t = fill(_blank(40, 30, 2))
        assert t.data.mean() == pytest.approx(mean, abs=4 * std / math.sqrt(t.size))
        assert t.data.std() == pytest.approx(std, rel=0.05)


def test_constant_fills_are_constant():
    assert (init.zeros_(_blank(2, 2)).data == 0).all()
    assert (init.ones_(_blank(2)).data == 1).all()
    assert (init.constant_(_blank(), 0.5).data == 0.5).all()


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (4, 3, 2)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    q = init.orthogonal_(tg.Parameter(np.empty(shape)), 2.0, rng=0).data.reshape(shape[0], -1)
    gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


def test_gains_are_the_published_ones():
    gains = {"linear": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    for name, gain in gains.items():
        assert init.calculate_gain(name) == gain
    assert init.calculate_gain("leaky_relu", 1.0) == 1.0
    with pytest.raises(ValueError, match="'swish'"):
        init.calculate_gain("swish")


def test_fills_refuse_what_has_no_fans():
    for fill in (init.xavier_normal_, init.kaiming_uniform_, init.orthogonal_):
        with pytest.raises(tg.ShapeError, match=r"two axes.*got \(3,\)"):
            fill(_blank(3))
    with pytest.raises(ValueError, match="mode"):
        init.kaiming_uniform_(_blank(2, 2), mode="fan")
    with pytest.raises(ValueError, match="a must be at most b"):
        init.uniform_(_blank(2), 1.0, 0.0)
    with pytest.raises(ValueError, match="std"):
        init.normal_(_blank(2), 0.0, -1.0)
