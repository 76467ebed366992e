"""A test says when what it tested isn't what the learner sees, and never when it is. Cells run in IPython, with the ids
and numbers that JupyterLab gives them; the notebook is saved as JupyterLab saves it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from fridge.notebook import grading, handouts, runs, scoreboard, syllabus, this_notebook
from fridge.notebook.cells import STUB
from fridge.testing import NotAttempted, Wrong
from fridge.testing.outcome import Stale

UNIT, NOTEBOOK = "03-kv-cache", "kv_cache.ipynb"
RIGHT = "def double(x):\n    return [2 * i for i in x]"
OTHER = "def double(x):\n    return [i + i for i in x]"
BROKEN = "def double(x):\n    return [2 * i for i in x"
TEST = 'from fridge.testing import *\nwith exercise("doubling"):\n    expect_equal(double([1, 2]), [2, 4], "a list")'
TEST_ID = "doubling-test"


def cell(source: str, grade_id: str = "", solution: bool = True, count: int | None = None) -> dict:
    marks = {"grade_id": grade_id, "solution": solution, "grade": not solution}
    metadata = {"nbgrader": marks} if grade_id else {}
    return {"cell_type": "code", "source": source, "metadata": metadata, "id": grade_id, "execution_count": count}


class Kernel:
    """A learner's kernel and the notebook in front of it."""

    def __init__(self, shell: InteractiveShell):
        self.shell = shell
        self.counts: dict[str, int] = {}

    def run(self, source: str, cell_id: str | None = "doubling") -> BaseException | None:
        if cell_id:
            self.counts[cell_id] = self.shell.execution_count
        result = self.shell.run_cell(source, store_history=True, cell_id=cell_id)
        return result.error_before_exec or result.error_in_exec

    def test(self, cell_id: str | None = TEST_ID) -> BaseException | None:
        return self.run(TEST, cell_id)

    def save(self, *cells: dict) -> None:
        """Save these cells, a second from now, with the counts of their last runs."""
        for one in cells:
            one["execution_count"] = one["execution_count"] or self.counts.get(one["id"])
        Path(NOTEBOOK).write_text(json.dumps({"cells": list(cells)}), encoding="utf-8")
        later = time.time() + 1
        os.utime(NOTEBOOK, (later, later))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    exercises = {"doubling": {"title": "1 · Double", "points": 2}}
    listed = {"exercises": exercises, "notebook": f"{UNIT}/{NOTEBOOK}"}
    monkeypatch.setattr(syllabus, "whole", lambda: {UNIT: listed})
    stub = cell(f"def double(x):\n    {STUB}", "doubling")
    monkeypatch.setattr(handouts, "graded_cells", lambda: {UNIT: [stub, cell(TEST, TEST_ID, solution=False)]})
    handouts.stubs.cache_clear()
    shell = InteractiveShell()
    monkeypatch.setattr(this_notebook, "shell", lambda: shell)
    monkeypatch.setattr(runs, "_recorder", runs.Recorder(shell))
    yield Kernel(shell)
    shell.history_manager.end_session()
    handouts.stubs.cache_clear()


def outcome() -> str:
    return scoreboard.outcomes()["doubling"]


@pytest.mark.parametrize(
    ("broken", "failure"),
    [
        (BROKEN, "SyntaxError, line 2: incomplete input"),
        ("def double(x)\n    return x", "SyntaxError, line 1: expected ':'"),
        ("dfe double(x):\n    return x", "SyntaxError, line 1: invalid syntax"),
        (f"scale = zwei\n\n{RIGHT}", "NameError, line 1: name 'zwei' is not defined"),
        (f"@wrong\n{RIGHT}", "NameError, line 1: name 'wrong' is not defined"),
        (f"raise KeyboardInterrupt\n{RIGHT}", "KeyboardInterrupt, line 1"),
        (f"import sys\nsys.exit('no')\n{RIGHT}", "SystemExit, line 2: no"),
    ],
)
def test_a_cell_that_failed(kernel: Kernel, broken: str, failure: str) -> None:
    """Guards against ✓ for the old function in the kernel, after the cell's last run failed in whatever way."""
    kernel.run(RIGHT)
    assert kernel.test() is None
    kernel.run(broken)
    assert outcome() == scoreboard.STALE, "what the table says before the test runs again"
    error = kernel.test()
    assert type(error) is Stale
    assert str(error) == (
        f"↻ doubling: the last run of this exercise's cell failed with {failure}; what was tested is the version "
        "before it. Mend the cell and run it, then this test again."
    )
    assert outcome() == scoreboard.STALE
    assert scoreboard.show(UNIT).earned == 0
    kernel.run(OTHER)
    assert kernel.test() is None
    assert outcome() == scoreboard.RIGHT


