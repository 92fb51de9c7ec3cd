"""A Tensor as Python and NumPy see it."""

import copy
import math
import operator
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import DTypeError, GraphError, Parameter, ShapeError, Tensor, grad


def x34() -> Tensor:
    return tg.tensor(np.arange(12.0).reshape(3, 4), requires_grad=True, name="x")


# -- what it is -----------------------------------------------------------------------------------


def test_shape_ndim_size_dtype_and_transpose():
    x = x34()
    assert (x.shape, x.ndim, x.size, x.dtype) == ((3, 4), 2, 12, np.float64)
    assert x.T.shape == (4, 3)
    assert isinstance(x.data, np.ndarray) and x.numpy() is x.data


def test_tensor_copies_its_data_and_a_parameter_too():
    array = np.ones(3)
    for made in (tg.tensor(array), Parameter(array)):
        made.data -= 1.0
        assert array.tolist() == [1.0, 1.0, 1.0]


def test_a_parameter_is_a_leaf_that_requires_a_gradient():
    p = Parameter([1.0, 2.0], name="w")
    assert isinstance(p, Tensor) and p.requires_grad and p.node is None and p.name == "w"
    assert not Parameter([1.0], requires_grad=False).requires_grad


def test_item_gives_the_only_element_as_a_python_number():
    assert type(tg.tensor(2.5).item()) is float
    assert type(tg.tensor(np.array([[3]])).item()) is int
    assert tg.tensor(np.array(True)).item() is True
    with pytest.raises(ShapeError, match=r"item: .*x \(3, 4\) has 12"):
        x34().item()


def test_float_int_bool_and_format_of_one_element():
    t = tg.tensor([[2.75]])
    assert float(t) == 2.75 and int(t) == 2 and bool(t) and not bool(tg.tensor(0.0))
    assert f"{t:.1f}" == "2.8" and f"{tg.tensor(2.0)}" == "tensor(2.)"
    with pytest.raises(ShapeError, match="ambiguous"):
        bool(x34())
    with pytest.raises(ShapeError, match="item"):
        float(x34())


def test_integer_tensors_are_indices_and_floats_are_not():
    assert [10, 20, 30][tg.tensor(np.array(1))] == 20
    assert list(range(tg.tensor(np.array(2)))) == [0, 1]
    with pytest.raises(TypeError, match="only integer tensors"):
        [1, 2][tg.tensor(1.0)]  # type: ignore[call-overload]


def test_len_and_iteration_go_along_the_first_axis():
    x = x34()
    assert len(x) == 3
    rows = list(x)
    assert [row.shape for row in rows] == [(4,)] * 3
    assert grad(rows[1].sum(), x).data.sum() == 4.0
    first, second = tg.tensor([1.0, 2.0])
    assert (first.item(), second.item()) == (1.0, 2.0)
    assert [r.item() for r in reversed(tg.tensor([1.0, 2.0]))] == [2.0, 1.0]
    for act in (len, iter):
        with pytest.raises(TypeError, match="without axes"):
            act(tg.tensor(1.0))


def test_repr_shows_values_name_and_op():
    x = x34()
    assert "name='x'" in repr(x) and "requires_grad=True" in repr(x) and "dtype=float64" in repr(x)
    y = tg.tensor([1.0, 2.5], name="a") * 2
    y.named("twice")
    assert repr(y) == "tensor([2., 5.], name='twice', op=mul)"
    assert repr(tg.tensor([[1.0], [2.0]])).splitlines() == ["tensor([[1.],", "        [2.]])"]
    assert len(repr(tg.tensor(np.zeros((1000, 1000))))) < 1000


def test_names_belong_to_the_leaf_or_to_the_op_that_made_it():
    x = tg.tensor([1.0]).named("x")
    y = (x * 2).named("y")
    assert (x.name, y.name) == ("x", "y")
    assert y.node is not None and y.node.name == "y"
    y.name = None
    assert y.name is None and (x + 1).name is None
    with pytest.raises(TypeError, match="name"):
        x.name = 3  # type: ignore[assignment]
    with pytest.raises(TypeError, match="name"):
        tg.tensor([1.0], name=b"x")  # type: ignore[arg-type]


