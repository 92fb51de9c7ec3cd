"""matmul and einsum: NumPy's values for every arrangement of axes, and their gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import SEEDS, check_direction, examples, leaves

import tinygrad_lstm as tg
from tinygrad_lstm import ShapeError, Tensor, grad

MATMULS = hnp.mutually_broadcastable_shapes(
    signature="(m?,k),(k,n?)->(m?,n?)", max_dims=3, min_side=1, max_side=3
)


@given(shapes=MATMULS, seed=SEEDS, single=st.booleans())
@examples(100)
def test_matmul_is_numpys_for_vectors_matrices_and_broadcast_batches(shapes, seed, single):
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=s) for s in shapes.input_shapes)
    expected = np.asarray(a @ b)
    for found in (Tensor(a) @ Tensor(b), tg.matmul(a, b), a @ Tensor(b), Tensor(a) @ b):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.data, expected, rtol=1e-12, atol=1e-12)
    check_direction(tg.matmul, [a, b], seed)
    if single:
        x, y = leaves([a.astype(np.float32), b.astype(np.float32)])
        product = x @ y
        assert product.dtype == np.float32
        assert all(g.dtype == np.float32 for g in grad(product.sum(), [x, y]))


def test_gradients_of_matmul_are_products_with_transposes():
    rng = np.random.default_rng(0)
    a, b, g = rng.normal(size=(5, 2, 3)), rng.normal(size=(3, 4)), rng.normal(size=(5, 2, 4))
    da, db = grad((product := tg.matmul(*(pair := leaves([a, b])))), pair, g)
    assert product.shape == (5, 2, 4)
    np.testing.assert_allclose(da.data, np.einsum("bik,jk->bij", g, b), rtol=1e-12)
    np.testing.assert_allclose(db.data, np.einsum("bij,bik->jk", a, g), rtol=1e-12)


@pytest.mark.parametrize(
    "one, other",
    [((2, 0), (0, 3)), ((0, 3), (3, 2)), ((4, 0, 3), (3, 2)), ((2, 3, 0), (0, 4)), ((0,), (0,))],
    ids=str,
)
def test_empty_products_have_gradients_of_the_right_shape(one, other):
    a, b = leaves([np.ones(one), np.ones(other)])
    product = a @ b
    assert product.shape == (np.ones(one) @ np.ones(other)).shape
    for create_graph in (False, True):
        da, db = grad(product, [a, b], np.ones(product.shape), create_graph=create_graph)
        assert da.shape == one and db.shape == other


def test_a_product_that_does_not_fit_says_which_sizes_differ():
    h = tg.tensor(np.ones((8, 32)), name="h_{t-1}")
    w = tg.tensor(np.ones((64, 32)), name="W_hf")
    with tg.scope("lstm"), tg.scope("t=3"), tg.scope("forget gate"), pytest.raises(
        ShapeError
    ) as caught:
        tg.matmul(h, w)
    assert str(caught.value) == (
        "matmul in lstm/t=3/forget gate: h_{t-1} (8, 32) @ W_hf (64, 32): "
        "inner sizes 32 and 64 differ"
    )


@pytest.mark.parametrize(
    "one, other, message",
    [
        ((3,), (4,), r"matmul: a \(3,\) @ b \(4,\): inner sizes 3 and 4 differ"),
        ((3,), (4, 2), r"a \(3,\) @ b \(4, 2\): inner sizes 3 and 4 differ"),
        ((), (4, 2), r"a \(\) @ b \(4, 2\): each needs at least one axis"),
        ((2, 4, 3), (5, 3, 2), r"leading axes \(2,\) and \(5,\), sizes 2 and 5 of axis -1 differ"),
    ],
)
def test_vectors_scalars_and_batches_that_do_not_fit_are_told_as_they_were_given(
    one, other, message
):
    a, b = tg.tensor(np.ones(one), name="a"), tg.tensor(np.ones(other), name="b")
    with pytest.raises(ShapeError, match=message):
        tg.matmul(a, b)


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij->ji", (2, 3)),
    ("ba", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->j", (2, 2, 3)),
    ("iii->i", (2, 2, 2)),
    ("iijj->ij", (2, 2, 3, 3)),
    ("ijk->", (2, 3, 2)),
    ("ijk->k", (2, 3, 2)),
    ("i,j->ij", (2,), (3,)),
    ("i,i->", (3,), (3,)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ij,k->i", (2, 3), (4,)),
    ("ii,ij->j", (2, 2), (2, 3)),
    ("bij,bjk,bkl->bil", (2, 2, 3), (2, 3, 2), (2, 2, 3)),
    ("i,ij,j->", (2,), (2, 3), (3,)),
    ("i,j,k->kji", (2,), (3,), (4,)),
    ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 2)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 2)),
    ("...ij,...jk->...ik", (1, 2, 3), (5, 3, 2)),
    ("...ij,...jk->...ik", (4, 1, 2, 3), (5, 3, 2)),
    ("...ij->...ji", (4, 5, 2, 3)),
    ("...i,...i", (4, 3), (4, 3)),
    ("i...,i...->...", (3, 2), (3, 2)),
    ("...", (2, 3)),
    ("i...->...", (2, 3)),
    ("...ii->...i", (4, 3, 3)),
    (",i->i", (), (3,)),
    (" ij , jk -> ik ", (2, 3), (3, 4)),
    ("ij,ij->ij", (1, 3), (2, 3)),
]


@pytest.mark.parametrize("case", EINSUMS, ids=lambda case: f"{case[0]} {case[1:]}")
def test_einsum_is_numpys_with_gradients_to_order_two(case):
    subscripts, *shapes = case
    rng = np.random.default_rng(1)
    arrays = [np.asarray(rng.normal(size=s)) for s in shapes]
    found = tg.einsum(subscripts, *(Tensor(a) for a in arrays))
    np.testing.assert_allclose(found.data, np.einsum(subscripts, *arrays), rtol=1e-12, atol=1e-13)
    assert tg.gradcheck(lambda *ts: tg.einsum(subscripts, *ts), arrays, order=2)


@pytest.mark.parametrize(
    "subscripts, shapes, message",
    [
        ("ij,jk->ik", [(2, 3)], r"names 2 operands, got 1"),
        ("ij,jk->ik", [(2, 3), (4, 2)], r"index 'j' has sizes 3 and 4"),
        ("ijk->i", [(2, 3)], r"'ijk'.*does not fit \(2, 3\)"),
        ("i->i", [(2, 3)], r"'i'.*does not fit \(2, 3\)"),
        ("ij->ik", [(2, 3)], r"output 'ik'"),
        ("ij->ii", [(2, 3)], r"output 'ii'"),
        ("ii->i", [(2, 3)], r"sizes"),
        ("i?->i", [(2, 3)], r"einsum"),
    ],
)
def test_subscripts_that_do_not_fit_are_explained(subscripts, shapes, message):
    tensors = [tg.tensor(np.ones(s), name=f"x{k}") for k, s in enumerate(shapes)]
    with tg.scope("attention"), pytest.raises(ShapeError, match=message) as caught:
        tg.einsum(subscripts, *tensors)
    assert str(caught.value).startswith("einsum in attention: x0 (2, 3)")


def test_einsum_refuses_what_is_no_subscript():
    with pytest.raises(TypeError, match="subscripts must be a string"):
        tg.einsum(tg.tensor([1.0]), "i")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="einsum: needs at least one"):
        tg.einsum("i")
