"""The spool: verdict records on disk, grading/spool/<unit>/<key>.json.gz, each there whole or not at all.

It is the truth about what was graded; the gradebook is merged from it. And the lock that keeps a second run of the
same unit out.
"""

import contextlib
import os
from pathlib import Path

from autograder.locks import alone
from autograder.submissions.record import BadRecord, Record, unpack
from autograder.submissions.release import Release

SPOOL = Path("grading/spool")


class Spool:
    """One unit's records."""

    def __init__(self, root: Path, release: Release):
        self.folder = root / SPOOL / release.unit
        self._release = release

    def get(self, key: str) -> Record | None:
        """The record; None if there is none, or if it is damaged and must be made anew."""
        try:
            return unpack(self._path(key).read_bytes(), key, self._release)
        except (FileNotFoundError, BadRecord):
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep a packed record. When this returns it outlives a power cut."""
        write_lasting(self._path(key), data)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other runs of this unit out; CourseError if one is at work."""
        return alone(self.folder / "lock", f"{self._release.unit} is being graded")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json.gz"


def write_lasting(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that at any moment the old or the new one is there whole, and the new one stays."""
    aside = path.with_name(f".{path.name}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