def test_detach_keeps_values_and_name_and_cuts_the_history():
    x = x34()
    y = (x * 2).named("y")
    d = y.detach()
    assert d.node is None and not d.requires_grad and d.name == "y"
    np.testing.assert_array_equal(d.data, y.data)
    np.testing.assert_array_equal(grad((x * d).sum(), x).data, d.data)


def test_comparisons_are_recorded_and_give_booleans():
    a, b = tg.tensor([1.0, 2.0, 3.0]), tg.tensor([3.0, 2.0, 1.0])
    results = (a < b, a <= b, a > b, a >= b, a == b, a != b, a > 2, a > 2, np.array([9.0] * 3) > a)
    for result in results:
        assert isinstance(result, Tensor) and result.dtype == np.bool_ and result.node is not None
        assert not result.requires_grad
    assert [t.node.op.name for t in (a < b, a <= b, a > 2, a >= b, a == b, a != b)] == [
        *("greater", "greater_equal", "greater", "greater_equal", "equal", "not_equal")
    ]
    assert (a < b).tolist() == [True, False, False] and (a >= b).tolist() == [False, True, True]
    assert (np.array([2.0, 2.0, 2.0]) == a).tolist() == [False, True, False]
    assert not (a == None).any()  # noqa: E711 - what a user may write


def test_what_is_compared_is_chosen_by_counted_and_named():
    a = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    large = (a > 1.5).named("large")
    assert large.name == "large" and large.sum().item() == 2 and large.mean().dtype == np.float32
    assert (large * 1.0).dtype == np.float32 and a[large].tolist() == [2.0, 3.0]
    assert tg.grad((a * a * large).sum(), a).tolist() == [0.0, 4.0, 6.0]
    assert bool(large.any()) and not large.all() and bool((a > 0).all())
    with tg.no_grad():
        assert (a > 1.5).node is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.bool_])
def test_a_number_beyond_an_integers_range_is_compared(dtype):
    a = tg.tensor(np.array([0, 1], dtype))
    for beyond in (2**70, -(2**70), 300, -1):
        assert (a < beyond).tolist() == [beyond > 1] * 2, beyond
        assert (beyond > a).tolist() == [beyond > 1] * 2, beyond
        assert (a != beyond).all() and not (a == beyond).any()


WHOLE = ("u1", "i4", "i8", "u8", "?")
NUMBERS = (0, 1, -1, 255, True, 2**24 + 1, 2**53 + 1, 2**63, 2**64, -(2**63), -(2**64), 10**400)
FRACTIONS = (0.5, -0.5, 2.0**24, 2.0**24 + 0.5, 2.0**63, 2.0**64, 1e300, math.inf, math.nan)


@pytest.mark.parametrize("test", [operator.eq, operator.ne, operator.lt, operator.ge])
@pytest.mark.parametrize("dtype", WHOLE)
def test_integers_are_compared_exactly(test, dtype):
    values = [0, 1] if dtype == "?" else [0, 1, *(v - np.iinfo(dtype).min for v in (2, 77))]
    values += [] if dtype == "?" else [np.iinfo(dtype).max - k for k in (0, 1)]
    a = np.array(values, "u8").astype(dtype)
    values = a.tolist()
    t = tg.tensor(a)
    for number in (*NUMBERS, *FRACTIONS):
        assert test(t, number).tolist() == [test(v, number) for v in values], number
        assert test(number, t).tolist() == [test(number, v) for v in values], number
    for other in ("i8", "u8"):
        large = np.array([np.iinfo(other).max - k for k in range(len(values))], other)
        for b in (large, tg.tensor(large), large.tolist()):
            expected = [test(v, w) for v, w in zip(values, large.tolist(), strict=True)]
            assert test(t, b).tolist() == expected


