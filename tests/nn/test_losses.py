"""Losses against PyTorch's numbers, against formulas in plain NumPy, and at their edges."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lstm as tg
from tinygrad_lstm import nn

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "torch_losses.json").read_text())
TOLERANCES = {"float32": 2e-5, "float64": 1e-12}
MODULES = {
    "mse_loss": nn.MSELoss,
    "l1_loss": nn.L1Loss,
    "huber_loss": nn.HuberLoss,
    "binary_cross_entropy_with_logits": nn.BCEWithLogitsLoss,
    "cross_entropy": nn.CrossEntropyLoss,
    "nll_loss": nn.NLLLoss,
}


def _name(case: dict[str, Any]) -> str:
    options = case["options"]
    return f"{case['loss']} of {np.shape(case['input'])} with {options}"


def _target(case: dict[str, Any], dtype: str) -> np.ndarray:
    classes = case["loss"] in ("cross_entropy", "nll_loss")
    return np.array(case["target"], np.int64 if classes else dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_every_loss_and_its_gradient_are_pytorchs(dtype):
    for case in CASES:
        x = tg.tensor(np.array(case["input"], dtype), requires_grad=True)
        loss = getattr(nn, case["loss"])(x, _target(case, dtype), **case["options"])
        assert loss.dtype == dtype and loss.shape == np.shape(case["value"]), _name(case)
        tg.cos(loss * 0.1).sum().backward()
        assert x.grad is not None and x.grad.dtype == dtype
        if dtype == "float32" and np.abs(case["value"]).max() > 1e3:
            continue  # the cosine of so large a number means nothing in float32
        tolerance = TOLERANCES[dtype]
        for found, expected in ((loss, case["value"]), (x.grad, case["gradient"])):
            np.testing.assert_allclose(
                found.data, expected, rtol=tolerance, atol=tolerance, err_msg=_name(case)
            )


def test_the_cases_cover_every_loss_reduction_and_option():
    assert {case["loss"] for case in CASES} == set(MODULES)
    options = [case["options"] for case in CASES]
    assert {o.get("reduction", "mean") for o in options} == {"mean", "sum", "none"}
    assert {"weight", "ignore_index", "label_smoothing", "pos_weight", "delta"} <= set().union(
        *options
    )


def test_the_modules_give_what_the_functions_give():
    for case in CASES:
        module = MODULES[case["loss"]](**case["options"])
        x, y = np.array(case["input"]), _target(case, "float64")
        np.testing.assert_array_equal(
            module(x, y).data, getattr(nn, case["loss"])(x, y, **case["options"]).data
        )
        assert not list(module.parameters())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_at_ten_thousand_losses_are_exact_and_silent(dtype):
    x = tg.tensor(np.array([[1e4, -1e4], [-1e4, 1e4]], dtype), requires_grad=True)
    for target, each in (([0, 1], 0.0), ([1, 0], 2e4)):
        assert nn.cross_entropy(x, target).item() == each
        labels = np.eye(2, dtype=dtype)[target]
        loss = nn.binary_cross_entropy_with_logits(x, labels)
        assert loss.item() == each / 2
        loss.backward()
    assert x.grad is not None and np.isfinite(x.grad.data).all()
    far = tg.tensor(np.array([1e4, -1e4], dtype))
    assert nn.mse_loss(far, -far).item() == 4e8
    assert nn.l1_loss(far, -far).item() == 2e4
    assert nn.huber_loss(far, -far, delta=2.0).item() == 2.0 * (2e4 - 1.0)


@settings(max_examples=60, deadline=None)
@given(logit=st.floats(-50, 50), label=st.sampled_from([0.0, 0.25, 1.0]), single=st.booleans())
def test_binary_cross_entropy_keeps_its_relative_precision(logit, label, single):
    dtype = np.float32 if single else np.float64
    x = float(dtype(logit))
    exact = label * math.log1p(math.exp(-x)) + (1 - label) * math.log1p(math.exp(x))
    loss = nn.binary_cross_entropy_with_logits(np.array(x, dtype), np.array(label, dtype))
    assert loss.item() == pytest.approx(exact, rel=1e-5 if single else 1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 6), batch=st.integers(1, 5))
def test_cross_entropy_is_the_negative_log_of_the_softmax_at_the_target(seed, classes, batch):
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=(batch, classes)), rng.integers(classes, size=batch)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(batch), k])
    np.testing.assert_allclose(nn.cross_entropy(x, k, reduction="none").data, expected, rtol=1e-9)
    t = tg.tensor(x, requires_grad=True)
    nn.cross_entropy(t, k, reduction="sum").backward()
    assert t.grad is not None
    np.testing.assert_allclose(t.grad.data, p - np.eye(classes)[k], atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (nn.mse_loss, {}),
        (nn.l1_loss, {}),
        (nn.huber_loss, {"delta": 0.7}),
        (nn.binary_cross_entropy_with_logits, {"pos_weight": np.array([1.0, 2.0, 0.5])}),
    ],
)
def test_losses_of_numbers_hold_to_second_order_in_both_arguments(loss, options):
    rng = np.random.default_rng(3)
    x, y = (tg.tensor(rng.normal(size=(2, 3)), requires_grad=True) for _ in range(2))
    assert tg.gradcheck(lambda x, y: loss(x, y, **options), (x, y))


def test_losses_of_classes_hold_to_second_order():
    rng = np.random.default_rng(4)
    x = tg.tensor(rng.normal(size=(3, 4, 2)), requires_grad=True)
    k = np.array([[0, 1], [-100, 3], [2, 2]])
    weight = np.array([1.0, 0.5, 2.0, 1.5])
    assert tg.gradcheck(lambda x: nn.cross_entropy(x, k, weight, label_smoothing=0.2), x)
    assert tg.gradcheck(lambda x: nn.nll_loss(x, k, weight), x)


def test_an_ignored_target_gets_neither_loss_nor_gradient():
    x = tg.tensor(np.random.default_rng(5).normal(size=(3, 4)), requires_grad=True)
    loss = nn.cross_entropy(x, [1, -100, 2], reduction="none")
    assert loss.data[1] == 0.0 and (loss.data[[0, 2]] > 0).all()
    loss.sum().backward()
    assert x.grad is not None and (x.grad.data[1] == 0).all() and (x.grad.data[0] != 0).all()
    others = nn.cross_entropy(x[np.array([0, 2])], [1, 2])
    assert nn.cross_entropy(x, [1, -100, 2]).item() == pytest.approx(others.item(), rel=1e-12)


def test_a_mean_over_ignored_targets_only_is_an_error_and_the_sum_is_zero():
    x = np.zeros((2, 3))
    for loss in (nn.cross_entropy, nn.nll_loss):
        with pytest.raises(ValueError, match="no target counts for the mean; all 2 are ignored"):
            loss(x, [-100, -100])
        with pytest.raises(ValueError, match="weight 0"):
            loss(x, [0, 0], weight=[0.0, 1.0, 1.0])
        with pytest.raises(ValueError, match="no target counts"):
            loss(np.zeros((0, 3)), [])
        assert loss(x, [-100, -100], reduction="sum").item() == 0.0
        assert loss(x, [-100, -100], reduction="none").data.tolist() == [0.0, 0.0]


def test_losses_are_recorded_in_their_own_scope_at_the_callers_line():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    loss = nn.CrossEntropyLoss()(x, [0, 1])
    assert loss.node is not None
    assert loss.node.scope == ("cross entropy",)
    assert __file__ in loss.node.where
    with tg.scope("training"):
        loss = nn.mse_loss(x, np.zeros((2, 3)))
    assert loss.node is not None and loss.node.scope == ("training", "mean squared error")


@pytest.mark.parametrize("name", MODULES)
def test_an_unknown_reduction_is_named(name):
    of_classes = name in ("cross_entropy", "nll_loss")
    shape, target = ((2, 3), [0, 1]) if of_classes else ((2,), [0.0, 1.0])
    with pytest.raises(ValueError, match=r"reduction.*'avg'"):
        getattr(nn, name)(np.zeros(shape), target, reduction="avg")
    with pytest.raises(ValueError, match=r"reduction.*'avg'"):
        MODULES[name](reduction="avg")


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_a_target_that_would_broadcast_is_an_error(name):
    with pytest.raises(tg.ShapeError, match=rf"{name}.*\(4, 1\) and \(4,\)"):
        getattr(nn, name)(np.zeros((4, 1)), np.zeros(4))


def test_targets_that_are_no_classes_are_refused():
    x = np.zeros((2, 3))
    for loss in (nn.cross_entropy, nn.nll_loss):
        with pytest.raises(IndexError, match="class 3 is not among 3"):
            loss(x, [0, 3])
        with pytest.raises(IndexError, match="class -1 is not among 3"):
            loss(x, [-1, 0])
        with pytest.raises(tg.DTypeError, match="class numbers, got float32"):
            loss(x, tg.tensor([0, 1]))
        with pytest.raises(tg.ShapeError, match=r"shape \(2,\).*got \(3,\)"):
            loss(x, [0, 1, 2])
        with pytest.raises(tg.ShapeError, match=r"weight must have shape \(3,\), got \(2,\)"):
            loss(x, [0, 1], weight=[1.0, 2.0])
        with pytest.raises(tg.ShapeError, match="input"):
            loss(np.array(1.0), 0)


def test_settings_out_of_range_are_refused():
    for delta in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="delta"):
            nn.huber_loss([1.0], [1.0], delta=delta)
        with pytest.raises(ValueError, match="delta"):
            nn.HuberLoss(delta=delta)
    for smoothing in (-0.1, 1.1):
        with pytest.raises(ValueError, match="label_smoothing"):
            nn.cross_entropy(np.zeros((1, 2)), [0], label_smoothing=smoothing)
        with pytest.raises(ValueError, match="label_smoothing"):
            nn.CrossEntropyLoss(label_smoothing=smoothing)
    with pytest.raises(tg.ShapeError, match=r"pos_weight \(3,\)"):
        nn.binary_cross_entropy_with_logits([0.0, 1.0], [0.0, 1.0], pos_weight=[1.0, 2.0, 3.0])
    with pytest.raises(tg.ShapeError, match=r"weight \(2, 2\)"):
        nn.binary_cross_entropy_with_logits([0.0, 1.0], [0.0, 1.0], weight=np.ones((2, 2)))
