"""The one writer of the gradebook: a verdict record goes in with nbgrader's own steps, in one transaction a submission.

All of `nbgrader autograde` runs here but what the worker has done and a record's check has seen: the steps of
nbgrader_config.py read the gradebook, mend the cells, save points, comments and late penalties. Beside nbgrader's
tables stands one of our own that says which submitted file the grades come from; it changes in the same transaction,
so that after a crash it tells the truth.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters.exporter import Exporter
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Assignment, BaseCell, Grade, Gradebook, SubmittedAssignment, SubmittedNotebook
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from sqlalchemy import Column, Connection, Float, MetaData, String, Table, Text, select
from sqlalchemy.orm import Session
from traitlets.config import Config

from autograder.batch.gradebook import Joined, in_place_of_gradebooks, open_engine, said_plainly
from autograder.batch.spool import write_lasting
from autograder.collecting.dates import set_own_dates
from autograder.course import CourseError, Unit
from autograder.notebooks import by_hand_points, grade_id, is_test
from autograder.submissions.folder import TIMESTAMP, handed_in_at, timestamp
from autograder.submissions.record import Record
from autograder.submissions.release import Release
from autograder.submissions.submission import Refused

DONE = (  # steps of nbgrader_config.py that the worker has done, or that a record's own check has
    "autograder.submissions.sanitize.RebuildFromHandout",
    "nbgrader.preprocessors.CheckCellMetadata",
)

MERGED = Table(
    "autograder_merged",
    MetaData(),
    Column("submission_id", String(32), primary_key=True),  # nbgrader's
    Column("submitted_sha256", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("seconds_late", Float, nullable=False),
    Column("faults", Text, nullable=False),
)


class MergeError(Exception):
    """A record and the gradebook don't fit together. The message says how."""


@dataclass(frozen=True)
class Merged:
    """What the gradebook has of a student: from which file and key, and which tests were broken."""

    sha256: str
    key: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class HandedIn:
    """One student's folder."""

    student: str
    folder: Path
    sha256: str


