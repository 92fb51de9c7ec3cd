"""Bad input to every public function: an error of a fitting kind that names what it saw."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import DTypeError, ShapeError, Tensor


def named(name: str, *shape: int) -> Tensor:
    return tg.tensor(np.ones(shape), requires_grad=True, name=name)


X, Y, W = named("x", 2, 3), named("y", 2, 4), named("w", 3, 4)
ONE = named("one")
FLAGS = tg.tensor(np.array([True, False]), name="flags")

Bad = tuple[str, Callable[[], Any], type[Exception], str]

BROADCAST = r"x \(2, 3\) {} y \(2, 4\): sizes 3 and 4 of axis -1 differ"

SHAPES: list[Bad] = [
    ("add", lambda: X + Y, ShapeError, BROADCAST.format(r"\+")),
    ("sub", lambda: X - Y, ShapeError, BROADCAST.format("-")),
    ("mul", lambda: X * Y, ShapeError, BROADCAST.format("⊙")),
    ("div", lambda: X / Y, ShapeError, BROADCAST.format("÷")),
    ("pow", lambda: X**Y, ShapeError, BROADCAST.format(r"\^")),
    ("maximum", lambda: tg.maximum(X, Y), ShapeError, BROADCAST.replace(" {}", ",")),
    ("minimum", lambda: tg.minimum(X, Y), ShapeError, BROADCAST.replace(" {}", ",")),
    ("maximum", lambda: X.clip(Y, 1), ShapeError, BROADCAST.replace(" {}", ",")),
    ("where", lambda: tg.where(np.ones((2, 3), bool), X, Y), ShapeError, r"3 and 4 of axis -1"),
    ("where", lambda: tg.where(FLAGS, X, X), ShapeError, r"flags \(2,\), x.*sizes 2 and 3 of axis"),
    ("matmul", lambda: X @ Y, ShapeError, r"x \(2, 3\) @ y \(2, 4\): inner sizes 3 and 2 differ"),
    ("reshape", lambda: X.reshape(4, 2), ShapeError, r"x \(2, 3\): cannot make \(4, 2\) of 6"),
    ("reshape", lambda: X.reshape(-1, -1), ShapeError, r"x \(2, 3\): cannot make \(-1, -1\)"),
    ("reshape", lambda: X.reshape(4, -1), ShapeError, r"x \(2, 3\): cannot make \(4, -1\)"),
    ("reshape", lambda: X.reshape(-2, 3), ShapeError, r"x \(2, 3\): cannot make \(-2, 3\)"),
    ("transpose", lambda: X.transpose(0), ShapeError, r"x \(2, 3\): 1 axes given for 2"),
    ("transpose", lambda: X.transpose(0, 0), ShapeError, r"x \(2, 3\): .*twice"),
    ("transpose", lambda: X.permute(0, 2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("swapaxes", lambda: X.swapaxes(0, 2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("broadcast_to", lambda: X.broadcast_to((2, 4)), ShapeError, "axis -1 of size 3 cannot become"),
    ("broadcast_to", lambda: X.broadcast_to(3), ShapeError, r"x \(2, 3\).*2 axes cannot become 1"),
    ("squeeze", lambda: X.squeeze(1), ShapeError, r"x \(2, 3\): axis 1 is not of size 1"),
    ("squeeze", lambda: X.squeeze(2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("unsqueeze", lambda: X.unsqueeze(4), ShapeError, r"x \(2, 3\): axis 4 is out of range for 3"),
    ("concatenate", lambda: tg.concatenate([X, Y]), ShapeError, r"axis 1, tensors\[1\] has size 4"),
    ("concatenate", lambda: tg.concatenate([X, ONE]), ShapeError, r"tensors\[1\] has 0 axes"),
    ("concatenate", lambda: tg.concatenate([X, X], 2), ShapeError, r"axis 2 is out of range for 2"),
    ("stack", lambda: tg.stack([X, X, Y]), ShapeError, r"x.*y.*tensors\[2\] has another shape"),
    ("stack", lambda: tg.stack([X, X], axis=3), ShapeError, r"axis 3 is out of range for 3"),
    ("split", lambda: X.split(2, axis=1), ShapeError, r"x \(2, 3\): axis 1 of size 3.*2 equal"),
    ("split", lambda: X.split(0), ShapeError, r"x \(2, 3\): axis 0 of size 2.*0 equal"),
    ("unstack", lambda: X.unstack(2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("take", lambda: X.take([0], axis=2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("sum", lambda: X.sum(axis=2), ShapeError, r"x \(2, 3\): axis 2 is out of range for 2 axes"),
    ("mean", lambda: X.mean(axis=-3), ShapeError, r"x \(2, 3\): axis -3 is out of range"),
    ("max", lambda: X.max(axis=(0, 0)), ShapeError, r"x \(2, 3\): axis names an axis twice"),
    ("min", lambda: X.min(axis=(0, -2)), ShapeError, r"x \(2, 3\): axis names an axis twice"),
    ("var", lambda: X.var(axis=0, ddof=2), ShapeError, r"x \(2, 3\): 2 elements along axis 0"),
    ("logsumexp", lambda: X.logsumexp(2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("softmax", lambda: X.softmax(2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("softmax", lambda: ONE.softmax(), ShapeError, r"one \(\): axis -1 is out of range for 0 axes"),
    ("log_softmax", lambda: X.log_softmax(-3), ShapeError, r"x \(2, 3\): axis -3 is out of range"),
    ("cumsum", lambda: X.cumsum(2), ShapeError, r"x \(2, 3\): axis 2 is out of range"),
    ("einsum", lambda: tg.einsum("ij,jk", X, Y), ShapeError, r"x.*y.*index 'j' has sizes 3 and 2"),
    ("embedding", lambda: tg.embedding([0], ONE), ShapeError, r"one \(\): weight must have two"),
]

EMPTY = named("empty", 0, 3)
NOTHING: list[Bad] = [
    (name, lambda name=name: getattr(tg, name)(EMPTY, axis=0), ShapeError, r"empty \(0, 3\): ")
    for name in ("max", "min", "mean", "var", "softmax", "log_softmax")
]

INDICES: list[Bad] = [
    ("take", lambda: X.take([3], axis=1), IndexError, r"x \(2, 3\), \(1,\): .*3 to 3 into 3"),
    ("embedding", lambda: tg.embedding([[0, 9]], W), IndexError, r"w \(3, 4\).*0 to 9 into 3"),
    ("getitem", lambda: X[2], IndexError, r"x \(2, 3\), index=2: "),
    ("getitem", lambda: X[0, 0, 0], IndexError, r"x \(2, 3\), index=\(0, 0, 0\): too many"),
    ("getitem", lambda: X[FLAGS.data[:1]], IndexError, r"x \(2, 3\), index=bool array \(1,\): "),
    ("getitem", lambda: X["a"], IndexError, r"x \(2, 3\), index='a'"),
    ("getitem", lambda: X[[0, 1], [0, 1, 2]], IndexError, r"x \(2, 3\)"),
]

DTYPES: list[Bad] = [
    ("neg", lambda: -FLAGS, DTypeError, r"flags \(2,\)"),
    ("where", lambda: tg.where(X, X, X), DTypeError, r"x \(2, 3\): condition must be boolean"),
    ("take", lambda: X.take([0.5]), DTypeError, r"x \(2, 3\), \(1,\): indices must be integers"),
    ("embedding", lambda: tg.embedding(X, W), DTypeError, r"w \(3, 4\), x.*not float64"),
    ("astype", lambda: X.astype("words"), DTypeError, r"x \(2, 3\): expected a NumPy dtype"),
]

CASES = SHAPES + NOTHING + INDICES + DTYPES


@pytest.mark.parametrize("case", CASES, ids=[f"{name}-{k}" for k, (name, *_) in enumerate(CASES)])
def test_what_does_not_fit_is_told_with_op_scope_names_and_shapes(case: Bad):
    op, act, kind, message = case
    with tg.scope("lstm"), tg.scope("t=3"), pytest.raises(kind, match=message) as caught:
        act()
    assert str(caught.value).startswith(f"{op} in lstm/t=3: ")
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


f: Any = tg  # what follows is no valid call, also by its types
x: Any = X

ARGUMENTS: list[Bad] = [
    ("clip", lambda: f.clip(X), ValueError, "clip: needs min, max or both"),
    ("dropout", lambda: f.dropout(X, 1.0), ValueError, r"dropout: p must be in \[0, 1\), got 1.0"),
    ("dropout", lambda: f.dropout(X, -0.1), ValueError, "dropout: p must be"),
    ("reshape", lambda: x.reshape(2.0, 3), TypeError, "shape: expected integers"),
    ("sum", lambda: x.sum(axis=1.0), TypeError, r"x \(2, 3\): axis must be an integer, got 1.0"),
    ("sum", lambda: x.sum(axis="rows"), TypeError, r"sum: x \(2, 3\): axis must be an integer"),
    ("split", lambda: x.split(1.5), TypeError, "split: sections: expected integers, got 1.5"),
    ("split", lambda: x.split([0.5]), TypeError, "split: sections: expected integers"),
    ("concatenate", lambda: f.concatenate([]), ShapeError, "needs at least one tensor"),
    ("stack", lambda: f.stack([]), ShapeError, "needs at least one tensor"),
    ("stack", lambda: f.stack(3), TypeError, "stack: expected a sequence of tensors, got int"),
    ("concatenate", lambda: f.concatenate([X, "a"]), DTypeError, r"concatenate: tensors\[1\]"),
    ("concatenate", lambda: f.concatenate([X], axis="a"), TypeError, "axis must be an integer"),
    ("einsum", lambda: f.einsum(X, X), TypeError, "subscripts must be a string"),
]


@pytest.mark.parametrize("case", ARGUMENTS, ids=[f"{c[0]}-{k}" for k, c in enumerate(ARGUMENTS)])
def test_arguments_of_the_wrong_kind_are_named(case: Bad):
    _, act, kind, message = case
    with pytest.raises(kind, match=message):
        act()


UNARY = ("abs", "cos", "exp", "log", "neg", "relu", "sigmoid", "sin", "softplus", "sqrt", "tanh")


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("junk", [None, "text", 1j, {}, [[1, 2], [3]]], ids=repr)
def test_functions_of_one_tensor_refuse_what_is_no_tensor(name, junk):
    with pytest.raises((DTypeError, ShapeError), match="x: data"):
        getattr(tg, name)(junk)


def test_every_function_has_its_bad_calls_here():
    covered = {case[0] for case in CASES + ARGUMENTS} | set(UNARY) | {"permute"}
    assert set(tg._functions.__all__) <= covered


@pytest.mark.parametrize(
    "kind, base",
    [
        (tg.ShapeError, ValueError),
        (tg.DTypeError, TypeError),
        (tg.GraphError, RuntimeError),
        (tg.NonFiniteError, ArithmeticError),
        (tg.GradcheckError, AssertionError),
    ],
)
def test_errors_are_kinds_of_pythons_own(kind, base):
    assert issubclass(kind, base)


def test_an_op_given_directly_what_does_not_fit_says_so_too():
    with pytest.raises(ShapeError, match=r"scatter: x \(2, 3\), index="):
        tg.OPS["scatter"](X, index=np.array([0, 1, 2]), shape=(3, 3))
