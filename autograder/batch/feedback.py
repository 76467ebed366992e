"""`autograder feedback`: a unit's feedback pages, by nbgrader's own converter, in several processes.

The pages are those of `nbgrader generate_feedback --force`. A page that is there, and whose notebook, points, comments
and makers haven't changed since, is left alone; kill it, and run it again.
"""

import glob
import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path

from nbconvert.writers import FilesWriter
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import GenerateFeedback, NbGraderException
from nbgrader.coursedir import CourseDirectory

from autograder.batch.gradebook import said_plainly
from autograder.batch.spool import SPOOL, write_lasting
from autograder.course import CourseError, Unit, find_units, nbgrader_configuration
from autograder.failures import ends_the_run, sentence
from autograder.printing import shown

MAKERS = ("nbgrader", "nbconvert", "mistune", "bleach", "latex2mathml", "Pygments")


@dataclass
class Pages:
    """How a run went: pages made, pages left alone, and student -> why there is none."""

    made: int = 0
    same: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def feedback(root: Path, name: str, workers: int = 1, students: Sequence[str] = ()) -> Pages:
    """Make the pages of a unit's graded submissions, all or those of some students.

    Raises:
        CourseError: nothing is graded, or the gradebook can't be read.
    """
    unit = find_units(root, [name])[0]
    config = nbgrader_configuration(root)
    course = CourseDirectory(config=config)
    folders = _graded(course, unit, students)
    with said_plainly(), Gradebook(course.db_url, course.course_id) as gradebook:
        keys = {student: _key(root, unit, gradebook, student, folder) for student, folder in folders.items()}
    pages, wanted = Pages(), []
    for student, key in keys.items():
        if key and _is_same(course, unit, root, student, key):
            pages.same += 1
        else:
            wanted.append(student)
    _make(root, unit, course, {student: keys[student] for student in wanted}, workers, pages)
    return pages


def table(pages: Pages) -> str:
    """The end of a run."""
    lines = [f"{pages.made} pages made, {pages.same} were there already, {len(pages.failed)} failed."]
    return "\n".join(lines + [f"  {shown(student)}: {shown(why)}" for student, why in sorted(pages.failed.items())])


def _graded(course: CourseDirectory, unit: Unit, students: Sequence[str]) -> dict[str, Path]:
    pattern = Path(course.format_path(course.autograded_directory, "*", unit.name))
    found = Path(course.root).glob(str(pattern.relative_to(course.root)))
    folders = {folder.parent.name: folder for folder in sorted(found) if (folder / unit.release.name).is_file()}
    if unknown := [student for student in students if student not in folders]:
        raise CourseError(f"{unknown[0]} has no graded {unit.name}: run `autograder grade {unit.name}` first.")
    if not folders:
        raise CourseError(f"Nothing is graded: run `autograder grade {unit.name}` first.")
    return {student: folder for student, folder in folders.items() if not students or student in students}


def _key(root: Path, unit: Unit, gradebook: Gradebook, student: str, folder: Path) -> str:
    """Changes with all that the page shows; empty if the gradebook doesn't know the submission."""
    try:
        book = gradebook.find_submission_notebook(unit.notebook, unit.name, student)
    except MissingEntry:
        return ""
    grades = sorted((one.name, one.score, one.max_score, one.auto_score, one.manual_score) for one in book.grades)
    comments = sorted((one.name, one.comment) for one in book.comments)
    shown = [grades, comments, book.late_submission_penalty, _makers(root)]
    notebook = (folder / unit.release.name).read_bytes()
    return hashlib.sha256(notebook + json.dumps(shown, default=str).encode()).hexdigest()


@lru_cache(maxsize=1)
def _makers(root: Path) -> str:
    ours = sorted(path for path in files("autograder").joinpath("results").rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in (*ours, root / "nbgrader_config.py")]
    return hashlib.sha256(json.dumps([*texts, *map(version, MAKERS)]).encode()).hexdigest()


def _note(root: Path, unit: Unit, student: str) -> Path:
    return root / SPOOL / unit.name / "feedback" / f"{student}.json"


def _page(course: CourseDirectory, unit: Unit, student: str) -> Path:
    folder = course.format_path(course.feedback_directory, student, unit.name)
    return Path(folder) / unit.release.with_suffix(".html").name


def _is_same(course: CourseDirectory, unit: Unit, root: Path, student: str, key: str) -> bool:
    try:
        note = json.loads(_note(root, unit, student).read_text(encoding="utf-8"))
        page = hashlib.sha256(_page(course, unit, student).read_bytes()).hexdigest()
    except (OSError, ValueError):
        return False
    return note == {"key": key, "page": page}


def _make(root: Path, unit: Unit, course: CourseDirectory, keys: dict[str, str], workers: int, pages: Pages) -> None:
    def settle(student: str, job: Future[str]) -> None:
        try:
            if not (why := job.result()):
                _remember(_note(root, unit, student), keys[student], _page(course, unit, student))
        except BrokenProcessPool:
            raise
        except Exception as error:
            if ends_the_run(error):
                raise
            why = sentence(error)
        waiting.remove(student)
        if why:
            pages.failed[student] = why
        else:
            pages.made += 1

    waiting = list(keys)
    try:
        _in_pool(root, unit, list(keys), workers, settle)
        while waiting:  # somebody's page ended a process, which takes the others along: now each has its own
            student = waiting[0]
            _in_pool(root, unit, [student], 1, settle)
            if student in waiting:
                waiting.remove(student)
                pages.failed[student] = "the process that made the page was ended, by its page or from outside"
    except OSError as error:
        raise CourseError(f"The pages can't be written: {sentence(error)} What is made is kept.") from error


def _in_pool(root: Path, unit: Unit, students: list[str], workers: int, settle: Callable) -> None:
    if not students:
        return
    width, how = min(workers, len(students)), get_context("spawn")
    with ProcessPoolExecutor(width, how, initializer=_open, initargs=(root, unit)) as pool:
        try:
            jobs = {student: pool.submit(_make_one, student) for student in students}
            for student, job in jobs.items():
                settle(student, job)
        except BrokenProcessPool:  # whoever isn't settled waits
            return


def _remember(note: Path, key: str, page: Path) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    write_lasting(note, json.dumps({"key": key, "page": hashlib.sha256(page.read_bytes()).hexdigest()}).encode())


class _Converter(GenerateFeedback):
    """nbgrader's, one student after the other: its templates are read once."""

    def __init__(self, root: Path, unit: Unit):
        config = nbgrader_configuration(root)
        super().__init__(coursedir=CourseDirectory(config=config), config=config)
        self.coursedir.assignment_id, self.force, self.why = unit.name, True, ""
        self.writer = FilesWriter(parent=self, config=self.config)
        self.exporter = self.exporter_class(parent=self, config=self.config)
        for step in self.preprocessors:
            self.exporter.register_preprocessor(step)

    def make(self, student: str) -> str:
        """Make a student's page; return why there is none, or nothing."""
        self.coursedir.student_id = glob.escape(student)
        try:
            self.init_notebooks()
            self.convert_notebooks()
        except NbGraderException:
            return self.why or "nbgrader found no notebook"
        return ""

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """As nbgrader's, which tells its log and nobody else why it failed."""
        try:
            super().convert_single_notebook(notebook_filename)
        except Exception as error:
            self.why = f"{type(error).__name__}: {error}"
            raise


_converter: _Converter  # a worker process's own


def _open(root: Path, unit: Unit) -> None:
    global _converter
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)
    os.chdir(root)
    _converter = _Converter(root, unit)


def _make_one(student: str) -> str:
    return _converter.make(student)
