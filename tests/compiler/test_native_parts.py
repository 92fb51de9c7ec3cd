"""The pieces of native code: packing, threads, the registers of other processors, arrays."""

from __future__ import annotations

import weakref
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both_ways import assert_same
from user_cells import CELLS, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm.compiler import memory, plans

pytest.importorskip("llvmlite")

from tinygrad_lstm.compiler.native import loop, target
from tinygrad_lstm.compiler.native.products import Products
from tinygrad_lstm.compiler.native.target import Machine, machine
from tinygrad_lstm.compiler.native.text import Function


def narrower(vector_bytes: int) -> Machine:
    """This machine, with shorter registers."""
    host = machine()
    if vector_bytes > host.vector_bytes:
        pytest.skip(f"this processor has no registers of {vector_bytes} bytes")
    rows = 12 if vector_bytes == 64 else 6
    return host._replace(vector_bytes=vector_bytes, rows=rows)


@pytest.fixture
def no_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was compiled before."""
    monkeypatch.setattr(plans, "_plans", type(plans._plans)())


# -- packing --------------------------------------------------------------------------------------


def packed(host: Machine, matrix: np.ndarray) -> np.ndarray:
    """[panel][k][column in the panel], as the native function leaves it."""
    depth, columns = matrix.shape
    products = Products(host, host.scalar(matrix.itemsize * 8))
    name = products.pack(depth, columns)
    f = Function("void @entry(ptr %args)")
    given = [f.load(kind, f.at("i64", "%args", k), 8) for k, kind in enumerate(_KINDS)]
    source, sk, sn, out = given
    f.do(f"call void @{name}(ptr {source}, i64 {sk}, i64 {sn}, ptr {out})")
    f.do("ret void")
    parts = [*map(str, products.functions.values()), str(f), host.attributes, ""]
    (entry,) = target.load("\n".join(parts), ("entry",))
    panels = len(products.panels(columns))
    result = np.full((panels, depth, products.width), np.nan, matrix.dtype)
    strides = [s // matrix.itemsize for s in matrix.strides]
    numbers = array("q", [matrix.ctypes.data, *strides, result.ctypes.data])
    entry(numbers.buffer_info()[0])
    return result


_KINDS = ("ptr", "i64", "i64", "ptr")

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rows side by side": np.ascontiguousarray,
    "columns side by side": np.asfortranarray,
    "neither": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "a slice of larger rows": lambda a: np.pad(a, ((1, 2), (3, 1)))[1:-2, 3:-1],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_matrix_is_packed_however_it_lies(layout: str, vector_bytes: int, dtype: Any) -> None:
    host = narrower(vector_bytes)
    width = host.vectors * vector_bytes // np.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    for depth, columns in ((1, 1), (3, 2), (16, 16), (17, 33), (40, 7), (5, 64), (33, 80)):
        matrix = LAYOUTS[layout](rng.normal(size=(depth, columns)).astype(dtype))
        found = packed(host, matrix)
        padded = np.zeros((depth, len(found) * width), dtype)
        padded[:, :columns] = matrix
        expected = padded.reshape(depth, len(found), width).swapaxes(0, 1)
        np.testing.assert_array_equal(found, expected)


# -- other processors, and threads ----------------------------------------------------------------


@pytest.mark.parametrize("vector_bytes", [16, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["lstm", "layer_norm_lstm", "two_chains"])
def test_shorter_registers_give_the_same(
    name: str, dtype: Any, vector_bytes: int, monkeypatch: pytest.MonkeyPatch, no_plans: None
) -> None:
    host = narrower(vector_bytes)
    monkeypatch.setattr(loop, "machine", lambda: host)
    step, carry, weights = case(name, dtype)
    for batch in (1, 3, 13):
        x = tensors(I, 6, batch, dtype=dtype)
        assert_same(step, tensors(carry, batch, dtype=dtype), x, weights, backend="numba")


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"lengths": [5, 0, 3, 6, 1]}])
@pytest.mark.filterwarnings("ignore:scan. the numba backend has no form for this step")
def test_rows_shared_out_over_threads_give_the_same(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, no_plans: None
) -> None:
    monkeypatch.setattr(loop, "_WORTH_A_THREAD", 0)
    monkeypatch.setattr(loop, "allowed_threads", lambda: 3)
    step, carry, weights = case(name)
    x = tensors(I, 6, 5)
    assert_same(step, tensors(carry, 5), x, weights, backend="numba", **options)


def test_there_are_no_more_threads_than_rows(
    monkeypatch: pytest.MonkeyPatch, no_plans: None
) -> None:
    monkeypatch.setattr(loop, "_WORTH_A_THREAD", 0)
    monkeypatch.setattr(loop, "allowed_threads", lambda: 8)
    used: list[int] = []
    run_all = loop.run_all
    monkeypatch.setattr(
        loop,
        "run_all",
        lambda f, given, kept: (used.append(len(given)), run_all(f, given, kept))[-1],
    )
    step, carry, weights = case("lstm")
    assert_same(step, tensors(carry, 2), tensors(I, 4, 2), weights, backend="numba")
    assert used == [2, 2]


@pytest.mark.parametrize("name", ["captured", "x_t", "both", "beside rows"])
def test_what_all_threads_come_to_counts_once(
    name: str, monkeypatch: pytest.MonkeyPatch, no_plans: None
) -> None:
    """A y that has no rows: each thread would add its gradient."""
    monkeypatch.setattr(loop, "_WORTH_A_THREAD", 0)
    monkeypatch.setattr(loop, "allowed_threads", lambda: 3)
    w = tg.tensor(np.random.default_rng(0).normal(size=(4, 4)), requires_grad=True)
    g = tg.tensor(np.float64(1.5), requires_grad=True)
    b = tg.tensor(np.random.default_rng(1).normal(size=4), requires_grad=True)
    ys: dict[str, Callable[[Any, Any], Any]] = {
        "captured": lambda h, s: g * 1.0,
        "x_t": lambda h, s: tg.tanh(g * s),
        "both": lambda h, s: (tg.sin(g * s) * g, b * g),
        "beside rows": lambda h, s: (h * g, g * s, h.sum(1) * g),
    }

    def step(h: Any, s: Any) -> Any:
        h = tg.tanh(h @ w + b)
        return h, ys[name](h, s)

    numbers = np.random.default_rng(2).normal(size=6)
    assert_same(step, tensors(4, 7), tg.tensor(numbers), [w, g, b], backend="numba")


def _field(a: np.ndarray) -> np.ndarray:
    """The same, with strides that are no multiples of a number's size."""
    records = np.zeros(a.shape[:-1], [("id", "i4"), ("x", a.dtype, a.shape[-1:])])
    records["x"] = a
    return records["x"]


