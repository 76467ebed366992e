"""A class's results, gathered: nbgrader's gradebook, the autograded notebooks, and what was handed in and isn't graded.

Points are the gradebook's, so what a person changed in the formgrader counts. Why an exercise was lost, and how long
its test took, stand in the autograded notebooks.
"""

import json
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import inspect, text
from sqlalchemy.orm import selectinload

from autograder.course import Unit, find_units, nbgrader_configuration
from autograder.notebooks import TEST_SUFFIX, by_hand_points, exercise_points, read_master
from autograder.results.people import names_of
from autograder.results.reasons import NOT_ATTEMPTED, reason
from autograder.results.ungraded import ungraded
from autograder.results.waiting import waits
from autograder.submissions.verdict import Reason

BINS = 10  # of the score distribution
AT_RISK = 0.5  # of the points that could be had so far


@dataclass
class Exercise:
    """How a class did in one exercise.

    Attributes:
        scores: points of each learner whose submission is graded, and whose points are given.
        reasons: failing expectation -> how many learners lost the exercise by it.
        untouched: learners who didn't attempt it.
        waiting: learners whose points a person has yet to give.
        by_hand: whether a person gives the points.
        seconds: how long its test took, for each learner whose notebook says so.
    """

    name: str
    points: float
    scores: list[float] = field(default_factory=list)
    reasons: Counter[Reason] = field(default_factory=Counter)
    untouched: int = 0
    waiting: int = 0
    by_hand: bool = False
    seconds: list[float] = field(default_factory=list)

    @property
    def right(self) -> int:
        """Learners with all points."""
        return sum(score >= self.points for score in self.scores)

    @property
    def rate(self) -> float:
        """Share of the learners who are graded that have all points, 0 to 1."""
        return self.right / len(self.scores) if self.scores else 0.0

    @property
    def mean(self) -> float:
        """Mean points."""
        return statistics.mean(self.scores) if self.scores else 0.0

    @property
    def median_seconds(self) -> float | None:
        """Median time of the test; None where no notebook says."""
        return statistics.median(self.seconds) if self.seconds else None


@dataclass
class Submission:
    """What one learner handed in for a unit.

    Attributes:
        points: after a late penalty; None if it isn't graded.
        seconds_late: after the learner's own due date.
        penalty: points that this cost.
        waits_for_a_person: an answer is to be graded by hand, or to be looked at again.
        waiting: points that a person has yet to give, or not.
        not_graded: why the file that lies there now has no grade; "" if it has.
        has_notebook: whether its autograded notebook can be read, from which reasons come.
        feedback: its page, None if there is none.
    """

    points: float | None = None
    seconds_late: float = 0.0
    penalty: float = 0.0
    waits_for_a_person: bool = False
    waiting: float = 0.0
    not_graded: str = ""
    has_notebook: bool = True
    feedback: Path | None = None


@dataclass
class UnitResults:
    """How a class did in one unit; `submissions` is by learner."""

    name: str
    exercises: list[Exercise] = field(default_factory=list)
    submissions: dict[str, Submission] = field(default_factory=dict)

    @property
    def points(self) -> float:
        """What can be had."""
        return sum(exercise.points for exercise in self.exercises)

    @property
    def scores(self) -> dict[str, float]:
        """Learner -> points, of those who are graded."""
        return {who: one.points for who, one in self.submissions.items() if one.points is not None}

    @property
    def without_notebook(self) -> int:
        """How many are graded and left no notebook to take reasons from."""
        return sum(not one.has_notebook for one in self.submissions.values())

    @property
    def bins(self) -> list[int]:
        """Learners by tenths of the points that are given; the last tenth includes all points."""
        counts = [0] * BINS
        for learner, score in self.scores.items():
            given = self.points - self.submissions[learner].waiting
            share = score / given if given else 0.0
            counts[min(BINS - 1, max(0, int(share * BINS)))] += 1
        return counts


@dataclass(frozen=True)
class Learner:
    """One learner over all units of the report."""

    id: str
    name: str
    submissions: dict[str, Submission]  # unit -> what was handed in
    share: float  # of all points that could be had and aren't waited for, 0 to 1
    missing: int  # units that others handed in and this learner did not

    @property
    def at_risk(self) -> bool:
        """The rule that the page states."""
        return self.missing > 0 or self.share < AT_RISK


def gather(root: Path, names: list[str] | None = None) -> tuple[list[UnitResults], list[Learner]]:
    """The named units (default all) that anybody handed in, and the class, those with the fewest points first.

    Raises:
        CourseError: an unknown unit.
    """
    from nbgrader.api import Gradebook  # a second of imports

    course = nbgrader_configuration(root).CourseDirectory
    wanted = find_units(root, names)
    with Gradebook(course.db_url) as gradebook:
        units = [_unit(gradebook, unit, root / course.autograded_directory) for unit in wanted]
        people = names_of(gradebook)
        files = {unit.name: _graded_files(gradebook, unit) for unit in wanted}
    for unit, results in zip(wanted, units, strict=True):
        for learner, why in ungraded(unit, root / course.submitted_directory, files[unit.name]).items():
            results.submissions.setdefault(learner, Submission()).not_graded = why
            people.setdefault(learner, "")
        for learner, submission in results.submissions.items():
            page = root / course.feedback_directory / learner / unit.name / f"{unit.notebook}.html"
            submission.feedback = page if page.is_file() else None
    units = [results for results in units if results.submissions]
    return units, learners(units, people)


