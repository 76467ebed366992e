"""Exporters for `nbgrader export`: grades as CSV that spreadsheets, Canvas and Moodle read as they were meant.

    nbgrader export                                                          grades.csv, nbgrader's own columns
    nbgrader export --exporter autograder.results.export.Canvas --to canvas.csv
    nbgrader export --exporter autograder.results.export.Moodle --to moodle.csv

nbgrader's own exporter writes names as they come, so that a comma moves the points into another column. A spreadsheet
takes a text that begins with = + - @ for a formula and runs it; such a text gets an apostrophe before it.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student
from nbgrader.plugins import ExportPlugin

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n", "\0")
COLUMNS = ["assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"]
COLUMNS += ["raw_score", "late_submission_penalty", "score", "max_score"]
Row = list[Any]


class Grades(ExportPlugin):
    """nbgrader's own table: a line for each learner and unit; nothing handed in is 0 points."""

    default_file = "grades.csv"

    def export(self, gradebook: Gradebook) -> None:
        """Write the table to `--to`, of the units in `--assignment` and the learners in `--student`, default all."""
        path = Path(self.to or self.default_file)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([safe(value) for value in row] for row in self.rows(gradebook))
        self.log.info("Grades written to %s", path)
        if waiting := sum(submission.needs_manual_grade for submission in self._submissions(gradebook)):
            self.log.warning("%s submissions wait to be graded by hand: their points may still change", waiting)

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        """The header and a line for each learner and unit."""
        yield COLUMNS
        for unit in self._units(gradebook):
            for learner in self._learners(gradebook):
                submission = find(gradebook, unit, learner)
                raw, penalty = (
                    (submission.score, submission.late_submission_penalty or 0.0) if submission else (0.0, 0.0)
                )
                who = [learner.id, learner.last_name, learner.first_name, learner.email]
                when = [unit.duedate, submission.timestamp if submission else None]
                yield [unit.name, *when, *who, raw, penalty, max(0.0, raw - penalty), unit.max_score]

    def _units(self, gradebook: Gradebook) -> list[Assignment]:
        # nbgrader's own plugin compares with texts, and the command line may have made numbers of them.
        wanted = {str(name) for name in self.assignment}
        return [unit for unit in gradebook.assignments if not wanted or unit.name in wanted]

    def _learners(self, gradebook: Gradebook) -> list[Student]:
        wanted = {str(name) for name in self.student}
        return [learner for learner in gradebook.students if not wanted or learner.id in wanted]

    def _submissions(self, gradebook: Gradebook) -> Iterable[Any]:
        pairs = ((unit, learner) for unit in self._units(gradebook) for learner in self._learners(gradebook))
        return filter(None, (find(gradebook, *pair) for pair in pairs))


class Canvas(Grades):
    """A line for each learner, a column for each unit, as Canvas's gradebook imports it.

    Canvas finds a learner by "SIS Login ID", which is nbgrader's id, or by "ID", nbgrader's `lms_user_id`. It makes an
    assignment of a column that it doesn't know; a unit whose assignment exists already is named with its number
    there, "03-kv-cache (4711)", in the header of a file that Canvas exported. An empty cell changes nothing.
    """

    default_file = "canvas.csv"

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        """Two lines of header (names, points possible), then the learners."""
        units = self._units(gradebook)
        yield ["Student", "ID", "SIS Login ID", "Section", *(unit.name for unit in units)]
        yield ["    Points Possible", "", "", "", *(unit.max_score for unit in units)]
        for learner in self._learners(gradebook):
            name = ", ".join(filter(None, (learner.last_name, learner.first_name))) or learner.id
            scores = [score(gradebook, unit, learner) for unit in units]
            yield [name, learner.lms_user_id, learner.id, "", *scores]


class Moodle(Grades):
    """A line for each learner, a column for each unit, for Moodle's Grades → Import → CSV file.

    Moodle asks which column says who (map "Username", "Email address" or "ID number") and which is which grade. An
    empty cell leaves what is there.
    """

    default_file = "moodle.csv"

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        """A line of header, then the learners."""
        units = self._units(gradebook)
        yield ["Username", "ID number", "First name", "Last name", "Email address", *(unit.name for unit in units)]
        for learner in self._learners(gradebook):
            who = [learner.id, learner.lms_user_id, learner.first_name, learner.last_name, learner.email]
            yield [*who, *(score(gradebook, unit, learner) for unit in units)]


def safe(value: Any) -> Any:
    """A cell's value: nothing for None, and no text that a spreadsheet would take for a formula."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA) else value


def find(gradebook: Gradebook, unit: Assignment, learner: Student) -> Any:
    """The learner's submission of a unit, or None."""
    try:
        return gradebook.find_submission(unit.name, learner.id)
    except MissingEntry:
        return None


def score(gradebook: Gradebook, unit: Assignment, learner: Student) -> float | None:
    """Points after a late penalty; None if nothing was handed in."""
    submission = find(gradebook, unit, learner)
    return max(0.0, submission.score - (submission.late_submission_penalty or 0.0)) if submission else None