def test_a_first_answer_that_failed(kernel: Kernel) -> None:
    """Guards against "not attempted yet" for somebody who forgot a bracket, and a NameError that doesn't say why."""
    kernel.run(BROKEN)
    assert "there is nothing to test yet" in str(kernel.test())
    kernel.run(f"def double(x):\n    {STUB}")
    assert type(kernel.test()) is NotAttempted
    kernel.run(BROKEN)
    assert type(kernel.test()) is Stale


def test_what_fails_behind_the_function_costs_nothing(kernel: Kernel) -> None:
    """Guards against an alarm for a try-out under a function that is defined, and is the one that was tested."""
    kernel.run(f"{RIGHT}\n\ndouble(3)")
    assert kernel.test() is None
    kernel.run("1 / 0", "own")
    kernel.run("def (", "own")
    assert kernel.test() is None


def test_a_wrong_answer_that_is_current(kernel: Kernel) -> None:
    """Guards against a mistake that is taken for an old version."""
    kernel.run(RIGHT)
    kernel.run("def double(x):\n    return x")
    assert type(kernel.test()) is Wrong
    assert outcome() == scoreboard.WRONG


def test_a_helper_that_failed(kernel: Kernel) -> None:
    """Guards against ✓ by the old version of a function that the exercise calls, over two others and a class."""
    kernel.run("def twice(i):\n    return 2 * i", "h1")
    kernel.run("class Maker:\n    @property\n    def made(self):\n        return [twice(i) for i in self.x]", "h2")
    kernel.run("def double(x):\n    maker = Maker()\n    maker.x = x\n    return maker.made")
    assert kernel.test() is None
    kernel.run("def twice(i):\n    return 2 * i +", "h1")
    assert "the last run of the cell that defines `twice` failed with SyntaxError" in str(kernel.test())
    kernel.run("def twice(i):\n    return i + i", "h1")
    assert kernel.test() is None
    kernel.run("def made(i):\n    return 2 *", "h3")  # no helper of this exercise: an attribute has the same name
    assert kernel.test() is None


def test_a_cell_that_was_not_run(kernel: Kernel) -> None:
    """Guards against ✓ for a function that came from elsewhere, when the exercise's cell hasn't been run."""
    Path("mine.py").write_text(RIGHT, encoding="utf-8")
    kernel.run("import sys; sys.path.insert(0, '.'); from mine import double", "own")
    assert "the `double` that was tested came from elsewhere" in str(kernel.test())
    assert kernel.test(cell_id=None) is None, "a front end that doesn't say which cell is which"
    kernel.run("from mine import double")  # in the exercise's own cell it is the learner's answer
    assert kernel.test() is None


def test_another_cell_s_function(kernel: Kernel) -> None:
    """Guards against ✓ for a try in another cell while the exercise's cell holds, and the grader takes, another one."""
    kernel.run(RIGHT, "try")
    kernel.save(cell("def double(x):\n    return x", "doubling", count=40), cell(RIGHT, "try"))
    assert "what was tested stands in another cell" in str(kernel.test())
    for own in (f"def double(x):\n    {STUB}", RIGHT, "# see below"):  # the grader takes the other cell's, or the same
        kernel.save(cell(own, "doubling", count=40), cell(RIGHT, "try"))
        assert kernel.test() is None


