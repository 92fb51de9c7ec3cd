"""LSTM, GRU and RNN over sequences: against plain NumPy, and what layers, ends and options do.

Numbers are checked compiled and unrolled; what else a layer does, as it runs by default.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrence import Network

import tinygrad_lstm as tg
from tinygrad_lstm import DTypeError, ShapeError, Tensor, nn

untyped: Any = nn  # for calls with wrong types, past the type checker
T, B, D, H = 5, 3, 2, 4  # steps, batch, inputs, hidden units
KINDS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}

both_ways = pytest.mark.parametrize("unroll", [False, True], ids=["compiled", "unrolled"])


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def make(kind: str, **options: Any) -> Any:
    return KINDS[kind](D, H, **{"rng": 5, "dtype": np.float64, **options})


def run(
    module: Any,
    x: Any,
    state: Sequence[Any] | None = None,
    lengths: Any = None,
    unroll: bool = False,
) -> Any:
    """y and the tuple of final states, for every kind."""
    if state is not None:
        state = tuple(state) if isinstance(module, nn.LSTM) else state[0]
    y, final = module(x, state, lengths=lengths, unroll=unroll)
    return y, final if isinstance(final, tuple) else (final,)


def initial_states(module: Any, batch: int, seed: int = 50) -> list[np.ndarray]:
    rows = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or module.hidden_size]
    if isinstance(module, nn.LSTM):
        sizes.append(module.hidden_size)
    return [normal(seed + k, rows, batch, size) for k, size in enumerate(sizes)]


def reference_of(module: Any) -> Network:
    kind = getattr(module, "nonlinearity", type(module).__name__.lower())
    weights = {name: w.astype(np.float64) for name, w in module.state_dict().items()}
    return Network(kind, weights, module.num_layers, 2 if module.bidirectional else 1)


def assert_same(ours: Any, theirs: Any, tolerance: float = 1e-12, what: str = "") -> None:
    ours = ours.data if isinstance(ours, Tensor) else ours
    theirs = theirs.data if isinstance(theirs, Tensor) else theirs
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=what)


# -- against plain NumPy --------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, np.ndarray, list[np.ndarray], list[int] | None]:
    """A network, an input (time first), initial states and perhaps lengths."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    options: dict[str, Any] = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "dtype": draw(st.sampled_from([np.float32, np.float64])),
    }
    if kind == "lstm":
        options |= {"peephole": draw(st.booleans()), "proj_size": draw(st.integers(0, 3))}
    if kind == "rnn":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    module = make(kind, rng=draw(st.integers(0, 99)), **options)
    steps, batch = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    sizes = st.lists(st.integers(0, steps), min_size=batch, max_size=batch)
    return (
        module,
        normal(draw(st.integers(0, 99)), steps, batch, D),
        initial_states(module, batch),
        draw(st.none() | sizes),
    )


@both_ways
@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(case=cases())
def test_outputs_states_and_gradients_are_those_of_the_equations(unroll, case):
    module, x, initial, lengths = case
    dtype, steps = module.weight_ih_l0.dtype, x.shape[0]
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    turn = (1, 0, 2) if module.batch_first else (0, 1, 2)
    given_x = tg.tensor(x.transpose(turn).astype(dtype), requires_grad=True)
    states = [tg.tensor(s.astype(dtype), requires_grad=True) for s in initial]
    y, finals = run(module, given_x, states, lengths, unroll)

    reference = reference_of(module)
    doubles = tuple(s.data.astype(np.float64) for s in states)
    ends = [steps] * x.shape[1] if lengths is None else lengths
    expected_y, expected_finals = reference.forward(x, doubles, ends)
    assert y.dtype == dtype
    assert_same(y, expected_y.transpose(turn), tolerance, "y")
    for name, ours, theirs in zip("hc", finals, expected_finals, strict=False):
        assert_same(ours, theirs, tolerance, f"{name}_n")

    d_y = normal(70, *expected_y.shape)
    d_finals = tuple(normal(71, *s.shape) for s in expected_finals)
    seeds = [d.astype(dtype) for d in (d_y.transpose(turn), *d_finals)]
    wanted = {"x": given_x, "h_0": states[0], "c_0": states[-1]} | dict(module.named_parameters())
    found = tg.grad((y, *finals), list(wanted.values()), seeds, allow_unused=True)
    ours = dict(zip(wanted, found, strict=True))
    d_x, d_initial, d_weights = reference.backward(d_y, d_finals)
    theirs = {"x": d_x.transpose(turn), "h_0": d_initial[0], "c_0": d_initial[-1]} | d_weights
    assert ours.keys() == theirs.keys()
    for name, g in theirs.items():
        assert_same(0.0 if ours[name] is None else ours[name], g, 10 * tolerance, name)


