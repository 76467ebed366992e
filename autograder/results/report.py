"""`autograder report`: a class's results as one static page, from nbgrader's gradebook and the autograded notebooks.

Points are the gradebook's, so what a person changed in the formgrader counts. Why an exercise was lost, and how long
its test took, stand in the autograded notebooks. Names and messages come from strangers: the page escapes them all,
and its own policy lets no script run but the one that sorts the tables.
"""

import base64
import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from autograder.course import CourseError, Unit, find_units, nbgrader_configuration
from autograder.notebooks import TEST_SUFFIX, exercise_points, read_master

BINS = 10  # of the score distribution
AT_RISK = 0.5  # of the points that could be had so far
LONGEST = 300  # characters of a reason that the page shows
MOST_REASONS = 5  # for an exercise
NOT_ATTEMPTED = "not attempted"


@dataclass
class Exercise:
    """How a class did in one exercise.

    Attributes:
        scores: points of each learner who handed the unit in.
        reasons: failing expectation -> how many learners lost the exercise by it.
        untouched: learners who didn't attempt it.
        seconds: how long its test took, for each learner whose notebook says so.
    """

    name: str
    points: float
    scores: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    untouched: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def right(self) -> int:
        """Learners with all points."""
        return sum(score >= self.points for score in self.scores)

    @property
    def rate(self) -> float:
        """Share of the learners who handed in that have all points, 0 to 1."""
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
class UnitResults:
    """How a class did in one unit.

    Attributes:
        scores: learner's id -> points, of those who handed in.
        to_grade_by_hand: submissions that wait for a person.
        without_notebook: submissions whose autograded notebook is gone or can't be read: no reasons from them.
    """

    name: str
    exercises: list[Exercise]
    scores: dict[str, float] = field(default_factory=dict)
    to_grade_by_hand: int = 0
    without_notebook: int = 0

    @property
    def points(self) -> float:
        """What can be had."""
        return sum(exercise.points for exercise in self.exercises)

    @property
    def bins(self) -> list[int]:
        """Learners by tenths of the points; the last tenth includes all points."""
        counts = [0] * BINS
        for score in self.scores.values():
            share = score / self.points if self.points else 0.0
            counts[min(BINS - 1, max(0, int(share * BINS)))] += 1
        return counts


@dataclass(frozen=True)
class Learner:
    """One learner over all units of the report."""

    id: str
    name: str
    scores: dict[str, float]  # unit -> points, of those handed in
    share: float  # of all points that could be had, 0 to 1
    missing: int  # units that others handed in and this learner did not

    @property
    def at_risk(self) -> bool:
        """The rule that the page states."""
        return self.missing > 0 or self.share < AT_RISK


def report(root: Path, names: list[str] | None = None, out: Path | None = None) -> Path:
    """Write the page for the named units (default all that anybody handed in); return where it is.

    Args:
        out: default grading/report.html.

    Raises:
        CourseError: there is no gradebook, or nothing in it.
    """
    from nbgrader.api import Gradebook  # a second of imports

    config = nbgrader_configuration(root)
    wanted = find_units(root, names)
    with Gradebook(config.CourseDirectory.db_url) as gradebook:
        units = [_unit(gradebook, unit, root / config.CourseDirectory.autograded_directory) for unit in wanted]
        people = {student.id: _name(student) for student in gradebook.students}
    units = [unit for unit in units if unit.scores]
    if not units:
        asked = ", ".join(names or []) or "any unit"
        raise CourseError(f"nobody has handed in {asked}: run `nbgrader autograde UNIT` first")
    path = out or root / "grading" / "report.html"
    _write(path, _page(units, _learners(units, people)))
    return path