def test_what_no_tensor_holds_is_compared_by_numpy():
    t, k = tg.tensor([1.0, 2.0]), tg.tensor(np.array([1, 2]))
    for other in (["a", "b"], np.array(["a", "b"]), np.array([None, "x"])):
        assert (t == other).tolist() == [False, False] and (t != other).tolist() == [True, True]
    assert (t == np.array([1 + 1j, 2])).tolist() == [False, True]
    assert (k == [2**70, 2]).tolist() == [False, True]
    assert (tg.tensor([1.0, 1e30]) < 2**70).tolist() == [True, False]
    assert (t < 10**400).all() and not (t < -(10**400)).any()


def test_tensors_are_hashed_by_identity():
    a, b = tg.tensor([1.0]), tg.tensor([1.0])
    assert len({a, b}) == 2 and {a: 1}[a] == 1 and a in [b, a]


# -- requires_grad and data -----------------------------------------------------------------------


def test_requires_grad_can_be_set_on_leaves_only():
    x = tg.tensor([1.0])
    x.requires_grad = True
    y = x * 2
    assert y.requires_grad
    with pytest.raises(GraphError, match=r"requires_grad: a result of mul .*only be set on a leaf"):
        y.requires_grad = False
    constant = tg.tensor([1.0]) * 2
    with pytest.raises(GraphError, match="detach"):
        constant.requires_grad = True
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_a_result_requires_a_gradient_if_any_input_does():
    x, c = tg.tensor([1.0], requires_grad=True), tg.tensor([1.0])
    assert (x + c).requires_grad and (c + x).requires_grad and not (c + c).requires_grad
    with tg.no_grad():
        z = x + c
    assert not z.requires_grad and z.node is None


def test_the_usual_updates_of_data_work():
    p = Parameter([1.0, 2.0])
    (p * p).sum().backward()
    assert p.grad is not None
    before = p.data
    p.data -= 0.5 * p.grad
    assert p.data.tolist() == [0.0, 0.0] and type(p.data) is np.ndarray
    assert p.data is before and p.dtype == np.float32
    p.data = p.data + p.grad
    p.data = [5.0, 6.0]
    p.data += 1
    assert p.data.tolist() == [6.0, 7.0] and p.dtype == np.float32


def test_new_data_must_have_the_old_shape_and_dtype():
    p = Parameter([1.0, 2.0], name="w")
    with pytest.raises(ShapeError, match=r"data: w \(2,\) got an array of shape \(3,\)"):
        p.data = np.ones(3, np.float32)
    with pytest.raises(DTypeError, match=r"data: w \(2,\) holds float32, got float64"):
        p.data = np.ones(2)
    with pytest.raises(GraphError, match="only a leaf's data can be replaced"):
        (p * 2).data = np.ones(2, np.float32)


def test_grad_can_be_cleared_scaled_or_given_but_not_of_another_shape_or_dtype():
    p = Parameter([1.0, 2.0], name="w")
    (p * p).sum().backward()
    assert p.grad is not None
    p.grad *= 0.5
    assert p.grad.data.tolist() == [1.0, 2.0]
    given = np.array([3.0, 4.0], np.float32)
    p.grad = given  # type: ignore[assignment]
    p.sum().backward()
    assert p.grad.data.tolist() == [4.0, 5.0] and given.tolist() == [3.0, 4.0]
    with pytest.raises(ShapeError, match=r"grad: w \(2,\) got a gradient of shape \(3,\)"):
        p.grad = tg.tensor([1.0, 2.0, 3.0])
    with pytest.raises(DTypeError, match=r"grad: w \(2,\) is float32, got float64"):
        p.grad = tg.tensor(np.ones(2))
    p.grad = None
    assert p.grad is None


def test_in_asks_for_a_value():
    x = x34()
    assert 3.0 in x and 12.5 not in x


def test_there_is_no_arithmetic_in_place():
    x = tg.tensor([1.0])
    same = x
    x += 1
    assert same.data.tolist() == [1.0] and x is not same


