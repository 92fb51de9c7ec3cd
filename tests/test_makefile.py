"""The Makefile: it lists its targets, refuses an old Python with a clear line, installs once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=60
    )


def interpreter(folder: Path, body: str) -> str:
    """A stand-in for `python3`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def test_make_alone_lists_the_targets():
    shown = make().stdout
    for target in ("demo", "test", "lint", "bench", "docs"):
        assert f"make {target} " in shown


def test_an_old_python_is_refused_by_its_version(tmp_path: Path):
    old = interpreter(tmp_path, 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    venv = tmp_path / "venv"
    done = make("test", f"PYTHON={old}", f"VENV={venv}")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr and "is Python 3.9.2" in done.stderr
    assert "make test PYTHON=python3.12" in done.stderr
    assert not venv.exists()


def test_a_missing_python_is_told(tmp_path: Path):
    done = make("demo", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "'no-such-python'" in done.stderr


def test_nothing_is_installed_when_nothing_changed(tmp_path: Path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    interpreter(venv / "bin", f'echo "$@" >> {tmp_path}/log')
    for _ in range(2):
        assert make("test", f"VENV={venv}").returncode == 0
    log = (tmp_path / "log").read_text("utf-8").splitlines()
    modules = [line.split()[1] for line in log]
    assert modules == ["pip", "compileall", "pytest", "pytest"]
    assert "--editable .[dev,fast]" in log[0]