@both_ways
def test_a_layer_is_a_loop_of_its_cell(unroll):
    for kind, make_cell in (("lstm", nn.LSTMCell), ("gru", nn.GRUCell), ("rnn", nn.RNNCell)):
        layer, cell = make(kind), make_cell(D, H, dtype=np.float64)
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
        x = normal(0, T, B, D)
        y, finals = run(layer, x, unroll=unroll)
        state: Any = None
        for t in range(T):
            state = cell(x[t], state)
            assert_same(y[t], state[0] if kind == "lstm" else state)
        for ours, theirs in zip(finals, state if kind == "lstm" else (state,), strict=True):
            assert_same(ours[0], theirs)


def test_a_small_lstm_holds_to_second_order():
    lstm = nn.LSTM(1, 2, bidirectional=True, peephole=True, rng=2, dtype=np.float64)
    names = [n for n, _ in lstm.named_parameters() if n.endswith("_l0")]

    def f(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        for name, w in zip(names, weights, strict=True):
            object.__setattr__(lstm, name, w)  # beside the registered parameter
        y, (h_n, c_n) = lstm(x, (h, c), lengths=[2, 1])
        return y, h_n, c_n

    weights = [tg.tensor(p.data) for n, p in lstm.named_parameters() if n in names]
    for w, name in zip(weights, names, strict=True):
        w.requires_grad = name.startswith(("bias_ih", "weight_c"))
    assert tg.gradcheck(f, [normal(0, 2, 2, 1), *initial_states(lstm, 2), *weights])


@both_ways
@pytest.mark.parametrize("kind", KINDS)
def test_the_hessian_reaches_through_time(kind, unroll):
    module = make(kind, rng=1)

    def f(x: Tensor) -> Tensor:
        return (run(module, x, unroll=unroll)[0][-1] ** 2).sum()

    x = normal(3, 3, 1, D)
    hessian = tg.hessian(f, x).data.reshape(x.size, x.size)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-14)
    assert (np.abs(hessian[:D, -D:]) > 1e-6).any()  # from the first step to the last
    assert tg.gradcheck(f, x)


# -- lengths --------------------------------------------------------------------------------------

LENGTHS = [5, 2, 3]


@both_ways
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_padded_sequence_gives_what_it_gives_alone(kind, bidirectional, unroll):
    module = make(kind, bidirectional=bidirectional, num_layers=2)
    x, initial = normal(0, T, B, D), initial_states(module, B)
    y, finals = run(module, x, initial, LENGTHS, unroll)
    for b, end in enumerate(LENGTHS):
        own = [s[:, b : b + 1] for s in initial]
        alone, alone_finals = run(module, x[:end, b : b + 1], own, unroll=unroll)
        assert_same(y.data[:end, b], alone.data[:, 0])
        for ours, theirs in zip(finals, alone_finals, strict=True):
            assert_same(ours.data[:, b], theirs.data[:, 0])


@both_ways
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_beyond_the_end_are_zero_and_padding_gets_no_gradient(kind, unroll):
    module = make(kind, bidirectional=True, num_layers=2)
    x = tg.tensor(normal(0, T, B, D), requires_grad=True)
    y, finals = run(module, x, lengths=LENGTHS, unroll=unroll)
    dx = tg.grad([y, *finals], x, [normal(1, *y.shape), *(normal(2, *s.shape) for s in finals)])
    for b, end in enumerate(LENGTHS):
        assert not y.data[end:, b].any() and not dx.data[end:, b].any()
        assert y.data[:end, b].all() and dx.data[:end, b].all()


