"""`fridge update`: a published course that changed, in a clone with answers, own cells and changes of all kinds."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder.authoring.publish import publish_branch
from fridge.notebook import cli, on_disk, progress, scoreboard
from fridge.notebook.updating.update import CanNotUpdate, update

UNIT = Path("course/03-kv-cache/kv_cache.ipynb")
OTHER = Path("course/01-memory-math/memory_math.ipynb")
WORK = "def positions_processed(prompt_tokens, new_tokens):\n    return (1, 2)\n"
ROPE = "def apply_rope(x, start, theta=10_000.0):\n    return x\n"
MEMORY = "def kv_cache_bytes():\n    return 3\n"


def passes(name: str) -> list[dict]:
    return [{"output_type": "stream", "name": "stdout", "text": f"✓ {name}: these tests pass (2 points).\n"}]


def git(folder: Path, *arguments: str) -> str:
    alone = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    alone |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    author = ("-c", "user.name=An instructor", "-c", "user.email=instructor@school.test")
    done = subprocess.run(
        ["git", *author, *arguments], cwd=folder, env=alone, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def cells(path: Path) -> dict[str, dict]:
    return {cell["id"]: cell for cell in on_disk.read(path)["cells"]}


def change(path: Path, do: Callable[[list[dict]], None]) -> None:
    data = on_disk.read(path)
    do(data["cells"])
    on_disk.write(path, data)


def fill(path: Path, **answers: str) -> None:
    """Answers, each with its test passed, by the ids of their cells."""

    def do(all_cells: list[dict]) -> None:
        by_id = {cell["id"]: cell for cell in all_cells}
        for name, source in answers.items():
            by_id[name]["source"] = source
            by_id[f"{name}-test"] |= {"outputs": passes(name), "execution_count": 5}

    change(path, do)


def place(all_cells: list[dict], name: str) -> int:
    return next(place for place, cell in enumerate(all_cells) if cell["id"] == name)


def code(name: str, source: str) -> dict:
    return {"cell_type": "code", "id": name, "metadata": {}, "source": source, "outputs": [], "execution_count": None}


def next_version(all_cells: list[dict]) -> None:
    """Unit 03 in its next version: a test that asks for more, a new text, a new cell, a cell less."""
    work = all_cells[place(all_cells, "work-test")]
    work["source"] = "".join(work["source"]) + "\n    # a case more"
    rope = all_cells[place(all_cells, "rope")]
    rope["source"] = "".join(rope["source"]).replace('"""', '"""New words. ', 1)
    all_cells.insert(place(all_cells, "memory"), code("new-cell", "print('new in this version')"))
    title = next(cell for cell in all_cells if "".join(cell["source"]).startswith("# 03"))
    title["source"] = "".join(title["source"]) + "\n\nA sentence more."


@pytest.fixture(scope="module")
def published(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of the course, published as two commits of a branch: a repository with v1 and v2."""
    folder = tmp_path_factory.mktemp("teacher") / "course"
    skip = shutil.ignore_patterns(".venv*", ".git", "grading", "artifacts", "__pycache__", ".*_cache", "tests")
    shutil.copytree(root, folder, ignore=skip)
    with pytest.MonkeyPatch.context() as patch:
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "An instructor")
            patch.setenv(f"GIT_{role}_EMAIL", "instructor@school.test")
        git(folder, "init", "--quiet", "--initial-branch=main")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message=the course")
        git(folder, "branch", "v1", publish_branch(folder, "learners", "school/fridge"))
        change(folder / UNIT, next_version)
        (folder / "course" / "AGENTS.md").write_text("other rules\n")
        publish_branch(folder, "learners", "school/fridge")
    return folder


