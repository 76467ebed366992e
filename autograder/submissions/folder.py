"""A learner's folder of a unit: the notebook in it, and when it was handed in. Nothing else in it goes any further.

Kind, size and number of what lies there are looked at first. No link is followed, nothing is waited for, and whatever
is wrong is said in one sentence.
"""

import os
import stat
from datetime import datetime
from pathlib import Path

from nbgrader.utils import parse_utc

from autograder.failures import ends_the_run, sentence
from autograder.printing import shown
from autograder.submissions.ids import BadId, checked_id
from autograder.submissions.submission import Refused, find_notebook, read_bytes

# All that may stay beside a notebook: grading reads nothing else, and formgrader would serve whatever stands there from
# the instructor's own origin.
TIMESTAMP = "timestamp.txt"
MAX_TIMESTAMP = 200  # bytes
YEARS = range(2000, 2100)  # whose instants every zone and database has


def submissions(submitted: Path, unit: str) -> list[Path]:
    """All of a unit under grading/submitted, by learner, whatever stands there: a link to nowhere, too."""
    if not submitted.is_dir():
        return []
    return [folder / unit for folder in sorted(submitted.iterdir()) if os.path.lexists(folder / unit)]


def handed_in(folder: Path, notebook: str) -> bytes:
    """The notebook's bytes, from a folder grading/submitted/<id>/<unit>.

    Raises:
        Refused: it can't be graded as it lies there.
        OSError: the disk fails.
    """
    try:
        _check_id(folder.parent.name)
        data = read_bytes(find_notebook(folder, f"{notebook}.ipynb"))
        handed_in_at(folder)
    except OSError as error:
        if ends_the_run(error):
            raise
        raise Refused(sentence(error)) from None
    return data


def handed_in_at(folder: Path) -> datetime | None:
    """The instant in timestamp.txt, in UTC; None if there is none.

    Raises:
        Refused: it is no file of one line, or no date.
    """
    text = (timestamp(folder) or b"").decode("utf-8", "replace").strip()
    if not text:
        return None
    try:
        instant = parse_utc(text)
    except Exception:  # dateutil's are of many kinds
        instant = None
    if instant is None or instant.year not in YEARS:
        raise Refused(
            f"{TIMESTAMP} is no date ({shown(text, 40)}): write one like 2026-11-22 16:00:00 UTC, or remove it."
        )
    return instant


def timestamp(folder: Path) -> bytes | None:
    """The bytes of timestamp.txt; None if there is none, or nothing in it.

    Raises:
        Refused: it is no regular file, or too large.
    """
    path = folder / TIMESTAMP
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{TIMESTAMP} is a link, a folder or no file at all: put a file there, or remove it.")
    if status.st_size > MAX_TIMESTAMP:
        raise Refused(f"{TIMESTAMP} has {status.st_size} bytes, more than a date: have a look at it, or remove it.")
    return read_bytes(path) if status.st_size else None


def _check_id(text: str) -> None:
    try:
        if checked_id(text) != text:
            raise BadId(f"the id {shown(text)} isn't in Unicode's composed form")
    except BadId as error:
        raise Refused(f"{error}: give the folder the learner's id as its name.") from None
