"""The machine compiled for, and compiled code: optimised once, kept on disk, loaded fast."""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm

from ...parallel.forks import after_fork
from .text import Scalar

__all__ = ["Machine", "load", "machine"]

Call = Callable[[int], None]
"""A native function of one address; a call lets go of Python's lock."""

_PASSES = (
    *("sroa", "instruction_combine", "simplify_cfg"),
    *("loop_rotate", "instruction_combine", "simplify_cfg"),
)
"""What the text leaves to do. All that LLVM usually runs takes four times as long, for no gain."""

_lock = Lock()
_loaded: dict[str, tuple[Any, tuple[Call, ...]]] = {}


class Machine(NamedTuple):
    """What code is written for."""

    cpu: str
    features: str
    vector_bytes: int
    rows: int  # of a product's result held in registers
    vectors: int  # registers side by side in such a row

    def scalar(self, bits: int) -> Scalar:
        return Scalar({32: "float", 64: "double"}[bits], bits, self.vector_bytes * 8 // bits)

    @property
    def attributes(self) -> str:
        """Attributes of every function: LLVM splits wide vectors unless told not to."""
        bits = self.vector_bytes * 8
        return (
            f'attributes #0 = {{ nounwind "target-cpu"="{self.cpu}" '
            f'"target-features"="{self.features}" "prefer-vector-width"="{bits}" '
            f'"min-legal-vector-width"="{bits}" }}'
        )


@cache
def machine() -> Machine:
    """This machine."""
    with suppress(RuntimeError):  # newer releases initialise themselves, and say so
        llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    cpu, flags = llvm.get_host_cpu_name(), features.flatten()
    if features.get("avx512f"):
        return Machine(cpu, flags, 64, 12, 2)  # 32 registers: 24 sums, 2 weights, 1 input
    if features.get("avx2") and features.get("fma"):
        return Machine(cpu, flags, 32, 6, 2)  # 16 registers
    return Machine(cpu, flags, 16, 6, 2)


@after_fork
def _renew() -> None:
    global _lock
    _lock = Lock()


def cache_folder() -> Path | None:
    """Where compiled code is kept: TINYGRAD_LSTM_CACHE, or the user's cache folder.

    None where the user has no home: code that others may have put there must not be run.
    """
    given = os.environ.get("TINYGRAD_LSTM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(given).expanduser() if given else Path(base).expanduser() / "tinygrad_lstm"
    except RuntimeError:
        return None


def load(text: str, names: Sequence[str]) -> tuple[Call, ...]:
    """Functions void(ptr) of a module of LLVM text, by their names; compiled unless it was before.

    Code is kept under the hash of its text and of the compiler's
    release; the text names the processor it is for.
    """
    release = f"{llvmlite.__version__} {llvm.llvm_version_info}"
    key = hashlib.sha256(f"{release}\n{text}".encode()).hexdigest()[:32]
    with _lock:
        if key not in _loaded:
            engine = _engine(text, key)
            kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
            functions = tuple(kind(engine.get_function_address(name)) for name in names)
            _loaded[key] = engine, functions
        return _loaded[key][1]


def _engine(text: str, key: str) -> Any:
    host = machine()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=host.cpu, features=host.features, opt=3, jit=True
    )
    folder = cache_folder()
    path = None if folder is None else folder / f"{key}.o"
    known = None if path is None else _read(path)
    if known is not None:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
        engine.add_object_file(llvm.ObjectFileRef.from_data(known))
        engine.finalize_object()
        return engine
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_module_pass_manager()
    for name in _PASSES:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, builder)
    compiled = target.emit_object(module)
    if path is not None:
        _write(path, compiled)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(compiled))
    engine.finalize_object()
    return engine


def _read(path: Path) -> bytes | None:
    """A kept file, without the checksum it ends with; None if there is none, or a damaged one."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body, checksum = data[:-32], data[-32:]
    return body if hashlib.sha256(body).digest() == checksum else None


def _write(path: Path, data: bytes) -> None:
    """Keep a file whole or not at all; a folder that can't be written to is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{time.time_ns()}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data + hashlib.sha256(data).digest())
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
