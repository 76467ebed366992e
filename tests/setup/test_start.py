"""binder/start.py and `make setup`: what is opened, from which folder, with which settings."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import ROOT, run

STAND_IN = """#!{python}
import json, os, sys
print(json.dumps([os.getcwd(), sys.argv[1:], os.environ["JUPYTER_CONFIG_PATH"], os.environ["PATH"]]))
"""


@pytest.fixture
def python(checkout: Path) -> Path:
    """The checkout's Python, with a JupyterLab that says how it was started."""
    folder = checkout / "bin"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    (folder / "jupyter-lab").write_text(STAND_IN.format(python=sys.executable))
    (folder / "jupyter-lab").chmod(0o755)
    return folder / "python"


def test_lab_opens_the_first_notebook_out_of_reach_of_the_graders_settings(checkout: Path, python: Path) -> None:
    """nbgrader_config.py, in the folder above, names packages that a learner lacks."""
    (checkout / "course/00-start-here").mkdir()
    (checkout / "course/00-start-here/start_here.ipynb").touch()
    done = run(checkout, python, "binder/start.py", "lab", "--port=8123", "--no-browser", JUPYTER_CONFIG_PATH="/own")
    first, started = done.stdout.splitlines()
    folder, arguments, settings, path = json.loads(started)
    assert first == f"JupyterLab starts in {checkout}/course; Ctrl+C, twice, stops it."
    assert folder == str(checkout / "course")
    assert arguments[:2] == [
        f"--ServerApp.root_dir={folder}",
        "--LabApp.default_url=/lab/tree/00-start-here/start_here.ipynb",
    ]
    assert {"--port=8123", "--ServerApp.port_retries=0", "--no-browser"} <= set(arguments)
    assert settings == f"{checkout}/binder/learner:{checkout}/binder/jupyter:/own"
    assert path.startswith(f"{checkout}/bin:"), "`fridge` in a terminal of JupyterLab's"


def test_formgrader_is_what_opens(checkout: Path, python: Path) -> None:
    done = run(checkout, python, "binder/start.py", "formgrader")
    folder, arguments, settings, _ = json.loads(done.stdout.splitlines()[-1])
    assert folder == str(checkout)
    assert arguments[:2] == [f"--ServerApp.root_dir={checkout}", "--LabApp.default_url=/formgrader"]
    assert "learner" not in settings


def test_a_course_that_is_gone_is_named(checkout: Path, python: Path) -> None:
    shutil.rmtree(checkout / "course")
    done = run(checkout, python, "binder/start.py", "lab")
    assert done.returncode == 1
    assert "course is missing. In a clone, `git checkout -- course` brings it back" in done.stderr


def test_setup_prepares_for_grading_and_ends_with_doctor() -> None:
    """Guards against the whole test suite, or its packages, as an instructor's way in."""
    told = subprocess.check_output(["make", "--dry-run", "setup"], cwd=ROOT, text=True).splitlines()
    assert told == ["python3 binder/prepare.py setup", ".venv/bin/autograder doctor"]


def test_the_gradebooks_folder_is_there_before_the_first_command(tmp_path: Path) -> None:
    """The guide's first command on a fresh clone opens the gradebook, and SQLite makes no folders."""
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    for arguments in (["add", "bo"], ["list"]):
        done = run(tmp_path, sys.executable, "-m", "nbgrader", "db", "student", *arguments)
        assert done.returncode == 0, done.stderr
    assert "bo" in done.stdout
