"""Exporters for `nbgrader export`: grades as CSV that spreadsheets, Canvas and Moodle read as they were meant.

    nbgrader export                                                          grading/grades.csv, nbgrader's own columns
    nbgrader export --exporter autograder.results.export.Canvas              grading/canvas.csv
    nbgrader export --exporter autograder.results.export.Moodle              grading/moodle.csv

nbgrader's own exporter writes names as they come, so that a comma moves the points into another column. A spreadsheet
takes a text that begins with = + - @ for a formula and runs it: in the table for people such a text gets an apostrophe
before it. An LMS would take the apostrophe for a part of the id, so its files have ids as they are, and no such names.
The table for people begins with a byte order mark, without which Excel shows Chinese names as noise.
Sources: Canvas's lib/gradebook_importer.rb, Moodle's grade/import/csv/classes/load_data.php.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student
from nbgrader.plugins import ExportPlugin
from traitlets import Dict

from autograder.collecting.roster import Learner, read_roster
from autograder.submissions.ids import is_id

FORMULA = tuple("=+-@＝＋－＠")
_SEPARATOR = re.compile(r"([;,\t\r\n\0|])")  # where some country's spreadsheet begins a new cell
COLUMNS = ["assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"]
COLUMNS += ["raw_score", "late_submission_penalty", "score", "max_score"]
Row = list[Any]


class Grades(ExportPlugin):
    """nbgrader's own table, for people: a line for each learner and unit; nothing handed in is 0 points."""

    default_file = "grading/grades.csv"
    encoding = "utf-8-sig"

    def export(self, gradebook: Gradebook) -> None:
        """Write the table to `--to`, of the units in `--assignment` and the learners in `--student`, default all."""
        path = Path(self.to or self._default(gradebook))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding=self.encoding, newline="") as file:
            csv.writer(file).writerows([safe(value) for value in row] for row in self.rows(gradebook))
        self.log.info("Grades written to %s", path)
        if waiting := sum(submission.needs_manual_grade for submission in self._submissions(gradebook)):
            self.log.warning("%s submissions wait to be graded by hand: their points may still change", waiting)

    def _default(self, gradebook: Gradebook) -> Path:
        root = self.config.CourseDirectory.get("root")  # git ignores grading/, and these are personal data
        return Path(root or ".") / self.default_file

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


class _ForLms(Grades):
    """What an LMS's import reads: ids as they are, and no byte order mark, which it takes for part of a header."""

    encoding = "utf-8"

    def _who(self, gradebook: Gradebook) -> list[Learner]:
        known = read_roster(gradebook).learners
        return [known[learner.id] for learner in self._learners(gradebook)]

    def _scores(self, gradebook: Gradebook, learner: Learner) -> list[float | None]:
        student = gradebook.find_student(learner.id)
        return [score(gradebook, unit, student) for unit in self._units(gradebook)]


class Canvas(_ForLms):
    """A line for each learner, a column for each unit, as Canvas's gradebook imports it.

    Canvas finds a learner by "ID", the list's canvas_id, then by "SIS User ID" and "SIS Login ID", nbgrader's id. It
    makes an assignment of a column that it doesn't know; for one that exists give the number from its address:
    `c.Canvas.numbers = {"03-kv-cache": 4711}` in nbgrader_config.py. An empty cell changes nothing.
    """

    default_file = "grading/canvas.csv"
    numbers = Dict(help="unit -> the number of its assignment in Canvas").tag(config=True)

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        """Two lines of header (names, points possible), then the learners."""
        units = self._units(gradebook)
        numbers = {str(name): number for name, number in self.numbers.items()}
        columns = [f"{unit.name} ({numbers[unit.name]})" if unit.name in numbers else unit.name for unit in units]
        yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *columns]
        yield ["    Points Possible", "", "", "", "", *(unit.max_score for unit in units)]
        for learner in self._who(gradebook):
            name = ", ".join(filter(None, (learner.last_name, learner.first_name)))
            number = learner.numbers.get("canvas_id") or learner.numbers.get("lms_user_id")
            ids = [number, learner.numbers.get("sis_user_id"), learner.id]
            # By the name Canvas goes only if it knows none of the others.
            yield [plainly(name) or AsItIs(learner.id), *map(AsItIs, ids), "", *self._scores(gradebook, learner)]


class Moodle(_ForLms):
    """A line for each learner, a column for each unit, for Moodle's Grades → Import → CSV file.

    Moodle asks which column says who (map "Username", "ID number" or "Email address") and which is which grade. An
    empty cell would take a grade away, so who handed nothing in has no line. With several units at once, a
    warning says whose cells are empty.
    """

    default_file = "grading/moodle.csv"

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        """A line of header, then the learners."""
        units = self._units(gradebook)
        yield ["Username", "ID number", "First name", "Last name", "Email address", *(unit.name for unit in units)]
        partly = []
        for learner in self._who(gradebook):
            scores = self._scores(gradebook, learner)
            if all(one is None for one in scores):
                continue
            if None in scores:
                partly.append(learner.id)
            number = learner.numbers.get("id_number") or learner.numbers.get("lms_user_id")
            names = [plainly(learner.first_name), plainly(learner.last_name)]
            yield [AsItIs(learner.id), AsItIs(number), *names, AsItIs(learner.email), *scores]
        if partly:
            self.log.warning(
                "%s learners handed in some of these units only (%s, for one), and Moodle empties a grade for an empty "
                "cell: import one unit at a time, with --assignment '[\"%s\"]'",
                len(partly),
                partly[0],
                units[0].name,
            )


class AsItIs(str):
    """What an LMS compares letter by letter."""

    def __new__(cls, text: str | None) -> "AsItIs":
        """Nothing for None."""
        return super().__new__(cls, text or "")


def safe(value: Any) -> Any:
    """A cell's value: nothing for None, and no text that a spreadsheet would take for a formula.

    An id is written as it is: letters, digits and . _ - @ + are no formula that does anything.
    """
    if value is None:
        return ""
    if not isinstance(value, str) or (isinstance(value, AsItIs) and is_id(value)):
        return value
    return "".join(f"'{part}" if _is_formula(part) else part for part in _SEPARATOR.split(value))


def plainly(name: str) -> str:
    """A name; nothing for one that a spreadsheet would take for a formula."""
    return name if safe(name) == name else ""


def _is_formula(text: str) -> bool:
    visible = [sign for sign in text if unicodedata.category(sign) not in ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn")]
    return bool(visible) and visible[0] in FORMULA


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