def test_a_matrix_that_is_a_field_of_records() -> None:
    h = tg.tensor(np.random.default_rng(0).normal(size=(3, 4)))
    records = np.zeros((4, 4), [("id", "i4"), ("w", "f8")])
    records["w"] = np.random.default_rng(1).normal(size=(4, 4))
    for w in records["w"], records["w"].T, records["w"][::-1]:
        w = tg.tensor(w, requires_grad=True)

        def step(h: Any, _: Any, w: Any = w) -> Any:
            h = tg.tanh(h @ w)
            return h, h

        assert_same(step, h, None, [w], backend="numba", steps=3)


# -- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["NUMBERS_AT", "ITEMS_AT"])  # before: the type, the length
def test_arrays_laid_out_in_another_way_are_left_to_numpy(
    place: str, monkeypatch: pytest.MonkeyPatch, no_plans: None
) -> None:
    monkeypatch.setattr(loop, place, getattr(loop, place) - 8)
    loop.check_arrays.cache_clear()
    lstm, x = tg.nn.LSTM(2, 3, rng=0), np.ones((4, 1, 2), np.float32)
    try:
        with pytest.warns(RuntimeWarning, match="arrays are laid out in another way"):
            y, _ = lstm(x, backend="numba")
    finally:
        loop.check_arrays.cache_clear()
    np.testing.assert_allclose(y.data, lstm(x, unroll=True)[0].data, rtol=1e-5)


@pytest.mark.parametrize(
    "given",
    {
        "read-only": lambda a: _read_only(a),
        "time reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
        "batch first": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
        "every other feature": lambda a: np.repeat(a, 2, axis=2)[..., ::2],
        "broadcast over time": lambda a: np.broadcast_to(a[:1], a.shape),
        "unaligned": lambda a: _unaligned(a),
        "a field of records": lambda a: _field(a),
    }.items(),
    ids=lambda item: item[0],
)
def test_inputs_and_cotangents_may_lie_in_any_way(given: Any) -> None:
    _, view = given
    step, carry, weights = case("lstm")
    x = np.random.default_rng(3).normal(size=(6, 4, I))
    found = []
    for series, seed in ((view(x), view), (np.array(view(x)), lambda a: np.array(view(a)))):
        final, ys = tg.scan(step, tensors(carry, 4), series, backend="numba")
        outputs = [*final, ys] if isinstance(final, tuple) else [final, ys]
        shape = ys.shape
        cotangent = seed(np.random.default_rng(4).normal(size=shape))
        found.append([t.data for t in outputs])
        found[-1] += [g.data for g in tg.grad([ys], weights, [tg.Tensor(cotangent)])]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def _read_only(a: np.ndarray) -> np.ndarray:
    b = a.copy()
    b.flags.writeable = False
    return b


def _unaligned(a: np.ndarray) -> np.ndarray:
    memory = np.zeros(a.nbytes + 1, np.uint8)
    b = np.ndarray(a.shape, a.dtype, memory, 1)
    b[...] = a
    return b


