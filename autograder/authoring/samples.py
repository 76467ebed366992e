"""The sample submissions of tests/submissions/<unit>/{right,wrong}: whole sets of answers as small text files.

A sample is a py:percent file. Its docstring says in one line what is special about it; a wrong one ends with a line
`loses:` and the test cells that must lose their points, and no others may. Its cells carry an exercise's grade_id and
replace that exercise's answer in the master; exercises without a cell keep the master's answer.

Most wrong answers are a right one with a mistake in it. wrong/<exercise>.toml lists those, a table each: `about`,
`loses`, and `changes`, pairs of a text that stands once in the exercise's cell and what stands there instead. The cell
is the master's, or that of the right sample that `of` names.

A wrong one may say what its message must tell, `told`, and must not, `misleads`: in a file lines like `loses:`, with
`|` between texts; in a table lists.
"""

import ast
import copy
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from autograder.course import CourseError, Unit
from autograder.notebooks import grade_id, is_exercise, read_master

MASTER = "the master"
_NEEDS, _MAY = {"about", "loses", "changes"}, {"of", "told", "misleads", "modes_differ"}
_LINE = re.compile(r"^(loses|told|misleads|modes_differ):", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """One submission whose grade is known.

    Attributes:
        loses: grade_ids of the test cells that must lose their points; empty for a right one.
        answers: solution cell's grade_id -> its source.
        told: texts that the message must hold, all of them, because they tell the mistake.
        misleads: texts that it must not hold, because they tell another.
        modes_differ: why the message isn't the same where tests run beside the answer and apart from it.
    """

    name: str
    about: str
    loses: frozenset[str]
    answers: dict[str, str]
    told: tuple[str, ...] = ()
    misleads: tuple[str, ...] = ()
    modes_differ: str = ""


def read_samples(unit: Unit, kind: str) -> list[Sample]:
    """All samples of a unit, `kind` being "right" or "wrong".

    Raises:
        CourseError: a file that doesn't follow the form, with the file's name.
    """
    master = read_master(unit)
    folder = unit.submissions / kind
    samples = [_read(path, master, kind) for path in sorted(folder.glob("*.py"))]
    if mistakes := sorted(folder.glob("*.toml")):
        answers = {sample.name: sample.answers for sample in read_samples(unit, "right")}
        answers[MASTER] = {grade_id(cell): cell.source for cell in master.cells if is_exercise(cell)}
        samples += [sample for path in mistakes for sample in _read_mistakes(path, master, answers)]
    return samples


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
    about, said = _split(ast.get_docstring(ast.parse(text)) or "")
    cells = [cell for cell in jupytext.reads(text, fmt="py:percent").cells if cell.cell_type == "code"]
    answers = {grade_id(cell): cell.source for cell in cells if grade_id(cell)}
    loses = frozenset(said.get("loses", "").replace(",", " ").split())
    told, misleads = (_texts(said.get(name, "")) for name in ("told", "misleads"))
    sample = Sample(path.stem, about, loses, answers, told, misleads, said.get("modes_differ", ""))
    return _checked(path, sample, master, kind)


def _read_mistakes(path: Path, master: NotebookNode, answers: dict[str, dict[str, str]]) -> list[Sample]:
    try:
        mistakes = tomllib.loads(path.read_text(encoding="utf-8"))
        return [_mistake(path, name, mistake, master, answers) for name, mistake in mistakes.items()]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise CourseError(
            f"{path}: each table needs about, loses, changes = [['old', 'new']], and knows "
            f"{', '.join(sorted(_MAY))} besides: {error!r}"
        ) from error


def _mistake(
    path: Path, name: str, mistake: dict[str, Any], master: NotebookNode, answers: dict[str, dict[str, str]]
) -> Sample:
    if strange := mistake.keys() - _NEEDS - _MAY:
        raise ValueError(f"{name} has {', '.join(sorted(strange))}")
    source = answers[mistake.get("of", MASTER)][path.stem]
    for old, new in mistake["changes"]:
        if (times := source.count(old)) != 1:
            raise CourseError(f"{path}: {name}: stands {times} times in the answer, and must once: {old!r}")
        source = source.replace(old, new)
    sample = Sample(
        f"{path.stem}/{name}",
        mistake["about"],
        frozenset(mistake["loses"]),
        {path.stem: source},
        told=tuple(mistake.get("told", ())),
        misleads=tuple(mistake.get("misleads", ())),
        modes_differ=mistake.get("modes_differ", ""),
    )
    return _checked(path, sample, master, "wrong")


def _checked(path: Path, sample: Sample, master: NotebookNode, kind: str) -> Sample:
    exercises = {grade_id(cell) for cell in master.cells if is_exercise(cell)}
    tests = {grade_id(cell) for cell in master.cells if grade_id(cell)} - exercises
    if not sample.about or not sample.answers or bool(sample.loses) != (kind == "wrong"):
        raise CourseError(
            f"{path}: {sample.name}: needs a docstring (or about), a cell with a grade_id, and what a wrong one loses"
        )
    if strangers := (set(sample.answers) - exercises) | (sample.loses - tests):
        raise CourseError(f"{path}: its unit has no {', '.join(sorted(strangers))}")
    return sample


def _split(docstring: str) -> tuple[str, dict[str, str]]:
    about, *said = _LINE.split(docstring)
    return about.strip(), {name: " ".join(text.split()) for name, text in zip(said[::2], said[1::2], strict=True)}


def _texts(said: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in said.split("|") if one.strip())
