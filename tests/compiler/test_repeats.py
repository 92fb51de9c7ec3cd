"""A step must do the same whenever it is called: that is looked at again when there is cause."""

from __future__ import annotations

from threading import Thread
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, Tensor
from tinygrad_lstm.compiler import plans, repeats
from tinygrad_lstm.compiler.recent import Recent

T, B, H = 5, 2, 4
W = tg.Parameter(np.random.default_rng(0).normal(size=(H, H)) * 0.3)
X = np.random.default_rng(1).normal(size=(T, B, H))
ZERO = np.zeros((B, H))


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_plans", Recent())
    monkeypatch.setattr(repeats, "_uses", Recent())


def sampled(random: Any, chance: float) -> Any:
    """Scheduled sampling: the next input, or what the network said itself."""

    def step(state: Any, x: Tensor) -> Any:
        h, before = state
        h = tg.tanh(h @ W + (x if random() < chance else before))
        return (h, h), h

    return tg.scan(step, (ZERO, ZERO), X)


def test_branches_that_were_both_seen_are_still_told_apart():
    draws = iter([0.2, 0.2, 0.8, 0.8, 0.2, 0.8])
    sampled(lambda: 0.0, 1.0)
    sampled(lambda: 0.0, 0.0)
    for _ in range(2):  # now one, now the other: each time both calls do the same
        sampled(lambda: next(draws), 0.5)
    with pytest.raises(GraphError, match="records other ops or numbers when it is called again"):
        sampled(lambda: next(draws), 0.5)


def test_noise_after_a_run_without():
    rng = np.random.default_rng(3)

    def run(noisy: bool) -> None:
        def step(h: Tensor, x: Tensor) -> Any:
            h = tg.tanh(h + x + (rng.normal(size=(B, H)) if noisy else ZERO))
            return h, h

        tg.scan(step, ZERO, X)

    run(False)
    run(False)
    for _ in range(2):  # and it stays an error
        with pytest.raises(GraphError, match="has other values when step is called again"):
            run(True)


def test_noise_written_into_one_array():
    rng, noise = np.random.default_rng(3), np.empty((B, H))

    def step(h: Tensor, x: Tensor) -> Any:
        rng.standard_normal(out=noise)
        h = tg.tanh(h + x + noise)
        return h, h

    with pytest.raises(GraphError, match="has other values when step is called again"):
        tg.scan(step, ZERO, X)


def test_weights_that_the_step_replaces():
    w = tg.Parameter(np.eye(H))

    def step(h: Tensor, x: Tensor) -> Any:
        w.data = w.numpy() * 1.1
        h = tg.tanh(h @ w + x)
        return h, h

    with pytest.raises(GraphError, match="has other values when step is called again"):
        tg.scan(step, ZERO, X)


def test_a_step_that_goes_another_way_in_the_end():
    """Sooner or later it is looked at without any reason."""
    calls: list[int] = []

    def step(h: Tensor, x: Tensor) -> Any:
        calls.append(0)
        h = tg.tanh(h @ W + x)
        return h, h

    for _ in range(32):
        tg.scan(step, ZERO, X)
    assert len(calls) == 32 + 1 + 5  # the first time, then at 2, 4, 8, 16 and 32


def test_the_same_arrays_are_no_reason_and_others_are():
    calls: list[int] = []

    def run(mask: np.ndarray) -> int:
        def step(h: Tensor, x: Tensor) -> Any:
            calls.append(0)
            h = tg.tanh(h @ W + x) * mask
            return h, h

        before = len(calls)
        tg.scan(step, ZERO, X)
        return len(calls) - before

    one, other = np.ones((B, H)), np.full((B, H), 2.0)
    assert [run(one) for _ in range(5)] == [2, 2, 1, 2, 1]  # at 2 and 4 in any case
    assert run(other) == 2
    assert run(one) == 2


# -- numbers --------------------------------------------------------------------------------------


def annealed(alpha: float, **options: Any) -> np.ndarray:
    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(x * 2.0 + alpha * (h @ W))
        return h, h

    return tg.scan(step, ZERO, X, **options)[1].data


def test_a_number_that_changes_at_each_call_is_compiled_a_few_times(backend: str):
    for k in range(20):
        alpha = 1.0 - k / 100
        found = annealed(alpha, backend=backend)
        np.testing.assert_allclose(found, annealed(alpha, unroll=True), rtol=1e-12)
    assert len(plans._plans) <= 4


def test_a_second_number_may_begin_to_change(backend: str):
    def run(a: float, b: float, **options: Any) -> np.ndarray:
        def step(h: Tensor, x: Tensor) -> Any:
            h = tg.tanh(x * a + b * h)
            return h, h

        return tg.scan(step, ZERO, X, **options)[1].data

    for k in range(12):
        given = (1.0 + k, 0.5) if k < 6 else (3.0, 0.1 * k)
        found = run(*given, backend=backend)
        np.testing.assert_allclose(found, run(*given, unroll=True), rtol=1e-12)
    assert len(plans._plans) <= 6


def test_a_number_in_place_of_a_tensor_and_a_tensor_in_place_of_a_number(backend: str):
    """Steps that record the same but for that are not taken for each other."""

    def run(a: Any, b: Any, **options: Any) -> list[np.ndarray]:
        def step(h: Tensor, x: Tensor) -> Any:
            h = tg.tanh(x * a + b * h)
            return h, h

        _, y = tg.scan(step, ZERO, X, **options)
        wanted = [t for t in (a, b) if isinstance(t, Tensor)]
        slopes = tg.grad(y.sum(), wanted) if wanted else []
        return [y.data, *(g.data for g in slopes)]

    def leaf(value: float) -> Tensor:
        return tg.tensor(value, dtype="f8", requires_grad=True)

    for k in range(8):
        u, v = 0.5 + k, 1.0 / (k + 1)
        for given in (leaf(u), v), (u, leaf(v)), (u, v), (leaf(u), leaf(v)):
            one = run(*given, backend=backend)
            for found, wanted in zip(one, run(*given, unroll=True), strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-11)


