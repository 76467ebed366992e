"""Gradescope: the zip that makes a container, and results.json of what is handed in there, by whichever walls stand."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from grading_class import skip_without_sandbox
from mini_course import ROOT

from autograder.authoring.build import build
from autograder.cli import main
from autograder.course import find_units
from autograder.gradescope import __main__ as gradescope
from autograder.gradescope.archive import FOLDERS, archives
from autograder.isolation.sandbox import bubblewrap
from autograder.isolation.users import USERS
from autograder.submissions.pipe import STOP
from autograder.submissions.release import Release
from autograder.submissions.worker import Desk

UNIT = "00-mini"
HIDDEN = "a negative number"
# What Docker leaves root by default, as far as grading asks for it: namespaces and mounts are not among it.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETPCAP", "SETUID")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
HOSTILE = """
import os, pathlib, socket, subprocess

def found():
    places = ["/autograder", "/autograder/source", "/autograder/results"]
    paths = [path for place in places for path in (pathlib.Path(place), *listed(place))]
    for path in [*paths, *pathlib.Path("/proc").glob("[0-9]*/environ"), *pathlib.Path("/proc").glob("[0-9]*/fd/*")]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if "a negative " "number" in text or "ada@example" ".org" in text:
            yield str(path)

def reached():
    for family in (socket.AF_INET, socket.AF_INET6, 40):
        try:
            yield socket.socket(family, socket.SOCK_STREAM).family
        except OSError:
            pass

def listed(place):
    try:
        return list(pathlib.Path(place).iterdir())
    except OSError:
        return []

def overwritten():
    for name in ("results/results.json", "source/release.json", "source/autograder/cli.py"):
        try:
            open(f"/autograder/{name}", "a").close()
            yield name
        except OSError:
            pass

subprocess.Popen(["sh", "-c", "sleep 97; echo > /autograder/results/results.json"], start_new_session=True)

def add(a, b):
    raise RuntimeError(f"as {os.getuid()}, SEEN {[*found()]} WROTE {[*overwritten()]} REACHED {[*reached()]}")
"""


@pytest.fixture
def small(mini: Path) -> Path:
    """The mini course, with all that its archive takes."""
    build(mini)
    for name in ("LICENSE", "README.md", "requirements.lock"):
        shutil.copy(ROOT / name, mini)
    for name in FOLDERS:
        skip = shutil.ignore_patterns("__pycache__", "*.json" if name == "course/fridge" else "")
        shutil.copytree(ROOT / name, mini / name, ignore=skip, dirs_exist_ok=True)
    return mini


@pytest.fixture
def container(small: Path, tmp_path: Path) -> Path:
    """The mini course's."""
    return laid_out(archives(small, tmp_path / "zips")[0], tmp_path)


def laid_out(path: Path, folder: Path) -> Path:
    """What Gradescope lays out: /autograder, with the zip's content as its source."""
    root = folder / "autograder"
    for name in ("source", "submission", "results"):
        (root / name).mkdir(parents=True)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(root / "source")
    (root / "submission_metadata.json").write_text('{"users": [{"email": "ada@example.org"}]}')
    return root


def hand_in(container: Path, body: str = "", cell: str = "") -> None:
    """Put a notebook into the container's folder of submissions."""
    release = json.loads((container / "source/release.json").read_text())
    notebook = nbformat.reads(release["handout"], as_version=4)
    answer = next(one for one in notebook.cells if one.metadata.get("nbgrader", {}).get("grade_id") == "add")
    answer.source = cell or f"def add(a, b):\n    {body}"
    nbformat.write(notebook, container / "submission" / "mini.ipynb")


