"""What learners get: everything that the course needs to run, and nothing that gives an answer away."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from autograder.authoring.build import build
from autograder.authoring.publish import FILES, publish, publish_branch
from autograder.cli import main
from autograder.course import CourseError, find_units
from fridge.notebook import references

REPO = "school/fridge-2027"
UNIT = "03-kv-cache"
IN_A_KERNEL = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
notebook.cells.append(nbformat.v4.new_code_cell("import fridge; print(fridge.__file__)"))
NotebookClient(notebook, timeout=540, allow_errors=True, skip_cells_with_tag="for-real").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="module")
def published(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real course as learners get it."""
    folder = tmp_path_factory.mktemp("learners") / "fridge"
    publish(root, folder, REPO)
    return folder


@pytest.fixture
def small(mini: Path, root: Path) -> Path:
    """The mini course, with all that a publishable one needs."""
    build(mini)
    for name in (*FILES, "Makefile", "README.md"):
        shutil.copy(root / name, mini / name)
    shutil.copytree(root / "binder", mini / "binder")
    return mini


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def secret_blocks(master: str) -> list[list[str]]:
    """The lines of each solution and each hidden test of a master."""
    blocks = re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", master, re.DOTALL)
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in blocks]


def test_no_solution_no_hidden_test_no_instructors_file(published, root):
    """One leaked line gives an exercise away to everybody, for good: a public repository has a memory."""
    names = files(published)
    assert not [name for name in names if name.startswith(("autograder", "solutions", "tests", "grading"))]
    assert not [name for name in names if re.match(r"course/\d.*\.py$", name)], "a master beside its handout"
    assert not [name for name in names if name == "nbgrader_config.py" or name.endswith((".db", ".pyc"))]
    everything = {name: (published / name).read_bytes().decode("utf-8", "replace") for name in names}
    checked = 0
    for unit in find_units(root):
        public = re.sub(r"### BEGIN .*?### END", "", unit.master.read_text(), flags=re.DOTALL)
        for block in secret_blocks(unit.master.read_text()):
            said = [line for line in block if len(line) > 12 and line not in public]
            checked += len(said)
            handout = everything[unit.release.relative_to(root).as_posix()]
            for line in said:
                quoted = line.replace("\\", "\\\\").replace('"', '\\"')
                assert quoted not in handout, f"{unit.name} shows {line}"
            whole = re.compile(r"\s+".join(map(re.escape, block)))
            if len(said) >= 3:
                shown = [name for name, text in everything.items() if whole.search(text)]
                assert not shown, f"{shown} show a solution of {unit.name}: {block}"
    assert checked > 500, "the secrets that this test looks for"


def test_badges_links_and_pages_belong_to_the_learners_repository(published):
    """A badge that opens the instructor's repository gives a learner a page that isn't there, or the solutions."""
    names = files(published)
    for name in names:
        if name.endswith((".ipynb", ".md", ".toml")):
            assert "elephant-in-the-fridge/elephant-in-the-fridge" not in (published / name).read_text(), name
    handout = (published / "course" / UNIT / "kv_cache.ipynb").read_text()
    assert f"colab.research.google.com/github/{REPO}/blob/main/course/{UNIT}/kv_cache.ipynb" in handout
    assert f"git+https://github.com/{REPO}" in handout
    for name in ("README.md", "course/README.md"):
        page = (published / name).read_text()
        links = [link for link in re.findall(r"\]\(([^)#]+)", page) if "://" not in link]
        gone = [link for link in links if not (published / name).parent.joinpath(link).exists()]
        assert not gone, f"{name} links to what isn't there: {gone}"
    assert "nbgrader autograde" not in (published / "README.md").read_text()


def test_no_picture_of_a_page_comes_from_the_net(published, root):
    """Offline, in JupyterLab or an editor, it would be a broken one."""
    for page in (root / "README.md", *published.rglob("*.md")):
        assert not re.findall(r"!\[[^]]*\]\(https?:[^)]*", page.read_text()), page


