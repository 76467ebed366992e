"""Odd submissions: what learners, editors, browsers and file systems make of a notebook, and what must come of it.

Each is a function that changes a fully solved notebook (odd_notebooks.py) or writes files of its own (odd_files.py);
test_odd_submissions.py sends each through finding, reading, rebuilding and grading, and prints the table. The unit is
small, and its exercises have the forms that the course's have: a function, two functions, a class, a user of another.
"""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

UNIT, NOTEBOOK = "00-odd", "odd_sums.ipynb"
MARKED = {
    "add": """\
def add(a, b):
    '''The sum of two numbers.'''
    ### BEGIN SOLUTION
    return a + b
    ### END SOLUTION""",
    "scale": """\
def double(x):
    '''Twice x.'''
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


def halve(x):
    '''Half of x.'''
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION""",
    "stack": """\
class Stack:
    '''Last in, first out.'''

    def __init__(self):
        ### BEGIN SOLUTION
        self._items = []
        ### END SOLUTION

    def push(self, item):
        ### BEGIN SOLUTION
        self._items.append(item)
        ### END SOLUTION

    def pop(self):
        ### BEGIN SOLUTION
        return self._items.pop()
        ### END SOLUTION""",
    "total": """\
def total(numbers):
    '''The sum of a list, by `add`.'''
    ### BEGIN SOLUTION
    result = 0
    for number in numbers:
        result = add(result, number)
    return result
    ### END SOLUTION""",
}
ANSWERS = {name: re.sub(r" *### .*\n?", "", text).rstrip() for name, text in MARKED.items()}
STUBS = {
    name: re.sub(
        r"( *)### BEGIN SOLUTION(?:.|\n)*?### END SOLUTION",
        r'\1# YOUR CODE HERE\n\1raise NotImplementedError("not attempted yet")',
        text,
    )
    for name, text in MARKED.items()
}
EXPECTATIONS = {
    "add": "expect_equal(add(1, 2), 3, '1 + 2')",
    "scale": "expect_equal((double(3), halve(3)), (6, 1.5), 'double, half')",
    "stack": "pile = Stack()\n    pile.push(1)\n    pile.push(2)\n    expect_equal(pile.pop() - pile.pop(), 1, 'x')",
    "total": "expect_equal(total([1, 2, 3]), 6, '1 + 2 + 3')",
}
HEAD = """# %% [markdown]
# # Odd sums

# %%
import math

# %% tags=["for-real"]
model = "a model that takes a minute"
raise RuntimeError("grading must not run this cell")
"""
EXERCISE = """
# %% [markdown]
# ### Exercise {number} · {name} (1 point)

# %% nbgrader={{"grade": false, "grade_id": "{name}", "locked": false, "schema_version": 3, "solution": true, "task": false}}
{answer}

# %% nbgrader={{"grade": true, "grade_id": "{name}-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}}
from fridge.testing import exercise, expect_equal

with exercise("{name}"):
    {expectations}
    ### BEGIN HIDDEN TESTS
    {expectations}
    ### END HIDDEN TESTS
"""  # noqa: E501 - nbgrader's metadata takes a line


def master() -> str:
    """The unit's master, py:percent."""
    exercises = enumerate(MARKED, 1)
    return HEAD + "".join(
        EXERCISE.format(number=number, name=name, answer=MARKED[name], expectations=EXPECTATIONS[name])
        for number, name in exercises
    )


@dataclass(frozen=True)
class Odd:
    """One odd submission.

    Attributes:
        sent: what it is, in a line.
        make: changes the solved notebook in place, or returns another; or, given a folder too, writes files into it.
        loses: exercises whose points are lost.
        refused: what the refusal says; empty if it is graded.
        says: what a repair says; empty if nothing is to be repaired.
    """

    name: str
    sent: str
    make: Callable
    writes_files: bool
    loses: tuple[str, ...] = ()
    refused: str = ""
    says: str = ""


TABLE: list[Odd] = []


def odd(sent: str, writes_files: bool = False, **expected: str | tuple[str, ...]) -> Callable:
    """Register a function as an odd submission."""

    def register(make: Callable) -> Callable:
        TABLE.append(Odd(make.__name__, sent, make, writes_files, **expected))
        return make

    return register


def send(entry: Odd, solved: NotebookNode, folder: Path) -> None:
    """Write what this learner hands in into a folder."""
    notebook = copy.deepcopy(solved)
    if entry.writes_files:
        entry.make(folder, notebook)
        return
    notebook = entry.make(notebook) or notebook
    (folder / NOTEBOOK).write_text(json.dumps(notebook), encoding="utf-8")


def solved_notebook(handout: NotebookNode) -> NotebookNode:
    """The handout with all answers, as run from top to bottom."""
    notebook = copy.deepcopy(handout)
    for count, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.source = ANSWERS.get(grade_id(cell), cell.source)
            cell.execution_count = count
    return notebook


def grade_id(cell: NotebookNode) -> str | None:
    """nbgrader's id of a cell."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")
