"""LSTMCell, GRUCell and RNNCell: their equations, their gradients, the names people see."""

from typing import Any

import numpy as np
import pytest
from recurrence import CELLS, sigma

import tinygrad_lstm as tg
from tinygrad_lstm import DTypeError, ShapeError, Tensor, nn

untyped: Any = nn  # for calls with wrong types, past the type checker
B, D, H = 3, 2, 4  # batch, inputs, hidden units

MAKERS: dict[str, Any] = {
    "lstm": lambda bias, **o: nn.LSTMCell(D, H, bias, rng=7, **o),
    "lstm with peepholes": lambda bias, **o: nn.LSTMCell(D, H, bias, peephole=True, rng=7, **o),
    "gru": lambda bias, **o: nn.GRUCell(D, H, bias, rng=7, **o),
    "tanh": lambda bias, **o: nn.RNNCell(D, H, bias, rng=7, **o),
    "relu": lambda bias, **o: nn.RNNCell(D, H, bias, "relu", rng=7, **o),
}


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def leaf(seed: int, *shape: int, dtype: Any = np.float64) -> Tensor:
    return tg.tensor(normal(seed, *shape).astype(dtype), requires_grad=True)


def states_of(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def call(cell: Any, x: Any, state: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """The new state, as a tuple for every kind of cell."""
    return states_of(cell(x, state if isinstance(cell, nn.LSTMCell) else state[0]))


def start(cell: Any, **options: Any) -> tuple[Tensor, ...]:
    count = 2 if isinstance(cell, nn.LSTMCell) else 1
    return tuple(leaf(20 + k, B, H, **options) for k in range(count))


def constant_lstm(**biases: float) -> nn.LSTMCell:
    """A cell whose gates are what their biases say, whatever comes in; i, f, g and o."""
    cell = nn.LSTMCell(D, H, dtype=np.float64)
    gates = np.repeat([biases.get(k, 0.5) for k in "ifgo"], H)
    for name, p in cell.named_parameters():
        p.data = gates if name == "bias_ih" else np.zeros(p.shape)
    return cell


OPEN, SHUT = 40.0, -800.0  # where a float64 sigmoid is exactly 1, and exactly 0


# -- the equations --------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_and_its_gradients_are_those_of_the_papers(kind, bias, dtype):
    cell = MAKERS[kind](bias, dtype=dtype)
    reference = CELLS[kind.split()[0]]
    x, state = leaf(1, B, D, dtype=dtype), start(cell, dtype=dtype)
    new = call(cell, x, state)
    cotangents = [normal(30 + k, B, H) for k in range(len(new))]
    wanted = {"x": x, **{f"state {k}": s for k, s in enumerate(state)}}
    wanted |= dict(cell.named_parameters())
    seeds = [c.astype(dtype) for c in cotangents]
    found = dict(zip(wanted, tg.grad(new, list(wanted.values()), seeds), strict=True))

    weights = {k: v.astype(np.float64) for k, v in cell.state_dict().items()}
    sums = {k: np.zeros_like(v) for k, v in weights.items()}
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    for b in range(B):
        before = tuple(s.data[b].astype(np.float64) for s in state)
        after, kept = reference.forward(weights, x.data[b].astype(np.float64), before)
        d_after = tuple(c.astype(dtype)[b].astype(np.float64) for c in cotangents)
        d_x, d_before = reference.backward(weights, kept, d_after, sums)
        pairs = [*zip(new, after, strict=True), (found["x"], d_x)]
        pairs += [(found[f"state {k}"], d) for k, d in enumerate(d_before)]
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours.data[b], theirs, rtol=tolerance, atol=tolerance)
    for name, total in sums.items():
        assert found[name].dtype == dtype
        np.testing.assert_allclose(
            found[name].data, total, rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("kind", [k for k in MAKERS if k != "relu"])
def test_a_cell_holds_to_second_order(kind):
    cell = MAKERS[kind](True, dtype=np.float64)
    names, parameters = zip(*cell.named_parameters(), strict=True)
    count = 2 if isinstance(cell, nn.LSTMCell) else 1

    def step(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        for name, p in zip(names, rest[count:], strict=True):
            object.__setattr__(cell, name, p)  # beside the registered parameter
        return call(cell, x, rest[:count])

    state = [normal(40 + k, 1, H) for k in range(count)]
    # Of the parameters every second is enough here: the others are in the test above.
    fixed = [tg.tensor(p.data) if k % 2 else p for k, p in enumerate(parameters)]
    small = [normal(41, 1, D), *state, *fixed]
    assert tg.gradcheck(step, small)


def test_relu_and_tanh_differ_only_in_the_activation():
    plain, clipped = nn.RNNCell(D, H, rng=0), nn.RNNCell(D, H, nonlinearity="relu", rng=0)
    x = normal(0, B, D)
    pre_activation = np.arctanh(plain(x).data)
    np.testing.assert_allclose(clipped(x).data, np.maximum(pre_activation, 0.0), atol=1e-6)


# -- what gates do --------------------------------------------------------------------------------


def test_forget_gate_of_one_keeps_the_memory():
    c = normal(1, B, H)
    _, c_t = constant_lstm(f=OPEN, i=SHUT)(normal(2, B, D), (normal(3, B, H), c))
    np.testing.assert_array_equal(c_t.data, c)


def test_forget_gate_of_zero_leaves_only_what_is_new():
    cell = constant_lstm(f=SHUT, i=OPEN, g=0.25)
    _, c_t = cell(normal(2, B, D), (normal(3, B, H), normal(1, B, H)))
    np.testing.assert_allclose(c_t.data, np.tanh(0.25), rtol=1e-15)


def test_input_gate_of_zero_adds_nothing():
    c = normal(1, B, H)
    _, c_t = constant_lstm(f=0.3, i=SHUT, g=9.0)(normal(2, B, D), (normal(3, B, H), c))
    np.testing.assert_array_equal(c_t.data, sigma(np.array(0.3)) * c)


def test_output_gate_of_zero_hides_the_memory_but_keeps_it():
    h_t, c_t = constant_lstm(o=SHUT, f=OPEN, i=SHUT)(normal(2, B, D), (normal(3, B, H),) * 2)
    assert (h_t.data == 0.0).all() and (c_t.data != 0.0).all()


def test_the_gradient_along_the_memory_is_the_forget_gate():
    cell = nn.LSTMCell(D, H, rng=3, dtype=np.float64)
    x, h, c = normal(2, B, D), normal(3, B, H), leaf(4, B, H)
    _, c_t = cell(x, (h, c))
    f_t = next(node.value for node in tg.toposort([c_t]) if node.name == "f_t")
    np.testing.assert_allclose(tg.grad(c_t, c, np.ones((B, H))).data, f_t, rtol=1e-15)


def test_three_hundred_steps_with_an_open_forget_gate_lose_no_gradient():
    cell = constant_lstm(f=OPEN, i=SHUT)
    c = leaf(1, 1, H)
    state: Any = (tg.tensor(np.zeros((1, H))), c)
    for _ in range(300):
        state = cell(np.zeros((1, D)), state)
    np.testing.assert_array_equal(tg.grad(state[1].sum(), c).data, np.ones((1, H)))


def test_the_output_stays_between_minus_one_and_one():
    for seed, kind in enumerate(["lstm", "lstm with peepholes", "gru", "tanh"]):
        cell = MAKERS[kind](True, dtype=np.float64)
        h = call(cell, 100 * normal(seed, 50, D), tuple(np.zeros((2, 50, H))))[0]
        assert (np.abs(h.data) <= 1.0).all()


def test_peepholes_of_input_and_forget_see_the_old_memory_and_that_of_output_the_new():
    cell = nn.LSTMCell(1, 1, False, peephole=True, dtype=np.float64)
    for name, p in cell.named_parameters():
        p.data = np.full(p.shape, 1.0 if name.startswith("weight_c") else 0.0)
    h_t, c_t = cell(np.zeros((1, 1)), (np.zeros((1, 1)), np.full((1, 1), 2.0)))
    assert c_t.item() == pytest.approx(2.0 * sigma(np.array(2.0)), rel=1e-15)
    assert h_t.item() == pytest.approx(sigma(c_t.data).item() * np.tanh(c_t.item()), rel=1e-15)


def gru_with_biases(r: float, z: float) -> nn.GRUCell:
    cell = nn.GRUCell(D, H, dtype=np.float64, rng=1)
    cell.weight_ih.data[: 2 * H] = cell.weight_hh.data[: 2 * H] = 0.0
    assert cell.bias_ih is not None and cell.bias_hh is not None
    cell.bias_ih.data[: 2 * H] = np.repeat([r, z], H)
    cell.bias_hh.data[:] = 0.0
    return cell


def test_update_gate_of_one_keeps_the_state():
    h = normal(1, B, H)
    np.testing.assert_array_equal(gru_with_biases(r=0.0, z=OPEN)(normal(2, B, D), h).data, h)


def test_reset_gate_of_zero_makes_the_candidate_forget_the_state():
    cell, x = gru_with_biases(r=SHUT, z=SHUT), normal(2, B, D)
    one, other = cell(x, normal(1, B, H)), cell(x, normal(3, B, H))
    np.testing.assert_array_equal(one.data, other.data)
    assert (cell(x * 2, normal(1, B, H)).data != one.data).all()


# -- names and scopes: what a picture and an error show -------------------------------------------

LSTM_NAMES = {
    "f_t": ("forget gate", "sigmoid"),
    "i_t": ("input gate", "sigmoid"),
    "g_t": ("candidate", "tanh"),
    "c_t": ("long-term memory", "add"),
    "o_t": ("output gate", "sigmoid"),
    "h_t": ("short-term memory", "mul"),
}
GRU_NAMES = {
    "r_t": ("reset gate", "sigmoid"),
    "z_t": ("update gate", "sigmoid"),
    "n_t": ("candidate", "tanh"),
    "h_t": ("short-term memory", "add"),
}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (nn.LSTMCell, LSTM_NAMES),
        (nn.GRUCell, GRU_NAMES),
        (nn.RNNCell, {"h_t": ("short-term memory", "tanh")}),
    ],
)
def test_each_gate_has_its_scope_and_its_name(make, expected):
    nodes = tg.toposort(states_of(make(D, H)(np.ones((B, D)))))
    steps = {n.name: n for n in nodes if n.name is not None and n.name.endswith("_t")}
    assert steps.keys() == expected.keys()
    for name, (gate, op) in expected.items():
        assert steps[name].scope == (make.__name__, gate) and steps[name].op.name == op


@pytest.mark.parametrize(("make", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_every_gate_has_one_ann_with_two_products(make, gates):
    nodes = tg.toposort(states_of(make(D, H)(np.ones((B, D)))))
    inside = [n for n in nodes if n.scope[-1] == "ANN"]
    products = [n.scope for n in inside if n.op.name == "matmul"]
    assert len(set(products)) == gates and len(products) == 2 * gates
    assert not [n for n in nodes if n.op.name == "matmul" and n not in inside]


def test_weights_of_a_gate_carry_its_letter():
    cell = nn.LSTMCell(D, H)
    names = {n.name for n in tg.toposort(cell(np.ones((B, D)))) if n.name}
    assert {f"{w}{k}}}" for w in ("W_{i", "W_{h", "b_{i", "b_{h") for k in "ifgo"} <= names
    assert {"b_i", "b_f", "b_g", "b_o"} <= names
    leaves = [t for n in tg.toposort(cell(np.ones((B, D)))) for t in n.inputs if t.node is None]
    assert {"weight_ih", "weight_hh", "bias_ih", "bias_hh"} <= {t.name for t in leaves}


def test_what_comes_in_gets_the_textbooks_names():
    x, h, c = (tg.tensor(normal(k, B, n)) for k, n in enumerate([D, H, H]))
    nn.LSTMCell(D, H, dtype=np.float64)(x, (h, c))
    assert (x.name, h.name, c.name) == ("x_t", "h_{t-1}", "c_{t-1}")


def test_a_name_the_user_gave_stays():
    cell = nn.LSTMCell(D, H, dtype=np.float64)
    x, h, c = (tg.tensor(normal(k, B, n), name=f"mine {k}") for k, n in enumerate([D, H, H]))
    cell(x, (h, c))
    assert [t.name for t in (x, h, c)] == ["mine 0", "mine 1", "mine 2"]


def test_a_cell_that_is_a_part_is_called_by_its_attribute():
    class Model(nn.Module):
        def __init__(self) -> None:
            self.memory = nn.LSTMCell(D, H)

        def forward(self, x: Any) -> Tensor:
            return self.memory(x)[0]

    h_t = Model()(np.ones((B, D)))
    assert h_t.node is not None
    assert h_t.node.scope == ("Model", "memory", "short-term memory")


def test_the_representation_says_what_is_not_the_default():
    assert repr(nn.LSTMCell(2, 3)).startswith("LSTMCell(2, 3)  84 parameters")
    assert "LSTMCell(2, 3, bias=False, peephole=True)" in repr(
        nn.LSTMCell(2, 3, False, peephole=True)
    )
    assert "GRUCell(2, 3, bias=False)" in repr(nn.GRUCell(2, 3, bias=False))
    assert "RNNCell(2, 3, nonlinearity='relu')" in repr(nn.RNNCell(2, 3, nonlinearity="relu"))


# -- shapes, dtypes, parameters -------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_one_vector_is_a_batch_of_one_without_its_axis(kind):
    cell = MAKERS[kind](True, dtype=np.float64)
    x, state = normal(1, D), tuple(normal(20 + k, H) for k in range(2))
    alone = call(cell, x, state)
    batched = call(cell, x[None], tuple(s[None] for s in state))
    for one, many in zip(alone, batched, strict=True):
        assert one.shape == (H,)
        np.testing.assert_allclose(one.data, many.data[0], rtol=1e-14)
    assert call(cell, x, (None, None))[0].shape == (H,)


@pytest.mark.parametrize("kind", MAKERS)
def test_without_a_state_it_starts_from_zeros(kind):
    cell = MAKERS[kind](True)
    x = normal(1, B, D)
    for one, other in zip(
        states_of(cell(x)), call(cell, x, tuple(np.zeros((2, B, H)))), strict=True
    ):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.parametrize("kind", MAKERS)
def test_an_empty_batch_has_empty_states_and_zero_gradients(kind):
    cell = MAKERS[kind](True)
    new = states_of(cell(np.zeros((0, D))))
    assert [s.shape for s in new] == [(0, H)] * len(new)
    for g in tg.grad(new, list(cell.parameters()), [np.zeros((0, H), np.float32)] * len(new)):
        assert not g.data.any()


def test_lists_and_arrays_are_taken_in_the_dtype_of_the_parameters():
    cell = nn.GRUCell(2, 3, rng=0)
    for x in ([[1, 2]], [[1.0, 2.0]], np.array([[1, 2]]), np.array([[1.0, 2.0]])):
        h = cell(x, np.zeros((1, 3)))
        assert h.dtype == np.float32
        np.testing.assert_array_equal(h.data, cell([[1.0, 2.0]]).data)


@pytest.mark.parametrize("kind", MAKERS)
def test_parameters_start_uniform_within_one_over_the_root_of_the_hidden_size(kind):
    cell = MAKERS[kind](True)
    values = np.concatenate([p.data.ravel() for p in cell.parameters()])
    assert np.abs(values).max() <= 1 / np.sqrt(H) and np.abs(values).max() > 0.9 / np.sqrt(H)
    again = MAKERS[kind](True)
    for p, q in zip(cell.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_parameters_are_named_and_shaped_as_pytorchs():
    shapes = {name: p.shape for name, p in nn.LSTMCell(2, 3, peephole=True).named_parameters()}
    assert list(shapes.items()) == [
        ("weight_ih", (12, 2)),
        ("weight_hh", (12, 3)),
        ("bias_ih", (12,)),
        ("bias_hh", (12,)),
        ("weight_ci", (3,)),
        ("weight_cf", (3,)),
        ("weight_co", (3,)),
    ]
    shapes = {name: p.shape for name, p in nn.GRUCell(2, 3, bias=False).named_parameters()}
    assert shapes == {"weight_ih": (9, 2), "weight_hh": (9, 3)}


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_shapes_that_do_not_fit_are_named(kind):
    cell = MAKERS[kind](True)
    name = type(cell).__name__
    for shape in [(B, D + 1), (D + 1,), (1, B, D), ()]:
        with pytest.raises(ShapeError, match=rf"{name}: x must be \(B, 2\) or \(2,\), got"):
            cell(np.zeros(shape))
    with pytest.raises(
        ShapeError, match=r"h_\{t-1\} must be \(3, 4\) for x \(3, 2\), got \(2, 4\)"
    ):
        call(cell, np.zeros((B, D)), (np.zeros((2, H)), None))
    with pytest.raises(ShapeError, match=r"h_\{t-1\} must be \(4,\) for x \(2,\), got \(1, 4\)"):
        call(cell, np.zeros(D), (np.zeros((1, H)), None))


def test_the_memory_must_fit_as_well():
    with pytest.raises(ShapeError, match=r"LSTMCell: c_\{t-1\} must be \(3, 4\).*got \(3, 5\)"):
        nn.LSTMCell(D, H)(np.zeros((B, D)), (np.zeros((B, H)), np.zeros((B, 5))))


@pytest.mark.parametrize("kind", MAKERS)
def test_tensors_of_another_dtype_are_not_promoted_silently(kind):
    cell = MAKERS[kind](True)
    name = type(cell).__name__
    with pytest.raises(DTypeError, match=f"{name}: x is float64, the parameters are float32"):
        cell(tg.tensor(np.zeros((B, D))))
    with pytest.raises(DTypeError, match=r"h_\{t-1\} is float64"):
        call(cell, np.zeros((B, D)), (tg.tensor(np.zeros((B, H))), None))
    with pytest.raises(DTypeError, match="x is int64"):
        cell(tg.tensor(np.zeros((B, D), np.int64)))


@pytest.mark.parametrize(
    "state", [np.zeros((B, H)), (np.zeros((B, H)),), tuple(np.zeros((3, B, H)))]
)
def test_the_state_of_an_lstm_is_a_pair(state):
    with pytest.raises(TypeError, match=r"LSTMCell: state must be a pair \(h, c\), got"):
        nn.LSTMCell(D, H)(np.zeros((B, D)), state)


@pytest.mark.parametrize("make", [untyped.LSTMCell, untyped.GRUCell, untyped.RNNCell])
def test_constructors_name_the_argument_that_is_wrong(make):
    for size in (0, -2):
        with pytest.raises(ValueError, match=f"input_size must be a positive integer, got {size}"):
            make(size, 2)
        with pytest.raises(ValueError, match=f"hidden_size must be a positive integer, got {size}"):
            make(2, size)
    for size in (2.0, "2", None, True):
        with pytest.raises(TypeError, match="hidden_size must be a positive integer"):
            make(2, size)
    with pytest.raises(TypeError, match=r"bias must be True or False, got 0\.5"):
        make(2, 3, 0.5)
    with pytest.raises(DTypeError, match="dtype must be floating-point, got int32"):
        make(2, 3, dtype=np.int32)
    with pytest.raises(TypeError, match="rng must be a non-negative integer"):
        make(2, 3, rng="seed")


def test_options_of_one_kind_are_checked_too():
    with pytest.raises(TypeError, match="peephole must be True or False, got 'yes'"):
        untyped.LSTMCell(2, 3, peephole="yes")
    for wrong in ("sigmoid", None, ["tanh"]):
        with pytest.raises(ValueError, match="nonlinearity: expected 'tanh' or 'relu', got"):
            untyped.RNNCell(2, 3, nonlinearity=wrong)
