"""`autograder collect`: an archive, a folder or single files become grading/submitted/<id>/<unit>/<notebook>.ipynb.

Beside the notebook stands nbgrader's timestamp.txt. Names are matched against the class (`matching`); of a learner's
files the newest counts (`desk`). What can't be told costs the learner whom it concerns a line in the summary. A second
run with the same files changes nothing; a run that is killed leaves of each learner the old submission or the new one.
"""

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory

from autograder.batch.gradebook import said_plainly
from autograder.collecting.archives import Entry, opened
from autograder.collecting.dates import due_dates
from autograder.collecting.desk import LEDGER, Desk, Upload, submission_folder
from autograder.collecting.lms import Form, Label, is_litter, labels, parts_of, wrappers
from autograder.collecting.matching import owners
from autograder.collecting.roster import Roster, read_roster
from autograder.collecting.students import read_list
from autograder.collecting.summary import Summary
from autograder.course import CourseError, Unit, find_units, nbgrader_configuration
from autograder.locks import alone
from autograder.printing import shown

ONE_DOWNLOAD = timedelta(minutes=15)  # an LMS dates an archive's files while it packs them


def collect(root: Path, name: str, files: Sequence[Path], students: Path | None = None) -> Summary:
    """Take a unit's submissions in.

    Args:
        files: zip archives, folders, notebooks.
        students: a class list that knows more than the gradebook: Canvas's export, Moodle's grading worksheet.

    Raises:
        CourseError: a file, the list or the gradebook can't be read, or grading/submitted can't be written.
    """
    unit = find_units(root, [name])[0]
    others = {other.name for other in find_units(root)} - {name}
    summary = Summary()
    config = nbgrader_configuration(root)
    with said_plainly(), Gradebook(CourseDirectory(config=config).db_url) as gradebook:
        roster = read_roster(gradebook)
        dues = due_dates(gradebook, root, name)
    if students:
        found = read_list(students, wants_ids=False)
        summary.remarks += found.remarks
        roster = roster.joined(found.rows)
    if not roster.is_list:
        summary.remarks.append(
            "There is no class list, so each learner's id is the name in the file. `autograder students LIST` first "
            "gives files to logins and tells namesakes apart."
        )
    with contextlib.ExitStack() as stack:
        sorter = _Sorter(unit, others, roster, summary)
        for path in files:
            sorter.sort(stack.enter_context(opened(path)))
        try:
            with alone(root / LEDGER / f"{name}.lock", f"{name} is being collected"):
                Desk(unit, dues, summary).take(sorter.uploads)
        except OSError as error:
            raise CourseError(
                f"grading/submitted can't be written: {error.strerror} ({shown(error.filename)}). What is there stays."
            ) from None
    named = {*sorter.uploads, *sorter.perhaps, *summary.held_back, *summary.left}
    there = {id for id in roster.learners if _is_there(submission_folder(unit, id) / f"{unit.notebook}.ipynb")}
    summary.missing = sorted(set(roster.learners) - named - there) if roster.is_list else []
    return summary


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that can't be read, say
        return False


@dataclass(frozen=True)
class _File:
    entry: Entry
    readings: list[Label]  # of its name, one at least


class _Sorter:
    """Sorts archives' files to learners."""

    def __init__(self, unit: Unit, others: set[str], roster: Roster, summary: Summary):
        self.uploads: dict[str, list[Upload]] = defaultdict(list)
        self.perhaps: set[str] = set()  # learners whose files may be among those held back
        self._unit, self._others, self._roster, self._summary = unit, others, roster, summary

    def sort(self, entries: list[Entry]) -> None:
        """Sort one archive's."""
        files = self._readable(entries)
        is_of_lms = any(file.readings[0].form is not Form.PLAIN for file in files)
        if is_of_lms:  # its every file bears its form: another one was put there by somebody
            for file in files:
                if file.readings[0].form is Form.PLAIN:
                    self._summary.left[file.entry.name] = "isn't named as the LMS names the other files"
            files = [file for file in files if file.readings[0].form is not Form.PLAIN]
        times = [file.entry.modified for file in files if file.entry.modified]
        dated = bool(times) and not (is_of_lms and max(times) - min(times) < ONE_DOWNLOAD)
        by_worksheet = any(learner.handed_in for learner in self._roster.learners.values())
        if is_of_lms and times and not dated and not by_worksheet:
            self._summary.remarks.append(
                "The archive's dates are those of the download: they make nobody late. What Canvas marks LATE is late."
            )
        other_files: dict[str, list[str]] = defaultdict(list)
        for file, owner in zip(files, owners([file.readings for file in files], self._roster), strict=True):
            if not file.entry.is_notebook:
                other_files[owner.id or _called(owner.label)].append(owner.label.file)
            elif owner.id:
                seen, known = (file.entry.modified, True) if dated else (max(times, default=None), False)
                if owner.label.form is Form.MOODLE and (handed_in := self._handed_in(owner.id)):
                    seen, known = handed_in, True
                self.uploads[owner.id].append(Upload(owner.label, file.entry, seen, known))
            elif owner.doubt:
                self._summary.held_back[_called(owner.label)] = owner.doubt
                self.perhaps |= owner.perhaps
            else:
                self._summary.unmatched[_called(owner.label)] = file.entry.name
        for who, names in other_files.items():
            if who not in {*self.uploads, *self._summary.held_back, *self._summary.unmatched}:
                listed = ", ".join(shown(name, 60) for name in names[:3])
                self._summary.left[who] = f"handed in no notebook, only {listed}"

    def _handed_in(self, student: str) -> datetime | None:
        learner = self._roster.learners.get(student)
        return learner.handed_in if learner else None

    def _readable(self, entries: list[Entry]) -> list[_File]:
        listed = [(entry, parts_of(entry.name)) for entry in entries]
        listed = [(entry, parts) for entry, parts in listed if self._concerns(parts)]
        around = wrappers([parts for entry, parts in listed if not entry.problem], self._is_known)
        found = []
        for entry, _ in listed:
            names = [parts_of(name)[around:] for name in entry.names]
            readings = [label for name in names if name for label in labels(name, self._unit.name, self._unit.notebook)]
            if entry.problem:
                self._summary.left[_called(readings[0]) if readings else entry.name] = entry.problem
            elif readings:
                found.append(_File(entry, readings))
            elif entry.is_notebook:
                self._summary.left[entry.name] = "doesn't say whose it is"
        return found

    def _concerns(self, parts: list[str]) -> bool:
        return bool(parts) and not is_litter(parts) and not self._others & set(parts)

    def _is_known(self, who: str) -> bool:
        roster = self._roster
        return bool(roster.by_login(who) or roster.by_name(who) or roster.by_number(who, "lms_user_id", "canvas_id"))


def _called(label: Label) -> str:
    return " ".join(filter(None, (label.who, label.number)))
