"""nbgrader's gradebook inside one transaction of ours, and what its databases complain about in a sentence."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from nbgrader.api import (
    BaseCell,
    Comment,
    Grade,
    Gradebook,
    GradeCell,
    InvalidEntry,
    SourceCell,
    SubmittedNotebook,
    TaskCell,
)
from nbgrader.coursedir import CourseDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from autograder.course import CourseError

BUSY_SECONDS = 30  # for another program to end its transaction


@contextlib.contextmanager
def said_plainly() -> Iterator[None]:
    """Turn what a database complains about into a sentence.

    Raises:
        CourseError: it did.
    """
    try:
        yield
    except (OperationalError, InvalidEntry) as error:
        cause = error if isinstance(error, OperationalError) else error.__context__  # nbgrader's name for it
        if not isinstance(cause, OperationalError):
            raise
        raise CourseError(_why(cause)) from error


class Joined(Gradebook):
    """nbgrader's gradebook inside a transaction of ours: its many commits do nothing.

    nbgrader's steps ask for one cell after the other, each time with a query. Here the first such question loads all
    cells, grades or comments of the notebook, and the others are answered from that.
    """

    def __init__(self, connection: Connection, course: CourseDirectory):
        self.engine = connection.engine
        self.db = _Open(bind=connection, join_transaction_mode="rollback_only", future=True)
        self.course_id = course.course_id
        self.authenticator = None
        self._loaded: dict[tuple, dict[str, Any]] = {}

    def find_source_cell(self, name: str, notebook: str, assignment: str) -> SourceCell:
        """As nbgrader's."""
        return self._cells(SourceCell, notebook, assignment).get(name) or super().find_source_cell(
            name, notebook, assignment
        )

    def find_graded_cell(self, name: str, notebook: str, assignment: str) -> GradeCell | TaskCell:
        """As nbgrader's."""
        return self._cells(GradeCell, notebook, assignment).get(name) or super().find_graded_cell(
            name, notebook, assignment
        )

    def find_grade(self, grade_cell: str, notebook: str, assignment: str, student: str) -> Grade:
        """As nbgrader's."""
        return self._marks(Grade, notebook, assignment, student).get(grade_cell) or super().find_grade(
            grade_cell, notebook, assignment, student
        )

    def find_comment(self, solution_cell: str, notebook: str, assignment: str, student: str) -> Comment:
        """As nbgrader's."""
        return self._marks(Comment, notebook, assignment, student).get(solution_cell) or super().find_comment(
            solution_cell, notebook, assignment, student
        )

    def find_submission_notebook(self, notebook: str, assignment: str, student: str) -> SubmittedNotebook:
        """As nbgrader's; its score is looked up again, for a late penalty hangs on it."""
        found = super().find_submission_notebook(notebook, assignment, student)
        self.db.flush()
        self.db.expire(found)
        return found

    def close(self) -> None:
        """Stay open: each of nbgrader's steps closes what it takes for its own."""

    def _cells(self, kind: type, notebook: str, assignment: str) -> dict[str, Any]:
        key = (kind, notebook, assignment)
        if key not in self._loaded:
            book = self.find_notebook(notebook, assignment)
            self._loaded[key] = {cell.name: cell for cell in self.db.query(kind).filter(kind.notebook_id == book.id)}
        return self._loaded[key]

    def _marks(self, kind: type, notebook: str, assignment: str, student: str) -> dict[str, Any]:
        # By the names of their cells; each of a notebook's exercises and tests has one of its own.
        key = (kind, notebook, assignment, student)
        if key not in self._loaded:
            book = super().find_submission_notebook(notebook, assignment, student)
            rows = self.db.query(BaseCell.name, kind).join(BaseCell, BaseCell.id == kind.cell_id)
            self._loaded[key] = dict(rows.filter(kind.notebook_id == book.id))
        return self._loaded[key]


class _Open(Session):
    def commit(self) -> None:
        """Do nothing: nbgrader commits after each cell, and a query sends what changed before it."""


@contextlib.contextmanager
def in_place_of_gradebooks(gradebook: Gradebook, steps: list[Any]) -> Iterator[None]:
    """Have steps take this gradebook: each opens one, by the name in its module."""
    modules = {sys.modules[type(step).__module__] for step in steps}
    changed = [module for module in modules if getattr(module, "Gradebook", None) is Gradebook]
    for module in changed:
        module.Gradebook = lambda *arguments, **named: gradebook
    try:
        yield
    finally:
        for module in changed:
            module.Gradebook = Gradebook


def open_engine(db_url: str) -> Engine:
    """The database, with locks that are taken first and waited for."""
    if not db_url.startswith("sqlite"):
        return create_engine(db_url, connect_args={"options": f"-c lock_timeout={BUSY_SECONDS}s"})
    engine = create_engine(db_url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _no_transactions_of_its_own(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _lock_first(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # two that read before they write would wait for each other

    return engine


def _why(error: OperationalError) -> str:
    words = str(error.orig)
    if "locked" in words or "lock timeout" in words:
        return (
            f"The gradebook has been locked by another program for {BUSY_SECONDS} seconds. Close that (formgrader, "
            "another grader) and run this again: what is graded is in the spool."
        )
    if "disk" in words and "full" in words:
        return "The disk of the gradebook is full. Make room and run this again: what is graded is in the spool."
    if "readonly" in words or "read-only" in words:
        return "The gradebook is read-only. Make its file and folder writable, then run this again."
    return f"The gradebook can't be used: {words.splitlines()[0]}"
