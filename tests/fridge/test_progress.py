"""Points over all units, from saved notebooks, in a notebook and by `fridge progress`."""

import json
import shutil
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from fridge.notebook import cli, progress, scoreboard, syllabus
from fridge.notebook.scoreboard import NOT_ATTEMPTED, RIGHT, SKIPPED, WRONG

COURSE = Path(__file__).resolve().parents[2] / "course"
WORK = "03-kv-cache"
PASSES = {
    "output_type": "stream",
    "name": "stdout",
    "text": ["a line\n", "✓ {name}: the tests in this cell pass. Its 2 points count when …\n"],
}
FAILS = {"output_type": "error", "ename": "Wrong", "evalue": "✗ {name}: not right yet.", "traceback": []}
STUB = {"output_type": "error", "ename": "NotAttempted", "evalue": "○ {name}: …", "traceback": []}
CRASH = {"output_type": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": []}
SKIPS = {"output_type": "stream", "name": "stdout", "text": "– {name}: skipped, for x is not installed here.\n"}


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The handouts, as a learner gets them: no outputs."""
    for folder in COURSE.glob("[0-9]*"):
        shutil.copytree(folder, tmp_path / "course" / folder.name)
    return tmp_path / "course"


def save(course: Path, outputs: dict[str, list[dict]], unit: str = WORK) -> Path:
    """Put outputs, given by exercise, under the test cells of a unit's saved notebook; return the file."""
    path = course / syllabus.whole()[unit]["notebook"]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id", "").removesuffix("-test")
        if cell["metadata"].get("nbgrader", {}).get("grade") and name in outputs:
            cell["outputs"] = json.loads(json.dumps(outputs[name]).replace("{name}", name))
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def found(folder: Path, unit: str = WORK) -> dict[str, str]:
    """Exercise -> outcome in a unit, by `progress.read`."""
    title = syllabus.whole()[unit]["title"]
    (one,) = [one for one in progress.read(folder).units if one.title == title]
    return {row.name: row.outcome for row in one.rows}


def test_untouched_handouts(course: Path) -> None:
    """Guards against points for nothing, and units that vanish until they are begun."""
    all_units = progress.read(course)
    assert [unit.title for unit in all_units.units] == [unit["title"] for unit in syllabus.whole().values()]
    assert not any(unit.started or unit.earned or unit.trouble for unit in all_units.units)
    exercises = [one for unit in syllabus.whole().values() for one in unit["exercises"].values()]
    tested = sum(one["points"] for one in exercises if not one.get("by_hand"))
    assert sum(unit.total for unit in all_units.units) == tested
    assert all_units.next[1].name == "weight-gigabytes"


def test_outcomes_from_saved_outputs(course: Path) -> None:
    """Guards against each way in which a test cell ends being read as another."""
    save(course, {"work": [PASSES], "memory": [FAILS], "rope": [STUB], "generate": [CRASH], "kv-state": [SKIPS]})
    assert found(course) == {
        "work": RIGHT,
        "memory": WRONG,
        "causal-attention": NOT_ATTEMPTED,
        "rope": NOT_ATTEMPTED,
        "kv-update": NOT_ATTEMPTED,
        "kv-state": SKIPPED,
        "generate": WRONG,
        "chunked-prefill": NOT_ATTEMPTED,
    }
    unit = next(unit for unit in progress.read(course).units if unit.started)
    assert (unit.earned, unit.total) == (2 + 4, 25)
    assert unit.heading == "03 · The KV cache: 6 of 25 points  ✓✗○○○–✗○"


def test_a_learner_s_own_words_decide_nothing(course: Path) -> None:
    """Guards against a print of the learner's, or another exercise's line, that passes for a verdict."""
    foreign = {**PASSES, "text": "✓ memory: the tests in this cell pass. Its 2 points count when …\n"}
    save(course, {"work": [PASSES, FAILS], "memory": [PASSES, STUB], "rope": [foreign]})
    outcomes = found(course)
    assert outcomes["work"] == WRONG, "an error decides before a line"
    assert outcomes["memory"] == NOT_ATTEMPTED
    assert outcomes["rope"] == NOT_ATTEMPTED, "a line about another exercise"


def test_what_test_cells_really_leave(tmp_path: Path) -> None:
    """Guards against outputs of another form than those above: three cells, run and saved as JupyterLab does it."""
    check = "from fridge.testing import exercise, expect_equal\nwith exercise('{0}'):\n    {1}"
    bodies = {
        "work": "expect_equal(1, 1, 'one')",
        "memory": "expect_equal(1, 2, 'two')",
        "rope": "raise NotImplementedError('not attempted yet')",
    }
    cells = [
        nbformat.v4.new_code_cell(
            check.format(name, body), metadata={"nbgrader": {"grade_id": f"{name}-test", "grade": True}}
        )
        for name, body in bodies.items()
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(notebook, tmp_path / "saved.ipynb")
    saved = json.loads((tmp_path / "saved.ipynb").read_text(encoding="utf-8"))
    assert progress.outcomes(saved) == {"work": RIGHT, "memory": WRONG, "rope": NOT_ATTEMPTED}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [3]}', "[" * 100_000])
def test_a_notebook_that_can_not_be_read(course: Path, text: str) -> None:
    """Guards against one half-saved notebook that hides the points of all the others."""
    save(course, {"work": [PASSES]})
    (course / "01-memory-math" / "memory_math.ipynb").write_text(text)
    shown = progress.read(course)
    assert "memory_math.ipynb can't be read: open it in JupyterLab and save it again" in repr(shown)
    assert found(course)["work"] == RIGHT


@pytest.mark.parametrize(
    "cells", [[], [{"metadata": None}], [{"cell_type": "code", "source": "with exercise('rope'):"}]]
)
def test_a_notebook_that_is_not_the_units(course: Path, cells: list[dict]) -> None:
    """Guards against a silent 0 for a notebook that was saved under another's name."""
    (course / "01-memory-math" / "memory_math.ipynb").write_text(json.dumps({"cells": cells}))
    assert "(memory_math.ipynb has none of this unit's tests: is it another notebook" in repr(progress.read(course))


def test_a_notebook_without_nbgraders_marks(course: Path) -> None:
    """Guards against a silent 0 of 25 for a notebook that went through Colab, VS Code or an export."""
    path = save(course, {"work": [PASSES], "memory": [FAILS], "rope": [STUB], "generate": [CRASH], "kv-state": [SKIPS]})
    notebook = json.loads(path.read_text(encoding="utf-8"))
    before = found(course)
    for number, cell in enumerate(notebook["cells"]):
        cell["metadata"] = {"id": f"x{number}"}
        del cell["id"]
    path.write_text(json.dumps(notebook | {"nbformat_minor": 0}), encoding="utf-8-sig")
    assert found(course) == before
    assert "marks" not in repr(progress.read(course))


def test_of_copies_the_last_run_counts(course: Path) -> None:
    """Guards against an outcome of yesterday's copy of a test cell, and of a copy that kept another cell's mark."""
    path = save(course, {"work": [FAILS]})
    notebook = json.loads(path.read_text(encoding="utf-8"))
    place = next(place for place, cell in enumerate(notebook["cells"]) if cell["id"] == "work-test")
    cell = notebook["cells"][place] | {"execution_count": 3}
    passed = json.loads(json.dumps(PASSES).replace("{name}", "work"))
    copy = cell | {"id": "copy", "execution_count": 7, "outputs": [passed]}
    copy["metadata"] = {"nbgrader": {"grade_id": "memory-test", "grade": True, "solution": False}}
    notebook["cells"][place : place + 1] = [copy, cell]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert found(course)["work"] == RIGHT
    assert found(course)["memory"] == NOT_ATTEMPTED


def test_a_unit_that_is_not_there(course: Path) -> None:
    """Guards against a crash where a learner has only some of the notebooks."""
    shutil.rmtree(course / "02-int4-quantization")
    assert "02 · INT4 quantization: 0 of 32 points  ○○○○○○○○○○  (not in this folder)" in repr(progress.read(course))


def test_where_the_notebooks_are(course: Path, tmp_path: Path) -> None:
    """Guards against a command that works in one folder only, and against a traceback where there is nothing."""
    (course / "hand-in").mkdir()
    for start in (course, course / WORK, course / WORK / "kv_cache.ipynb", course / "hand-in", tmp_path):
        assert progress.find_notebooks(start) == course
    clone = tmp_path / "Documents" / "fridge-2027"
    clone.mkdir(parents=True)
    shutil.move(course, clone / "course")
    assert progress.find_notebooks(clone.parent) == clone / "course", "above the clone"
    assert progress.find_notebooks(tmp_path / "Documents") == clone / "course"
    with pytest.raises(progress.NoNotebooks, match=r"Change to the folder that holds 00-start-here"):
        progress.find_notebooks(tmp_path)
    shutil.copytree(clone, clone.parent / "old")
    with pytest.raises(progress.NoNotebooks, match=r"2 times.*`fridge progress fridge-2027/course` or `.* old/course`"):
        progress.find_notebooks(clone.parent)


def test_a_missing_folder_is_named(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against progress of another course above a mistyped folder, and against a cwd that was deleted."""
    with pytest.raises(
        progress.NoNotebooks, match=rf"There is no folder {course}/03-kv-cash\. In {course} there is: 00"
    ):
        progress.find_notebooks(course / "03-kv-cash")
    monkeypatch.chdir(course)
    shutil.rmtree(course)
    with pytest.raises(progress.NoNotebooks, match="folder that you are in is gone"):
        progress.find_notebooks(Path())


def test_in_a_notebook_its_own_kernel_counts_first(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a table that lags behind the test that ran a moment ago."""
    save(course, {"work": [PASSES], "memory": [FAILS]})
    monkeypatch.chdir(course / WORK)
    scoreboard.record("memory", RIGHT)
    scoreboard.record("rope", WRONG)
    unit = next(unit for unit in progress.show().units if unit.started)
    assert [row.outcome for row in unit.rows[:4]] == [RIGHT, RIGHT, NOT_ATTEMPTED, WRONG]


def test_on_colab_no_notebook_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a traceback in the first notebook, on Colab."""
    monkeypatch.chdir(tmp_path)
    scoreboard.record("weight-gigabytes", RIGHT)
    shown = repr(progress.show())
    assert "✓ 1 · Will it fit?" in shown
    assert "only this notebook's own tests count" in shown


def test_the_table_says_the_same_as_the_shell(course: Path) -> None:
    """Guards against a summary that forgets open exercises, and HTML that lists others than the printed form."""
    save(course, {"weight-gigabytes": [PASSES]}, unit="00-start-here")
    save(course, {"work": [PASSES]})
    shown = progress.read(course)
    last = repr(shown).splitlines()[-1]
    total = sum(unit.total for unit in shown.units)
    assert last == (
        f"3 of {total:g} points by the visible tests. Counted as last run and saved. "
        "Next: 1 · Bits per weight, in 01 · Memory math."
    )
    html = shown._repr_html_()
    assert last in html
    started = [unit for unit in shown.units if unit.started]
    assert html.count("<tr>") == 1 + len(shown.units) + sum(len(unit.rows) for unit in started)


def test_all_done(course: Path) -> None:
    """Guards against a next exercise where there is none."""
    for unit, exercises in syllabus.units().items():
        save(course, {name: [PASSES] for name in exercises}, unit)
    shown = progress.read(course)
    assert shown.next is None
    assert repr(shown).endswith("All is done.")


def test_the_command(course: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """Guards against an exit code or an output that a script can't use."""
    save(course, {"work": [PASSES]})
    assert cli.main(["progress", str(course)]) == 0
    assert "✓ 1 · Work" in capsys.readouterr().out
    shutil.rmtree(course)
    assert cli.main(["progress", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("fridge: No notebook of the course is in ")


def test_the_command_alone(course: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against `fridge` that answers with argparse's usage."""
    save(course, {"work": [PASSES]})
    monkeypatch.chdir(course / WORK)
    assert cli.main([]) == 0
    assert "✓ 1 · Work" in capsys.readouterr().out


def test_pyproject_names_the_command() -> None:
    """Guards against `fridge` in the README and in the notebooks, and no such command after `make lab`."""
    project = tomllib.loads((COURSE.parent / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["fridge"] == f"{cli.main.__module__}:{cli.main.__name__}"
