"""Dates: a unit's due date, a learner's own one, and what is taken off for being late.

The due date is nbgrader's (`nbgrader db assignment add UNIT --duedate …`). A learner's own one stands in
grading/extensions.csv, in lines `id,unit,due`; `OwnDates`, a step of grading, keeps it in the gradebook as nbgrader's
extension, so that `autograder grade`, `nbgrader autograde` and the formgrader count the same seconds. `PerDay` takes
points off.
"""

import csv
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from nbformat import NotebookNode
from nbgrader.api import Assignment, Gradebook, SubmittedAssignment
from nbgrader.plugins import BasePlugin
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float

from autograder.course import CourseError
from autograder.printing import shown
from autograder.submissions.ids import BadId, checked_id

EXTENSIONS = Path("grading/extensions.csv")
DAY = 24 * 60 * 60


def own_dates(root: Path, unit: str) -> dict[str, datetime]:
    """Learner -> their own due date of a unit, in UTC without a zone as nbgrader keeps dates; empty without the file.

    Raises:
        CourseError: a line of grading/extensions.csv isn't `id,unit,due` with a date and its zone.
    """
    path = root / EXTENSIONS
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} can't be read ({error}): save it as “CSV UTF-8”.") from None
    dates = {}
    for number, row in _rows(lines, path):
        try:
            learner, due = checked_id(row["id"]), _instant(row["due"])
        except (BadId, KeyError, ValueError, OverflowError) as error:
            raise CourseError(
                f"{path}, line {number}: {shown(error)}. A line is like ada,03-kv-cache,2027-03-08 23:59 Europe/Berlin"
            ) from None
        if row["unit"] == unit:
            dates[learner] = due
    return dates


def _rows(lines: list[str], path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(lines, delimiter=";" if lines and ";" in lines[0] else ",")
    if reader.fieldnames is None or [name.strip().lower() for name in reader.fieldnames[:3]] != ["id", "unit", "due"]:
        raise CourseError(f"{path}: the first line must be id,unit,due")
    reader.fieldnames = ["id", "unit", "due", *reader.fieldnames[3:]]
    for row in reader:
        values = {name: (row[name] or "").strip() for name in ("id", "unit", "due")}
        if any(values.values()):
            yield reader.line_num, values


def _instant(text: str) -> datetime:
    date, _, rest = text.partition(" ")
    time, _, zone = rest.partition(" ")
    if zone.startswith(("+", "-")) or not zone:
        when = datetime.fromisoformat(f"{date} {time}{zone}".strip())
    else:
        when = datetime.fromisoformat(f"{date} {time}").replace(tzinfo=ZoneInfo(zone))
    if when.tzinfo is None:
        raise ValueError(f"{text} says no zone: write Europe/Berlin, UTC or +0200 behind it")
    return when.astimezone(UTC).replace(tzinfo=None)


def set_own_dates(gradebook: Gradebook, root: Path, unit: str) -> None:
    """Give each submission of a unit the extension that grading/extensions.csv has for its learner.

    Raises:
        CourseError: the file can't be meant, or gives a date to a unit that has none.
    """
    if not (root / EXTENSIONS).is_file():  # extensions given in nbgrader's own way stay
        return
    dates = own_dates(root, unit)
    assignment = gradebook.db.query(Assignment).filter(Assignment.name == unit).one_or_none()
    for submission in assignment.submissions if assignment else []:
        _extend(submission, dates)
    if dates and assignment and assignment.duedate is None:
        raise CourseError(
            f"{EXTENSIONS} gives dates for {unit}, which has no due date itself: "
            f'nbgrader db assignment add {unit} --duedate "2027-03-01 23:59 Europe/Berlin"'
        )


def due_dates(gradebook: Gradebook, root: Path, unit: str) -> tuple[datetime | None, dict[str, datetime]]:
    """The unit's due date, if it has one, and those of learners who have their own; in UTC, without a zone."""
    assignment = gradebook.db.query(Assignment).filter(Assignment.name == unit).one_or_none()
    return (assignment.duedate if assignment else None), own_dates(root, unit)


def _extend(submission: SubmittedAssignment, dates: dict[str, datetime]) -> None:
    due, own = submission.assignment.duedate, dates.get(submission.student_id)
    extension = own - due if own and due else None
    if submission.extension != extension:
        submission.extension = extension


class OwnDates(NbGraderPreprocessor):
    """A step of grading, before nbgrader's AssignLatePenalties: a learner's own due date goes into the gradebook."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Leave the notebook alone.

        Raises:
            CourseError: as `own_dates`.
        """
        about, root = resources["nbgrader"], Path(self.config.CourseDirectory.root)
        if not (root / EXTENSIONS).is_file():
            return nb, resources
        dates = own_dates(root, about["assignment"])
        with Gradebook(about["db_url"]) as gradebook:
            _extend(gradebook.find_submission(about["assignment"], about["student"]), dates)
            gradebook.db.commit()
        return nb, resources


class PerDay(BasePlugin):
    """Take a part of the points off for each day begun after the due date: nbgrader's plugin for late penalties."""

    percent = Float(10.0, help="of the points that the submission earned, for each day begun").tag(config=True)
    grace_minutes = Float(0.0, help="after the due date that cost nothing").tag(config=True)
    at_most = Float(100.0, help="percent in all").tag(config=True)

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float | None:
        """The points to take off; None for nothing."""
        late = total_seconds_late - 60 * self.grace_minutes
        if late <= 0:
            return None
        return score * min(self.at_most, self.percent * math.ceil(late / DAY)) / 100
