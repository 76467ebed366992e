"""`autograder lint`: what a reader can't see at a glance in a master: ids, points, markers, tests that exist and ask
values alone, and words that a learner is shown: what hidden tests look at, why an answer is right, questions to recall.

`solutions/grade_ids.json` lists every grade_id ever released. Grades in the gradebook hang on them, so a renamed or
vanished id is a finding until that file says that it is meant.
"""

import ast
import json
import re
from collections import Counter
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring import borrowed, maps
from autograder.authoring.asked import asked
from autograder.authoring.stated import unstated
from autograder.authoring.widths import too_wide
from autograder.course import Unit, find_units
from autograder.notebooks import (
    EXERCISE,
    TEST_SUFFIX,
    because,
    grade_id,
    is_by_hand,
    is_exercise,
    is_solution,
    is_task,
    is_test,
    looks_at,
    read_master,
)
from fridge.notebook.recall import questions

GRADE_IDS = Path("solutions/grade_ids.json")
RECALL = Path("course/fridge/notebook/recall")
TOTAL = re.compile(r"^\| Points \| (\d+), in (\w+) exercises?\b", re.MULTILINE)
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
MARKERS = {"SOLUTION": is_solution, "HIDDEN TESTS": is_test, "MARK SCHEME": is_task}


def lint(root: Path, names: list[str] | None = None) -> list[str]:
    """Findings in the masters of the named units (default all), each a sentence; none means in order."""
    masters = {unit: read_master(unit) for unit in find_units(root, names)}
    findings = _duplicates(masters) + _unstable(root, masters) + maps.findings(root, list(masters))
    for unit, notebook in masters.items():
        own = [*_points(notebook), *_markers(notebook), *_tests(notebook), *_by_hand(notebook)]
        own += [*too_wide(notebook), *_recall(root, unit)]
        own += [f"{grade_id(test)}: {finding}" for test, finding in unstated(notebook)]
        findings += [f"{unit.name}: {finding}" for finding in own]
    return findings


def notes(root: Path, names: list[str] | None = None) -> list[str]:
    """What is as it should be, and an instructor should know: answers that the library has under another name."""
    return [note for unit in find_units(root, names) for note in borrowed.notes(root, unit.name)]


def _duplicates(masters: dict[Unit, NotebookNode]) -> list[str]:
    used = Counter(name for notebook in masters.values() for name in _ids(notebook))
    return [f"grade_id {name!r} is used {count} times: rename all but one" for name, count in used.items() if count > 1]


def _unstable(root: Path, masters: dict[Unit, NotebookNode]) -> list[str]:
    released = json.loads((root / GRADE_IDS).read_text(encoding="utf-8"))
    findings = []
    for unit, notebook in masters.items():
        known, present = released.get(unit.name, []), _ids(notebook)
        for name in known:
            if name not in present:
                findings.append(
                    f"{unit.name}: grade_id {name!r} is gone, and grades hang on it. Restore it, or take it "
                    f"out of {GRADE_IDS} if no learner has it yet"
                )
        findings += [
            f"{unit.name}: grade_id {name!r} is new: add it to {GRADE_IDS}" for name in present if name not in known
        ]
        findings += [
            f"{unit.name}: grade_id {name!r} must be lower-case words joined by hyphens"
            for name in present
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        ]
    return findings


def _points(notebook: NotebookNode) -> list[str]:
    findings, promised, earned, number, title = [], 0, 0.0, 0, ""
    total_said, exercises_said = 0, ""

    def close() -> None:
        if title and promised != earned:
            findings.append(f"{title}: the heading says {promised} points, its test cells have {earned:g}")

    total = 0.0
    for cell in notebook.cells:
        if match := TOTAL.search(cell.source):
            total_said, exercises_said = int(match[1]), match[2]
        if cell.cell_type == "markdown" and (match := EXERCISE.search(cell.source)):
            close()
            number, promised, earned, title = number + 1, int(match[3]), 0.0, match[0].removeprefix("### ")
            if int(match[1]) != number:
                findings.append(f"{title}: this is exercise number {number} of the notebook")
        elif is_test(cell) or is_by_hand(cell):
            earned, total = earned + cell.metadata.nbgrader.points, total + cell.metadata.nbgrader.points
    close()
    if total_said != total:
        findings.append(f"the table at the top says {total_said} points, the test cells have {total:g}")
    if exercises_said not in (str(number), *NUMBERS[number : number + 1]):
        findings.append(f"the table at the top says {exercises_said or 'no'} exercises, and there are {number}")
    return findings


