"""Grading with tests and learner apart, of a small course: three exercises, a sandbox, and what a notebook gets."""

import copy
from collections.abc import Callable

import jupytext
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.isolation.children import in_child
from autograder.isolation.sandbox import Sandbox, SandboxError, open_sandbox
from autograder.notebooks import grade_id
from autograder.submissions import split
from autograder.submissions.paper import Paper
from autograder.submissions.verdict import Graded

EXERCISE = '# %% nbgrader={{"grade": false, "grade_id": "{0}", "solution": true}}\ndef {0}(a, b):\n    return a + b\n\n'
TEST = '# %% nbgrader={{"grade": true, "grade_id": "{0}-test", "points": {1}, "solution": false}}\n{2}\n\n'
GOOD = "from fridge.testing import exercise, expect_equal\nwith exercise('{0}'):\n    expect_equal({0}(1, 2), 3, 'sum')"
NAMES = ("one", "two", "three")


def master_with(test: str = GOOD, others: str = GOOD) -> NotebookNode:
    """A master of three exercises; the first one's test is `test`."""
    text = "".join(
        EXERCISE.format(name) + TEST.format(name, 2, (test if name == "one" else others).format(name)) for name in NAMES
    )
    return jupytext.reads(text, fmt="py:percent")


def opened() -> Sandbox:
    """A warm sandbox; skip where nothing can be graded for credit."""
    import fridge.testing  # noqa: F401 - once, before the forks

    try:
        return open_sandbox()[0]
    except SandboxError as error:
        pytest.skip(f"this host gives no sandbox: {error}")


@pytest.fixture(scope="module")
def sandbox():
    warm = opened()
    yield warm
    warm.close()


@pytest.fixture
def grade(sandbox, monkeypatch) -> Callable[..., Graded]:
    """Grade a notebook of the three exercises with cells put in front of an exercise or in its place."""
    monkeypatch.setattr(split, "SECONDS_PER_CELL", 3)
    monkeypatch.setattr(split, "SECONDS_PER_TEST", 4)

    def grade_(
        before: dict[str, list[str]] | None = None,
        answers: dict[str, str] | None = None,
        test: str = GOOD,
        edit: Callable[[NotebookNode], None] | None = None,
        others: str = GOOD,
    ) -> Graded:
        master = master_with(test, others)
        notebook = copy.deepcopy(master)
        cells = []
        for cell in notebook.cells:
            cells += [new_code_cell(source) for source in (before or {}).get(grade_id(cell), [])]
            cell.source = (answers or {}).get(grade_id(cell), cell.source)
            cells.append(cell)
        notebook.cells = cells
        if edit:
            edit(notebook)
        return Graded.from_json(in_child(lambda: split.grade(notebook, Paper(master), sandbox).as_json(), 60))

    return grade_


def points(graded: Graded) -> list[float]:
    return [graded.verdicts[f"{name}-test"].points for name in NAMES]


def shown(graded: Graded, index: int = 0) -> list[dict]:
    return graded.outputs[index]
