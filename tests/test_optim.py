"""Optimizers, clipping and schedules against PyTorch's numbers, and their state and errors."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lstm as tg
from tinygrad_lstm import nn, optim

DATA = json.loads((Path(__file__).parent / "vectors" / "torch_optim.json").read_text())
CASES = DATA["cases"]
TOLERANCES = {"float32": 3e-5, "float64": 1e-12}
untyped: Any = optim  # for calls with wrong types, past the type checker


def _make(case: dict[str, Any], dtype: str) -> tuple[list[tg.Parameter], optim.Optimizer]:
    params = [tg.Parameter(np.array(p, dtype)) for p in DATA["start"]]
    lr = case["options"].get("lr", 0.01)
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.5 * lr}]
    return params, getattr(optim, case["optimizer"])(groups, **case["options"])


def _set_gradients(params: list[tg.Parameter], row: list[Any]) -> None:
    for p, g in zip(params, row, strict=True):
        p.grad = None if g is None else tg.tensor(np.array(g, p.dtype))


def _assert_row(params: list[tg.Parameter], row: list[Any], tolerance: float) -> None:
    for p, expected in zip(params, row, strict=True):
        np.testing.assert_allclose(p.data, expected, rtol=tolerance, atol=tolerance)


# -- the rules --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['optimizer']} {c['options']}")
def test_every_step_is_pytorchs(case, dtype):
    params, optimizer = _make(case, dtype)
    for gradients, row in zip(DATA["gradients"], case["rows"], strict=True):
        _set_gradients(params, gradients)
        optimizer.step()
        _assert_row(params, row, TOLERANCES[dtype])
        assert {p.dtype for p in params} == {np.dtype(dtype)}


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['optimizer']} {c['options']}")
def test_pytorchs_own_state_is_continued(case):
    """Its parameters and buffers halfway, loaded here, lead to its end."""
    half = len(case["rows"]) // 2
    params, optimizer = _make(case, "float64")
    for p, value in zip(params, case["rows"][half], strict=True):
        p.data = np.array(value)
    state = optimizer.state_dict()
    state["state"] = {int(k): v for k, v in case["halfway"].items()}
    optimizer.load_state_dict(state)
    for gradients, row in zip(
        DATA["gradients"][half + 1 :], case["rows"][half + 1 :], strict=True
    ):
        _set_gradients(params, gradients)
        optimizer.step()
        _assert_row(params, row, 1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 5), decay=st.sampled_from([0.0, 0.1]))
def test_adamw_follows_its_paper(seed, steps, decay):
    """Algorithm 2 of Loshchilov & Hutter in scalars, one element at a time."""
    rng = np.random.default_rng(seed)
    start, gradients = rng.normal(size=3), rng.normal(size=(steps, 3))
    p = tg.Parameter(start.copy())
    optimizer = optim.AdamW([p], lr=0.01, weight_decay=decay)
    for g in gradients:
        p.grad = tg.tensor(g)
        optimizer.step()
    for k in range(3):
        theta, m, v = float(start[k]), 0.0, 0.0
        for t, g in enumerate(gradients[:, k], start=1):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
            theta -= 0.01 * decay * theta + 0.01 * m_hat / (math.sqrt(v_hat) + 1e-8)
        assert p.data[k] == pytest.approx(theta, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda ps: optim.SGD(ps, 0.1), 200),
        (lambda ps: optim.SGD(ps, 0.05, momentum=0.9, nesterov=True), 200),
        (lambda ps: optim.RMSprop(ps, 0.01, centered=True), 600),
        (lambda ps: optim.Adam(ps, 0.05, amsgrad=True), 600),
        (lambda ps: optim.AdamW(ps, 0.05, weight_decay=0.0), 600),
    ],
)
def test_every_rule_fits_a_line(make, steps):
    x = np.linspace(-1, 1, 20)[:, np.newaxis]
    model = nn.Linear(1, 1, dtype=np.float64, rng=0)
    optimizer = make(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        nn.mse_loss(model(x), 3 * x - 1).backward()
        optimizer.step()
    assert nn.mse_loss(model(x), 3 * x - 1).item() < 1e-3
    assert model.weight.item() == pytest.approx(3, abs=0.1)


def test_a_step_changes_the_array_in_place_and_leaves_the_gradient():
    p = tg.Parameter(np.ones(3))
    array, gradient = p.data, np.array([1.0, 2.0, 3.0])
    p.grad = tg.tensor(gradient)
    optim.SGD([p], 0.5, momentum=0.9, weight_decay=0.1, nesterov=True).step()
    assert p.data is array and (array != 1).all()
    np.testing.assert_array_equal(p.grad.data, gradient)


def test_a_parameter_stepped_between_forward_and_backward_is_noticed():
    model = nn.Linear(2, 1, rng=0)
    optimizer = optim.SGD(model.parameters(), 0.1)
    x = np.ones((1, 2), np.float32)
    model(x).sum().backward()
    stale = model(x).sum()
    optimizer.step()
    with pytest.raises(tg.GraphError, match="changed after it was used"):
        stale.backward()


def test_values_that_may_not_be_written_are_copied_first():
    fixed = np.broadcast_to(np.ones(1), (3,))
    p = tg.Parameter(fixed)
    optimizer = optim.SGD([p], 1.0)
    p.grad = tg.tensor(np.ones(3))
    optimizer.step()
    assert (p.data == 0).all() and (fixed == 1).all()


def test_zero_grad_forgets_or_zeroes():
    p, q = tg.Parameter(np.ones(2)), tg.Parameter(np.ones(2))
    p.grad = tg.tensor(np.ones(2))
    optimizer = optim.SGD([p, q])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None and (p.grad.data == 0).all() and q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_groups_keep_their_own_options_and_can_be_added():
    p, q, r = (tg.Parameter(np.zeros(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": [p], "lr": 1.0}, {"params": q}], lr=0.1)
    optimizer.add_param_group({"params": [r], "lr": 10.0})
    for t in (p, q, r):
        t.grad = tg.tensor(np.ones(1))
    optimizer.step()
    assert [t.item() for t in (p, q, r)] == pytest.approx([-1.0, -0.1, -10.0])
    assert "1 parameters: lr=10.0" in repr(optimizer)


# -- state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "AdamW"])
def test_a_saved_state_continues_bit_by_bit(name):
    options = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.5, "centered": True}}
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 4)).astype(np.float32)

    def make(values: np.ndarray) -> tuple[tg.Parameter, optim.Optimizer]:
        p = tg.Parameter(values.copy())
        return p, getattr(optim, name)([p], lr=0.05, **options.get(name, {}))

    def run(p: tg.Parameter, optimizer: optim.Optimizer, rows: np.ndarray) -> None:
        for g in rows:
            p.grad = tg.tensor(g)
            optimizer.step()

    p, optimizer = make(np.ones(4, np.float32))
    run(p, optimizer, gradients[:3])
    state, values = optimizer.state_dict(), p.data.copy()
    run(p, optimizer, gradients[3:])
    q, other = make(values)
    other.load_state_dict(state)
    run(q, other, gradients[3:])
    np.testing.assert_array_equal(p.data, q.data)
    assert state["param_groups"][0]["params"] == [0]


def test_a_state_that_does_not_fit_changes_nothing():
    p, q = tg.Parameter(np.ones(2)), tg.Parameter(np.ones(3))
    optimizer = optim.Adam([p, q], lr=0.5)
    good = optimizer.state_dict()
    group = good["param_groups"][0]
    for state, message in (
        ({**good, "param_groups": [group, group]}, "groups of"),
        ({**good, "param_groups": [{**group, "params": [0]}]}, r"\[2\] parameters, got \[1\]"),
        ({**good, "state": {5: {"step": 1}}}, r"parameters \[5\]"),
        (
            {"state": {0: {"exp_avg": np.ones(4)}}, "param_groups": [{**group, "lr": 9.0}]},
            r"exp_avg of parameter 0 must have shape \(2,\), got \(4,\)",
        ),
        ({**good, "param_groups": [{**group, "lr": -1.0}]}, "lr must not be negative"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.5 and not optimizer.state


# -- errors -----------------------------------------------------------------------------------


def test_parameters_are_checked():
    p = tg.Parameter(np.ones(2), name="W")
    with pytest.raises(ValueError, match="no parameters"):
        optim.SGD([])
    with pytest.raises(TypeError, match=r"model.parameters\(\), got Linear"):
        untyped.SGD(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="got Parameter"):
        untyped.SGD(p)
    with pytest.raises(TypeError, match=r"params\[1\].*got int"):
        untyped.SGD([p, 3])
    with pytest.raises(TypeError, match=r"params\[0\].*a computed tensor"):
        optim.SGD([p * 2.0])
    with pytest.raises(ValueError, match="W is given twice"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match="W is given twice"):
        optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.raises(TypeError, match=r"SGD has no option \['momentun'\]"):
        optim.SGD([{"params": [p], "momentun": 0.9}])
    with pytest.raises(tg.ShapeError, match=r"W \(2,\) got a gradient of shape \(3,\)"):
        p.grad = tg.tensor(np.ones(3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SGD", {"lr": -1.0}, "lr must not be negative"),
        ("SGD", {"lr": math.nan}, "lr must not be negative, got nan"),
        ("SGD", {"momentum": -0.1}, "momentum"),
        ("SGD", {"weight_decay": -0.1}, "weight_decay"),
        ("SGD", {"nesterov": True}, "nesterov needs a momentum"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov"),
        ("RMSprop", {"alpha": -0.1}, "alpha"),
        ("RMSprop", {"eps": -0.1}, "eps"),
        ("Adam", {"betas": (1.0, 0.9)}, r"betas\[0\] must be in \[0, 1\), got 1.0"),
        ("Adam", {"betas": (0.9, -0.1)}, r"betas\[1\]"),
        ("Adam", {"betas": (0.9,)}, "two numbers"),
        ("AdamW", {"eps": -1.0}, "eps"),
    ],
)
def test_options_out_of_range_are_named(name, options, message):
    p = tg.Parameter([1.0])
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([p], **options)
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([{"params": [p], **options}])


# -- clipping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_clipping_by_norm_is_pytorchs(dtype):
    for case in DATA["clipping"]:
        params = [tg.Parameter(np.zeros(np.shape(g), dtype)) for g in case["before"]]
        _set_gradients(params, case["before"])
        norm = optim.clip_grad_norm_(params, case["max_norm"], float(case["norm_type"]))
        assert isinstance(norm, float) and norm == pytest.approx(case["norm"], rel=1e-6)
        for p, after in zip(params, case["after"], strict=True):
            assert p.grad is not None and p.grad.dtype == dtype
            np.testing.assert_allclose(p.grad.data, after, rtol=TOLERANCES[dtype], atol=1e-12)


def test_gradients_whose_squares_overflow_are_still_clipped():
    p = tg.Parameter(np.zeros(2, np.float32))
    p.grad = tg.tensor(np.array([3e30, 4e30], np.float32))
    assert optim.clip_grad_norm_([p], 1.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(p.grad.data, [0.6, 0.8], rtol=1e-6)


def test_gradients_that_are_not_finite_are_told_of_or_passed_on():
    for bad in (math.nan, math.inf):
        p = tg.Parameter(np.zeros(2))
        p.grad = tg.tensor(np.array([1.0, bad]))
        with pytest.raises(ValueError, match=f"norm of the gradients is {bad}"):
            optim.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
        assert p.grad.data[0] == 1.0
        norm = optim.clip_grad_norm_([p], 1.0)
        assert (math.isnan(norm) or norm == math.inf) and math.isnan(p.grad.data[1])


def test_clipping_leaves_a_recorded_gradient_usable():
    p = tg.Parameter(np.array([2.0, 3.0]))
    (p * p * p).sum().backward(create_graph=True)
    recorded = p.grad
    assert recorded is not None
    optim.clip_grad_norm_(p, 1.0)
    np.testing.assert_allclose(tg.grad(recorded.sum(), p).data, 6 * p.data)


def test_clipping_by_value_limits_each_element():
    p, q = tg.Parameter(np.zeros(3, np.float32)), tg.Parameter(np.zeros(1))
    p.grad = tg.tensor(np.array([-5.0, 0.5, 5.0], np.float32))
    optim.clip_grad_value_([p, q], 1)
    assert p.grad.data.tolist() == [-1.0, 0.5, 1.0] and p.grad.dtype == np.float32
    assert q.grad is None and optim.clip_grad_norm_([q], 1.0) == 0.0


def test_limits_are_checked():
    p = tg.Parameter([1.0])
    with pytest.raises(ValueError, match="max_norm"):
        optim.clip_grad_norm_([p], -1.0)
    with pytest.raises(ValueError, match="norm_type"):
        optim.clip_grad_norm_([p], 1.0, 0.0)
    with pytest.raises(ValueError, match="clip_value"):
        optim.clip_grad_value_([p], -1.0)
    with pytest.raises(TypeError, match=r"parameters\[0\]: expected a Tensor, got str"):
        untyped.clip_grad_norm_(["x"], 1.0)


# -- schedules --------------------------------------------------------------------------------


def _sgd() -> optim.SGD:
    return optim.SGD([tg.Parameter([0.0])], lr=0.3)


@pytest.mark.parametrize("case", DATA["schedules"]["rates"], ids=lambda c: str(c["schedules"]))
def test_rates_over_epochs_are_pytorchs(case):
    optimizer = _sgd()
    made = [getattr(optim, name)(optimizer, **given) for name, given in case["schedules"]]
    rates = []
    for _ in case["rates"]:
        for schedule in made:
            schedule.step()
        rates.extend(made[0].get_last_lr())
    np.testing.assert_allclose(rates, case["rates"], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("case", DATA["schedules"]["plateau"], ids=lambda c: str(c["options"]))
def test_rates_on_a_plateau_are_pytorchs(case):
    optimizer = _sgd()
    schedule = optim.ReduceLROnPlateau(optimizer, **case["options"])
    rates = []
    for metric in case["metrics"]:
        schedule.step(metric)
        rates.extend(schedule.get_last_lr())
    np.testing.assert_allclose(rates, case["rates"], rtol=1e-12)
    assert len(set(rates)) > 1


def test_the_cosine_ends_at_its_minimum():
    optimizer = _sgd()
    schedule = optim.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.02)
    for t in range(1, 51):
        schedule.step()
        expected = 0.02 + 0.28 * (1 + math.cos(math.pi * t / 50)) / 2
        assert schedule.get_last_lr() == pytest.approx([expected], rel=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: optim.StepLR(o, 2),
        lambda o: optim.CosineAnnealingLR(o, 6),
        lambda o: optim.ReduceLROnPlateau(o, patience=0, cooldown=1),
    ],
)
def test_a_schedule_continues_from_its_saved_state(make):
    def step(schedule) -> list[float]:
        plateau = isinstance(schedule, optim.ReduceLROnPlateau)
        schedule.step(1.0) if plateau else schedule.step()
        return schedule.get_last_lr()

    one, other = _sgd(), _sgd()
    first, second = make(one), make(other)
    for _ in range(3):
        step(first)
    state = json.loads(json.dumps(first.state_dict()))
    other.load_state_dict(one.state_dict())
    second.load_state_dict(state)
    for _ in range(5):
        assert step(first) == step(second)
    with pytest.raises(ValueError, match=r"missing \['last_epoch'\], unexpected \['epoch'\]"):
        state["epoch"] = state.pop("last_epoch")
        second.load_state_dict(state)


def test_a_group_added_later_is_scheduled_too():
    optimizer = _sgd()
    schedule = optim.StepLR(optimizer, 1, gamma=0.5)
    optimizer.add_param_group({"params": [tg.Parameter([0.0])], "lr": 8.0})
    schedule.step()
    assert schedule.get_last_lr() == [0.15, 4.0]


def test_schedule_settings_are_checked():
    optimizer = _sgd()
    with pytest.raises(ValueError, match="step_size"):
        optim.StepLR(optimizer, 0)
    with pytest.raises(ValueError, match="T_max"):
        optim.CosineAnnealingLR(optimizer, 0)
    for options, message in (
        ({"factor": 1.0}, "factor"),
        ({"mode": "least"}, "mode"),
        ({"threshold_mode": "x"}, "threshold_mode"),
        ({"min_lr": [0.1, 0.2]}, "min_lr: 2 given for 1 groups"),
    ):
        with pytest.raises(ValueError, match=message):
            untyped.ReduceLROnPlateau(optimizer, **options)
    for make in (
        lambda o: untyped.StepLR(o, 1),
        lambda o: untyped.CosineAnnealingLR(o, 1),
        untyped.ReduceLROnPlateau,
    ):
        with pytest.raises(TypeError, match="optimizer: expected an Optimizer, got str"):
            make("adam")
