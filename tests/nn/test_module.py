"""Module: what is registered, under which names, what is saved and loaded, and in which scope."""

import copy
import gc
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import nn


class Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        self.weight = tg.Parameter(np.ones((outputs, inputs), np.float32))
        self.bias: tg.Parameter | None = tg.Parameter(np.zeros(outputs, np.float32))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        return "->".join(map(str, reversed(self.weight.shape)))


class Model(nn.Module):
    def __init__(self) -> None:
        self.encoder = Layer(2, 3)
        self.decoder = Layer(3, 1)
        self.scale = tg.Parameter([2.0])
        self.size = 3

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.decoder(self.encoder(x)) * self.scale


class Tied(nn.Module):
    def __init__(self) -> None:
        self.one = Layer(2, 2)
        self.same = self.one
        self.other = Layer(2, 2)
        self.other.weight = self.one.weight


NAMES = ["scale", "encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]


# -- registration -----------------------------------------------------------------------------


def test_parameters_and_parts_are_found_by_attribute():
    model = Model()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [name for name, _ in model.named_modules()] == ["", "encoder", "decoder"]
    assert list(model.children()) == [model.encoder, model.decoder]
    assert next(iter(model.named_parameters("net")))[0] == "net.scale"
    assert dict(model.named_parameters())["encoder.weight"] is model.encoder.weight


def test_a_parameter_without_a_name_takes_its_attributes():
    model: Any = Model()
    assert model.encoder.weight.name == "weight" and model.scale.name == "scale"
    model.named = tg.Parameter([1.0], name="W_f")
    assert model.named.name == "W_f"


def test_what_is_used_twice_is_listed_once():
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == [
        "one.weight",
        "one.bias",
        "other.bias",
    ]
    assert list(model.modules()) == [model, model.one, model.other]
    assert list(model.children()) == [model.one, model.other]
    assert list(model.state_dict()) == [
        f"{part}.{name}" for part in ("one", "same", "other") for name in ("weight", "bias")
    ]


def test_replacing_or_deleting_an_attribute_replaces_or_deletes_the_part():
    model = Model()
    model.scale = tg.Parameter([3.0])
    model.decoder = Layer(3, 2)
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert model.decoder.weight.shape == (2, 3)
    del model.decoder
    model.encoder.bias = None
    assert list(model.state_dict()) == ["scale", "encoder.weight"]
    assert not hasattr(model, "decoder")
    model.encoder.bias = tg.Parameter([0.0, 0.0, 0.0])
    assert "encoder.bias" in model.state_dict()


def test_a_registered_attribute_takes_only_its_kind():
    model = Model()
    untyped: Any = model
    with pytest.raises(TypeError, match="scale: expected a Parameter or None, got ndarray"):
        untyped.scale = np.ones(1)
    with pytest.raises(TypeError, match="encoder: expected a Module or None, got int"):
        untyped.encoder = 3
    assert model.scale.item() == 2.0 and isinstance(model.encoder, Layer)


def test_arguments_nobody_takes_are_refused():
    untyped: Any = nn
    for make in (untyped.Tanh, untyped.Module):
        with pytest.raises(TypeError, match="positional argument"):
            make(3)


def test_a_module_cannot_become_a_part_of_itself():
    model: Any = Model()
    for part in (model, model.encoder):
        with pytest.raises(ValueError, match=r"parent: .* would become a part of itself"):
            part.parent = model
    assert [name for name, _ in model.named_parameters()] == NAMES


def test_registering_by_name():
    model: Any = Model()
    model.register_parameter("shift", tg.Parameter([1.0]))
    model.register_parameter("absent", None)
    model.add_module("head", Layer(1, 1))
    model.add_module("nothing", None)
    assert model.shift.name == "shift" and model.absent is None and model.nothing is None
    assert list(model.state_dict())[-2:] == ["head.weight", "head.bias"]
    for name in ("", "a.b", "forward", "size", 3):
        with pytest.raises(KeyError, match="name:"):
            model.register_parameter(name, None)
        with pytest.raises(KeyError, match="name:"):
            model.add_module(name, None)
    with pytest.raises(TypeError, match="x: expected a Parameter or None, got Tensor"):
        model.register_parameter("x", tg.tensor([1.0]))
    with pytest.raises(TypeError, match="x: expected a Module or None, got int"):
        model.add_module("x", 3)


# -- changing all of it -----------------------------------------------------------------------


def test_training_mode_reaches_every_part():
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5)), Layer(1, 1))
    assert all(m.training for m in model.modules())
    assert model.eval() is model and not any(m.training for m in model.modules())
    assert model.train() is model and all(m.training for m in model.modules())
    untyped: Any = model
    with pytest.raises(TypeError, match="mode"):
        untyped.train("yes")


