"""Saving and loading: every dtype, PyTorch's files, whole or not at all, errors with the path."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lstm as tg
from tinygrad_lstm import nn
from tinygrad_lstm.serialization import load_metadata

TORCH_FILE = Path(__file__).parent / "vectors" / "torch_state.safetensors"
untyped: Any = tg  # for calls with wrong types, past the type checker


# -- there and back ---------------------------------------------------------------------------


def test_a_model_comes_back_as_it_was(tmp_path):
    path = tmp_path / "model.safetensors"
    model = nn.Sequential(nn.Embedding(5, 4, rng=0), nn.Linear(4, 2, rng=1, dtype=np.float64))
    tg.save(path, model)
    other = nn.Sequential(nn.Embedding(5, 4, rng=2), nn.Linear(4, 2, rng=3, dtype=np.float64))
    assert other.load_state_dict(tg.load(path)) == ((), ())
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert p.dtype == q.dtype
        np.testing.assert_array_equal(p.data, q.data)


FLOATS = ["<f2", "<f4", "<f8", ">f4"]
INTEGERS = ["i1", "<i2", "<i4", "<i8", ">i8", "u1", "<u2", "<u4", "<u8"]


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from([*FLOATS, *INTEGERS, "?"]),
    shape=st.lists(st.integers(0, 4), max_size=3),
    seed=st.integers(0, 99),
    turned=st.booleans(),
)
def test_every_array_comes_back_exactly(tmp_path_factory, dtype, shape, seed, turned):
    raw = np.random.default_rng(seed).integers(0, 100, shape)
    array = np.asarray(raw.astype(dtype).T if turned else raw.astype(dtype))
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    tg.save(path, {"a": array, "b": array.tolist()} if array.size else {"a": array})
    back = tg.load(path)["a"]
    assert back.dtype == array.dtype.newbyteorder("=") and back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable and back.flags.owndata


def test_names_and_metadata_may_be_any_text(tmp_path):
    path = str(tmp_path / "ünï.safetensors")
    state = {"": np.ones(1), "λ.W_f": tg.tensor([2.0]), "a b\n": np.zeros(1)}
    tg.save(path, state, {"epoch": "3", "σ": "<b>"})
    assert set(tg.load(path)) == set(state) and tg.load(path)["λ.W_f"].tolist() == [2.0]
    assert load_metadata(path) == {"epoch": "3", "σ": "<b>"}
    tg.save(path, {})
    assert tg.load(path) == {} and load_metadata(path) == {}


def test_nan_infinity_and_denormals_survive(tmp_path):
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    tg.save(tmp_path / "x", {"x": values})
    assert tg.load(tmp_path / "x")["x"].tobytes() == values.tobytes()


# -- PyTorch ----------------------------------------------------------------------------------


def test_a_file_pytorch_wrote_is_read():
    state = tg.load(TORCH_FILE)
    weight = (np.arange(24, dtype=np.float32) / np.float32(7)).reshape(8, 3)
    np.testing.assert_array_equal(state.pop("lstm.weight_ih_l0"), weight)
    expected = {
        "double": np.array([[0.1, -1e300]]),
        "half": np.array([0.5, -2.0], np.float16),
        "count": np.array(2**40),
        "flags": np.array([True, False, True]),
        "bytes": np.array([0, 255], np.uint8),
        "nothing": np.zeros((0, 4), np.float32),
    }
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        assert state[name].dtype == array.dtype and state[name].shape == array.shape, name
        np.testing.assert_array_equal(state[name], array)
    assert load_metadata(TORCH_FILE) == {"format": "pt"}


def test_a_file_written_here_is_pytorchs_byte_for_byte(tmp_path):
    tg.save(tmp_path / "x", tg.load(TORCH_FILE), {"format": "pt"})
    assert (tmp_path / "x").read_bytes() == TORCH_FILE.read_bytes()


def test_bfloat16_is_read_as_float32():
    values = tg.load(TORCH_FILE.with_name("torch_bfloat16.safetensors"))["brain"]
    assert values.dtype == np.float32
    assert values.tolist() == [[1.0, -3.140625], [float.fromhex("0x1.94p+99"), 0.0]]


# -- whole or not at all ----------------------------------------------------------------------


def _files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "model"
    tg.save(path, {"a": np.ones(2)})

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            tg.save(path, {"a": np.zeros(9)})
    assert _files(tmp_path) == ["model"]
    np.testing.assert_array_equal(tg.load(path)["a"], np.ones(2))


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "model"
    tg.save(path, {"a": np.ones(2)})
    script = (
        "import os, numpy as np, tinygrad_lstm as tg\n"
        "os.replace = lambda *_: os._exit(9)\n"
        f"tg.save({str(path)!r}, {{'a': np.zeros(9)}})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode == 9
    np.testing.assert_array_equal(tg.load(path)["a"], np.ones(2))


@pytest.mark.skipif(os.name != "posix", reason="file modes and links are POSIX's")
def test_modes_and_links_are_kept(tmp_path):
    path, link = tmp_path / "model", tmp_path / "link"
    tg.save(path, {"a": np.ones(1)})
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o600)
    link.symlink_to(path)
    tg.save(link, {"a": np.zeros(1)})
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tg.load(path)["a"].item() == 0.0


# -- errors -----------------------------------------------------------------------------------


def test_errors_name_the_path(tmp_path):
    missing = tmp_path / "none" / "x"
    for call in (lambda: tg.load(missing), lambda: tg.save(missing, {})):
        with pytest.raises(FileNotFoundError, match=str(missing)):
            call()
    with pytest.raises(FileNotFoundError, match=str(missing)):
        load_metadata(missing)
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        tg.save(tmp_path, {})


def test_damaged_files_are_refused(tmp_path):
    whole = TORCH_FILE.read_bytes()
    path = tmp_path / "x"
    for content in (b"", b"\x00" * 8, b"not a model at all", whole[:-1], whole[:100], whole + b"x"):
        path.write_bytes(content)
        for read in (tg.load, load_metadata):
            with pytest.raises(ValueError, match=f"{path}: not a whole safetensors file"):
                read(path)


def test_what_is_no_number_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "x"
    for bad in (np.array(["a"]), np.array([1j]), np.array([object()])):
        with pytest.raises(tg.DTypeError, match=f"{path}: layer.W must hold numbers"):
            tg.save(path, {"layer.W": bad})
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        untyped.save(path, {3: np.ones(1)})
    with pytest.raises(TypeError, match=r"metadata\['epoch'\] must be a string, got 3"):
        untyped.save(path, {}, {"epoch": 3})
    with pytest.raises(TypeError, match="a Module or a mapping of names to arrays, got list"):
        untyped.save(path, [np.ones(1)])
    assert _files(tmp_path) == []


def test_importing_the_library_leaves_safetensors_unloaded():
    script = (
        "import sys, tinygrad_lstm\n"
        "heavy = {'safetensors', 'matplotlib', 'graphviz', 'pygraphviz', 'rich', 'click'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
