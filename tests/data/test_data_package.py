"""The data package by itself: it exports what it says, needs no engine and runs from an archive."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tinygrad_lstm import data


def test_every_public_name_is_there_and_says_what_it_is_for():
    assert len(set(data.__all__)) == len(data.__all__)
    for name in data.__all__:
        value = getattr(data, name)
        assert isinstance(value, str) or value.__doc__.strip()


def test_the_series_is_found_in_an_archive_and_the_engine_is_not_needed(tmp_path):
    source = Path(data.__file__).parent
    archive = tmp_path / "installed.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("tinygrad_lstm/__init__.py", "")
        for path in [*source.glob("*.py"), *source.glob("*.csv")]:
            target.write(path, f"tinygrad_lstm/data/{path.name}")
    code = (
        "import sys; from tinygrad_lstm import data; "
        "years, values = data.sunspots(); "
        "assert str(data.__file__).startswith(sys.argv[1]), data.__file__; "
        "inside = [m for m in sys.modules if m.startswith('tinygrad_lstm.')]; "
        "assert all(m.startswith('tinygrad_lstm.data') for m in inside), inside; "
        "print(years[-1], len(values))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(archive)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(archive)},
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2008 309\n", "")