def test_zero_grad_and_freezing():
    model, x = Model(), tg.tensor([[1.0, 2.0]])
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.encoder.requires_grad_(False)
    model(x).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        "scale",
        "decoder.weight",
        "decoder.bias",
    }


def test_double_and_float_convert_every_parameter_once():
    model = Tied()
    assert model.double() is model
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float64)}
    assert model.other.weight is model.one.weight
    assert model.one(tg.tensor(np.ones((1, 2)))).dtype == np.float64
    assert {p.dtype for p in model.float().parameters()} == {np.dtype(np.float32)}
    with pytest.raises(tg.DTypeError, match="floating-point dtype, got int32"):
        model.to(np.int32)


def test_converting_between_forward_and_backward_is_noticed():
    model = Model()
    loss = model(tg.tensor([[1.0, 2.0]])).sum()
    model.double()
    with pytest.raises(tg.GraphError, match="changed after it was used"):
        loss.backward()


def test_apply_visits_parts_before_the_whole():
    model, seen = Model(), []
    model.apply(seen.append)
    assert seen == [model.decoder, model.encoder, model]


def test_a_deep_copy_shares_nothing_but_keeps_ties():
    model = Tied()
    other = copy.deepcopy(model)
    assert other.other.weight is other.one.weight and other.same is other.one
    other.one.weight.data = np.zeros((2, 2), np.float32)
    assert (model.one.weight.data == 1).all()
    assert [n for n, _ in other.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_a_shallow_copy_shares_what_it_holds_until_something_is_set():
    model = Model()
    other = copy.copy(model)
    other.training = False
    other.decoder = Layer(3, 2)
    other.extra = tg.Parameter(np.ones(1))
    assert other.encoder is model.encoder and model.training
    assert [n for n, _ in model.named_modules()] == ["", "encoder", "decoder"]
    assert dict(model.named_modules())["decoder"] is model.decoder is not other.decoder
    assert "extra" not in model.state_dict() and "extra" in other.state_dict()
    del other.encoder
    assert "encoder.weight" in model.state_dict()


def test_modules_can_be_handed_to_another_process():
    model = nn.Sequential(
        nn.Embedding(3, 2, rng=0), nn.LSTMCell(2, 3, peephole=True, rng=0), nn.GRUCell(2, 3, rng=0),
        nn.LSTM(2, 3, peephole=True, proj_size=2, rng=0), nn.GRU(2, 3, rng=0), nn.RNNCell(2, 3),
        nn.RNN(2, 3, nonlinearity="relu", bidirectional=True, rng=0), nn.LayerNorm(3), nn.Tanh(),
    )  # fmt: skip
    other = pickle.loads(pickle.dumps(model))
    assert repr(other) == repr(model)
    for (name, p), (other_name, q) in zip(
        model.named_parameters(), other.named_parameters(), strict=True
    ):
        assert name == other_name
        np.testing.assert_array_equal(p.data, q.data)
    x = np.ones((4, 1, 2), np.float32)
    np.testing.assert_array_equal(other[3](x)[0].data, model[3](x)[0].data)


# -- state ------------------------------------------------------------------------------------


def test_a_state_loads_into_another_model():
    one, other = Model(), Model()
    for k, p in enumerate(one.parameters()):
        p.data = np.full_like(p.data, k + 0.5)
    report = other.load_state_dict(one.state_dict())
    assert report == ((), ())
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_a_state_is_a_copy_both_ways():
    model = Model()
    state = model.state_dict()
    state["scale"][:] = 9.0
    assert model.scale.item() == 2.0
    model.load_state_dict(state)
    state["scale"][:] = 5.0
    assert model.scale.item() == 9.0


def test_values_are_cast_and_may_be_tensors_or_lists():
    model = Model()
    state: dict[str, Any] = model.double().state_dict()
    state["scale"] = [7]
    state["encoder.bias"] = tg.tensor([1.0, 2.0, 3.0])
    model.float().load_state_dict(state)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert model.scale.item() == 7.0
    assert model.encoder.bias is not None and model.encoder.bias.data.tolist() == [1.0, 2.0, 3.0]


def test_one_error_lists_everything_and_nothing_is_changed():
    model = Model()
    state: dict[str, Any] = {
        "scale": np.zeros(1),
        "encoder.weight": np.zeros((2, 3)),
        "decoder.weight": np.array(["a"]),
        "extra": np.zeros(1),
        "more.extra": 1,
    }
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "does not fit Model",
        "missing:\n    encoder.bias\n    decoder.bias",
        "unexpected:\n    extra\n    more.extra",
        "encoder.weight: expected (3, 2) float32, got (2, 3) float64",
        "decoder.weight: expected (1, 3) float32, got (1,) <U1",
    ):
        assert part in message
    assert model.scale.item() == 2.0