@both_ways
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_does_not_matter(kind, unroll):
    module = make(kind, bidirectional=True)
    x = normal(0, T, B, D)
    spoiled = x.copy()
    for b, end in enumerate(LENGTHS):
        spoiled[end:, b] = [np.nan, np.inf]
    results = []
    for values in (x, spoiled):
        y, finals = run(module, values, lengths=LENGTHS, unroll=unroll)
        loss = (y * y).sum() + finals[0].sum()
        results.append([y, *finals, *tg.grad(loss, list(module.parameters()))])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


@both_ways
def test_the_reverse_direction_starts_at_each_sequences_own_end(unroll):
    lstm = make("lstm", bidirectional=True)
    backwards = make("lstm")
    weights = {k: v for k, v in lstm.state_dict().items() if k.endswith("_reverse")}
    backwards.load_state_dict({k.removesuffix("_reverse"): v for k, v in weights.items()})
    x, initial = normal(0, T, B, D), initial_states(lstm, B)
    y, finals = run(lstm, x, initial, LENGTHS, unroll)
    for b, end in enumerate(LENGTHS):
        turned, own = x[:end, b : b + 1][::-1], [s[1:, b : b + 1] for s in initial]
        other, other_finals = run(backwards, turned, own, unroll=unroll)
        assert_same(y.data[:end, b, H:], other.data[::-1, 0])
        for ours, theirs in zip(finals, other_finals, strict=True):
            assert_same(ours.data[1, b], theirs.data[0, 0])


@both_ways
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_sequence_keeps_its_initial_state(kind, unroll):
    module = make(kind, bidirectional=True)
    initial = initial_states(module, B)
    y, finals = run(module, normal(0, T, B, D), initial, [0, 5, 0], unroll)
    for ours, theirs in zip(finals, initial, strict=True):
        np.testing.assert_array_equal(ours.data[:, [0, 2]], theirs[:, [0, 2]])
    assert not y.data[:, [0, 2]].any() and y.data[:, 1].all()


@pytest.mark.parametrize("lengths", [[5, 5, 5], (5, 5, 5), np.full(3, 5), np.full(3, 5, np.uint8)])
def test_full_lengths_change_nothing(lengths):
    lstm, x = make("lstm"), normal(0, T, B, D)
    np.testing.assert_array_equal(run(lstm, x, lengths=lengths)[0].data, run(lstm, x)[0].data)


def test_lengths_may_be_a_tensor():
    lstm, x = make("lstm"), normal(0, T, B, D)
    lengths = tg.tensor(np.array(LENGTHS))
    np.testing.assert_array_equal(
        run(lstm, x, lengths=lengths)[0].data, run(lstm, x, lengths=LENGTHS)[0].data
    )


# -- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_batch_first_turns_x_and_y_but_not_the_states(kind):
    plain, turned = make(kind, num_layers=2), make(kind, num_layers=2, batch_first=True)
    x, initial = normal(0, T, B, D), initial_states(plain, B)
    y, finals = run(plain, x, initial, LENGTHS)
    y_turned, finals_turned = run(turned, x.swapaxes(0, 1), initial, LENGTHS)
    np.testing.assert_array_equal(y_turned.data, y.data.swapaxes(0, 1))
    for ours, theirs in zip(finals_turned, finals, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_is_a_batch_of_one_without_its_axis(kind, batch_first):
    module = make(kind, bidirectional=True, batch_first=batch_first)
    x, initial = normal(0, T, D), initial_states(module, 1)
    for lengths in (None, [3], 3):
        batched = np.expand_dims(x, 0 if batch_first else 1)
        ends = None if lengths is None else [3]
        y, finals = run(module, batched, initial, ends)
        y_alone, finals_alone = run(module, x, [s[:, 0] for s in initial], lengths)
        assert y_alone.shape == (T, 2 * H)
        np.testing.assert_array_equal(y_alone.data, y.data.reshape(T, 2 * H))
        for ours, theirs in zip(finals_alone, finals, strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data[:, 0])


@both_ways
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [None, []])
def test_an_empty_batch_runs_and_has_zero_gradients(kind, lengths, unroll):
    module = make(kind, num_layers=2, bidirectional=True)
    y, finals = run(module, np.zeros((T, 0, D)), lengths=lengths, unroll=unroll)
    assert y.shape == (T, 0, 2 * H) and {s.shape for s in finals} == {(4, 0, H)}
    for p, g in zip(module.parameters(), tg.grad(y.sum(), list(module.parameters())), strict=True):
        assert g.shape == p.shape and not g.data.any()


