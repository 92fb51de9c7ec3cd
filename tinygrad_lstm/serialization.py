"""Save and load arrays by name in safetensors files, which hold numbers and nothing that runs.

A file is written beside its final place and renamed, so that a crash leaves the old one whole.
Knows nothing of modules but that they have a `state_dict`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .errors import DTypeError
from .tensor import Array, Tensor

__all__ = ["load", "load_metadata", "save"]

Path = str | os.PathLike[str]

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


@runtime_checkable
class HasState(Protocol):
    """A Module, or anything else with a `state_dict` of arrays."""

    def state_dict(self) -> Mapping[str, Any]: ...


def save(
    path: Path,
    model_or_state_dict: HasState | Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a model's state, or a mapping of names to arrays or tensors, to a safetensors file.

    metadata: strings by name, kept in the file's header. Raises TypeError for names or metadata
    that are not strings, DTypeError for arrays that are not real numbers or booleans, OSError
    where the file cannot be written; then an older file of that name is still there.
    """
    import safetensors
    import safetensors.numpy

    path = os.fspath(path)
    given = model_or_state_dict
    state = given if isinstance(given, Mapping) else _state_of(given)
    arrays = {_text(name, "name"): _storable(path, name, value) for name, value in state.items()}
    header = None
    if metadata is not None:
        header = {_text(k, "metadata"): _text(v, f"metadata[{k!r}]") for k, v in metadata.items()}
    try:
        content = safetensors.numpy.save(arrays, header)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: cannot be written as safetensors: {error}") from None
    _replace(os.path.realpath(path), content)


def load(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file by name, each a writable array of its own.

    Numbers of type bfloat16, which NumPy lacks, become float32. Raises FileNotFoundError,
    ValueError for a file that is damaged or of another kind, DTypeError for a type of number
    that NumPy has no equal of.
    """
    import safetensors

    path = os.fspath(path)
    with open(path, "rb") as file:
        content = file.read()
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file: {error}") from None
    entries = sorted(entries, key=lambda entry: entry[0])  # they come in no order
    return {name: _array(path, name, entry) for name, entry in entries}


def load_metadata(path: Path) -> dict[str, str]:
    """The strings in the header of a safetensors file. Raises as `load` does."""
    import safetensors

    path = os.fspath(path)
    with open(path, "rb"):  # names the file if it is not there
        pass
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file: {error}") from None


def _state_of(model: object) -> Mapping[str, Any]:
    if not isinstance(model, HasState):
        raise TypeError(
            f"save: expected a Module or a mapping of names to arrays, got {type(model).__name__}"
        )
    return model.state_dict()


def _text(value: object, argument: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"save: {argument} must be a string, got {value!r:.80}")
    return value


def _storable(path: str, name: str, value: Any) -> Array:
    array = value.data if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise DTypeError(f"{path}: {name} must hold numbers or booleans, got {array.dtype}")
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _array(path: str, name: str, entry: Mapping[str, Any]) -> Array:
    kind, data, shape = entry["dtype"], entry["data"], entry["shape"]
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if kind not in _DTYPES:
        raise DTypeError(f"{path}: {name} is of type {kind}, which NumPy has no equal of")
    return np.frombuffer(data, _DTYPES[kind]).reshape(shape).copy()


def _replace(path: str, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if os.path.isfile(path):
            os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(temporary, path)
    except BaseException as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, path) from None  # not the temporary's name
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the rename itself survive a loss of power, where the file system offers that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
