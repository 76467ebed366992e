"""The mini course with three questions that a person grades (text, code, a task), and learners who answer them."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
from mini_course import MASTER, RECALL, ROOT
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.authoring.build import build
from autograder.course import Unit, find_units
from autograder.notebooks import grade_id

# ruff: noqa: E501 - nbgrader's metadata takes a line
UNIT = "00-mini"
QUESTIONS = """
# %% [markdown]
# ### Exercise 2 · Why (2 points)

# %% [markdown] nbgrader={"grade": true, "grade_id": "why", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# Addition is what the model answer says it is.
# ### END SOLUTION

# %% [markdown]
# ### Exercise 3 · Picture (1 point)

# %% nbgrader={"grade": true, "grade_id": "picture", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
print("the model answer's picture")
### END SOLUTION

# %% [markdown]
# ### Exercise 4 · Essay (4 points)

# %% [markdown] nbgrader={"grade": false, "grade_id": "essay", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": true}
# Write an essay in cells of your own, below this one.
#
# ### BEGIN MARK SCHEME
# Two points for a drawing, as the mark scheme has it.
# ### END MARK SCHEME

# %% [markdown]
# The end.
"""
WITH_QUESTIONS = MASTER.replace("| 3, in one exercise |", "| 10, in four exercises |") + QUESTIONS
IDS = ["add", "add-test", "why", "picture", "essay"]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
WHY = "class struggle, and\n\ndef add(a, b): as text\n\n![s](attachment:image.png)\n\n!pip install nothing"
PICTURE = "print('my' + ' picture')"
ESSAY = "My essay.\n\n![e](attachment:image.png)"
ATTACHED = {"image.png": {"image/png": PIXEL}}
OTHER = {"image.png": {"image/png": PIXEL.replace("mP8z8", "mP8z9")}}


def course_with_questions(root: Path) -> Unit:
    """The course, built."""
    (root / "solutions" / UNIT).mkdir(parents=True)
    (root / "course/fridge/notebook").mkdir(parents=True)
    (root / "solutions" / UNIT / "mini.py").write_text(WITH_QUESTIONS)
    (root / "solutions" / "grade_ids.json").write_text(f'{{"{UNIT}": {IDS}}}'.replace("'", '"'))
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "course/fridge/notebook/recall").mkdir()
    (root / "course/fridge/notebook/recall" / f"{UNIT}.toml").write_text(3 * RECALL)
    build(root, [UNIT])
    return find_units(root, [UNIT])[0]


def answered(handout: NotebookNode) -> NotebookNode:
    """The handout with all answers."""
    notebook = copy.deepcopy(handout)
    place(notebook, "add").source = "def add(a, b):\n    return a + b"
    place(notebook, "why").update(source=WHY, attachments=ATTACHED)
    place(notebook, "picture").source = PICTURE
    behind = notebook.cells.index(place(notebook, "essay")) + 1
    notebook.cells[behind:behind] = [new_markdown_cell(ESSAY, attachments=ATTACHED), new_code_cell("6 * 7")]
    return notebook


def place(notebook: NotebookNode, name: str) -> NotebookNode:
    """A cell by its grade_id."""
    return next(cell for cell in notebook.cells if grade_id(cell) == name)


def without_marks(notebook: NotebookNode) -> None:
    """As an editor leaves it that keeps no metadata."""
    notebook.nbformat_minor = 0
    for cell in notebook.cells:
        cell.pop("id", None)
        cell.metadata.clear()


def copied(notebook: NotebookNode) -> None:
    """The question's cell, copied: the second one has the answer."""
    cell = place(notebook, "why")
    second = copy.deepcopy(cell)
    cell.source, second.id = "A first thought.", "another"
    notebook.cells.insert(notebook.cells.index(cell) + 1, second)


def below(notebook: NotebookNode) -> None:
    """The question's cell as it was, and the answer below it, in two cells with a picture each."""
    cell = place(notebook, "why")
    parts = WHY.partition("\n\ndef")
    cell.source = "YOUR ANSWER HERE"
    cell.pop("attachments")
    behind = notebook.cells.index(cell) + 1
    first = new_markdown_cell(parts[0] + "\n\n![s](attachment:image.png)", attachments=OTHER)
    second = new_markdown_cell((parts[1] + parts[2]).strip(), attachments=ATTACHED)
    notebook.cells[behind:behind] = [first, second]


def deleted(notebook: NotebookNode) -> None:
    """The question's cell is gone, and the answer stands in a cell of the learner's own."""
    cell = place(notebook, "why")
    notebook.cells[notebook.cells.index(cell)] = new_markdown_cell(WHY, attachments=ATTACHED)


def as_code(notebook: NotebookNode) -> None:
    """The question's cell was made a code cell."""
    cell = place(notebook, "why")
    notebook.cells[notebook.cells.index(cell)] = new_code_cell("An answer in a code cell", metadata=cell.metadata)


def moved(notebook: NotebookNode) -> None:
    """The question's cell stands at the end."""
    cell = place(notebook, "why")
    notebook.cells.remove(cell)
    notebook.cells.append(cell)


MISHAPS: dict[str, Callable[[NotebookNode], None]] = {
    function.__name__: function for function in (without_marks, copied, below, deleted, as_code, moved)
}


def hand_in(unit: Unit, student: str, notebook: NotebookNode) -> None:
    """Put a student's notebook under grading/submitted, in place of an earlier one."""
    folder = unit.root / "grading" / "submitted" / student / unit.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / unit.release.name)


def handout_of(unit: Unit) -> NotebookNode:
    """What a learner gets."""
    return nbformat.read(unit.release, as_version=4)
