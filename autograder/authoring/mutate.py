"""`autograder mutate`: would an exercise's tests notice a small mistake, wherever it is made?

Each mutant of the master's answer (`mutants`) is graded by its exercise's own test cells, beside the learner's code.
One that keeps all points survives: the tests lack a case, or the mutant is as right as the answer. Those that are stand
in tests/submissions/UNIT/equivalent.toml, each with the reason.
"""

import copy
import random
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.authoring.mutants import Mutant, mutants
from autograder.authoring.runner import run_all
from autograder.authoring.samples import MASTER
from autograder.course import CourseError, Unit, find_units
from autograder.notebooks import grade_id, is_exercise, read_master

EQUIVALENT = "equivalent.toml"
ENOUGH = 0.97  # of an exercise's mutants that aren't equivalent
CPU_SECONDS = 5  # of a cell: the slowest test takes two, and what loops without an end is told from it soon
FIELDS = {"exercise", "was", "becomes", "why"}


@dataclass
class Exercise:
    """How one exercise's tests did.

    Attributes:
        survivors: mutants that keep all points and are nowhere said to be right.
        findings: what is said of mutants that there aren't, or that are killed.
    """

    mutants: int = 0
    killed: int = 0
    equivalent: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def score(self) -> float:
        """Killed, of those that are wrong."""
        wrong = self.mutants - self.equivalent
        return self.killed / wrong if wrong else 1.0

    @property
    def fine(self) -> bool:
        """Enough are killed, and what is said of the others is so."""
        return self.score >= ENOUGH and not self.findings


def mutate(root: Path, names: list[str] | None = None, sample: int | None = None) -> dict[str, dict[str, Exercise]]:
    """Unit -> exercise -> how its tests did.

    Args:
        names: units, default all.
        sample: so many mutants of each exercise, the same at every call; default all.
    """
    return {unit.name: _mutate_unit(unit, sample) for unit in find_units(root, names)}


def table(units: dict[str, dict[str, Exercise]]) -> str:
    """For a terminal: counts and scores, and the survivors."""
    lines = []
    for name, exercises in units.items():
        lines.append(f"{name}\n  {'exercise':<24}{'mutants':>8}{'killed':>8}{'equivalent':>12}{'score':>8}")
        for exercise, found in exercises.items():
            counts = f"{found.mutants:>8}{found.killed:>8}{found.equivalent:>12}{100 * found.score:>7.1f}%"
            lines.append(f"  {exercise:<24}{counts}")
        for exercise, found in exercises.items():
            lines += [f"  ! {exercise}: {one.was}\n      {one.becomes}" for one in found.survivors]
            lines += [f"  ! {exercise}: {finding}" for finding in found.findings]
    return "\n".join(lines)


def _mutate_unit(unit: Unit, sample: int | None) -> dict[str, Exercise]:
    master, known = read_master(unit), _equivalent(unit)
    made: dict[str, list[Mutant]] = {}
    for cell in filter(is_exercise, master.cells):
        found = mutants(cell.source)
        chosen = found if sample is None else random.Random(0).sample(found, min(sample, len(found)))
        made[grade_id(cell)] = chosen
    notebooks = {
        f"{exercise} {number}": _with_answer(master, exercise, mutant.source)
        for exercise, found in made.items()
        for number, mutant in enumerate(found)
    }
    verdicts = run_all({MASTER: master} | notebooks, master, "inprocess", {}, CPU_SECONDS)
    if lost := [test for test, verdict in verdicts[MASTER].items() if not verdict.passed]:
        raise CourseError(f"{unit.name}: the master itself loses {', '.join(lost)}. Mend that first.")
    report = {}
    for exercise, found in made.items():
        survived = [
            mutant
            for number, mutant in enumerate(found)
            if all(verdict.passed for verdict in verdicts[f"{exercise} {number}"].values())
        ]
        right = Counter((was, becomes) for name, was, becomes in known if name == exercise)
        report[exercise] = _judge(found, survived, right, sample is None)
    return report


def _judge(found: list[Mutant], survived: list[Mutant], right: Counter[tuple[str, str]], whole: bool) -> Exercise:
    # One entry is one mutant: the same change of the same line elsewhere in the answer needs an entry of its own.
    one, left = Exercise(len(found), len(found) - len(survived)), right.copy()
    for mutant in survived:
        if left[mutant.was, mutant.becomes]:
            left[mutant.was, mutant.becomes] -= 1
            one.equivalent += 1
        else:
            one.survivors.append(mutant)
    if whole:
        one.findings = [f"{EQUIVALENT}: no such mutant survives: {was} → {becomes}" for was, becomes in left.elements()]
    return one


def _with_answer(master: NotebookNode, exercise: str, source: str) -> NotebookNode:
    # From the next exercise on, cells are empty: what another exercise's tests say of a mutant is not asked.
    cells = copy.deepcopy(master.cells)
    places = [place for place, cell in enumerate(cells) if is_exercise(cell)]
    (own,) = (place for place in places if grade_id(cells[place]) == exercise)
    cells[own].source = source
    for cell in cells[next((place for place in places if place > own), len(cells)) :]:
        cell.source, cell.metadata = "", NotebookNode()
    return nbformat.v4.new_notebook(cells=cells)


def _equivalent(unit: Unit) -> list[tuple[str, str, str]]:
    path = unit.submissions / EQUIVALENT
    if not path.is_file():
        return []
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
        if any(set(entry) != FIELDS for entry in entries):
            raise ValueError(f"each [[mutant]] has {', '.join(sorted(FIELDS))}")
    except (KeyError, TypeError, ValueError) as error:  # of TOML's reader, too
        raise CourseError(f"{path}: {error}") from None
    return [(entry["exercise"], entry["was"], entry["becomes"]) for entry in entries]
