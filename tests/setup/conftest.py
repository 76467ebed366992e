"""Small copies of the repository's files, and binder/'s modules from such a copy."""

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkouts import ROOT

FILES = [
    "Makefile",
    "requirements.lock",
    "pyproject.toml",
    "course/fridge/__init__.py",
    "course/fridge/weights/smollm2.lock",
]
MODULES = ["steps", "surroundings", "sources", "stamps", "packages", "environment", "prepare"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files that prepare.py reads; its name has a space and Chinese letters, as on many a laptop."""
    folder = tmp_path / "my course 课程"
    for name in [*FILES, *(f"binder/{path.name}" for path in (ROOT / "binder").glob("*.py"))]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def binder(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The copy's modules, each under its name."""
    for name in MODULES:
        sys.modules.pop(name, None)
    monkeypatch.syspath_prepend(str(checkout / "binder"))
    monkeypatch.setattr(os, "environ", dict(os.environ))  # `settle` changes it
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for name in MODULES:
        sys.modules.pop(name, None)