def learners(units: list[UnitResults], people: dict[str, str]) -> list[Learner]:
    """Everybody (id -> name) over all units, those with the fewest points first."""
    possible = sum(unit.points for unit in units)
    found = []
    for id_, name in people.items():
        submissions = {unit.name: unit.submissions[id_] for unit in units if id_ in unit.submissions}
        points = sum(one.points or 0.0 for one in submissions.values())
        given = possible - sum(one.waiting for one in submissions.values())
        share = points / given if given else 0.0
        found.append(Learner(id_, name, submissions, share, len(units) - len(submissions)))
    return sorted(found, key=lambda learner: (learner.share, learner.id))


def _unit(gradebook: Any, unit: Unit, autograded: Path) -> UnitResults:
    from nbgrader.api import MissingEntry

    try:
        book = gradebook.find_notebook(unit.notebook, unit.name)
    except MissingEntry:  # no handout was ever made of it
        return UnitResults(unit.name)
    master = read_master(unit)
    order, by_hand = list(exercise_points(master)), by_hand_points(master)
    cells = [*book.grade_cells, *book.task_cells]
    points = {cell.name.removesuffix(TEST_SUFFIX): cell.max_score for cell in cells}
    names = sorted(points, key=lambda name: (name not in order, order.index(name) if name in order else name))
    exercises = {name: Exercise(name, points[name], by_hand=name in by_hand) for name in names}
    results = UnitResults(unit.name, list(exercises.values()))
    for submitted in _submitted(gradebook, unit):
        learner = submitted.assignment.student_id
        seen = _read(autograded / learner / unit.name / f"{unit.notebook}.ipynb")
        results.submissions[learner] = _submission(submitted, seen is not None)
        for grade in submitted.grades:
            _count(exercises[grade.cell.name.removesuffix(TEST_SUFFIX)], grade, seen or {})
    return results


def _submitted(gradebook: Any, unit: Unit) -> Iterable[Any]:
    """The unit's notebooks with their grades and dates, in four queries for the whole class."""
    from nbgrader.api import Assignment, Grade, Notebook, SubmittedAssignment, SubmittedNotebook

    return (
        gradebook.db.query(SubmittedNotebook)
        .join(Notebook, Notebook.id == SubmittedNotebook.notebook_id)
        .join(Assignment, Assignment.id == Notebook.assignment_id)
        .filter(Notebook.name == unit.notebook, Assignment.name == unit.name)
        .options(
            selectinload(SubmittedNotebook.grades).selectinload(Grade.cell),
            selectinload(SubmittedNotebook.assignment).selectinload(SubmittedAssignment.assignment),
        )
        .all()
    )


def _submission(submitted: Any, has_notebook: bool) -> Submission:
    penalty = submitted.late_submission_penalty or 0.0
    return Submission(
        points=max(0.0, sum(grade.score for grade in submitted.grades) - penalty),
        seconds_late=float(submitted.assignment.total_seconds_late),
        penalty=penalty,
        waits_for_a_person=any(grade.needs_manual_grade for grade in submitted.grades),
        waiting=sum(grade.cell.max_score for grade in submitted.grades if waits(grade)),
        has_notebook=has_notebook,
    )


def _graded_files(gradebook: Any, unit: Unit) -> dict[str, str | None]:
    """Learner -> SHA-256 of the graded file, by the table that `autograder grade` keeps beside nbgrader's."""
    from nbgrader.api import Assignment, SubmittedAssignment

    known = {}
    if inspect(gradebook.db.connection()).has_table("autograder_merged"):
        known = dict(gradebook.db.execute(text("SELECT submission_id, submitted_sha256 FROM autograder_merged")).all())
    rows = gradebook.db.query(SubmittedAssignment).join(Assignment).filter(Assignment.name == unit.name)
    return {row.student_id: known.get(row.id) for row in rows}


def _count(exercise: Exercise, grade: Any, notebook: dict[str, Any]) -> None:
    if waits(grade):
        exercise.waiting += 1
        return
    exercise.scores.append(grade.score)
    test = grade.cell.name
    seconds = notebook.get("metadata", {}).get("autograder", {}).get("seconds", {}).get(test)
    if isinstance(seconds, int | float):
        exercise.seconds.append(seconds)
    if grade.score >= exercise.points:
        return
    if exercise.by_hand:
        exercise.untouched += grade.manual_score is None  # the handout's own text, for which nbgrader gives 0
        return
    why = reason(notebook, test)
    if why == NOT_ATTEMPTED:
        exercise.untouched += 1
    elif why:
        exercise.reasons[why] += 1


def _read(path: Path) -> dict[str, Any] | None:
    # As plain JSON: nbformat's validation would take a minute for a class, and nbgrader has done it.
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return notebook if isinstance(notebook, dict) else None
