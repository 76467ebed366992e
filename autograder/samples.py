"""The sample submissions of tests/submissions/<unit>/{right,wrong}: whole sets of answers as small text files.

A sample is a py:percent file. Its docstring says in one line what is special about it; a wrong one ends with a line
`loses:` and the test cells that must lose their points, and no others may. Its cells carry an exercise's grade_id and
replace that exercise's answer in the master; exercises without a cell keep the master's answer.
"""

import ast
import copy
from dataclasses import dataclass
from pathlib import Path

import jupytext
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from autograder.course import CourseError, Unit
from autograder.notebooks import grade_id, is_solution, read_master


@dataclass(frozen=True)
class Sample:
    """One submission whose grade is known.

    Attributes:
        loses: grade_ids of the test cells that must lose their points; empty for a right one.
        answers: solution cell's grade_id -> its source.
    """

    name: str
    about: str
    loses: frozenset[str]
    answers: dict[str, str]


def read_samples(unit: Unit, kind: str) -> list[Sample]:
    """All samples of a unit, `kind` being "right" or "wrong".

    Raises:
        CourseError: a file that doesn't follow the form, with the file's name.
    """
    master = read_master(unit)
    return [_read(path, master, kind) for path in sorted((unit.submissions / kind).glob("*.py"))]


def answered(master: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """The master with some exercises' cells replaced, hidden tests in place: what a grader would execute."""
    notebook = copy.deepcopy(master)
    for cell in notebook.cells:
        if grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)]
    return notebook


def untouched(master: NotebookNode, clear_solutions: Preprocessor) -> NotebookNode:
    """The master with every exercise's region empty, as nbgrader's own `ClearSolutions` leaves it in the handout."""
    notebook, _ = clear_solutions.preprocess(copy.deepcopy(master), {})
    return notebook


def _read(path: Path, master: NotebookNode, kind: str) -> Sample:
    text = path.read_text(encoding="utf-8")
    about, loses = _split(ast.get_docstring(ast.parse(text)) or "")
    cells = [cell for cell in jupytext.reads(text, fmt="py:percent").cells if cell.cell_type == "code"]
    answers = {grade_id(cell): cell.source for cell in cells if grade_id(cell)}
    exercises = {grade_id(cell) for cell in master.cells if is_solution(cell)}
    tests = {grade_id(cell) for cell in master.cells if grade_id(cell)} - exercises
    if not about or not answers or bool(loses) != (kind == "wrong"):
        raise CourseError(f"{path}: needs a docstring, at least one cell with a grade_id, and `loses:` if it is wrong")
    if strangers := (set(answers) - exercises) | (loses - tests):
        raise CourseError(f"{path}: its unit has no {', '.join(sorted(strangers))}")
    return Sample(path.stem, about, loses, answers)


def _split(docstring: str) -> tuple[str, frozenset[str]]:
    about, _, loses = docstring.partition("loses:")
    return about.strip(), frozenset(loses.replace(",", " ").split())