@both_ways
@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_a_sequence(kind, unroll):
    module = make(kind)
    y, finals = run(module, normal(0, 1, B, D), unroll=unroll)
    np.testing.assert_array_equal(y.data, finals[0].data)


@both_ways
def test_two_calls_that_hand_on_the_state_are_one_call(unroll):
    for kind in KINDS:
        module, x = make(kind, num_layers=2), normal(0, T, B, D)
        whole, last = run(module, x, unroll=unroll)
        first, between = run(module, x[:2], unroll=unroll)
        second, end = run(module, x[2:], between, unroll=unroll)
        assert_same(np.concatenate([first.data, second.data]), whole)
        for ours, theirs in zip(end, last, strict=True):
            assert_same(ours, theirs)


@both_ways
def test_outputs_are_named(unroll):
    y, (h_n, c_n) = make("lstm")(normal(0, T, B, D), unroll=unroll)
    assert (y.name, h_n.name, c_n.name) == ("y", "h_n", "c_n")


@both_ways
def test_without_gradients_nothing_is_recorded_and_the_numbers_are_the_same(unroll):
    for kind in KINDS:
        module, x = make(kind, num_layers=2, bidirectional=True), normal(0, T, B, D)
        y, _ = run(module, x, lengths=LENGTHS, unroll=unroll)
        with tg.no_grad():
            silent, finals = run(module, x, lengths=LENGTHS, unroll=unroll)
        assert silent.node is None and not silent.requires_grad and finals[0].node is None
        assert_same(silent, y, 1e-15)


# -- options --------------------------------------------------------------------------------------


def test_a_projection_makes_outputs_smaller_but_not_the_memory():
    lstm = make("lstm", proj_size=2, num_layers=2, bidirectional=True)
    y, (h_n, c_n) = lstm(normal(0, T, B, D))
    assert (y.shape, h_n.shape, c_n.shape) == ((T, B, 4), (4, B, 2), (4, B, H))


def test_peepholes_of_zero_change_nothing():
    peeping, plain = make("lstm", peephole=True), make("lstm")
    plain.load_state_dict(peeping.state_dict(), strict=False)
    x = normal(0, T, B, D)
    assert (np.abs(peeping(x)[0].data - plain(x)[0].data) > 1e-4).any()
    for letter in "ifo":
        p = getattr(peeping, f"weight_c{letter}_l0")
        p.data = np.zeros(H)
    assert_same(peeping(x)[0], plain(x)[0], 1e-14)


def test_parameters_are_named_and_shaped_as_pytorchs_with_peepholes_last():
    lstm = nn.LSTM(2, 4, bidirectional=True, peephole=True, proj_size=3)
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"]
    shapes = [(16, 2), (16, 3), (16,), (16,), (3, 4), (4,), (4,), (4,)]
    names += ["weight_ci", "weight_cf", "weight_co"]
    expected = [
        (f"{n}_l0{end}", s) for end in ("", "_reverse") for n, s in zip(names, shapes, strict=True)
    ]
    assert [(n, p.shape) for n, p in lstm.named_parameters()] == expected


def test_parameters_start_uniform_within_one_over_the_root_of_the_hidden_size():
    for kind, module in KINDS.items():
        values = np.concatenate([p.data.ravel() for p in module(3, 25, 2, rng=0).parameters()])
        assert np.abs(values).max() <= 0.2 and abs(values.mean()) < 0.01, kind
        assert abs(values.std() - 0.2 / np.sqrt(3)) < 0.005, kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_makes_the_same_parameters(kind):
    one, other, third = KINDS[kind](D, H, rng=1), KINDS[kind](D, H, rng=1), KINDS[kind](D, H, rng=2)
    for p, q, r in zip(one.parameters(), other.parameters(), third.parameters(), strict=True):
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p.data, q.data)
        assert (p.data != r.data).any()


# -- dropout --------------------------------------------------------------------------------------