def test_edited_and_saved(kernel: Kernel) -> None:
    """Guards against ✓ for the version before an edit: save, then run the test alone."""
    kernel.run(RIGHT)
    for own in ("def double(x):\n    return x", BROKEN, RIGHT.replace("def", "dfe"), RIGHT.partition("\n")[0]):
        kernel.save(cell(own, "doubling"))
        error = kernel.test()
        assert type(error) is Stale, own
        assert "this exercise's cell was changed after its last run" in str(error)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([cell(RIGHT + "\n\n", "doubling")], "an empty line at the end"),
        ([cell("# better\n\n" + RIGHT.replace("return", "return  "), "doubling")], "a comment and spaces"),
        ([cell(RIGHT + "\n\ndouble([3])", "doubling")], "a try-out under it"),
        ([cell("import math", "doubling"), cell(RIGHT, "new")], "split above the function"),
        ([cell("def double(x):", "doubling"), cell("    return [2 * i for i in x]", "new")], "split inside it"),
        ([cell("def double(x):", "new"), cell("    return [2 * i for i in x]", "doubling")], "the other way around"),
        ([cell("", "doubling"), cell("import math\n" + RIGHT, "new")], "moved"),
        ([cell("x = 1\n" + RIGHT + "\ny = 2", "doubling")], "merged with its neighbours"),
        ([cell("def double(x):\n    return x", "doubling", count=77)], "another kernel's notebook"),
        ([cell(OTHER, "other")], "another notebook"),
        ([], "no cells"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_false_alarm(kernel: Kernel, cells: list[dict], why: str) -> None:
    """Guards against a right answer that is called old because of what an editor, or a learner, does to cells."""
    kernel.run("import math\n" + RIGHT if why.startswith(("split above", "moved")) else RIGHT)
    kernel.save(*cells)
    assert kernel.test() is None


def test_run_but_not_saved(kernel: Kernel) -> None:
    """Guards against an alarm for a cell that was run and not saved: the file shows the version before."""
    kernel.run("def double(x):\n    return x")
    kernel.save(cell("def double(x):\n    return x", "doubling"))
    os.utime(NOTEBOOK, (time.time() - 60, time.time() - 60))
    kernel.run(RIGHT)
    assert kernel.test() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [3, null, {"source": 5}]}'])
def test_a_file_that_can_not_be_read(kernel: Kernel, text: str) -> None:
    """Guards against a test cell that breaks because the notebook is being saved, or is something else."""
    kernel.run(RIGHT)
    Path(NOTEBOOK).write_text(text)
    assert kernel.test() is None


def test_without_ids_and_files(kernel: Kernel) -> None:
    """Guards against false alarms, and against silence after a SyntaxError, on Colab."""
    kernel.run(RIGHT, None)
    assert kernel.test(None) is None
    kernel.run(BROKEN, None)
    assert type(kernel.test(None)) is Stale
    kernel.run(OTHER, None)
    assert kernel.test(None) is None


def test_cells_that_ran_before_the_library_was_imported(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against "came from elsewhere" for a cell that ran before the test's own import of the library."""
    kernel.shell.events.unregister("pre_run_cell", runs._recorder._begin)
    kernel.shell.events.unregister("post_run_cell", runs._recorder._end)
    monkeypatch.setattr(runs, "_recorder", None)
    kernel.run(RIGHT)
    monkeypatch.setattr(this_notebook, "shell", lambda: kernel.shell)
    kernel.run("from fridge.notebook import runs; runs.watch()", "imports")
    assert kernel.test() is None
    kernel.run(BROKEN)
    assert type(kernel.test()) is Stale


def test_tested_before_the_cell_last_ran(kernel: Kernel) -> None:
    """Guards against ✓ in the table for a function that was replaced after its test."""
    kernel.run(RIGHT)
    kernel.test()
    kernel.run(RIGHT)
    assert outcome() == scoreboard.RIGHT, "the same text again"
    kernel.run("def double(x):\n    return x")
    assert outcome() == scoreboard.STALE
    assert "↻ 1 · Double" in repr(scoreboard.show(UNIT))
    assert scoreboard.ready("doubling"), "a demonstration may go on while the learner tries something"


def test_nothing_of_this_where_somebody_grades(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against points that stock nbgrader, which runs the tests in the learner's kernel, would take for it."""
    kernel.run(RIGHT)
    kernel.run(BROKEN)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert not grading.is_learning()
    assert kernel.test() is None


def test_it_takes_no_time(kernel: Kernel) -> None:
    """Guards against a test that waits for a large notebook to be read: most of its size is pictures."""
    kernel.run(RIGHT)
    picture = {"output_type": "display_data", "data": {"image/png": "A" * 3_500_000}, "metadata": {}}
    kernel.save(cell(RIGHT, "doubling"), {**cell("plot()"), "outputs": [picture]})
    kernel.test()
    started = time.process_time()
    runs.stale("doubling", NOTEBOOK)
    assert time.process_time() - started < 0.05
