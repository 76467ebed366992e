"""nbgrader's gradebook inside one transaction of ours, and what its databases complain about in a sentence."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from nbgrader.api import Gradebook, InvalidEntry, SubmittedNotebook
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
    """nbgrader's gradebook inside a transaction of ours: its many commits only flush."""

    def __init__(self, connection: Connection, course: CourseDirectory):
        self.engine = connection.engine
        self.db = _Flushing(bind=connection, join_transaction_mode="rollback_only", future=True)
        self.course_id = course.course_id
        self.authenticator = None

    def find_submission_notebook(self, notebook: str, assignment: str, student: str) -> SubmittedNotebook:
        """As nbgrader's; its score is looked up again, for a late penalty hangs on it."""
        self.db.expire_all()
        return super().find_submission_notebook(notebook, assignment, student)

    def close(self) -> None:
        """Stay open: each of nbgrader's steps closes what it takes for its own."""


class _Flushing(Session):
    def commit(self) -> None:
        """Send what changed, and keep what is loaded: nbgrader commits after each cell."""
        self.flush()


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
