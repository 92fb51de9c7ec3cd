"""Every op of the table: its rules against finite differences, its dtypes, its sample."""

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import OPS, GradcheckError, Tensor, grad, gradcheck
from tinygrad_lstm.samples import SAMPLES, Sample

SMOOTH = [s for s in SAMPLES if s.differentiable]
STOPS = [s for s in SAMPLES if not s.differentiable]


def recorded_ops(t: Tensor) -> set[str]:
    return {node.op.name for node in tg.toposort([t])}


def cotangent(shape: tuple[int, ...], dtype: type = np.float64) -> np.ndarray:
    return np.asarray(np.random.default_rng(3).uniform(0.5, 1.5, shape)).astype(dtype)


def test_every_op_of_the_table_has_a_sample():
    assert set(OPS) == {sample.op for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_sample_records_the_op_it_is_for(sample: Sample):
    assert sample.op in recorded_ops(sample.f(*sample.tensors()))


@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_rules_agree_with_finite_differences_to_order_two(sample: Sample):
    assert gradcheck(sample.f, sample.tensors(), order=2)


@pytest.mark.parametrize("sample", SMOOTH, ids=str)
def test_rules_give_the_same_on_tensors_as_on_arrays(sample: Sample):
    inputs = sample.tensors()
    output = sample.f(*inputs)
    seed = cotangent(output.shape)
    plain = grad(output, inputs, seed)
    recorded = grad(output, inputs, seed, create_graph=True)
    for a, b in zip(plain, recorded, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-14)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_float32_stays_float32_forward_and_backward(sample: Sample):
    inputs = sample.tensors(np.float32)
    output = sample.f(*inputs)
    if not sample.differentiable:
        assert output.dtype in (np.dtype(bool), np.dtype(np.float32))
        return
    assert output.dtype == np.float32
    seed = cotangent(output.shape, np.float32)
    for create_graph in (False, True):
        for g in grad(output, inputs, seed, create_graph=create_graph):
            assert g.dtype == np.float32
    for node in tg.toposort(grad(output, inputs, seed, create_graph=True)):
        assert node.value.dtype in (np.dtype(np.float32), np.dtype(bool), np.dtype(np.int64)), node


@pytest.mark.parametrize("sample", STOPS, ids=str)
def test_masks_stop_gradients(sample: Sample):
    inputs = sample.tensors()
    mask = sample.f(*inputs)
    assert not mask.requires_grad
    assert not OPS[sample.op].vjps
    weighted = (mask.astype(np.float64) * inputs[0]).sum()
    np.testing.assert_array_equal(grad(weighted, inputs[0]).data, mask.data.astype(np.float64))


def test_astype_brings_the_gradient_back_in_its_own_dtype():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.astype(np.float64)
    assert y.dtype == np.float64
    (y * y).sum().backward()
    assert x.grad is not None and x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad.data, [2.0, 4.0])


def test_astype_to_integers_stops_the_gradient():
    x = tg.tensor([1.5, 2.5], requires_grad=True)
    assert not x.astype(np.int64).requires_grad
    np.testing.assert_array_equal(x.astype(int).data, [1, 2])


# -- a wrong rule is caught -----------------------------------------------------------------------


def slightly_wrong(op: str, monkeypatch: pytest.MonkeyPatch, position: int = 0) -> None:
    """Make one rule of an op wrong by 0.1 percent."""
    rules = list(OPS[op].vjps)  # type: ignore[call-overload]
    right = rules[position]
    rules[position] = lambda g, out, *inputs, **attrs: right(g, out, *inputs, **attrs) * 1.001
    monkeypatch.setattr(OPS[op], "vjps", tuple(rules))