def test_dropout_stands_between_layers_only():
    x = normal(0, T, B, D)
    single = make("lstm", dropout=0.5)
    np.testing.assert_array_equal(single(x)[0].data, single(x)[0].data)
    assert single(x)[0].data.all()
    double = make("lstm", dropout=0.5, num_layers=2)
    tg.manual_seed(0)
    y, (h_n, _) = double(x)
    still, (h_still, _) = double.eval()(x)
    np.testing.assert_array_equal(h_n.data[0], h_still.data[0])  # the first layer's own state
    assert (y.data != still.data).any() and y.data.all()  # the last layer's output is not dropped


def test_what_dropout_zeros_the_next_layer_does_not_see():
    gru = make("gru", dropout=1 - 1e-12, num_layers=2)
    upper = nn.GRU(H, H, dtype=np.float64)
    own = {k: v for k, v in gru.state_dict().items() if k.endswith("_l1")}
    upper.load_state_dict({k.replace("_l1", "_l0"): v for k, v in own.items()})
    tg.manual_seed(0)
    assert_same(gru(normal(0, T, B, D))[0], upper(np.zeros((T, B, H)))[0])


def test_dropout_is_for_training_and_repeats_with_its_seed():
    rnn, x = make("rnn", dropout=0.5, num_layers=3), normal(0, T, B, D)
    plain = make("rnn", num_layers=3)
    tg.manual_seed(4)
    one, other = rnn(x)[0].data, rnn(x)[0].data
    tg.manual_seed(4)
    np.testing.assert_array_equal(rnn(x)[0].data, one)
    assert (one != other).any()
    np.testing.assert_array_equal(rnn.eval()(x)[0].data, plain(x)[0].data)


def test_dropout_keeps_the_mean_of_what_the_next_layer_sees():
    rnn = nn.RNN(1, 1, 2, nonlinearity="relu", dropout=0.3, dtype=np.float64)
    for name, p in rnn.named_parameters():
        p.data = np.full(p.shape, float(name.startswith("weight_ih")))
    tg.manual_seed(1)
    y = rnn(np.ones((1, 20_000, 1)))[0].data
    np.testing.assert_allclose(np.unique(y), [0.0, 1 / 0.7])
    assert abs(y.mean() - 1.0) < 0.02


# -- repr -----------------------------------------------------------------------------------------


def test_the_representation_says_what_is_not_the_default():
    assert repr(nn.LSTM(2, 3)).startswith("LSTM(2, 3)  84 parameters")
    lstm = nn.LSTM(2, 3, 2, False, True, 0.5, True, True, 1)
    assert repr(lstm).startswith(
        "LSTM(2, 3, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True, "
        "peephole=True, proj_size=1)"
    )
    assert repr(nn.GRU(2, 3, 2)).startswith("GRU(2, 3, num_layers=2)")
    assert repr(nn.RNN(2, 3, 1, "relu")).startswith("RNN(2, 3, nonlinearity='relu')")


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_that_does_not_fit_is_refused(kind):
    name = KINDS[kind].__name__
    for shape in [(T, B, D + 1), (D,), (1, T, B, D), ()]:
        with pytest.raises(ShapeError, match=rf"{name}: x must be \(T, B, 2\) or \(T, 2\), got"):
            make(kind)(np.zeros(shape))
    with pytest.raises(ShapeError, match=r"x must be \(B, T, 2\)"):
        make(kind, batch_first=True)(np.zeros((B, T, D + 1)))
    with pytest.raises(DTypeError, match=f"{name}: x is float32, the parameters are float64"):
        make(kind)(tg.tensor(np.zeros((T, B, D), np.float32)))
    with pytest.raises(DTypeError, match="got dtype complex128"):
        make(kind)(np.zeros((T, B, D), complex))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_no_steps_are_refused(kind, batch_first):
    module = make(kind, batch_first=batch_first)
    for shape in [(B, 0, D) if batch_first else (0, B, D), (0, D)]:
        with pytest.raises(ShapeError, match="no time steps: T = 0"):
            module(np.zeros(shape))


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_does_not_fit_is_refused(kind):
    module = make(kind, num_layers=2)
    x = np.zeros((T, B, D))
    fitting = initial_states(module, B)
    for shape in [(1, B, H), (2, B + 1, H), (2, B, H + 1), (2, H), (B, H)]:
        with pytest.raises(ShapeError, match=r"h_0 must be \(2, 3, 4\), got"):
            run(module, x, [np.zeros(shape), *fitting[1:]])
    with pytest.raises(ShapeError, match=r"h_0 must be \(2, 4\), got \(2, 1, 4\)"):
        run(module, x[:, 0], initial_states(module, 1))
    with pytest.raises(DTypeError, match="h_0 is float32"):
        run(module, x, [tg.tensor(fitting[0].astype(np.float32)), *fitting[1:]])


