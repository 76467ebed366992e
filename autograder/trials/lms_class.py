"""A made-up class as an LMS sees it: a list, the archives of Canvas and Moodle, Moodle's grading worksheet.

Names in four scripts, namesakes, double uploads, late ones, notebooks that went through Colab, and a few who hand in
nothing: what a class of a hundred has, so that the guide's way can be gone with one.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat

from autograder.course import Unit
from autograder.notebooks import grade_id
from autograder.trials.generated import Learner, learners

NAMES = (
    ("Ada", "Lovelace"),
    ("伟", "王"),
    ("José María", "García Márquez"),
    ("عمر", "الخيام"),
    ("Zoë", "Ångström"),
    ("Wei", "Wang"),
    ("娜", "李"),
    ("Siobhán", "O'Neil"),
    ("فاطمة", "الزهراء"),
    ("Łukasz", "Żółć-Nowak"),
    ("Wei", "Wang"),
    ("Nguyễn", "Văn An"),
)
TWICE, LATE, COLAB = 15, 11, 7  # every so manyth learner
DOWNLOADED = datetime(2027, 3, 2, 9, 30)


@dataclass(frozen=True)
class Enrolled:
    """One learner of the class.

    Attributes:
        number: their place in the class, from which an LMS's numbers are made.
        work: what they answered; None if nothing is handed in.
    """

    number: int
    first_name: str
    last_name: str
    work: dict[str, str] | None

    @property
    def id(self) -> str:
        """The login."""
        return f"s{self.number:04}"

    @property
    def canvas_id(self) -> int:
        """Canvas's number."""
        return 4000 + self.number

    @property
    def participant(self) -> int:
        """Moodle's number in this assignment."""
        return 7000 + 3 * self.number

    @property
    def is_late(self) -> bool:
        """Whether Canvas marks them so."""
        return self.number % LATE == LATE - 1


def enrolled(unit: Unit, size: int) -> list[Enrolled]:
    """A class, the same at every call. Beyond the first dozen names have a number, but for the two called Wei Wang."""
    found = []
    for number, learner in enumerate(learners(unit, size)):
        first, last = NAMES[number % len(NAMES)]
        round_ = number // len(NAMES)
        last = f"{last} {'IVXLCDM'[round_ % 7]}{round_ // 7 or ''}" if round_ else last
        found.append(Enrolled(number, first, last, _own(learner)))
    return found


def _own(learner: Learner) -> dict[str, str] | None:
    if learner.answers is None:
        return None
    return {name: f"{source}\n# {learner.id}" for name, source in learner.answers.items()}


def write_list(path: Path, people: Iterable[Enrolled]) -> None:
    """students.csv."""
    rows = [[one.id, one.first_name, one.last_name, f"{one.id}@example.org", one.canvas_id] for one in people]
    _write(path, ["id", "first_name", "last_name", "email", "canvas_id"], rows)


def write_worksheet(path: Path, people: Iterable[Enrolled]) -> None:
    """Moodle's grading worksheet: whose the numbers of its archive are."""
    rows = [
        [
            f"Participant {one.participant}",
            f"{one.first_name} {one.last_name}",
            f"{one.id}@example.org",
            "Tuesday, 2 March 2027, 7:30 AM" if one.is_late else "Monday, 1 March 2027, 8:00 PM",
        ]
        for one in people
    ]
    _write(path, ["Identifier", "Full name", "Email address", "Last modified (submission)"], rows)


def write_canvas(path: Path, unit: Unit, people: Iterable[Enrolled]) -> None:
    """Canvas's archive; who uploaded twice has an empty notebook and then the real one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in (one for one in people if one.work is not None):
            name = re.sub(r"\W", "", f"{one.last_name}{one.first_name}").lower()
            late = "LATE_" if one.is_late else ""
            for upload, (own_name, data) in enumerate(_uploads(unit, one)):
                file.writestr(_entry(f"{name}_{late}{one.canvas_id}_{9 * one.number + upload}_{own_name}"), data)


def write_moodle(path: Path, unit: Unit, people: Iterable[Enrolled]) -> None:
    """Moodle's archive in folders; who uploaded twice has both files in one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in (one for one in people if one.work is not None):
            folder = f"{one.first_name} {one.last_name}_{one.participant}_assignsubmission_file_"
            for own_name, data in _uploads(unit, one):
                file.writestr(_entry(f"{folder}/{own_name}"), data)


def _uploads(unit: Unit, one: Enrolled) -> list[tuple[str, bytes]]:
    name, is_colab = unit.notebook, one.number % COLAB == COLAB - 1
    if one.number % TWICE == TWICE - 1:
        return [
            (f"{name}.ipynb", _notebook(unit, {}, is_colab)),
            (f"{name}-1.ipynb", _notebook(unit, one.work, is_colab)),
        ]
    own_name = f"Copy of {name}.ipynb" if is_colab else f"{name}.ipynb"
    return [(own_name, _notebook(unit, one.work or {}, is_colab))]


def _notebook(unit: Unit, answers: dict[str, str], is_colab: bool) -> bytes:
    notebook = nbformat.read(unit.release, as_version=4)
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell) or "", cell.source)
        if is_colab:  # which keeps its own ids, and writes an older format
            cell.metadata["id"] = cell.pop("id")
    if is_colab:
        notebook.nbformat_minor = 0
        notebook.metadata["colab"] = {"provenance": []}
    return json.dumps(notebook, ensure_ascii=False).encode()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, DOWNLOADED.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _write(path: Path, header: list[str], rows: list[list]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8")
