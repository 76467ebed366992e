"""Courses and classes that are made up: for the demo, the benches and the tests.

A course of its own holds one unit and has a gradebook of its own; the real one isn't touched. Submissions are built
from the answers whose grades are known, the master's and those of tests/submissions.
"""

import itertools
import random
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.authoring.build import build
from autograder.authoring.samples import Sample, read_samples
from autograder.course import Unit, find_units
from autograder.notebooks import grade_id, is_solution, read_master

UNIT = "03-kv-cache"
FIRST_NAMES = ("Ada", "Alan", "Chen", "Edsger", "Fatima", "Grace", "Haruto", "Jürgen", "Mei", "Olu", "Priya", "Zoë")
LAST_NAMES = ("García", "Haddad", "Hopper", "Knuth", "Lamport", "Li", "Müller", "O'Neil", "Okafor", "Sato", "Wang")
ABSENT = 0.03  # of a class hands in nothing
TIRING = 0.05  # a later exercise is so much less likely to be right than the one before


@dataclass(frozen=True)
class Learner:
    """A made-up learner.

    Attributes:
        answers: exercise's grade_id -> source; exercises without one stay as the handout has them. None if nothing is
            handed in.
    """

    id: str
    first_name: str
    last_name: str
    answers: dict[str, str] | None


def course_of_one_unit(root: Path, folder: Path) -> Unit:
    """A course in `folder` that holds `UNIT` alone, built, with the same masters and settings."""
    shutil.copytree(root / "solutions" / UNIT, folder / "solutions" / UNIT)
    (folder / "course" / "fridge").mkdir(parents=True)
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(root / name, folder)
    build(folder, [UNIT])
    return find_units(folder, [UNIT])[0]


def answers_of(unit: Unit, samples: list[Sample]) -> dict[str, str]:
    """Exercise's grade_id -> source: the master's answers, and the samples' in place of some."""
    master = {grade_id(cell): cell.source for cell in read_master(unit).cells if is_solution(cell)}
    for sample in samples:
        master |= sample.answers
    return master


def submit(unit: Unit, learner: str, answers: dict[str, str]) -> None:
    """Hand in the handout with these answers filled in: a notebook under grading/submitted/."""
    notebook: NotebookNode = nbformat.read(unit.release, as_version=4)
    for cell in notebook.cells:
        if grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)]
    folder = unit.root / "grading" / "submitted" / learner / unit.name
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / unit.release.name)


def all_kinds(unit: Unit) -> Iterator[Sample]:
    """Samples of all kinds in turn, without an end: right ones written differently, and one in three wrong."""
    right, wrong = itertools.cycle(read_samples(unit, "right")), itertools.cycle(read_samples(unit, "wrong")[::7])
    for number in itertools.count():
        yield next(wrong) if number % 3 == 2 else next(right)


def generated_class(root: Path, folder: Path, size: int) -> Unit:
    """A course of its own with generated submissions of all kinds, each one different: one in three is wrong."""
    unit = course_of_one_unit(root, folder)
    for number, sample in enumerate(itertools.islice(all_kinds(find_units(root, [UNIT])[0]), size)):
        answers = {name: f"{source}\n# student-{number:03}" for name, source in answers_of(unit, [sample]).items()}
        submit(unit, f"student-{number:03}", answers)
    return unit


def command(workers: int) -> list[str]:
    """What grades the class."""
    return [sys.executable, "-m", "autograder.cli", "grade", UNIT, "--workers", str(workers)]


def learners(unit: Unit, size: int) -> list[Learner]:
    """A class of learners of different skill, the same at every call; a few hand in nothing."""
    chance = random.Random(size)
    right = [answers_of(unit, [sample]) for sample in read_samples(unit, "right")]
    styles = right + [answers_of(unit, [])] * len(right)  # every other learner writes like the master
    wrong = _wrong_sources(unit)
    found = []
    for number in range(size):
        names = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
        answers = None if chance.random() < ABSENT else _answers(chance, chance.choice(styles), wrong)
        found.append(Learner(f"learner-{number:03}", *names, answers))
    return found


def _answers(chance: random.Random, right: dict[str, str], wrong: dict[str, list[str]]) -> dict[str, str]:
    skill, answers = chance.betavariate(4, 1.3), {}
    for later, exercise in enumerate(right):
        if chance.random() < skill - TIRING * later:
            answers[exercise] = right[exercise]
        elif chance.random() < skill:
            common = int(chance.expovariate(0.5))  # some mistakes are many learners'
            answers[exercise] = wrong[exercise][min(common, len(wrong[exercise]) - 1)]
    return answers


def _wrong_sources(unit: Unit) -> dict[str, list[str]]:
    wrong = defaultdict(list)
    for sample in read_samples(unit, "wrong"):
        if len(sample.answers) == 1:
            ((exercise, source),) = sample.answers.items()
            wrong[exercise].append(source)
    return wrong
