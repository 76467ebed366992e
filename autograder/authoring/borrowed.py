"""Which functions of the course's library answer an exercise under another name.

Whoever imports one gets the points, as with other copied code: the library needs them, and a learner may read it. So
they are on record, solutions/borrowed.json, each with a reason; `autograder lint` tells them, and `autograder check`
finds those that nobody has written down, by trying each one in the exercise's place.
"""

import ast
import copy
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from autograder.authoring.degenerate import is_asked, own_cells, test_name, turn
from autograder.course import CourseError
from autograder.notebooks import grade_id, is_exercise, is_test
from autograder.submissions.paper import Paper
from autograder.submissions.verdict import Verdict

RECORD = Path("solutions/borrowed.json")  # unit -> exercise's function or class -> the library's -> why it stays
# Parts of the library that are about notebooks, files, sockets, machines and figures: calling them with a test's
# arguments could only do something to this machine. Some need packages that graders lack.
_EFFECTS = re.compile(
    r"fridge\.(notebook|pictures|weights|models\.loading|memory\.probe|quantization\.(bitsandbytes_peer|on_a_card)"
    r"|serving\.(bench|api\.(app|body|command|connection|endpoint|guard|pump|server|service))"
    r"|attention\.compiling|workbench\.(busy|measure|plots|terminal))\b"
)


@dataclass
class Trial:
    """One function or class of an exercise, with all that could stand in its place, in a notebook.

    Attributes:
        name: the exercise's function or class.
        tests: grade_ids of the tests that ask it.
        candidates: of the library, `fridge.module.name`, by number.
    """

    name: str
    notebook: NotebookNode
    tests: list[str]
    candidates: list[str]

    def passed(self, verdicts: dict[str, Verdict]) -> list[str]:
        """The candidates that all its tests accept."""
        return [
            candidate
            for number, candidate in enumerate(self.candidates)
            if all(verdicts[test_name(test, number)].passed for test in self.tests)
        ]


def trials(master: NotebookNode, without_tests: bool) -> list[Trial]:
    """A trial for each function and class that a test asks for; `without_tests` as for drills."""
    found, paper = [], Paper(master)
    for start, cell in enumerate(master.cells):
        if not is_exercise(cell):
            continue
        before = [other for other in master.cells[:start] if not (without_tests and is_test(other))]
        behind = own_cells(master, start)
        for node in ast.parse(cell.source).body:
            tests = [grade_id(test) for test in filter(is_test, behind) if is_asked(paper, test, node)]
            candidates = [name for name, thing in _library() if tests and _fits(thing, node)]
            if candidates:
                notebook = copy.copy(master)
                notebook.cells = list(before)
                for number, candidate in enumerate(candidates):
                    module, _, name = candidate.rpartition(".")
                    notebook.cells += turn(cell, behind, number, f"from {module} import {name} as {node.name}")
                found.append(Trial(node.name, notebook, tests, candidates))
    return found


def on_record(root: Path, unit: str) -> dict[str, dict[str, str]]:
    """The exercise's name -> the library's -> why it stays there.

    Raises:
        CourseError: a record out of form, or of something that the library doesn't have any more.
    """
    path = root / RECORD
    if not path.exists():
        return {}
    record = json.loads(path.read_text(encoding="utf-8")).get(unit, {})
    known = {name for name, _ in _library()}
    for answers in record.values():
        for name, why in answers.items():
            if name not in known or not isinstance(why, str) or not why:
                raise CourseError(f"{path}: {unit}: {name}: the library has no such name, or no reason stands there")
    return record


def notes(root: Path, unit: str) -> list[str]:
    """A sentence for each: which answer is the library's under another name, and why."""
    return [
        f"{unit}: {name} is {copied} under another name: {why}"
        for name, answers in on_record(root, unit).items()
        for copied, why in answers.items()
    ]


@cache
def _library() -> tuple[tuple[str, Any], ...]:
    """Public functions and classes, by their names, where they are defined."""
    import fridge

    found = []
    for module in pkgutil.walk_packages(fridge.__path__, "fridge."):
        if _EFFECTS.match(module.name) or module.name.endswith("__main__"):
            continue
        for name, thing in vars(importlib.import_module(module.name)).items():
            own = getattr(thing, "__module__", "") == module.name and not name.startswith("_")
            if own and (inspect.isfunction(thing) or inspect.isclass(thing)):
                found.append((f"{module.name}.{name}", thing))
    return tuple(found)


def _fits(thing: Any, node: ast.AST) -> bool:
    """Whether it could be called as the exercise's function is, or has its class's methods."""
    if isinstance(node, ast.ClassDef):
        return inspect.isclass(thing) and all(hasattr(thing, method) for method in _methods(node))
    if not isinstance(node, ast.FunctionDef) or not inspect.isfunction(thing):
        return False
    required = len(node.args.args) - len(node.args.defaults)
    try:
        inspect.signature(thing).bind(*[None] * required)
    except TypeError:
        return False
    return True


def _methods(node: ast.ClassDef) -> Iterator[str]:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
            yield inner.name