def test_a_number_that_is_another_one_when_called_again_is_told_even_if_it_is_expected_to_change():
    for k in range(6):
        annealed(1.0 + k)
    numbers = iter([1.0, 2.0, 3.0, 4.0])

    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(x * 2.0 + next(numbers) * (h @ W))
        return h, h

    with pytest.raises(GraphError, match=r"when (it|step) is called again"):
        tg.scan(step, ZERO, X)


def test_a_number_changed_in_place(backend: str):
    number = tg.tensor(np.float64(1.0))

    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(h * number + x)
        return h, h

    for k in range(10):
        number.data[...] = 1.0 + k
        found = tg.scan(step, ZERO, X, backend=backend)[1].data
        np.testing.assert_allclose(found, tg.scan(step, ZERO, X, unroll=True)[1].data, rtol=1e-12)
    assert len(plans._plans) <= 4


def test_a_changing_number_beside_the_results(backend: str):
    for k in range(6):

        def step(h: Tensor, x: Tensor, k: int = k) -> Any:
            h = tg.tanh(h + x)
            return h, (h, tg.tensor(np.float64(k)))

        x = X.astype(np.float32)
        _, (_, numbers) = tg.scan(step, ZERO.astype(np.float32), x, backend=backend)
        assert numbers.dtype == np.float64
        np.testing.assert_array_equal(numbers.data, k)


def test_what_another_thread_learns_meanwhile_does_not_count():
    """Between the two calls of a step, a number of it becomes one that is expected to change."""

    def run(a: float, meanwhile: Any = None) -> None:
        def step(h: Tensor, x: Tensor) -> Any:
            if meanwhile is not None and calls:
                meanwhile()
            calls.append(0)
            h = tg.tanh(h * a + x * 2.0)
            return h, h

        calls: list[int] = []
        tg.scan(step, ZERO, X)

    def others() -> None:
        thread = Thread(target=lambda: [run(5.0 + k) for k in range(6)])
        thread.start()
        thread.join()

    run(1.0, others)
    run(2.0, others)


# -- what is left behind --------------------------------------------------------------------------


def leaked() -> list[Tensor]:
    kept: list[Tensor] = []

    def step(h: Tensor, x: Tensor) -> Any:
        kept.append(x)
        h = tg.tanh(h @ W + x)
        kept.append((h * h).mean())
        return h, h

    tg.scan(step, ZERO, X)
    return kept


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t.numpy(),
        lambda t: float(t.mean()),
        lambda t: t + 1.0,
        lambda t: 2.0 * t,
        lambda t: np.asarray(t),
        lambda t: np.tanh(t),
        lambda t: t.shape,
        lambda t: t.tolist(),
        lambda t: bool(t),
        lambda t: tg.stack([t, t]),
        lambda t: tg.grad(t.sum(), W),
    ],
    ids=range(11),
)
def test_tensors_of_a_compiled_step_are_of_no_use_outside(use: Any):
    for t in leaked():
        with pytest.raises(GraphError, match="made inside step while that was compiled"):
            use(t)


def test_what_depends_on_no_step_has_its_value_still():
    """An effective weight that a module works out inside step, and keeps."""
    kept: list[Tensor] = []

    def step(h: Tensor, x: Tensor) -> Any:
        kept.append(W / tg.sqrt((W * W).sum()))
        h = tg.tanh(h @ kept[-1] + x)
        return h, h

    tg.scan(step, ZERO, X)
    for t in kept:
        np.testing.assert_allclose((t.numpy() ** 2).sum(), 1.0)
    assert tg.grad(kept[0].sum(), W).shape == (H, H)


def test_they_say_what_they_are():
    x, mean = leaked()[:2]
    assert repr(x) == "tensor(of a step that was compiled, name='x_t', requires_grad=True)"
    assert "of a step that was compiled, op=mean" in f"{mean}"


def test_after_an_error_in_the_step_neither(backend: str):
    kept: list[Tensor] = []

    def step(h: Tensor, x: Tensor) -> Any:
        kept.append(h * 2.0)
        raise LookupError("none")

    with pytest.raises(LookupError):
        tg.scan(step, ZERO, X, backend=backend)
    with pytest.raises(GraphError, match="made inside step"):
        kept[0].numpy()


def test_in_the_step_they_are_printed_without_numbers(capsys: pytest.CaptureFixture[str]):
    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(h @ W + x).named("h_t")
        print(h, f"{W}"[:9])
        return h, h

    tg.scan(step, ZERO, X)
    shown = "tensor(of every step, shape=(2, 4), dtype=float64, name='h_t', op=tanh"
    assert capsys.readouterr().out.startswith(f"{shown}, requires_grad=True) tensor([[")


def test_what_comes_out_is_not_touched():
    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(h @ W + x)
        return h, h

    h, y = tg.scan(step, ZERO, X)
    assert np.isfinite(h.numpy()).all() and np.isfinite(y.numpy()).all()
    assert X.shape == (T, B, H) and not ZERO.any()


def test_steps_that_take_turns_are_not_called_twice_for_ever():
    calls: list[int] = []

    def run(steps: int) -> None:
        def step(h: Tensor, x: Tensor) -> Any:
            calls.append(0)
            h = tg.tanh(h @ W + x)
            return h, h

        tg.scan(step, ZERO, X[:steps])

    for _ in range(32):
        run(T)
        run(T - 1)
    assert len(calls) == 64 + 2 + 8 + 2  # when new, then at changes 1 to 8, 16 and 32
