"""README and docs: their code runs and prints what they say, their links and pictures are there."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tinygrad_lstm.cli import cli

ROOT = Path(__file__).parent.parent


def load(path: Path) -> Any:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load(ROOT / "docs" / "make.py")
DOCUMENTS = list(make.DOCUMENTS)
WRITTEN = [*DOCUMENTS, ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_code_prints_what_the_document_says(document: Path, tmp_path: Path):
    with contextlib.chdir(tmp_path):
        for code, printed, promised in make.run(document, {}):
            assert printed == promised, f"in {document.name}:\n{code}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_every_output_belongs_to_code(document: Path):
    languages = [language for language, _ in make.blocks(document)]
    assert set(languages) <= {"python", "text", "sh"}
    for before, language in zip(["", *languages], languages, strict=False):
        assert language != "text" or before == "python"


@pytest.mark.parametrize("document", WRITTEN, ids=lambda d: d.name)
def test_links_lead_to_files_that_are_there(document: Path):
    text = document.read_text("utf-8")
    found = re.findall(r'(?:\]\(|src="|srcset=")([^)"#]+)', text)
    missing = [
        link for link in found if "://" not in link and not (document.parent / link).exists()
    ]
    assert not missing


def test_every_picture_is_shown_somewhere_and_is_an_svg():
    text = "".join(document.read_text("utf-8") for document in DOCUMENTS)
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert pictures
    for picture in pictures:
        assert f"pictures/{picture.name}" in text, f"{picture.name} is shown nowhere"
        assert ET.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_shell_commands_name_targets_and_commands_that_exist():
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    known = {f"make {target}" for target in targets} | {"make"}
    known |= {f"tinygrad-lstm {name}" for name in cli.commands}
    for document in DOCUMENTS:
        for language, code in make.blocks(document):
            for line in code.splitlines() if language == "sh" else ():
                assert " ".join(line.split()[:2]) in known, line


def test_examples_that_are_named_exist():
    for document in DOCUMENTS:
        for name in re.findall(r"\b(\w+\.py)\b", document.read_text("utf-8")):
            assert (ROOT / "examples" / name).exists(), f"{document.name} names {name}"
