"""`fridge.reveal` in a learner's kernel: when it shows a reference, when not, and what the tests say afterwards."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from fridge.notebook import handouts, progress, references, revealing, runs, scoreboard, syllabus, this_notebook
from fridge.notebook.cells import STUB
from fridge.testing import Wrong

UNIT, NOTEBOOK = "03-kv-cache", "kv_cache.ipynb"
TESTS = {
    "double": 'with exercise("double"):\n    expect_equal(double(2), 4, "two")',
    "first": 'with exercise("first"):\n    expect_equal(Pair(1, 2).first(), 1, "a pair")',
    "both": 'with exercise("both"):\n    expect_equal(double(Pair(1, 2).first()), 2, "a pair")',
}
SOLUTIONS = {
    "unit": UNIT,
    "imports": ["import math"],
    "exercises": {
        "double": "def double(x):\n    return math.floor(2 * x)\n",
        "pair": """class Pair:
    def __init__(self, *pair):
        self.pair = pair

    def first(self):
        return double(self.pair[0]) / 2
""",
    },
}
DELETE = "Delete this call: for as long as it stands in the notebook, the exercise counts as given up."

Cell = Callable[[str], str]


def graded(grade_id: str, source: str, solution: bool) -> dict:
    marks = {"grade_id": grade_id, "solution": solution, "grade": not solution}
    return {"cell_type": "code", "source": source, "metadata": {"nbgrader": marks}, "id": grade_id}


HANDOUT = [
    graded("double", f"def double(x):\n    {STUB}", True),
    graded("double-test", TESTS["double"], False),
    graded("pair", f"class Pair:\n    def __init__(self, *pair):\n        {STUB}", True),
    graded("first-test", TESTS["first"], False),
    graded("both-test", TESTS["both"], False),
]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cell]:
    """Runs a cell of a learner's kernel in a folder with a file of references; returns what it shows."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    listed = {
        "double": {"title": "1 · Double", "points": 2},
        "first": {"title": "2 · Pair: first", "points": 1},
        "both": {"title": "2 · Pair: both", "points": 3},
    }
    unit = {"title": "Unit", "exercises": listed, "notebook": f"{UNIT}/{NOTEBOOK}"}
    monkeypatch.setattr(syllabus, "whole", lambda: {UNIT: unit})
    monkeypatch.setattr(handouts, "graded_cells", lambda: {UNIT: HANDOUT})
    handouts.stubs.cache_clear()
    monkeypatch.setattr(revealing, "_in_place", {})
    monkeypatch.setattr(references, "CHOICE", tmp_path / "reveal.json")
    Path(references.FILE).write_text(json.dumps(SOLUTIONS), encoding="utf-8")
    shell = InteractiveShell.instance()
    monkeypatch.setattr(this_notebook, "shell", lambda: shell)
    monkeypatch.setattr(runs, "_recorder", runs.Recorder(shell))

    def run(source: str, cell_id: str | None = None) -> str:
        with capture_output() as shown:
            shell.run_cell(source, store_history=True, cell_id=cell_id)
        return shown.stdout + "".join(output.data.get("text/markdown", "") for output in shown.outputs)

    run("import fridge\nfrom fridge.testing import *")
    for handed_out in HANDOUT:
        run(handed_out["source"], handed_out["id"])
    yield run
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()
    handouts.stubs.cache_clear()


def attempted(cell: Cell) -> None:
    cell("def double(x):\n    return x", "double")
    cell(TESTS["double"])


def test_after_an_attempt(cell: Cell) -> None:
    """Guards against a rest of the notebook that stays blank, and points that stay although a reference was shown."""
    attempted(cell)
    assert not scoreboard.ready("double")
    said = cell('fridge.reveal("double")')
    assert said.startswith("**1 · Double** is revealed, and its points are given up (2). From here on a reference runs")
    assert "```python\ndef double(x):\n    return math.floor(2 * x)\n```" in said
    assert cell("print(double(21))") == "42\n"
    assert scoreboard.ready("double")
    assert cell(TESTS["double"]).startswith("◇ double: revealed. A reference was tested, not your function, and the 2")
    assert "◇ 1 · Double" in repr(scoreboard.show(UNIT))
    assert scoreboard.show(UNIT).earned == 0


def test_one_s_own_cell_takes_the_place_again(cell: Cell) -> None:
    """Guards against a reference that can't be got rid of, and ✓ that says nothing about the call."""
    attempted(cell)
    cell('fridge.reveal("double")')
    cell("def double(x):\n    return x + 1", "double")
    assert "✗ double: not right yet" in cell(TESTS["double"])
    assert not scoreboard.ready("double")
    cell("def double(x):\n    return x + x", "double")
    assert cell(TESTS["double"]).startswith("✓ double")
    assert scoreboard.outcomes()["double"] == scoreboard.RIGHT
    notebook = {"cells": [*HANDOUT, {"cell_type": "code", "source": 'fridge.reveal("double")', "metadata": {}}]}
    Path(NOTEBOOK).write_text(json.dumps(notebook), encoding="utf-8")
    said = cell(TESTS["double"])
    assert said.startswith("✓ double")
    assert "But this notebook calls fridge.reveal for it, so its points stay given up. Delete the call" in said
    assert scoreboard.outcomes()["double"] == scoreboard.REVEALED
    assert scoreboard.ready("double")