class Writer:
    """Writes to the gradebook and to grading/autograded. Close when done."""

    def __init__(self, unit: Unit, config: Config, db_url: str = ""):
        """Open the gradebook; nbgrader's configuration names it, or `db_url`.

        Raises:
            CourseError: it can't be opened, or doesn't know the unit.
        """
        config = Config(config)
        if db_url:
            config.CourseDirectory.db_url = db_url.replace("postgresql://", "postgresql+psycopg://", 1)
        config.Exporter.default_preprocessors = []
        self._unit, self._other_db = unit, db_url
        self.course = CourseDirectory(config=config)
        logging.getLogger("traitlets").setLevel(logging.ERROR)  # each step's remarks about each cell
        with said_plainly():
            Gradebook(self.course.db_url, self.course.course_id).close()  # makes the tables
            self._engine = open_engine(self.course.db_url)
            MERGED.create(self._engine, checkfirst=True)
        steps = Autograde(coursedir=self.course, config=config)
        sanitize = [step for step in steps.sanitize_preprocessors if step not in DONE]
        autograde = [_Executed, *steps.autograde_preprocessors[1:]]  # the first runs the cells
        maker = Exporter(config=config)
        for step in (*sanitize, *autograde):
            maker.register_preprocessor(step)
        self._steps = maker._preprocessors
        self._source_files = _files_beside(unit.master.parent, self.course.ignore)

    def close(self) -> None:
        """Hang up."""
        self._engine.dispose()

    def check_release(self, release: Release) -> None:
        """See whether the gradebook has this release.

        Raises:
            CourseError: it has another one, or none.
        """
        with said_plainly(), self._engine.connect() as connection:
            assignment = _find_assignment(Joined(connection, self.course).db, self._unit.name)
            books = {book.name: book for book in assignment.notebooks} if assignment else {}
            if (book := books.get(self._unit.notebook)) is None:
                known = None
            else:
                sources = {cell.name: cell.source for cell in book.source_cells}
                answers = {cell.name for cell in book.solution_cells}  # of those that a person grades the points count
                known = {
                    cell.name: (cell.max_score, None if cell.name in answers else sources.get(cell.name))
                    for cell in book.grade_cells
                } | {cell.name: (cell.max_score, None) for cell in book.task_cells}
        if known != _graded(release):
            name, has = self._unit.name, "another release" if known else "no release"
            command = f"autograder build {name}"
            if self._other_db:
                command = f"nbgrader generate_assignment {name} --force --db {self._other_db}"
            raise CourseError(f"The gradebook has {has} of {name}. `{command}` tells it of today's.")

    def merged(self) -> dict[str, Merged]:
        """Student -> what the gradebook has, where that is up to date with deadlines and files on disk."""
        found = {}
        with said_plainly(), self._engine.connect() as connection:
            session = Joined(connection, self.course).db
            assignment = _find_assignment(session, self._unit.name)
            marks = {row.submission_id: row for row in connection.execute(select(MERGED))}
            for submission in assignment.submissions if assignment else []:
                mark = marks.get(submission.id)
                if mark and mark.seconds_late == _seconds_late(submission) and self._is_written(submission):
                    faults = tuple(json.loads(mark.faults))
                    found[submission.student_id] = Merged(mark.submitted_sha256, mark.key, faults)
        return found

    def set_own_dates(self) -> None:
        """Give the submissions that the gradebook has their learners' own due dates (`collecting.dates`).

        Raises:
            CourseError: grading/extensions.csv can't be meant.
        """
        with said_plainly(), self._engine.begin() as connection:
            gradebook = Joined(connection, self.course)
            set_own_dates(gradebook, self._unit.root, self._unit.name)
            gradebook.db.flush()
            gradebook.db.close()

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Student -> test cell -> what the autograder gave, by the gradebook."""
        with said_plainly(), self._engine.connect() as connection:
            assignment = _find_assignment(Joined(connection, self.course).db, self._unit.name)
            return {
                submission.student_id: {
                    grade.name: grade.auto_score for book in submission.notebooks for grade in book.grades
                }
                for submission in (assignment.submissions if assignment else [])
            }

    def waiting(self) -> int:
        """Submissions with something that a person has to grade, or to look at again."""
        with said_plainly(), self._engine.connect() as connection:
            assignment = _find_assignment(Joined(connection, self.course).db, self._unit.name)
            return sum(
                bool(submission.needs_manual_grade) for submission in (assignment.submissions if assignment else [])
            )

    def merge(self, handed_in: HandedIn, record: Record) -> None:
        """Write one student's grades and autograded notebook: all of it, or nothing.

        Raises:
            CourseError: the gradebook can't be written now.
            MergeError: nbgrader's steps gave other points than the record has.
            Refused: what lies beside the notebook has changed since it was looked at.
            OSError: grading/autograded can't be written.
        """
        with said_plainly(), self._engine.begin() as connection:
            gradebook = Joined(connection, self.course)
            gradebook.update_or_create_student(handed_in.student)
            instant = handed_in_at(handed_in.folder)
            known = {"timestamp": instant} if instant else {}
            submission = gradebook.update_or_create_submission(self._unit.name, handed_in.student, **known)
            text = self._through_nbgrader(gradebook, handed_in.student, record)
            gradebook.db.flush()
            self._compare(connection, submission, record)
            mark = {
                "submission_id": submission.id,
                "submitted_sha256": handed_in.sha256,
                "key": record.key,
                "seconds_late": _seconds_late(submission),
                "faults": json.dumps(record.faults),
            }
            gradebook.db.close()
            connection.execute(MERGED.delete().where(MERGED.c.submission_id == mark["submission_id"]))
            connection.execute(MERGED.insert().values(mark))
            self._publish(handed_in, text)  # before the commit: a file that is new is merged again, a grade isn't

    def _through_nbgrader(self, gradebook: "Joined", student: str, record: Record) -> str:
        resources: dict[str, Any] = {
            "unique_key": self._unit.notebook,
            "output_files_dir": f"{self._unit.notebook}_files",
            "nbgrader": {
                "student": student,
                "assignment": self._unit.name,
                "notebook": self._unit.notebook,
                "db_url": self.course.db_url,
            },
        }
        notebook, resources["executed"] = record.read_notebook(), record.read_notebook()  # the steps change the first
        with in_place_of_gradebooks(gradebook, self._steps):
            for step in self._steps:  # as an exporter does, without its copies and checks between them
                notebook, resources = step(notebook, resources)
        return nbformat.writes(notebook) + "\n"

    def _compare(self, connection: Connection, submission: SubmittedAssignment, record: Record) -> None:
        tables = Grade.__table__.join(BaseCell.__table__).join(SubmittedNotebook.__table__)
        rows = select(BaseCell.name, Grade.auto_score).select_from(tables)
        scores = dict(connection.execute(rows.where(SubmittedNotebook.assignment_id == submission.id)).all())
        if others := sorted(name for name, points in record.scores.items() if scores.get(name) != points):
            name = others[0]
            raise MergeError(f"nbgrader's steps gave {name} {scores.get(name)} points and not {record.scores[name]}.")

    def _publish(self, handed_in: HandedIn, text: str) -> None:
        mode = 0o664 if self.course.groupshared else 0o444
        target = self._folder(handed_in.student)
        target.mkdir(parents=True, exist_ok=True)
        written = {target / f"{self._unit.notebook}.ipynb": text.encode()}
        if stamp := timestamp(handed_in.folder):
            written[target / TIMESTAMP] = stamp
        written |= {target / file: (self._unit.master.parent / file).read_bytes() for file in self._source_files}
        for path, data in written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_lasting(path, data, mode)
        for path in target.rglob("*"):
            if path not in written and not path.is_dir():  # of an earlier submission
                path.unlink()

    def _folder(self, student: str) -> Path:
        return Path(self.course.format_path(self.course.autograded_directory, student, self._unit.name))

    def _is_written(self, submission: SubmittedAssignment) -> bool:
        handed_in = Path(
            self.course.format_path(self.course.submitted_directory, submission.student_id, self._unit.name)
        )
        try:
            instant = handed_in_at(handed_in)
        except Refused:
            return False
        same = instant is None or instant == submission.timestamp
        return same and (self._folder(submission.student_id) / f"{self._unit.notebook}.ipynb").exists()


class _Executed(NbGraderPreprocessor):
    """Stands where nbgrader executes: puts the record's outputs into the cells."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """As SplitExecute leaves the notebook."""
        for cell, with_outputs in zip(nb.cells, resources["executed"].cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs = with_outputs.outputs
        return nb, resources


def _find_assignment(session: Session, name: str) -> Assignment | None:
    return session.query(Assignment).filter(Assignment.name == name).one_or_none()


def _seconds_late(submission: SubmittedAssignment) -> float:
    return float(submission.total_seconds_late)


def _graded(release: Release) -> dict[str, tuple[float, str | None]]:
    tests = nbformat.reads(release.tests, as_version=4).cells
    known = {grade_id(cell): (float(cell.metadata.nbgrader.points), cell.source) for cell in tests if is_test(cell)}
    by_hand = by_hand_points(nbformat.reads(release.handout, as_version=4))
    return known | {name: (float(points), None) for name, points in by_hand.items()}


def _files_beside(folder: Path, ignore: list[str]) -> tuple[Path, ...]:
    found = utils.find_all_files(str(folder), [*ignore, "*.ipynb"])
    return tuple(sorted(Path(path).relative_to(folder) for path in found if not Path(path).is_symlink()))
