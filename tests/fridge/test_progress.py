"""Points over all units, from saved notebooks, in a notebook and by `fridge progress`."""

import json
import shutil
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from fridge import cli, progress, scoreboard
from fridge.scoreboard import NOT_ATTEMPTED, RIGHT, SKIPPED, WRONG

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
    path = course / scoreboard.syllabus()[unit]["notebook"]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id", "").removesuffix("-test")
        if cell["metadata"].get("nbgrader", {}).get("grade") and name in outputs:
            cell["outputs"] = json.loads(json.dumps(outputs[name]).replace("{name}", name))
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def found(folder: Path, unit: str = WORK) -> dict[str, str]:
    """Exercise -> outcome in a unit, by `progress.read`."""
    title = scoreboard.syllabus()[unit]["title"]
    (one,) = [one for one in progress.read(folder).units if one.title == title]
    return {row.name: row.outcome for row in one.rows}


def test_untouched_handouts(course: Path) -> None:
    """Guards against points for nothing, and units that vanish until they are begun."""
    all_units = progress.read(course)
    assert [unit.title for unit in all_units.units] == [unit["title"] for unit in scoreboard.syllabus().values()]
    assert not any(unit.started or unit.earned or unit.trouble for unit in all_units.units)
    assert sum(unit.total for unit in all_units.units) == sum(
        sum(unit.values()) for unit in scoreboard.units().values()
    )
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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"metadata": null}]}'])
def test_a_notebook_that_can_not_be_read(course: Path, text: str) -> None:
    """Guards against one half-saved notebook that hides the points of all the others."""
    save(course, {"work": [PASSES]})
    (course / "01-memory-math" / "memory_math.ipynb").write_text(text)
    shown = progress.read(course)
    assert "memory_math.ipynb can't be read: open it in JupyterLab and save it again" in repr(shown)
    assert found(course)["work"] == RIGHT


def test_a_unit_that_is_not_there(course: Path) -> None:
    """Guards against a crash where a learner has only some of the notebooks."""
    shutil.rmtree(course / "02-int4-quantization")
    assert "02 · INT4 quantization: 0 of 32 points  ○○○○○○○○○○  (not in this folder)" in repr(progress.read(course))


def test_where_the_notebooks_are(course: Path, tmp_path: Path) -> None:
    """Guards against a command that works in one folder only, and against a traceback where there is nothing."""
    for start in (course, course / WORK, tmp_path):
        assert progress.find_notebooks(start) == course
    (tmp_path / "elsewhere").mkdir()
    shutil.move(course, tmp_path / "elsewhere" / "mine")
    with pytest.raises(progress.NoNotebooks, match=r"Change to the folder that holds 00-start-here"):
        progress.find_notebooks(tmp_path)


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
    for unit, exercises in scoreboard.units().items():
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
    with pytest.raises(SystemExit):
        cli.main([])


def test_pyproject_names_the_command() -> None:
    """Guards against `fridge` in the README and in the notebooks, and no such command after `make lab`."""
    project = tomllib.loads((COURSE.parent / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["fridge"] == f"{cli.main.__module__}:{cli.main.__name__}"