def test_the_memory_must_fit_as_well():
    lstm = make("lstm", proj_size=2)
    with pytest.raises(ShapeError, match=r"c_0 must be \(1, 3, 4\), got \(1, 3, 2\)"):
        lstm(np.zeros((T, B, D)), (np.zeros((1, B, 2)), np.zeros((1, B, 2))))
    for wrong in (np.zeros((1, B, H)), (np.zeros((1, B, H)),), "hc"):
        with pytest.raises(TypeError, match=r"LSTM: state must be a pair \(h_0, c_0\), got"):
            untyped.LSTM(D, H)(np.zeros((T, B, D)), wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_that_do_not_fit_are_refused(kind):
    module, x = make(kind), np.zeros((T, B, D))
    for wrong in ([1, 2], [1, 2, 3, 4], []):
        with pytest.raises(ShapeError, match=f"lengths: {len(wrong)} given for a batch of 3"):
            module(x, lengths=wrong)
    for wrong in ([1, 2, 6], [-1, 2, 3]):
        with pytest.raises(ShapeError, match=r"lengths: from .* outside \[0, 5\]"):
            module(x, lengths=wrong)
    for wrong in ([1.0, 2.0, 3.0], [[1, 2, 3]], 3, [True, True, False], ["1", "2", "3"]):
        with pytest.raises(DTypeError, match="lengths: expected one integer per sequence"):
            module(x, lengths=wrong)


@pytest.mark.parametrize("make_wrong", [untyped.LSTM, untyped.GRU, untyped.RNN])
def test_constructors_name_the_argument_that_is_wrong(make_wrong):
    for name in ("input_size", "hidden_size", "num_layers"):
        sizes = {"input_size": 2, "hidden_size": 3}
        for wrong in (0, -1):
            with pytest.raises(ValueError, match=f"{name} must be a positive integer, got {wrong}"):
                make_wrong(**{**sizes, name: wrong})
        for wrong in (1.5, "2", True, None):
            with pytest.raises(TypeError, match=f"{name} must be a positive integer"):
                make_wrong(**{**sizes, name: wrong})
    for name in ("bias", "batch_first", "bidirectional"):
        with pytest.raises(TypeError, match=rf"{name} must be True or False, got 2"):
            make_wrong(2, 3, **{name: 2})
    for wrong in (-0.1, 1.0, float("nan"), "0.5", True):
        with pytest.raises(ValueError, match=r"dropout must be a number in \[0, 1\)"):
            make_wrong(2, 3, dropout=wrong)
    with pytest.raises(DTypeError, match="dtype must be floating-point, got complex64"):
        make_wrong(2, 3, dtype=np.complex64)


def test_options_of_one_kind_are_checked_too():
    for wrong in (3, 4, -1):
        with pytest.raises(
            ValueError, match=r"proj_size must be an integer in \[0, hidden_size=3\)"
        ):
            nn.LSTM(2, 3, proj_size=wrong)
    for wrong in (1.5, "1", True):
        with pytest.raises(TypeError, match="proj_size must be an integer"):
            untyped.LSTM(2, 3, proj_size=wrong)
    with pytest.raises(TypeError, match="peephole must be True or False, got 2"):
        untyped.LSTM(2, 3, 1, True, False, 0.0, False, 2)
    with pytest.raises(ValueError, match="nonlinearity: expected 'tanh' or 'relu', got 'gelu'"):
        nn.RNN(2, 3, nonlinearity="gelu")
    with pytest.raises(TypeError, match="proj_size"):
        untyped.GRU(2, 3, proj_size=2)