# -- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 8, 17])
@pytest.mark.parametrize("reads", [1, 2])
def test_a_sum_of_products_may_be_part_of_something(size: int, reads: int) -> None:
    """What is made by products stands at a place of its own, and is copied."""
    rng = np.random.default_rng(size)
    u, w = (tg.tensor(rng.normal(size=(n, size)) * 0.4, requires_grad=True) for n in (I, size))

    def step(h: Any, x: Any) -> Any:
        z = x @ u + tg.tanh(h) @ w
        both = tg.concatenate([z, 1.0 - z] if reads == 2 else [z, h], axis=1)
        h = tg.tanh(both[:, :size] - both[:, size:] * 0.5)
        return h, tg.relu(both)

    assert_same(step, tensors(size, 9), tensors(I, 5, 9), [u, w], backend="numba")


# -- rounding -------------------------------------------------------------------------------------


def test_products_that_are_equal_cancel() -> None:
    a = tg.tensor(np.random.default_rng(0).normal(size=(2, 33)))

    def step(h: Any, x: Any) -> Any:
        return h, (tg.sqrt(h * h - x * x), h * x - x * h)

    _, (root, difference) = tg.scan(step, a, tg.tensor(a.data[None]), backend="numba")
    assert not root.data.any() and not difference.data.any()


# -- memory ---------------------------------------------------------------------------------------


def test_columns_that_are_padding_warn_of_nothing(no_plans, monkeypatch):
    """Their memory is used again, and whatever stood in it is added up, and cut off."""
    monkeypatch.setattr(loop, "_WORTH_A_THREAD", 0)
    monkeypatch.setattr(loop, "allowed_threads", lambda: 2)
    array = memory.array

    def dirty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        made = array(shape, dtype)
        made.view(np.uint8).fill(0x7F)
        return made

    monkeypatch.setattr(memory, "array", dirty)
    lstm = tg.nn.LSTM(5, 7, rng=0)
    with np.errstate(all="raise"):
        y, _ = lstm(np.ones((6, 8, 5), np.float32), backend="numba")
        y.sum().backward()
    assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all() for p in lstm.parameters())


@pytest.mark.parametrize(
    "part", [lambda whole: whole, lambda whole: whole[:10]], ids=["all of it", "a small part"]
)
def test_large_arrays_of_the_users_are_let_go(part, no_plans):
    def run() -> weakref.ref[np.ndarray]:
        whole = np.ones(100_000)
        w = tg.Tensor(part(whole), name="w")

        def step(h: tg.Tensor, x: tg.Tensor) -> Any:
            h = h * w + x
            return h, h

        tg.scan(step, np.zeros((1, w.size)), np.ones((2, 1, w.size)), backend="numba")
        return weakref.ref(whole)

    assert run()() is None


@pytest.mark.parametrize("given", [None, "~/kernels"])
def test_without_a_home_nothing_is_kept_on_disk(given, monkeypatch):
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("TINYGRAD_LSTM_CACHE", raising=False)
    if given is not None:
        monkeypatch.setenv("TINYGRAD_LSTM_CACHE", given)
    monkeypatch.setattr(target, "_loaded", {})
    assert target.cache_folder() is None
    text = f'define void @entry(ptr %args) #0 {{ ret void }}\n{machine().attributes}\n'
    assert target.load(text, ("entry",))


def test_the_cache_may_be_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("TINYGRAD_LSTM_CACHE", "~/kernels")
    assert target.cache_folder() == Path.home() / "kernels"


# -- sums -----------------------------------------------------------------------------------------


def test_long_sums_are_made_of_sums_of_parts():
    """Added up one by one these are off by 3e-5: each addition is rounded in one direction."""
    rows = 64 * 64
    b = tg.Parameter(np.full(5, 0.1, np.float32))

    def step(h: tg.Tensor, x: tg.Tensor) -> Any:
        return h + b * 0.1, (h * 0.0 + b).reshape(64, 64, 5).sum(axis=(0, 1))

    h, x = np.zeros((rows, 5), np.float32), np.zeros((8, 1), np.float32)
    last, y = tg.scan(step, h, x, backend="numba")
    np.testing.assert_allclose(y.numpy(), rows * float(np.float32(0.1)), rtol=2e-6)
    (g,) = tg.grad(last.sum(), [b])
    np.testing.assert_allclose(g.numpy(), 8 * rows * float(np.float32(0.1)), rtol=2e-6)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_long_row_is_summed_in_parts_too(stride):
    def step(h: tg.Tensor, x: tg.Tensor) -> Any:
        return h, (x * 1.0)[:, ::stride].sum(-1)

    x = np.full((1, 1, 60_000 * stride), 0.1, np.float32)
    _, y = tg.scan(step, np.zeros((1, 1), np.float32), x, backend="numba")
    np.testing.assert_allclose(y.numpy(), 60_000 * float(np.float32(0.1)), rtol=2e-6)