def _unit(gradebook: Any, unit: Unit, autograded: Path) -> UnitResults:
    from nbgrader.api import MissingEntry

    try:
        cells = gradebook.find_notebook(unit.notebook, unit.name).grade_cells
        submissions = gradebook.notebook_submissions(unit.notebook, unit.name)
    except MissingEntry:  # no handout was ever made of it
        return UnitResults(unit.name, [])
    order = list(exercise_points(read_master(unit)))
    points = {cell.name.removesuffix(TEST_SUFFIX): cell.max_score for cell in cells}
    names = sorted(points, key=lambda name: (name not in order, order.index(name) if name in order else name))
    exercises = {name: Exercise(name, points[name]) for name in names}
    results = UnitResults(unit.name, list(exercises.values()))
    for submission in submissions:
        learner = submission.student.id
        results.scores[learner] = sum(grade.score for grade in submission.grades)
        results.to_grade_by_hand += any(grade.needs_manual_grade for grade in submission.grades)
        seen = _read(autograded / learner / unit.name / f"{unit.notebook}.ipynb")
        results.without_notebook += seen is None
        for grade in submission.grades:
            _count(exercises[grade.name.removesuffix(TEST_SUFFIX)], grade, seen or {})
    return results


def _count(exercise: Exercise, grade: Any, notebook: dict[str, Any]) -> None:
    exercise.scores.append(grade.score)
    seconds = notebook.get("metadata", {}).get("autograder", {}).get("seconds", {}).get(grade.name)
    if isinstance(seconds, int | float):
        exercise.seconds.append(seconds)
    if grade.score >= grade.max_score:
        return
    reason = _reason(notebook, grade.name)
    if reason == NOT_ATTEMPTED:
        exercise.untouched += 1
    elif reason:
        exercise.reasons[reason] += 1


def _read(path: Path) -> dict[str, Any] | None:
    # As plain JSON: nbformat's validation would take a minute for a class, and nbgrader has done it.
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return notebook if isinstance(notebook, dict) else None


def _reason(notebook: dict[str, Any], test: str) -> str:
    """What a lost test cell said, without the values of this one learner; "" if it said nothing."""
    for cell in notebook.get("cells", []):
        if cell.get("metadata", {}).get("nbgrader", {}).get("grade_id") == test:
            errors = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
            return _expectation("".join(f"{line}\n" for line in errors[0].get("traceback", []))) if errors else ""
    return ""


def _expectation(message: str) -> str:
    # "✗ rope: not right yet.", then the expectation, `expected:`, `got:` and perhaps `likely cause:`, a line each.
    first, *rest = message.splitlines() or [""]
    if first.startswith("○"):
        return NOT_ATTEMPTED
    if first.endswith("not right yet.") and rest:
        cause = [line.strip() for line in rest if line.strip().startswith("likely cause:")]
        return _short(" — ".join([rest[0].strip(), *cause[:1]]))
    words = first.removeprefix("✗ ").partition(": ")[2] or first
    kind, colon, _ = words.partition(": ")
    return _short(kind if colon and kind.startswith("your code raised") else words)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _name(student: Any) -> str:
    return " ".join(filter(None, (student.first_name, student.last_name)))


def _learners(units: list[UnitResults], people: dict[str, str]) -> list[Learner]:
    possible = sum(unit.points for unit in units)
    learners = []
    for id_, name in people.items():
        scores = {unit.name: unit.scores[id_] for unit in units if id_ in unit.scores}
        share = sum(scores.values()) / possible if possible else 0.0
        learners.append(Learner(id_, name, scores, share, len(units) - len(scores)))
    return sorted(learners, key=lambda learner: (learner.share, learner.id))


def _page(units: list[UnitResults], learners: Iterable[Learner]) -> str:
    def part(name: str) -> str:
        return resources.files("autograder").joinpath("templates", "report", name).read_text(encoding="utf-8")

    script = part("sort.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["number"] = lambda value: f"{value:.10g}"
    return environment.from_string(part("page.html")).render(
        units=units,
        learners=list(learners),
        at_risk=AT_RISK,
        bins=BINS,
        most_reasons=MOST_REASONS,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        style=part("style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(page, encoding="utf-8")
    new.chmod(0o600)  # a class's names and points are for its instructors
    new.replace(path)