def test_refused(cell: Cell) -> None:
    """Guards against a look at an answer before, or after, one's own work; and a refused call that silently costs."""
    for name, why in (
        ("double", "try it first: write an answer, run it, and run its test, which says ✗."),
        ("triple", 'no exercise has this name. A test\'s first line has it: with exercise("…").'),
    ):
        assert cell(f"fridge.reveal({name!r})") == f"fridge.reveal({name!r}) shows nothing: {why}\n{DELETE}\n"
    cell(TESTS["double"])
    assert "try it first" in cell('fridge.reveal("double")'), "an untouched exercise is no attempt"
    cell("def double(x):\n    return 2 * x", "double")
    cell(TESTS["double"])
    assert "shows nothing: you have solved it.\n" in cell('fridge.reveal("double")')
    assert scoreboard.outcomes()["double"] == scoreboard.RIGHT


def test_a_cell_that_can_not_run_is_an_attempt(cell: Cell) -> None:
    """Guards against a learner who is stuck with a SyntaxError, and is told to try first."""
    cell("def double(x):\n    return (x", "double")
    assert "↻ double" in cell(TESTS["double"])
    assert "is revealed" in cell('fridge.reveal("double")')
    assert cell(TESTS["double"]).startswith("◇ double")
    cell(
        "class Pair:\n    def __init__(self, a, b):\n        self.a = a\n\n    def first(self):\n        return self.a",
        "pair",
    )
    assert cell(TESTS["both"]).startswith("✓ both"), "what uses the reference isn't older than anything"


def test_all_tests_of_a_class(cell: Cell) -> None:
    """Guards against points for the tests of a class that was shown whole, one of them solved before."""
    cell(
        "class Pair:\n    def __init__(self, a, b):\n        self.a = a\n\n    def first(self):\n        return self.a",
        "pair",
    )
    cell(TESTS["first"])
    cell(TESTS["both"])
    assert scoreboard.outcomes()["first"] == scoreboard.RIGHT
    attempted(cell)
    cell(TESTS["both"])
    said = cell('fridge.reveal("both")')
    assert said.startswith("**2 · Pair: first; 2 · Pair: both** is revealed, and its points are given up (4).")
    assert scoreboard.outcomes()["first"] == scoreboard.REVEALED
    assert cell("print(Pair(3, 4).first())") == "3.0\n", "by the references' own double, not the learner's wrong one"


def test_what_the_instructor_decides(cell: Cell) -> None:
    """Guards against references in a course whose instructor has switched them off."""
    attempted(cell)
    for choice, words in (
        ("no", "your instructor has switched reference solutions off"),
        ("library", "your instructor allows no other source"),
    ):
        references.CHOICE.write_text(json.dumps({"reveal": choice}))
        said = cell('fridge.reveal("double")')
        assert words in said
        assert DELETE in said
    references.CHOICE.write_text('{"reveal": "file"}')
    assert "is revealed" in cell('fridge.reveal("double")')


def test_files_of_references(cell: Cell) -> None:
    """Guards against a traceback, or another unit's solution, where the file isn't what it should be."""
    attempted(cell)
    Path("mine.json").write_text(json.dumps(SOLUTIONS))
    Path(references.FILE).unlink()
    references.CHOICE.write_text('{"reveal": "file"}')
    assert "Ask your instructor for the file, put it here, or say its path" in cell('fridge.reveal("double")')
    for text, words in (
        ("{", "can't be read as a file of references"),
        ("[]", "can't be read as a file of references"),
        (json.dumps(SOLUTIONS | {"unit": "04-paging"}), "holds the solutions of 04-paging, not those of 03-kv-cache"),
        (json.dumps(SOLUTIONS | {"exercises": {}}), "has no solution of `double`"),
    ):
        Path("other.json").write_text(text)
        assert words in cell('fridge.reveal("double", "other.json")')
    assert "there is no " in cell('fridge.reveal("double", "nowhere.json")')
    assert "it comes from mine.json" in cell('fridge.reveal("double", "mine.json")')


def test_nothing_where_somebody_grades(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against points that the library's own code earns in stock nbgrader's kernel."""
    attempted(cell)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert "nothing is revealed while a notebook is graded" in cell('fridge.reveal("double")')
    assert "✗ double: not right yet" in cell(TESTS["double"])


def test_progress_of_saved_notebooks(cell: Cell) -> None:
    """Guards against points in `fridge progress` that grading doesn't give."""
    passed = {"output_type": "stream", "text": "✓ first: the tests in this cell pass."}
    asked = {"cell_type": "code", "source": 'fridge.reveal("both")', "metadata": {}}
    stale = {"output_type": "error", "ename": "Stale"}
    shown = {"first-test": [passed], "double-test": [stale]}
    saved_cells = [{**one, "outputs": shown.get(one["id"], [])} for one in HANDOUT]
    assert progress.outcomes({"cells": saved_cells}) == {"first": scoreboard.RIGHT, "double": scoreboard.STALE}
    assert progress.outcomes({"cells": [*saved_cells, asked]}) == {
        "first": scoreboard.REVEALED,
        "both": scoreboard.REVEALED,
        "double": scoreboard.STALE,
    }


def test_a_wrong_answer_is_no_attempt_at_another(cell: Cell) -> None:
    """Guards against one mistake that opens all the unit's references."""
    attempted(cell)
    assert "try it first" in cell('fridge.reveal("both")')
    assert issubclass(Wrong, AssertionError)