@pytest.mark.parametrize("op", ["tanh", "sigmoid", "mul", "matmul", "softmax", "logsumexp", "sum"])
def test_a_rule_that_is_off_by_a_thousandth_is_caught(op: str, monkeypatch: pytest.MonkeyPatch):
    slightly_wrong(op, monkeypatch)
    sample = next(s for s in SAMPLES if s.op == op)
    with pytest.raises(GradcheckError, match="order 1"):
        gradcheck(sample.f, sample.tensors())


def test_the_report_names_the_input_and_the_element(monkeypatch: pytest.MonkeyPatch):
    right = OPS["mul"].vjps[1]
    assert right is not None

    def wrong_in_one_element(g, out, a, b):
        mask = np.ones(b.shape)
        mask[1, 2] = 1.001
        return right(g, out, a, b) * mask

    monkeypatch.setattr(OPS["mul"], "vjps", (OPS["mul"].vjps[0], wrong_in_one_element))
    a = tg.tensor(np.full((2, 3), 2.0), requires_grad=True, name="a")
    b = tg.tensor(np.full((2, 3), 3.0), requires_grad=True, name="b")
    with pytest.raises(GradcheckError) as caught:
        gradcheck(tg.mul, [a, b])
    report = str(caught.value)
    assert "b[1, 2]" in report and "1 elements" in report
    assert "a[" not in report and "b[0" not in report
    assert "analytic" in report and "numeric" in report


def test_an_input_without_a_name_is_reported_by_its_position(monkeypatch: pytest.MonkeyPatch):
    slightly_wrong("mul", monkeypatch, position=1)
    a, b = np.full(2, 2.0), np.full(2, 3.0)
    with pytest.raises(GradcheckError, match=r"inputs\[1\]\[0\]"):
        gradcheck(tg.mul, [a, b])


def test_the_report_puts_the_worst_element_first():
    def wrong(x: Tensor) -> Tensor:
        return x * x.detach()  # the other half of the gradient is missing

    x = tg.tensor(np.array([1.0, 5.0, 3.0]), requires_grad=True, name="x")
    with pytest.raises(GradcheckError) as caught:
        gradcheck(wrong, x)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == ["x[1]", "x[2]", "x[0]"]


def test_a_rule_right_in_value_but_cut_from_the_graph_is_caught_at_order_two(
    monkeypatch: pytest.MonkeyPatch,
):
    def cut(g, out, a):
        value = out.detach() if isinstance(out, Tensor) else out
        return g * value

    monkeypatch.setattr(OPS["exp"], "vjps", (cut,))
    x = tg.tensor(np.array([0.3, -0.2]), requires_grad=True)
    assert gradcheck(tg.exp, x, order=1)
    with pytest.raises(GradcheckError, match="order 2"):
        gradcheck(tg.exp, x, order=2)


def test_gradcheck_reaches_order_three():
    x = tg.tensor(np.array([0.5, -1.25]), requires_grad=True)
    assert gradcheck(lambda t: tg.tanh(t) * tg.exp(t), x, order=3, atol=1e-5)


def test_gradcheck_takes_several_outputs_and_leaves_its_inputs_alone():
    x = tg.tensor(np.array([0.5, -1.25]), requires_grad=True)
    y = tg.tensor(np.array([2.0, 3.0]))
    assert gradcheck(lambda a, b: (a * b, tg.sin(a)), (x, y))
    assert x.grad is None
    np.testing.assert_array_equal(x.data, [0.5, -1.25])


def test_gradcheck_refuses_what_it_cannot_check():
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(tg.DTypeError, match=r"inputs\[0\].*float64.*float32"):
        gradcheck(tg.exp, x)
    with pytest.raises(ValueError, match="none requires a gradient"):
        gradcheck(tg.exp, tg.tensor(np.ones(1)))
    good = tg.tensor(np.ones(1), requires_grad=True)
    with pytest.raises(ValueError, match="order"):
        gradcheck(tg.exp, good, order=0)
    with pytest.raises(TypeError, match="must return a Tensor"):
        gradcheck(lambda t: t.data, good)  # type: ignore[arg-type,return-value]