def test_make_lab_needs_nothing_else(published, root, tmp_path):
    """prepare.py reads files of the repository, and pip builds the package from it: all must be there."""
    where = tmp_path / "clone"
    shutil.copytree(published, where)
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*wheel, "-w", tmp_path, where], check=True, timeout=540)
    inside = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert "fridge/notebook/units.json" in inside
    assert "fridge/reveal.json" in inside
    recalled = {
        f"fridge/notebook/recall/{path.name}" for path in (root / "course/fridge/notebook/recall").glob("*.toml")
    }
    assert recalled <= set(inside), "questions that nobody gets"
    assert not [name for name in inside if name.startswith("autograder/")]
    # A prepared environment, as tests/browser makes one: prepare.py must find nothing to do, then make opens the lab.
    (where / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith("."):
            (where / ".venv" / entry.name).symlink_to(entry)
    stamps = runpy.run_path(str(where / "binder" / "stamps.py"))
    write, stamp, prefix = stamps["write"], stamps["stamp"], where / ".venv"
    write(stamp(prefix, "lab"), stamps["fingerprint"](prefix))
    write(stamp(prefix, "model"), f"{stamps['model_choice']()}\n{tmp_path}")

    def make(folder: Path, *arguments: str) -> str:
        alone = {
            name: value for name, value in os.environ.items() if not name.startswith("MAKE")
        }  # not below `make test`
        done = subprocess.run(
            ["make", *arguments], cwd=folder, env=alone, capture_output=True, text=True, timeout=540, check=True
        )
        return done.stdout

    opened = make(where, "lab", f"PYTHON={sys.executable}", "JUPYTER=echo opened")
    assert opened == "opened lab\n"
    told, ours = make(where, "--dry-run", "lab"), make(root, "--dry-run", "lab")
    assert told.replace(str(where), str(root)) == ours, "the learners' Makefile opens the lab in another way"


def test_a_handout_runs_with_the_published_library(published, tmp_path):
    """A module that the notebook imports and publish forgot would only show on a learner's machine."""
    done = tmp_path / "done.ipynb"
    handout = published / "course" / UNIT / "kv_cache.ipynb"
    where = {**os.environ, "PYTHONPATH": str(published / "course")}
    subprocess.run([sys.executable, "-c", IN_A_KERNEL, handout, done], check=True, env=where, cwd=tmp_path, timeout=540)
    cells = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    errors = [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert {error.ename for error in errors} <= {"NotAttempted", "NotImplementedError"}, errors
    assert len(errors) >= 8, "one for each untouched exercise"
    assert cells[-1].outputs[0].text.startswith(str(published))


def test_a_handout_that_shows_a_solution_is_not_published(small, tmp_path):
    """An instructor solves an exercise in course/ to see what it's like, and forgets."""
    handout = small / "course" / "00-mini" / "mini.ipynb"
    notebook = nbformat.read(handout, as_version=4)
    notebook.cells[-1].source = "    return a + b  # the answer"
    nbformat.write(notebook, handout)
    with pytest.raises(CourseError, match=r"mini.ipynb:     return a \+ b  # the answer"):
        publish(small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_its_own_folder_is_replaced(small, tmp_path, monkeypatch, capsys):
    """`publish ~/Documents` must not cost anybody their documents, nor a second publish a learner's edits."""
    monkeypatch.chdir(small)
    out = tmp_path / "out"
    assert main(["publish", str(out), "--repo", REPO]) == 0
    first = files(out)
    (small / "README.md").write_text(
        (small / "README.md").read_text().replace("## For learners", "## For learners\n\nNew.")
    )
    assert main(["publish", str(out), "--repo", REPO]) == 0
    assert files(out) == first
    assert "New." in (out / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out"], "nothing is left beside it"
    (out / "thesis.txt").write_text("years of work")
    capsys.readouterr()
    assert main(["publish", str(out)]) == 2
    assert "thesis.txt" in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "years of work"
    (out / "thesis.txt").unlink()
    (out / "README.md").write_text("changed by hand")
    for folder in (out, small, small / "course", small.parent, Path("README.md")):
        assert main(["publish", str(folder)]) == 2, folder
    assert main(["publish", str(tmp_path / "new"), "--repo", "https://gitlab.com/a/b"]) == 2


def test_an_address_as_git_gives_it_makes_badges_that_open(small, tmp_path, monkeypatch, capsys):
    """`.git` in a badge's address opens nothing; so an instructor would hear of it from 300 learners."""
    monkeypatch.chdir(small)
    pyproject = small / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("elephant-in-the-fridge/elephant-in-the-fridge", "a/b.git/"))
    build(small)
    assert ".git/" not in (small / "course" / "00-mini" / "mini.ipynb").read_text()
    (small / "README.md").write_text((small / "README.md").read_text() + "\nhttps://github.com/a/b\n")
    assert main(["publish", str(tmp_path / "out"), "--repo", f"git@github.com:{REPO}.git"]) == 0
    handout = (tmp_path / "out" / "course" / "00-mini" / "mini.ipynb").read_text()
    assert f"github/{REPO}/blob/main/course/00-mini/mini.ipynb)" in handout
    assert f"git+https://github.com/{REPO}\\n" in handout or f'git+https://github.com/{REPO}\\"' in handout
    assert f'Repository = "https://github.com/{REPO}"' in (tmp_path / "out" / "pyproject.toml").read_text()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "a/b" in path.read_text("latin-1")]
    assert main(["publish", str(tmp_path / "other"), "--repo", "https://gitee.com/a/b.git"]) == 2
    assert "'https://gitee.com/a/b.git' is no repository on GitHub" in capsys.readouterr().err


def test_a_branch_holds_the_same_and_touches_nothing_else(small, tmp_path, monkeypatch):
    """A branch that shares history with the course would publish the solutions with it."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "An instructor")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "instructor@school.test")

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=small, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--quiet", "--message=the course")
    git("branch", "other")
    (small / "unsaved.txt").write_text("work in progress")
    commit = publish_branch(small, "learners", REPO)
    publish(small, tmp_path / "out", REPO)
    assert set(git("ls-tree", "-r", "--name-only", "learners").splitlines()) == files(tmp_path / "out")
    assert git("rev-list", "--count", "learners") == "1", "no history of the course's"
    assert git("status", "--porcelain") == "?? unsaved.txt"
    assert publish_branch(small, "learners", REPO) == commit, "nothing changed, no commit"
    assert git("rev-parse", f"{publish_branch(small, 'learners', 'other/repo')}^") == commit
    with pytest.raises(CourseError, match="checked out"):
        publish_branch(small, "main", REPO)
    with pytest.raises(CourseError, match="not made by"):
        publish_branch(small, "other", REPO)
    with pytest.raises(CourseError, match="failed"):
        publish_branch(small, "no..name", REPO)


@pytest.mark.parametrize("choice", ["library", "file", "no"])
def test_the_instructor_decides_where_references_come_from(small, tmp_path, monkeypatch, choice):
    """`fridge.reveal` in the published library must read what was chosen, and the course's own copy nothing."""
    monkeypatch.chdir(small)
    out = tmp_path / "out"
    assert main(["publish", str(out), "--reveal", choice]) == 0
    monkeypatch.setattr(references, "CHOICE", out / "course" / "fridge" / "reveal.json")
    assert references.allowed() == choice
    assert not (small / "course" / "fridge" / "reveal.json").exists()
    assert files(out) >= {"course/fridge/notebook/recall/00-mini.toml", "course/fridge/reveal.json"}
    monkeypatch.setattr(references, "CHOICE", small / "course" / "fridge" / "reveal.json")
    assert references.allowed() == "", "everything"
