"""What this course changes in nbgrader's own code, where none of its settings reaches: nbgrader_config.py puts it up.

nbgrader trusts what lies in a learner's folder: it waits for a pipe, follows links, copies whatever stands beside a
notebook, and one file that is no date ends a page of formgrader for the whole class; a class list from Excel ends its
import in the middle. With this its commands, and formgrader's buttons, look at a folder as `autograder grade` does, and
read a list as `autograder students` does. formgrader's pages are in `results/formgrader.py`.
"""

from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from nbgrader.apps.api import NbGraderAPI
from nbgrader.apps.dbapp import DbGenericImportApp, DbStudentImportApp
from nbgrader.converters import Autograde, GenerateFeedback, NbGraderException
from nbgrader.converters.base import BaseConverter
from nbgrader.coursedir import CourseDirectory

from autograder.collecting.roster import import_list
from autograder.collecting.students import read_list
from autograder.course import CourseError, Unit, find_units
from autograder.failures import ends_the_run, sentence
from autograder.printing import shown
from autograder.results import formgrader
from autograder.submissions.folder import TIMESTAMP, handed_in, handed_in_at, submissions, timestamp
from autograder.submissions.submission import Refused, find_notebook, read_notebook

_find_all, _convert_all = Autograde.init_notebooks, Autograde.convert_notebooks
_copy_all = BaseConverter.init_assignment


def put_up() -> None:
    """Change nbgrader in this process; a second time changes nothing."""
    Autograde.init_notebooks = _find
    Autograde.convert_notebooks = _convert
    BaseConverter.init_assignment = _copy
    CourseDirectory.get_existing_timestamp = _timestamp
    NbGraderAPI.get_submitted_timestamp = _submitted_timestamp
    DbStudentImportApp.start = _import
    formgrader.put_up()


def _find(self: Autograde) -> None:
    """Find the notebooks to grade: those that can be graded, with a sentence for each of the others."""
    course = self.coursedir
    units = {one.name: one for one in find_units(Path(course.root)) if fnmatchcase(one.name, course.assignment_id)}
    found = [path for unit in units for path in submissions(Path(course.root) / course.submitted_directory, unit)]
    self.notebooks, self.assignments, self.refused = [], {}, 0
    for folder in [path for path in found if fnmatchcase(path.parent.name, course.student_id)]:
        try:
            self.assignments[str(folder)] = [str(_notebook(folder, units[folder.name]))]
        except Exception as error:
            if ends_the_run(error):
                raise
            self.refused += 1
            self.log.error("%s is not graded: %s", shown(folder.parent.name), shown(sentence(error)))
    if not self.assignments and not self.refused:
        _find_all(self)  # says what is missing
    if not self.assignments:
        raise NbGraderException("None of what was handed in can be graded.")


def _notebook(folder: Path, unit: Unit) -> Path:
    handed_in(folder, unit.notebook)
    path = folder / f"{unit.notebook}.ipynb"
    if find_notebook(folder, path.name) != path:
        raise Refused(f"there is no {path.name}: `autograder grade {unit.name}` takes it under other names, too.")
    read_notebook(path)
    return path


def _convert(self: Autograde) -> None:
    _convert_all(self)
    if self.refused:
        raise NbGraderException(f"{self.refused} can't be graded: what was said above says why.")


def _copy(self: BaseConverter, assignment: str, student: str) -> None:
    """Copy what may stay beside a notebook; the instructor's own files all do."""
    if not isinstance(self, Autograde | GenerateFeedback):
        _copy_all(self, assignment, student)
    elif stamp := timestamp(Path(self._format_source(assignment, student))):
        target = Path(self._format_dest(assignment, student)) / TIMESTAMP
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(stamp)


def _timestamp(self: CourseDirectory, folder: str) -> datetime | None:
    """When a submission was handed in; None, with a warning, for what is no date."""
    try:
        return handed_in_at(Path(folder))
    except Exception as error:
        self.log.warning("%s: %s", shown(folder), shown(sentence(error)))
        return None


def _submitted_timestamp(self: NbGraderAPI, assignment: str, student: str) -> datetime | None:
    course = self.coursedir
    return _timestamp(course, course.format_path(course.submitted_directory, student, assignment))


def _import(self: DbStudentImportApp) -> None:
    """Import a class list, the whole of it or nothing."""
    super(DbGenericImportApp, self).start()
    if len(self.extra_args) != 1:
        self.fail("Path to CSV file not provided.")
    try:
        found = read_list(Path(self.extra_args[0]))
        done = import_list(self.config, found)
    except CourseError as error:
        self.fail("\n".join(map(shown, str(error).split("\n"))))
    self.log.info("%d new, %d changed, %d unchanged", done.new, done.changed, done.unchanged)
    for remark in found.remarks:
        self.log.info(shown(remark))
