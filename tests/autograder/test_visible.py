"""What a learner's process sees of the disks: never the course, wherever that lies, nor anybody's settings."""

import contextlib
import sys
from pathlib import Path

import pytest
from grading_class import skip_without_sandbox

from autograder.isolation import visible
from autograder.isolation.channel import Channel
from autograder.isolation.patience import Limit
from autograder.isolation.remote import Session
from autograder.isolation.sandbox import Sandbox


def run(source: str) -> str:
    """What a cell prints in a learner's process of a new sandbox."""
    with contextlib.closing(Sandbox()) as sandbox:
        connection, _ = sandbox.learner()
        session = Session(Channel(connection), 60, Limit(60, sandbox.usage), sandbox.usage)
        return "".join(output.get("text", str(output)) for output in session.run_cell(source)["outputs"])


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A course in a folder that is shown, as one in a container's /usr/src is."""
    skip_without_sandbox()
    around = tmp_path / "usr"
    for file in ("app/nbgrader_config.py", "app/solutions/03/x.py", "app/grading/gradebook.db", "lib/module.py"):
        (around / file).parent.mkdir(parents=True, exist_ok=True)
        (around / file).write_text("a secret" if file.startswith("app") else "for all")
    monkeypatch.setattr(visible, "SYSTEM_FOLDERS", (*visible.SYSTEM_FOLDERS, str(around)))
    return around / "app"


WALK = """
from pathlib import Path
for path in sorted(Path({!r}).rglob("*")):
    print(path.name, path.read_text() if path.is_file() else "")
try:
    (Path({!r}) / "app/left").write_text("for the next one")
except OSError as error:
    print(type(error).__name__)
"""


def test_a_course_inside_what_is_shown_is_not_there(clone, monkeypatch):
    """Guards against hidden tests and a gradebook below /usr, where many containers have their clone."""
    monkeypatch.chdir(clone / "solutions")
    around = str(clone.parent)
    *seen, error = run(WALK.format(around, around)).splitlines()
    assert seen == ["app ", "lib ", "module.py for all"]
    assert error in ("OSError", "PermissionError")


def test_an_environment_that_is_the_clone_shows_its_own_parts(clone, monkeypatch):
    """Guards against `python -m venv .`: the environment is shown, and with it all that lies beside its folders."""
    monkeypatch.setattr(visible, "find_root", lambda start: Path(sys.prefix))
    seen = run("import os, sys, torch\nprint(*os.listdir(sys.prefix))").split()
    assert {"bin", "lib", "pyvenv.cfg"} <= set(seen) <= {"bin", "include", "lib", "lib64", "pyvenv.cfg", "share"}


def hidden_settings() -> set[str]:
    return {path.name for path in visible._hidden()} - {path.name for path in visible._courses()}


def test_settings_are_covered(tmp_path, monkeypatch):
    """Guards against passwords: Jupyter's lie in an environment's etc, a package index's in its pip.conf."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(visible, "_OTHERS", ())
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "none"))
    assert hidden_settings() == set()
    (tmp_path / "etc/jupyter").mkdir(parents=True)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://me:secret@example.test")
    assert hidden_settings() == {"etc", "pip.conf"}
    words = visible.mounts()
    assert words[words.index(str(tmp_path / "etc")) - 1] == "--tmpfs"
    assert words[words.index(str(tmp_path / "pip.conf")) - 1] == "/dev/null"