def _markers(notebook: NotebookNode) -> list[str]:
    findings = []
    for cell in notebook.cells:
        where = grade_id(cell) or repr(cell.source[:40])
        for marker, belongs in MARKERS.items():
            begins, ends = cell.source.count(f"### BEGIN {marker}"), cell.source.count(f"### END {marker}")
            if begins != ends:
                findings.append(f"{where}: {begins} BEGIN {marker}, {ends} END {marker}")
            if begins and not belongs(cell):
                findings.append(f"{where}: BEGIN {marker} in a cell that nbgrader won't clear of it")
            if belongs(cell) and not begins:
                findings.append(f"{where}: no ### BEGIN {marker}")
    return findings


def _tests(notebook: NotebookNode) -> list[str]:
    findings = []
    functions, classes = _defined(notebook)
    for cell in filter(is_test, notebook.cells):
        name = grade_id(cell)
        if not name.endswith(TEST_SUFFIX) or f'with exercise("{name.removesuffix(TEST_SUFFIX)}"):' not in cell.source:
            findings.append(
                f'{name}: must end in {TEST_SUFFIX} and hold `with exercise("{name.removesuffix(TEST_SUFFIX)}"):`'
            )
        visible, _, hidden = cell.source.partition("### BEGIN HIDDEN TESTS")
        findings += [
            f"{name}: no expectation in its {kind} part"
            for kind, part in (("visible", visible), ("hidden", hidden))
            if not re.search(r"expect_\w+\(", part)
        ]
        findings += _words(cell)
        findings += [f"{name}, {finding}" for finding in asked(cell.source, functions, classes)]
        if not cell.metadata.nbgrader.locked:
            findings.append(f"{name}: a test cell must be locked")
    return findings


def _defined(notebook: NotebookNode) -> tuple[set[str], set[str]]:
    """Functions and classes that the exercises define."""
    nodes = [node for cell in notebook.cells if is_exercise(cell) for node in ast.parse(cell.source).body]
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return functions, {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def _words(cell: NotebookNode) -> list[str]:
    name, findings = grade_id(cell), []
    if not looks_at(cell):
        findings.append(f"{name}: its hidden part lacks `# Looks at: one kind of case; another.`, which ✓ shows")
    if not because(cell):
        findings.append(f"{name}: its hidden part lacks `# Right because: …`, one sentence that ✓ shows")
    return findings


def _recall(root: Path, unit: Unit) -> list[str]:
    try:
        questions.read(unit.name, root / RECALL)
    except questions.BadQuestions as error:
        return [f"{RECALL}: {error}"]
    return []


def _by_hand(notebook: NotebookNode) -> list[str]:
    findings = []
    for cell in notebook.cells:
        own = cell.metadata.get("nbgrader", {})
        if own.get("grade") and not own.get("solution") and cell.cell_type != "code":
            findings.append(f"{grade_id(cell)}: a cell of text tests nothing: make it a task, or solution and grade")
        if is_by_hand(cell) and grade_id(cell).endswith(TEST_SUFFIX):
            findings.append(f"{grade_id(cell)}: a person grades it, so its name must not end in {TEST_SUFFIX}")
        if is_task(cell) and (own.get("solution") or own.get("grade") or not own.get("locked")):
            findings.append(f"{grade_id(cell)}: a task must be locked, and neither solution nor grade")
        if is_task(cell) and cell.cell_type != "markdown":
            findings.append(f"{grade_id(cell)}: a task is a cell of text; learners answer it in cells of their own")
    return findings


def _ids(notebook: NotebookNode) -> list[str]:
    return [name for cell in notebook.cells if (name := grade_id(cell))]