def test_without_strict_differences_are_returned_but_shapes_must_fit():
    model = Model()
    report = model.load_state_dict({"scale": [4.0], "extra": [1.0]}, strict=False)
    assert report.unexpected == ("extra",) and "encoder.weight" in report.missing
    assert model.scale.item() == 4.0
    with pytest.raises(ValueError, match=r"scale: expected \(1,\)"):
        model.load_state_dict({"scale": [4.0, 5.0]}, strict=False)
    untyped: Any = model
    with pytest.raises(TypeError, match="state: expected a mapping"):
        untyped.load_state_dict([1])


def test_one_name_of_a_shared_parameter_is_enough():
    model = Tied()
    state = {name: model.state_dict()[name] for name, _ in model.named_parameters()}
    state["one.weight"] = np.full((2, 2), 6.0)
    assert model.load_state_dict(state) == ((), ())
    assert (model.other.weight.data == 6).all()


# -- calling ----------------------------------------------------------------------------------


def test_a_call_is_recorded_in_the_scope_of_the_attributes():
    y = Model()(tg.tensor([[1.0, 2.0]]))
    assert y.node is not None and y.node.scope == ("Model",)
    decoded = y.node.inputs[0].node
    assert decoded is not None and decoded.scope == ("Model", "decoder")
    assert decoded.inputs[1].name == "bias"


def test_scope_name_overrides_and_may_be_empty():
    class Named(Layer):
        scope_name = "forget gate"

    x = tg.tensor([[1.0, 2.0]])
    y = Named(2, 1)(x)
    assert y.node is not None and y.node.scope == ("forget gate",)
    layer = Layer(2, 1)
    layer.scope_name = ""
    y = layer(x)
    assert y.node is not None and y.node.scope == ()


def test_parts_of_a_sequential_are_told_apart():
    y = nn.Sequential(Layer(1, 1), Layer(1, 1))(tg.tensor([[1.0]]))
    assert y.node is not None and y.node.scope == ("Sequential", "Layer 1")


def test_an_op_inside_the_library_points_to_the_users_call():
    layer = nn.Linear(2, 1, rng=0)
    y = layer(tg.tensor([[1.0, 2.0]]))
    code = test_an_op_inside_the_library_points_to_the_users_call.__code__
    assert y.node is not None
    assert y.node.where == f"{__file__}:{code.co_firstlineno + 2}"
    y = Model()(tg.tensor([[1.0, 2.0]]))  # recorded in Model.forward, which is the user's
    assert y.node is not None
    assert y.node.where == f"{__file__}:{Model.forward.__code__.co_firstlineno + 1}"


def test_the_scope_is_left_when_forward_fails():
    class Broken(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Broken: no forward\(\)"):
        Broken()(1)
    y = tg.tensor([1.0]) + 1.0
    assert y.node is not None and y.node.scope == ()


def test_a_model_and_its_graph_are_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        model = Model()
        loss = model(tg.tensor([[1.0, 2.0]])).sum()
        loss.backward()
        del model, loss
        assert gc.collect() == 0
    finally:
        gc.enable()


# -- showing ----------------------------------------------------------------------------------


def test_the_repr_is_a_tree_with_parameter_counts():
    assert repr(Model()).splitlines() == [
        "Model                    14 parameters",
        "├─ encoder: Layer(2->3)   9",
        "└─ decoder: Layer(3->1)   4",
    ]
    model = nn.Sequential(nn.Sequential(nn.Linear(40, 30), nn.Tanh()), nn.Linear(30, 1, bias=False))
    assert repr(model).splitlines() == [
        "Sequential                       1,260 parameters",
        "├─ 0: Sequential                 1,230",
        "│  ├─ 0: Linear(40, 30)          1,230",
        "│  └─ 1: Tanh                        0",
        "└─ 1: Linear(30, 1, bias=False)     30",
    ]


def test_the_repr_counts_what_is_shared_once():
    assert repr(Tied()).splitlines()[0].endswith("8 parameters")
