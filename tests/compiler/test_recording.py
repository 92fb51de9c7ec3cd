"""A `Recording` of a scan: the named tensors of any step, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from user_cells import CELLS, H, I, case, tensors

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, Recording, Tensor
from tinygrad_lstm.tree import flatten

T, B = 5, 3


def leaky(w: Tensor) -> Any:
    """A step with a weight, a sum over the batch, and a name that stays."""

    def step(carry: dict[str, Tensor], x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        kept = (w * 0.5).named("kept")
        u = (x @ w + carry["h"] * kept.sum()).named("u_t")
        total = tg.tanh(u.sum()).named("total")
        h = (u * total).named("h_t")
        return {"h": h}, h[:, 0]

    return step


def run(unroll: bool, *names: str, lengths: Any = None, reverse: bool = False) -> Recording:
    rng = np.random.default_rng(0)
    w = tg.Parameter(rng.normal(size=(I, H)))
    x = rng.normal(size=(T, B, I))
    found = Recording(*names, grads=True)
    final, ys = tg.scan(
        leaky(w), {"h": np.zeros((B, H))}, x,
        unroll=unroll, lengths=lengths, reverse=reverse, record=found,
    )  # fmt: skip
    ((ys * ys).sum() + (final["h"] * np.arange(H)).sum()).backward()
    return found


def assert_same(one: Recording, other: Recording) -> None:
    for a, b in ((one, other), (one.grad, other.grad)):
        assert list(a) == list(b)
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_allclose(a[name], b[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
def test_names_of_any_shape_are_recorded(reverse: bool):
    compiled, unrolled = run(False, reverse=reverse), run(True, reverse=reverse)
    assert {name: v.shape for name, v in compiled.items()} == {
        "u_t": (T, B, H), "total": (T,), "h_t": (T, B, H),
    }  # fmt: skip
    assert_same(compiled, unrolled)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_has_no_batch_is_not_cut_at_the_ends(reverse: bool):
    names = ("u_t", "h_t", "total")
    compiled = run(False, *names, lengths=[5, 1, 3], reverse=reverse)
    assert_same(compiled, run(True, *names, lengths=[5, 1, 3], reverse=reverse))
    assert not compiled["u_t"][1:, 1].any() and not compiled.grad["h_t"][3:, 2].any()
    assert compiled["total"].all()


def test_whole_numbers_have_values_and_no_gradients():
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        whole = (x * 4.0).astype(np.int64).named("whole")
        return (h + whole.astype(np.float64) * x).named("h_t"), x

    x = np.random.default_rng(0).normal(size=(T, B))
    found = Recording(grads=True)
    h, _ = tg.scan(step, np.zeros(B), x, backend="numpy", record=found)
    h.sum().backward()
    np.testing.assert_array_equal(found["whole"], np.trunc(4 * x))
    assert found["whole"].dtype == np.int64 and list(found.grad) == ["h_t"]


@pytest.mark.parametrize("name", CELLS)
def test_cells_that_users_write_show_their_states(name: str):
    step, carry, _ = case(name)

    def named(before: Any, x: Tensor) -> Any:
        after, y = step(before, x)
        for k, t in enumerate(flatten(after, Tensor, "after")[0]):
            if t.dtype.kind == "f" and t.node is not None:
                t.named(f"state {k}")
        return after, y

    x = np.random.default_rng(5).normal(size=(T, B, I))
    found = []
    for unroll in (False, True):
        recording = Recording(grads=True)
        final, ys = tg.scan(named, tensors(carry, B), x, unroll=unroll, record=recording)
        ends = [t for t in flatten((final, ys), Tensor, "ends")[0] if t.requires_grad]
        tg.backward([(t * t).sum() for t in ends])
        assert len(recording) > 0
        found.append(recording)
    assert_same(*found)


def test_a_recording_says_what_it_holds():
    recording = Recording("h_t", grads=True)
    assert len(recording) == 0 and list(recording) == [] and not recording.has_grad
    assert repr(recording) == "Recording(nothing yet)"
    with pytest.raises(KeyError, match="h_t: nothing was run yet"):
        recording["h_t"]
    with pytest.raises(GraphError, match="no gradients; nothing was run yet"):
        _ = recording.grad
    recording = run(False, "h_t")
    assert repr(recording) == "Recording(h_t (5, 3, 4))" and recording.has_grad
    with pytest.raises(KeyError, match="u_t was not recorded; there are h_t"):
        recording["u_t"]


@pytest.mark.parametrize("unroll", [False, True])
def test_what_cannot_be_recorded_is_refused(unroll: bool):
    with pytest.raises(ValueError, match=r"no tensor named kept from .*; there are u_t, total"):
        run(unroll, "kept")  # it does not depend on the carry or x_t
    with pytest.raises(TypeError, match="record: expected a Recording, got str"):
        tg.scan(lambda h, x: (h, h), np.ones(2), np.ones((3, 2)), record="h")  # type: ignore[arg-type]


@pytest.mark.parametrize("unroll", [False, True])
def test_dropout_in_a_step_is_the_same_for_the_run_and_its_recording(unroll: bool):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        d = tg.dropout(x, 0.5).named("d_t")
        return h + d, d

    tg.manual_seed(3)
    recording = Recording()
    _, ys = tg.scan(step, np.zeros(8), np.ones((T, 8)), unroll=unroll, record=recording)
    np.testing.assert_array_equal(recording["d_t"], ys.data)
    assert 0 < (ys.data == 0).sum() < ys.size


def test_what_was_detached_is_no_value_of_its_own(backend):
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = (tg.tanh(h * 0.5 + x) * x.detach()).named("h")
        return h, h

    seen: list[list[str]] = []
    ways: list[dict[str, Any]] = [{"unroll": True}, {"backend": backend}]
    for options in ways:
        record = tg.Recording()
        tg.scan(step, np.zeros(3), np.ones((4, 3)), record=record, **options)
        seen.append(list(record))
    assert seen == [["h"], ["h"]]
