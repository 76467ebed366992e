"""From uploads whose learner is known to folders in grading/submitted: which one counts, when it came, writing it.

Of each learner the old submission or the new one is there at any moment. grading/collected/<unit>.json remembers
which upload that is, so that an older archive, taken in later, changes nothing.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nbgrader.utils import parse_utc

from autograder.collecting.archives import Entry
from autograder.collecting.lms import Label
from autograder.collecting.summary import Summary
from autograder.course import Unit
from autograder.failures import ends_the_run, sentence
from autograder.printing import shown
from autograder.submissions.folder import TIMESTAMP
from autograder.submissions.ids import is_id
from autograder.submissions.submission import Refused, plain_name, read_bytes

LEDGER = Path("grading/collected")


@dataclass(frozen=True)
class Upload:
    """A file whose learner is known."""

    label: Label
    entry: Entry
    seen: datetime | None  # when it was uploaded or, if the archive doesn't say, downloaded
    dated: bool  # whether `seen` is the upload's own time

    @property
    def age(self) -> "Age":
        """For comparison with other uploads."""
        return Age(self.label.upload, self.seen.timestamp() if self.seen else 0.0)

    def rank(self, notebook: str) -> tuple[bool, "Age", int]:
        """Higher for the file that counts: the notebook under its own name, then the newest."""
        is_named = plain_name(self.label.file) == plain_name(f"{notebook}.ipynb")
        return is_named, self.age, self.label.copy


@dataclass(frozen=True, eq=False)
class Age:
    """When a file came: by Canvas's number where both have one, for its archives' dates are those of downloads."""

    upload: int
    seconds: float

    def __lt__(self, other: "Age") -> bool:
        if self.upload and other.upload:
            return self.upload < other.upload
        return self.seconds < other.seconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Age) and not self < other and not other < self


class Desk:
    """Puts what counts under grading/submitted, a learner at a time."""

    def __init__(self, unit: Unit, dues: tuple[datetime | None, dict[str, datetime]], summary: Summary):
        self._unit, self._summary = unit, summary
        self._due, self._own_due = dues
        self._ledger_file = unit.root / LEDGER / f"{unit.name}.json"
        self._ledger = _read_ledger(self._ledger_file)

    def take(self, uploads: dict[str, list[Upload]]) -> None:
        """Take one file of each learner. What is wrong with one learner's folder or file is said of that learner.

        Raises:
            OSError: the disk is full or read-only.
        """
        for student, files in sorted(uploads.items()):
            try:
                self._take(student, files)
            except Exception as error:  # of a stranger's file
                if ends_the_run(error):
                    raise
                self._summary.left[student] = sentence(error)
        if uploads:
            self._ledger_file.parent.mkdir(parents=True, exist_ok=True)
            kept = {student: [age.upload, age.seconds] for student, age in sorted(self._ledger.items())}
            _write(self._ledger_file, json.dumps(kept, indent=1).encode())

    def _take(self, student: str, files: list[Upload]) -> None:
        if not is_id(student):
            raise Refused("the gradebook's id isn't one that may name a folder: import the class with other ids")
        ranks = [upload.rank(self._unit.notebook) for upload in files]
        newest = files[ranks.index(max(ranks))]
        same = [
            upload for upload, rank in zip(files, ranks, strict=True) if rank == max(ranks) and upload is not newest
        ]
        data = newest.entry.read()
        if any(upload.entry.read() != data for upload in same):
            self._summary.held_back[student] = (
                f"{len(same) + 1} files that differ, and nothing says which is the newest"
            )
            return
        if len(files) > 1:
            self._summary.notes[student] = f"{shown(newest.label.file, 80)} is the newest of {len(files)} files"
        stamp, late = self._stamp(student, newest)
        if self._put(student, newest, data, f"{stamp:%Y-%m-%d %H:%M:%S} UTC\n" if stamp else "") and late:
            self._summary.late.append(student)

    def _stamp(self, student: str, upload: Upload) -> tuple[datetime | None, bool]:
        # An LMS's word about lateness is worth more than a date of which nobody knows what it is of.
        due = self._own_due.get(student, self._due)
        stamp = upload.seen.replace(microsecond=0) if upload.seen else None
        if due is None:
            return stamp, bool(upload.label.late)
        due = due.replace(tzinfo=UTC)
        if upload.label.late:
            just_late = due + timedelta(seconds=1)
            return (max(stamp, just_late) if stamp and upload.dated else just_late), True
        if upload.label.late is False or not upload.dated:
            return min(stamp or due, due), False
        return stamp, stamp is not None and stamp > due

    def _put(self, student: str, upload: Upload, data: bytes, stamp: str) -> bool:
        folder, known = submission_folder(self._unit, student), self._ledger.get(student)
        if _has_link(folder, self._unit.root):
            raise Refused(f"{folder} is, or lies in, a link or a file: make it a folder")
        notebook = folder / f"{self._unit.notebook}.ipynb"
        before = _bytes_or_none(notebook)
        if before is not None and before != data and known and upload.age < known:
            self._summary.unchanged.append(student)
            self._summary.notes[student] = "what is there is newer than this file, and stays"
            return False
        dated = (_bytes_or_none(folder / TIMESTAMP) or b"").decode("utf-8", "replace")
        if before == data and (dated == stamp or self._is_as_good(student, upload, dated)):
            self._summary.unchanged.append(student)
        elif before is None and not folder.exists():
            _new(folder, {notebook.name: data, TIMESTAMP: stamp.encode()})
            self._summary.collected.append(student)
        else:
            _write(notebook, data)
            _write_or_remove(folder / TIMESTAMP, stamp)
            (self._summary.unchanged if before == data else self._summary.replaced).append(student)
            if before == data:
                self._summary.redated.append(student)
        if not known or known < upload.age:
            self._ledger[student] = upload.age
        return True

    def _is_as_good(self, student: str, upload: Upload, dated: str) -> bool:
        # A time that somebody knew stays where an archive knows no other, and says nothing else about lateness.
        try:
            known = parse_utc(dated.strip())
        except (ValueError, OverflowError):
            return False
        if known is None or upload.dated:
            return False
        due = self._own_due.get(student, self._due)
        return upload.label.late is None or due is None or (known > due) == upload.label.late


def _new(folder: Path, files: dict[str, bytes]) -> None:
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    aside.mkdir(parents=True)
    for name, data in files.items():
        if data:
            (aside / name).write_bytes(data)
    aside.rename(folder)


def _write(path: Path, data: bytes) -> None:
    # No fsync: after a power cut a second run finds what is there to differ from the archive, and writes it again.
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)  # of a run that was killed, or a link
    aside.write_bytes(data)
    aside.replace(path)


def _write_or_remove(path: Path, text: str) -> None:
    if text:
        _write(path, text.encode())
    else:
        path.unlink(missing_ok=True)


def _bytes_or_none(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except Refused:
        return None


def _has_link(folder: Path, root: Path) -> bool:
    inside = [path for path in (folder, folder.parent) if path.is_symlink() or (path.exists() and not path.is_dir())]
    return bool(inside) or not folder.is_relative_to(root)


def submission_folder(unit: Unit, student: str) -> Path:
    """Where a learner's submission lies."""
    return unit.root / "grading" / "submitted" / student / unit.name


def _read_ledger(path: Path) -> dict[str, Age]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {student: Age(int(upload), float(seconds)) for student, (upload, seconds) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # what is there can't be told from older files then, and they replace it