def in_a_container(container: Path, *shown: Path) -> list[str]:
    """What to put before a command: root in a root of its own, with /autograder, that may make no namespaces."""
    command = [bubblewrap() or "", "--unshare-pid", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
    command += ["--cap-drop", "ALL", *(word for name in CAPABILITIES for word in ("--cap-add", f"CAP_{name}"))]
    command += ["--perms", "1777", "--tmpfs", "/tmp", "--chdir", "/"]
    places = [Path(place) for place in SYSTEM if Path(place).exists()]
    for place in [*places, Path(sys.base_prefix), *shown]:
        for parent in reversed(place.parents[:-1]):
            command += ["--perms", "0755", "--dir", str(parent)]
        command += ["--ro-bind", str(place), str(place)]
    return [*command, "--bind", str(container), "/autograder"]


def run(container: Path, *before: str, visibility: str = "after_published") -> tuple[dict[str, Any] | None, str]:
    """results.json, or None, and what the instructor reads."""
    root = "/autograder" if before else container
    command = [*before, sys.executable, "-m", "autograder.gradescope", root, "--visibility", visibility]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    written = container / "results" / "results.json"
    assert (done.returncode == 0) == written.exists(), done.stderr
    return json.loads(written.read_text()) if written.exists() else None, done.stdout + done.stderr


def test_the_archive_has_scripts_at_its_root_and_no_solution(small, tmp_path):
    """Guards against a zip that Gradescope can't use, and one that gives answers away to whoever gets it."""
    path = archives(small, tmp_path)[0]
    assert path.name == "00-mini.zip"
    assert path.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(path) as archive:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        text = "\n".join(archive.read(name).decode("utf-8", "replace") for name in modes if "templates/" not in name)
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755
    assert {"binder/prepare.py", "pyproject.toml", "autograder/cli.py", "course/fridge/__init__.py"} <= set(modes)
    assert not [name for name in modes if name.startswith(("solutions", "tests", "grading")) or name.endswith(".pyc")]
    assert HIDDEN in text
    assert "return a + b  # the answer" not in text
    assert path.read_bytes() == archives(small, tmp_path / "again")[0].read_bytes()


def test_every_unit_has_an_archive_without_a_solution(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert main(["publish", "--gradescope", str(tmp_path)]) == 0
    units = find_units(root)
    assert [Path(line).stem for line in capsys.readouterr().out.split()] == [unit.name for unit in units]
    for unit in units:
        path = tmp_path / f"{unit.name}.zip"
        assert path.stat().st_size < 20 * 2**20
        with zipfile.ZipFile(path) as archive:
            release = json.loads(archive.read("release.json"))
        cells = [cell for kind in ("tests", "handout") for cell in json.loads(release[kind])["cells"]]
        shown = "\n".join("".join(cell["source"]) for cell in cells)
        blocks = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", unit.master.read_text(), re.DOTALL)
        assert blocks
        assert not [block for block in blocks if block.count("\n") > 2 and block in shown]


def test_a_right_a_wrong_and_an_odd_notebook(container):
    """Guards against points that differ from those of a class, and words that Gradescope would take for a page."""
    skip_without_sandbox()
    hand_in(container, "return a + b")
    graded, log = run(container)
    assert graded["score"] == 3
    assert graded["tests"] == [
        {"name": "add", "score": 3.0, "max_score": 3.0, "status": "passed", "visibility": "after_published"}
        | {"output": graded["tests"][0]["output"]}
    ]
    assert graded["stdout_visibility"] == "hidden"
    assert graded["extra_data"]["lacking"] == []
    assert HIDDEN not in graded["output"]
    assert "✓ namespaces" in log
    hand_in(container, 'return abs(a) + abs(b), "<script>alert(1)</script>"')
    graded, _ = run(container, visibility="visible")
    assert (graded["score"], graded["tests"][0]["status"]) == (0, "failed")
    assert graded["tests"][0]["visibility"] == "visible"
    assert {graded[kind] for kind in ("output_format", "test_output_format", "test_name_format")} == {"text"}
    (container / "submission" / "mini.ipynb").rename(container / "submission" / "Mini (1).ipynb")
    (container / "submission" / "notes.txt").write_text("read me")
    assert run(container)[0]["score"] == 0


@pytest.mark.parametrize("name", ["mini.pdf", "mini.ipynb"])
def test_what_cannot_be_graded_is_told_the_learner(container, name):
    """Guards against a learner who hears that the grader failed, and an instructor who is asked why."""
    (container / "submission" / name).write_text("no notebook")
    graded, log = run(container)
    assert (graded["score"], graded["tests"]) == (0, [])
    assert "can't be graded" in graded["output"]
    assert str(container) not in graded["output"]
    assert "refused" in log


as_root = pytest.mark.skipif(os.getuid() != 0, reason="containers grade as root")


@as_root
def test_without_namespaces_a_hostile_notebook_reads_nothing_and_writes_no_points(container):
    """Guards against root's rights for a learner in a container that gives no namespaces, as most do."""
    skip_without_sandbox()
    inside = in_a_container(container, ROOT / ".venv", ROOT / "autograder", ROOT / "course" / "fridge")
    hand_in(container, cell=HOSTILE)
    graded, log = run(container, *inside)
    assert graded["extra_data"]["lacking"] == ["bubblewrap", "namespaces"]
    assert "without bubblewrap, namespaces" in log
    said = graded["tests"][0]["output"]
    assert "SEEN [] WROTE [] REACHED []" in said
    assert int(said.partition("as ")[2].partition(",")[0]) in USERS
    hand_in(container, "return a + b")
    assert run(container, *inside)[0]["score"] == 3


def test_without_namespaces_nor_root_nothing_is_graded(container, monkeypatch):
    """Guards against a learner's code that runs as the user whom the hidden tests belong to."""
    asked = []

    class Refuses(Desk):
        def __init__(self, seat=None, may_lack=()):
            asked.append(tuple(may_lack))
            super().__init__(seat, may_lack)

        def answer(self, task):
            return STOP + b"this host gives no sandbox"

    hand_in(container, "return a + b")
    monkeypatch.setattr(gradescope, "Desk", Refuses)
    release = Release(**json.loads((container / "source/release.json").read_text()))
    for user in (0, 1000):
        monkeypatch.setattr(os, "getuid", lambda user=user: user)
        with pytest.raises(gradescope.Failed, match="this host gives no sandbox"):
            gradescope.grade(container / "submission", release)
    assert asked == 2 * [("bubblewrap", "namespaces")] + 2 * [()]


@pytest.mark.long
@as_root
@pytest.mark.timeout(3600)
def test_the_scripts_of_the_archive_make_a_container_and_grade_in_it(root, tmp_path):
    """Guards against a zip whose own setup.sh and run_autograder don't work where nothing but Python is."""
    skip_without_sandbox()
    container = laid_out(next(path for path in archives(root, tmp_path / "zips") if "kv-cache" in path.name), tmp_path)
    inside = in_a_container(container)
    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    command = [*inside, "--setenv", "PATH", path, "--setenv", "HOME", "/tmp", "bash", "/autograder/source/setup.sh"]
    made = subprocess.run(command, capture_output=True, text=True)
    print(made.stdout, made.stderr)
    assert made.returncode == 0
    assert "Not fit for grading for credit." in made.stdout
    unit = next(unit for unit in find_units(root) if unit.name == "03-kv-cache")
    for notebook, points in ((unit.pair, "all"), (unit.release, "none")):
        shutil.copy(notebook, container / "submission" / unit.release.name)
        script = [*inside, "--setenv", "PATH", path, "bash", "/autograder/source/run_autograder"]
        done = subprocess.run(script, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        graded = json.loads((container / "results" / "results.json").read_text())
        worth = sum(test["max_score"] for test in graded["tests"])
        assert graded["score"] == {"all": worth, "none": 0}[points]
        print(graded["output"], graded["score"], worth, graded["execution_time"])
