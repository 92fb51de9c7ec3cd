"""Which dtype a result has: Python numbers are weak, floats win over integers."""

from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import DTypeError, Parameter, ShapeError, Tensor, grad


def test_lists_and_numbers_become_float32():
    for data in ([1, 2], [1.5, 2.5], 3, 3.5, [[1], [2]], (1, 2), range(3)):
        assert tg.tensor(data).dtype == np.float32
    assert tg.tensor([True, False]).dtype == np.bool_


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8])
def test_arrays_keep_their_dtype(kind):
    assert tg.tensor(np.ones(2, kind)).dtype == kind
    assert Tensor(np.ones(2, kind)).dtype == kind
    assert tg.tensor(kind(1)).dtype == kind


def test_a_dtype_may_be_asked_for():
    assert tg.tensor([1, 2], dtype=np.int64).dtype == np.int64
    assert tg.tensor([1, 2], dtype="float64").dtype == np.float64
    assert tg.tensor(np.ones(2), dtype=np.float32).dtype == np.float32
    assert tg.tensor(tg.tensor([1.0]), dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_python_numbers_do_not_widen(kind):
    x = tg.tensor(np.ones(2, kind))
    for y in (x + 1, 1 + x, x * 2.5, 2.5 / x, x - True, x**2, x**0.5, 2**x, tg.maximum(x, 0)):
        assert y.dtype == kind
    assert tg.where(np.array([True, False]), x, 0.0).dtype == kind
    assert tg.clip(x, 0.1, 0.2).dtype == kind


def test_a_float_scalar_makes_an_integer_tensor_float32():
    n = tg.tensor(np.array([1, 2]))
    assert (n + 1).dtype == np.int64
    assert (n * 0.5).dtype == np.float32
    assert (n / 2).dtype == np.float32
    assert (n > 1).dtype == np.bool_
    for f in (tg.exp, tg.sigmoid, tg.mean, tg.softmax, tg.sqrt):
        assert f(n).dtype == np.float32


def test_a_float_tensor_wins_over_an_integer_tensor():
    n, x = tg.tensor(np.array([1, 2])), tg.tensor([0.5, 0.5])
    assert (n * x).dtype == (x * n).dtype == (n @ x).dtype == np.float32
    assert (tg.tensor(np.array([True, False])) * x).dtype == np.float32


def test_float32_with_float64_gives_float64_and_each_its_own_gradient():
    single = tg.tensor([2.0], requires_grad=True)
    double = tg.tensor(np.array([3.0]), requires_grad=True)
    for op in (tg.add, tg.mul, tg.div, tg.pow, tg.maximum, tg.matmul):
        y = op(single, double)
        assert y.dtype == np.float64
        a, b = grad(y.sum(), [single, double])
        assert (a.dtype, b.dtype) == (np.float32, np.float64)
    y.sum().backward()
    assert single.grad is not None and single.grad.dtype == np.float32


def test_lists_take_the_dtype_of_the_tensor_they_meet():
    listed: Any = [1, 2]
    single, double = tg.tensor([1.0, 1.0]), tg.tensor(np.ones(2))
    assert (double + listed).dtype == (listed * double).dtype == np.float64
    assert (single + listed).dtype == (listed + single).dtype == np.float32
    assert (listed * single).data.tolist() == [1.0, 2.0]


def test_booleans_count_as_integers_in_sums_with_numbers():
    flags = tg.tensor(np.array([True, False]))
    assert (flags + 1).data.tolist() == [2, 1]
    assert (flags * 0.5).data.tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    "data", [None, "text", ["a", "b"], 1j, np.array([1j]), object(), {"a": 1}, [[1, 2], "ab"]]
)
def test_what_is_not_numbers_is_refused(data):
    with pytest.raises((DTypeError, ShapeError), match="data"):
        tg.tensor(data)


def test_ragged_lists_are_a_shape_error():
    with pytest.raises(ShapeError, match="inhomogeneous"):
        tg.tensor([[1, 2], [3]])


@pytest.mark.parametrize("nest", [lambda a: [a, a], lambda a: [[1.0, 2.0], [2.0, a]]])
def test_lists_of_tensors_with_a_history_are_refused(nest):
    a = tg.tensor(1.0, requires_grad=True, name="a")
    for use in (tg.tensor, tg.Tensor, lambda given: a + given):
        with pytest.raises(TypeError, match=r"list of 2 with a tensor in it, a \(\), whose"):
            use(nest(a))
    assert tg.tensor(nest(a.detach())).size == np.size(nest(1.0))


def test_lists_of_tensors_are_taken_where_no_history_is_kept():
    a = tg.tensor(1.0, requires_grad=True)
    with tg.no_grad():
        assert tg.tensor([a, a]).shape == (2,)
    p = tg.Parameter(np.zeros(2, np.float32))
    p.data = [a, 2.0]
    assert p.numpy().tolist() == [1.0, 2.0]


def test_lists_that_are_too_deep_are_refused():
    deep: list[object] = [1.0]
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(DTypeError, match="data"):
        tg.tensor(deep)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(DTypeError, match="dtype: expected a NumPy dtype, got 'float31'"):
        tg.tensor([1], dtype="float31")
    with pytest.raises(DTypeError, match="expected a real or boolean dtype"):
        tg.tensor([1.0]).astype(complex)


@pytest.mark.parametrize("data", [np.array([1, 2]), np.array([True]), np.array(3)])
def test_only_floats_can_require_a_gradient(data):
    with pytest.raises(DTypeError, match="only floating-point"):
        tg.tensor(data, requires_grad=True)
    with pytest.raises(DTypeError, match="only floating-point"):
        Parameter(data)
    t = tg.tensor(data)
    with pytest.raises(DTypeError, match="only floating-point"):
        t.requires_grad = True
    assert not t.requires_grad


def test_arithmetic_numpy_does_not_define_on_booleans_is_a_dtype_error():
    flags = tg.tensor(np.array([True, False]), name="flags")
    with tg.scope("mask"):
        with pytest.raises(DTypeError, match=r"neg in mask: flags \(2,\)"):
            tg.neg(flags)
        with pytest.raises(DTypeError, match=r"sub in mask: flags \(2,\) - flags \(2,\)"):
            tg.sub(flags, flags)


def test_a_number_outside_the_range_of_the_dtype_is_refused():
    with pytest.raises(DTypeError, match="out of bounds"):
        tg.add(tg.tensor(np.array([1], np.uint8)), 300)


def test_tensors_in_a_list_make_one_tensor():
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]).data.tolist() == [1.0, 2.0]