def test_unsupported_operands_are_type_errors():
    x = tg.tensor([1.0])
    arithmetic: Any = (operator.add, operator.mul, operator.matmul, operator.floordiv)
    for f in arithmetic:
        for other in (None, "a", {}, 1j, object()):
            for pair in ((x, other), (other, x)):
                with pytest.raises(TypeError):
                    f(*pair)


def test_what_no_gradient_passes_can_be_deeply_copied_and_other_results_cannot():
    p = Parameter([1.0, 2.0], name="w")
    (p * p).sum().backward()
    twin = copy.deepcopy(p)
    assert type(twin) is Parameter and twin.name == "w" and twin.requires_grad
    twin.data += 1
    assert p.data.tolist() == [1.0, 2.0]
    assert twin.grad is not None and p.grad is not None and twin.grad.data is not p.grad.data
    with pytest.raises(GraphError, match=r"deepcopy: y .*detach"):
        copy.deepcopy((p * 2).named("y"))
    mask = (p > 0.5).named("mask")
    for same in (copy.deepcopy(mask), copy.deepcopy({"kept": mask})["kept"]):
        assert same.node is None and same.tolist() == mask.tolist() and same.name == "mask"
        assert same.data is not mask.data


# -- NumPy ----------------------------------------------------------------------------------------


def test_numpy_makes_arrays_of_tensors():
    x = x34()
    assert type(np.asarray(x)) is np.ndarray and np.asarray(x) is x.data
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    assert np.array(x) is not x.data
    assert np.array([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1.0, 2.0]
    np.testing.assert_allclose(x, x.data)
    assert np.allclose(x, x.data) and np.array_equal(x, x.data) and np.shape(x) == (3, 4)


def test_an_array_and_a_tensor_make_a_tensor_in_either_order():
    x = x34()
    a = np.full((3, 4), 2.0)
    for left, right in ((x, a), (a, x)):
        for y, expected in (
            (left + right, x.data + 2.0),
            (left * right, x.data * 2.0),
            (left - right, x.data - 2.0 if left is x else 2.0 - x.data),
        ):
            assert isinstance(y, Tensor) and y.requires_grad
            np.testing.assert_array_equal(y.data, expected)
    assert isinstance(a / (x + 1), Tensor) and isinstance(a**x, Tensor)
    assert isinstance(a @ x.T, Tensor) and isinstance(np.ones(3) @ x, Tensor)
    assert grad((a * x).sum(), x).data.tolist() == a.tolist()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_a_numpy_scalar_and_a_tensor_make_a_tensor(kind):
    x = tg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    for y in (kind(3) * x, x * kind(3), kind(3) + x, kind(3) - x, kind(3) / x):
        assert isinstance(y, Tensor) and y.requires_grad and y.dtype == np.float64


@pytest.mark.parametrize(
    "name", ["exp", "log", "sqrt", "abs", "sin", "cos", "tanh", "negative", "square"]
)
def test_numpys_functions_record(name):
    x = tg.tensor(np.array([0.5, 1.5]), requires_grad=True)
    f = getattr(np, name)
    y = f(x)
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y.data, f(x.data))
    assert tg.gradcheck(f, x)


def test_numpys_functions_over_axes_record():
    x = x34()
    for y, expected in (
        (np.sum(x, axis=0), x.data.sum(axis=0)),
        (np.mean(x, axis=1, keepdims=True), x.data.mean(axis=1, keepdims=True)),
        (np.var(x), x.data.var()),
        (np.max(x, axis=0), x.data.max(axis=0)),
        (np.min(x), x.data.min()),
        (np.reshape(x, (4, 3)), x.data.reshape(4, 3)),
        (np.transpose(x), x.data.T),
        (np.swapaxes(x, 0, 1), x.data.T),
        (np.concatenate([x, x.data], axis=1), np.concatenate([x.data, x.data], axis=1)),
        (np.stack([x, x]), np.stack([x.data, x.data])),
        (np.where(x > 2, x, 0.0), np.where(x.data > 2, x.data, 0.0)),
        (np.clip(x, 1, 5), np.clip(x.data, 1, 5)),
        (np.cumsum(x, axis=1), np.cumsum(x.data, axis=1)),
        (np.take(x, [0, 0], axis=0), np.take(x.data, [0, 0], axis=0)),
        (np.einsum("ij->j", x), x.data.sum(axis=0)),
        (np.expand_dims(x, 0), x.data[None]),
        (np.squeeze(x[None]), x.data),
        (np.maximum(x, 3.0), np.maximum(x.data, 3.0)),
        (np.matmul(x, x.T), x.data @ x.data.T),
        (np.split(x, 3)[1], x.data[1:2]),
        (np.broadcast_to(x, (2, 3, 4)), np.broadcast_to(x.data, (2, 3, 4))),
    ):
        assert isinstance(y, Tensor) and y.requires_grad
        np.testing.assert_allclose(y.data, expected)