@pytest.fixture
def clone(published: Path, tmp_path: Path) -> Path:
    """A learner's clone of the first version, whose remote has the second by now; answers in it, uncommitted."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(published), str(remote))
    git(remote, "update-ref", "refs/heads/main", "v1")
    git(tmp_path, "clone", "--quiet", "--branch=main", str(remote), "mine")
    git(remote, "update-ref", "refs/heads/main", "learners")
    fill(tmp_path / "mine" / UNIT, work=WORK, rope=ROPE, memory=MEMORY)
    fill(tmp_path / "mine" / OTHER, **{"bits-per-weight": "def bits_per_weight():\n    return 4\n"})
    return tmp_path / "mine"


def test_answers_cells_and_points_move_into_the_new_version(clone: Path) -> None:
    """Guards against conflict marks in JSON, against a clone that can never follow, and against lost work."""

    def own_work(all_cells: list[dict]) -> None:
        all_cells.insert(place(all_cells, "work-test") + 1, code("mine", "print('my experiment')"))
        all_cells.append({"cell_type": "markdown", "id": "note", "metadata": {}, "source": "my note"})
        loads = next(cell for cell in all_cells if "models.load()" in "".join(cell["source"]))
        loads["source"] = "".join(loads["source"]) + "\n# my remark"

    change(clone / UNIT, own_work)
    before, other = (clone / UNIT).read_bytes(), (clone / OTHER).read_bytes()
    said = "\n".join(update(clone / "course" / "03-kv-cache"))

    new = cells(clone / UNIT)
    order = list(new)
    assert {name: "".join(new[name]["source"]) for name in ("work", "rope", "memory")} == {
        "work": WORK,
        "rope": ROPE,
        "memory": MEMORY,
    }
    assert "# a case more" in "".join(new["work-test"]["source"])
    assert order.index("new-cell") + 1 == order.index("memory")
    texts = ["".join(cell["source"]) for cell in new.values()]
    assert sum("my experiment" in text for text in texts) == 1
    assert texts[order.index("work-test") + 1] == "print('my experiment')"
    assert "my note" in texts
    assert sum(text.startswith("# 03") for text in texts) == 1, "the old version's text is gone"
    assert any("A sentence more." in text for text in texts)
    assert [text for text in texts if "my remark" in text] == [next(text for text in texts if "models.load()" in text)]
    outcomes = progress.outcomes(on_disk.read(clone / UNIT))
    assert outcomes == {"rope": scoreboard.RIGHT, "memory": scoreboard.RIGHT}, "the test of `work` is another one now"
    assert "your answers (3) and own cells (2) are in the new notebook" in said
    assert "these tests changed, so run them again: 1 · Work." in said

    assert (clone / UNIT.with_name("kv_cache-before-update.ipynb")).read_bytes() == before
    assert (clone / OTHER).read_bytes() == other, "the course didn't change it"
    assert (clone / "course" / "AGENTS.md").read_text() == "other rules\n"
    assert git(clone, "rev-parse", "HEAD") == git(clone, "rev-parse", "origin/main")
    assert git(clone, "status", "--porcelain").splitlines() == [f"M {OTHER}", f" M {UNIT}"]
    assert update(clone)[0].startswith("You have the newest version of the course, of 20")
    assert len(list((clone / UNIT).parent.glob("*before-update*"))) == 1


def test_nothing_of_ones_own(clone: Path) -> None:
    """Guards against copies beside notebooks that nobody touched."""
    git(clone, "checkout", "--quiet", ".")
    update(clone)
    assert git(clone, "status", "--porcelain", "--ignored") == ""
    assert git(clone, "rev-parse", "HEAD") == git(clone, "rev-parse", "origin/main")


def test_own_commits_stay(clone: Path) -> None:
    """Guards against a learner's commits that vanish from their branch, and against git's own merge ever after."""
    git(clone, "commit", "--quiet", "--all", "--message=my answers")
    mine = git(clone, "rev-parse", "HEAD")
    (clone / "mine.txt").write_text("notes")
    git(clone, "add", "mine.txt")
    git(clone, "commit", "--quiet", "--message=my notes")
    update(clone)
    git(clone, "merge-base", "--is-ancestor", mine, "HEAD")
    git(clone, "merge-base", "--is-ancestor", "origin/main", "HEAD")
    assert git(clone, "status", "--porcelain") == ""
    assert WORK in "".join(cells(clone / UNIT)["work"]["source"])
    assert "mine.txt" in git(clone, "ls-tree", "--name-only", "HEAD")
    assert json.loads(git(clone, "show", f"HEAD:{OTHER}")) == on_disk.read(clone / OTHER)


def test_files_that_both_have(clone: Path, published: Path) -> None:
    """Guards against other files than notebooks lost, and against a half-saved notebook that stops all."""
    (clone / "course" / "AGENTS.md").write_text("my rules\n")
    (clone / UNIT).write_text('{"cells": [')
    said = "\n".join(update(clone))
    assert (clone / "course" / "AGENTS.md").read_text() == "other rules\n"
    assert (clone / "course" / "AGENTS-before-update.md").read_text() == "my rules\n"
    assert (clone / UNIT.with_name("kv_cache-before-update.ipynb")).read_text() == '{"cells": ['
    assert f"{UNIT}: your notebook could not be read" in said
    assert on_disk.read(clone / UNIT)["cells"] == json.loads(git(published, "show", f"learners:{UNIT}"))["cells"]


def test_a_notebook_that_was_thrown_away_comes_back(clone: Path) -> None:
    """Guards against a new version without the unit that it is about."""
    (clone / UNIT).unlink()
    update(clone)
    assert "new-cell" in cells(clone / UNIT)


def test_published_anew_without_a_history(clone: Path, tmp_path: Path) -> None:
    """Guards against a dead end where an instructor pushed a fresh repository over the old one."""
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "--quiet", str(tmp_path / "remote.git"), "fresh")
    shutil.rmtree(fresh / ".git")
    git(fresh, "init", "--quiet", "--initial-branch=main")
    git(fresh, "add", "--all", "--force")
    git(fresh, "commit", "--quiet", "--message=2027")
    git(fresh, "push", "--quiet", "--force", str(tmp_path / "remote.git"), "main")
    said = "\n".join(update(clone))
    assert "your answers (3)" in said
    assert git(clone, "rev-parse", "HEAD") == git(fresh, "rev-parse", "HEAD")
    assert WORK in "".join(cells(clone / UNIT)["work"]["source"])


def test_a_forks_upstream_counts(clone: Path, tmp_path: Path) -> None:
    """Guards against an update from the learner's own fork, which has nothing new."""
    git(tmp_path, "clone", "--quiet", "--bare", str(clone), "fork.git")
    git(clone, "remote", "rename", "origin", "upstream")
    git(clone, "remote", "add", "origin", str(tmp_path / "fork.git"))
    update(clone)
    assert "new-cell" in cells(clone / UNIT)


def test_what_can_not_be_updated_is_a_sentence(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Guards against git's words alone, and against half an update."""
    before = (clone / UNIT).read_bytes()
    git(clone, "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with pytest.raises(
        CanNotUpdate, match=r"could not be fetched from origin: .*gone\.git.*The map \(course/README\.md"
    ):
        update(clone)
    git(clone, "remote", "remove", "origin")
    with pytest.raises(CanNotUpdate, match="doesn't say where it came from"):
        update(clone)
    (clone / ".git" / "MERGE_HEAD").write_text(git(clone, "rev-parse", "HEAD"))
    with pytest.raises(CanNotUpdate, match="not finished something here"):
        update(clone)
    shutil.rmtree(clone / ".git")
    monkeypatch.chdir(clone)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert cli.main(["update"]) == 2
    assert "is not in a clone by git" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CanNotUpdate, match="git is not installed"):
        update(clone)
    assert (clone / UNIT).read_bytes() == before