def test_tests_of_values_are_plain_arrays():
    x = tg.tensor([1.0, float("inf")])
    assert np.isfinite(x).tolist() == [True, False]
    assert np.isnan(x).tolist() == [False, False]
    assert type(np.isfinite(x)) is np.ndarray
    assert isinstance(np.greater(x, 0), Tensor) and isinstance(np.logical_not(x), Tensor)


def test_an_array_can_be_changed_in_place_by_a_tensor():
    a = np.ones(2, np.float32)
    a -= 0.5 * tg.tensor([1.0, 2.0])
    assert type(a) is np.ndarray and a.tolist() == [0.5, 0.0]


def test_a_tensor_says_where_numpy_works():
    a, mask = np.array([1.0, 2.0, 4.0]), tg.tensor([1.0, -1.0, 1.0]) > 0
    assert np.log2(a, where=mask, out=np.zeros(3)).tolist() == [0.0, 0.0, 2.0]
    assert a.sum(where=mask) == np.add.reduce(a, where=mask) == np.sum(a, where=mask) == 5.0
    assert np.mean(a, where=mask) == a.mean(where=mask) == 2.5
    assert np.greater(tg.tensor(a), 3, where=mask, out=np.zeros(3, bool)).tolist() == [0, 0, 1]
    with pytest.raises(DTypeError, match="exp with where: no recorded op"):
        np.exp(tg.tensor(a), where=mask)
    with pytest.raises(TypeError, match="where"):
        np.sum(tg.tensor(a), where=mask)


def test_a_ufunc_without_an_op_is_refused_and_nothing_writes_into_a_tensor():
    x = tg.tensor([1.0])
    for act in (lambda: np.arctan(x), lambda: np.add.reduce(x), lambda: np.exp(x, where=[True])):
        with pytest.raises(DTypeError, match="no recorded op"):
            act()
    with pytest.raises(TypeError):
        np.exp(np.ones(1), out=x)  # type: ignore[call-overload]


def test_tensor_methods_and_functions_are_the_same():
    x = tg.tensor(np.random.default_rng(0).uniform(0.5, 1.0, (2, 3)))
    for name in (
        *("abs", "cos", "cumsum", "exp", "log", "log_softmax", "logsumexp", "max", "mean", "min"),
        *("relu", "sigmoid", "sin", "softmax", "softplus", "sqrt", "squeeze", "sum", "tanh"),
        *("transpose", "var"),
    ):
        np.testing.assert_array_equal(getattr(x, name)().data, getattr(tg, name)(x).data)
    np.testing.assert_array_equal(x.split(3, axis=1)[2].data, tg.split(x, 3, axis=1)[2].data)
    np.testing.assert_array_equal(x.unstack(1)[0].data, tg.unstack(x, 1)[0].data)
    np.testing.assert_array_equal(x.take([1], axis=1).data, tg.take(x, [1], axis=1).data)
    np.testing.assert_array_equal(x.permute(1, 0).data, tg.permute(x, (1, 0)).data)
    np.testing.assert_array_equal(x.unsqueeze(-1).data, tg.unsqueeze(x, -1).data)


@pytest.mark.parametrize("name", tg._functions.__all__)
def test_every_function_has_a_docstring(name):
    assert (getattr(tg, name).__doc__ or "").strip()
