"""What an LMS's archive, a folder or a single file holds: entries, whose names and sizes are looked at before all else.

All in an archive is a stranger's: its names, its dates, what it claims about sizes. No entry is written where its
name says, none is unpacked twice, no link is followed, and an archive inside an archive stays closed. Whatever is odd
costs the entry that it concerns, never the others. The form: APPNOTE.TXT of PKWARE.
"""

import contextlib
import io
import os
import re
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from autograder.course import CourseError
from autograder.printing import shown
from autograder.submissions.submission import IGNORED_FOLDERS, MAX_BYTES, Refused, read_bytes

MAX_ENTRIES = 50_000
MAX_ENTRIES_OF_ONE = 20_000  # in one folder of a class's folder, with all that lies below it
TOO_MANY = "holds too many files or folders: leave only the notebook in it"
MAX_DIRECTORY = 64 * 2**20  # bytes of an archive's table of contents
MAX_RATIO, RATIO_COUNTS_FROM = 200, 2**20  # a notebook's JSON stays far below
MAX_DEPTH = 8
MAX_NAME = 1024  # characters of a path inside an archive
NOTEBOOK = re.compile(r"\.ipynb(\.json|\.txt)?$", re.IGNORECASE)  # all else is left behind
_ENCRYPTED, _UTF8 = 0x1, 0x800
# Of these zipfile unpacks as much as is asked for; of the others a whole block at once, gigabytes from a few bytes.
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_EXTENDED_TIME, _UNICODE_PATH = 0x5455, 0x7075  # extra fields of Info-ZIP


@dataclass(frozen=True)
class Entry:
    """One file of an archive or folder.

    Attributes:
        names: its path as the bytes may be read, the likeliest first; several where the archive doesn't say how.
        modified: of the entry, in UTC; None if there is no date.
        problem: why it can't be taken, as the end of a sentence; empty for a file that may be read.
    """

    names: tuple[str, ...]
    modified: datetime | None
    source: "Path | zipfile.ZipInfo"
    archive: zipfile.ZipFile | None = field(default=None, repr=False)
    problem: str = ""

    @property
    def name(self) -> str:
        """The likeliest path."""
        return self.names[0]

    @property
    def is_notebook(self) -> bool:
        """Whether its name says so: an allow-list of one kind."""
        return any(NOTEBOOK.search(name) for name in self.names)

    def read(self) -> bytes:
        """Its bytes, at most `MAX_BYTES`.

        Raises:
            Refused: it is larger than it says, damaged, or a kind of file that isn't read.
        """
        if isinstance(self.source, Path):
            return read_bytes(self.source)
        try:
            with self.archive.open(self.source) as file:
                data = file.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise Refused(f"is damaged inside the archive ({shown(error, 100)}): download it again") from None
        except Exception as error:  # zlib's, bz2's and lzma's own
            raise Refused(f"is damaged inside the archive ({type(error).__name__}): download it again") from None
        if len(data) > MAX_BYTES:
            raise Refused(f"has more than {MAX_BYTES // 10**6} MB")
        return data


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[Entry]]:
    """All files of a zip archive or a folder, or the file itself; they can be read inside the `with`.

    Raises:
        CourseError: there is no such file, or nothing in it can be read.
    """
    try:
        kind = path.lstat().st_mode if not path.is_symlink() else path.stat().st_mode  # the instructor's own link
    except OSError as error:
        raise CourseError(f"{shown(path)} can't be read: {error.strerror}.") from None
    if stat.S_ISDIR(kind):
        yield list(_of_folder(path))
    elif not stat.S_ISREG(kind):
        raise CourseError(f"{shown(path)} is neither a file nor a folder.")
    elif NOTEBOOK.search(path.name):
        yield [_of_file(path.resolve(), "/".join(path.resolve().parts[-3:]))]
    else:
        with path.open("rb") as file, _zip(file, path) as archive:
            yield [_zipped(info, archive) for info in archive.infolist() if not info.is_dir()]


def _of_folder(folder: Path) -> Iterator[Entry]:
    waiting, seen = [(folder, folder.resolve().name, "")], Counter[str]()
    while waiting:
        inside, name, whose = waiting.pop()
        if seen[whose] > MAX_ENTRIES_OF_ONE:
            continue
        try:
            with os.scandir(inside) as found:
                listed = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield Entry((name,), None, inside, problem=f"can't be read ({error.strerror})")
            continue
        seen[whose] += len(listed)
        if not whose and len(listed) > MAX_ENTRIES:
            raise CourseError(f"{shown(folder)} holds more than {MAX_ENTRIES} files: give the folder of one unit.")
        if whose and seen[whose] > MAX_ENTRIES_OF_ONE:
            yield Entry((f"{folder.resolve().name}/{whose}",), None, inside, problem=TOO_MANY)
            continue
        for entry in listed:
            inner = f"{name}/{entry.name}"
            if not entry.is_dir(follow_symlinks=False):
                yield _of_file(Path(entry.path), inner)
            elif entry.name.lower() not in IGNORED_FOLDERS and not entry.name.startswith("."):
                if inner.count("/") > MAX_DEPTH:
                    yield Entry((inner,), None, Path(entry.path), problem="lies in too many folders")
                else:
                    around_all = not whose and len(listed) == 1
                    waiting.append((Path(entry.path), inner, whose or ("" if around_all else entry.name)))


def _of_file(path: Path, name: str) -> Entry:
    try:
        status = path.lstat()
    except OSError as error:
        return Entry((name,), None, path, problem=f"can't be read ({error.strerror})")
    problem = ""
    if stat.S_ISLNK(status.st_mode):
        problem = "is a link"
    elif not stat.S_ISREG(status.st_mode):
        problem = "is no regular file"
    elif status.st_size > MAX_BYTES:
        problem = f"has {status.st_size / 1e6:.0f} MB, more than {MAX_BYTES // 10**6}"
    names = _decoded(os.fsencode(name))
    return Entry(names, _instant(status.st_mtime), path, problem=problem or _bad_name(name))


def _instant(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # some disks keep years of six digits
        return None


def _zip(file: BinaryIO, path: Path) -> zipfile.ZipFile:
    _check_directory(file, path)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, EOFError) as error:
        raise CourseError(
            f"{shown(path)} is not a zip archive, or it broke off ({shown(error, 100)}): download it again."
        ) from None
    if len(archive.infolist()) > MAX_ENTRIES:
        raise CourseError(f"{shown(path)} holds more than {MAX_ENTRIES} files: no class's archive.")
    return archive


def _check_directory(file: BinaryIO, path: Path) -> None:
    # zipfile reads the whole table of contents at once: its size stands at the end of the file.
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 22 - 65_535 - 76))
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    claimed = 0
    if 0 <= place <= len(tail) - 22:
        (claimed,) = struct.unpack_from("<L", tail, place + 12)
    wide = tail.rfind(b"PK\x06\x06")  # of a zip64
    if claimed == 0xFFFFFFFF and 0 <= wide <= len(tail) - 56:
        (claimed,) = struct.unpack_from("<Q", tail, wide + 40)
    file.seek(0)
    if claimed > MAX_DIRECTORY:
        raise CourseError(f"{shown(path)} has a table of contents of {claimed / 1e6:.0f} MB: no class's archive.")


def _zipped(info: zipfile.ZipInfo, archive: zipfile.ZipFile) -> Entry:
    names = _names_of(info)
    mode = info.external_attr >> 16
    problem = _bad_name(names[0])
    if info.flag_bits & _ENCRYPTED:
        problem = "is encrypted: download the archive without a password"
    elif info.compress_type not in _PACKED:
        problem = "is packed in a way that no LMS packs"
    elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        problem = "is a link or another special file"
    elif info.file_size > MAX_BYTES:
        problem = f"has {info.file_size / 1e6:.0f} MB, more than {MAX_BYTES // 10**6}"
    elif info.file_size > RATIO_COUNTS_FROM and info.file_size > MAX_RATIO * max(1, info.compress_size):
        problem = f"is packed {info.file_size // max(1, info.compress_size)} to 1, as no notebook is"
    return Entry(names, _time_of(info), info, archive, problem)


def _names_of(info: zipfile.ZipInfo) -> tuple[str, ...]:
    if info.flag_bits & _UTF8:
        return (info.orig_filename,)
    if unicode_path := _extra(info, _UNICODE_PATH):
        return (unicode_path[5:].decode("utf-8", "replace"),)
    try:
        return _decoded(info.orig_filename.encode("cp437"))
    except UnicodeEncodeError:
        return (info.orig_filename,)


def _decoded(raw: bytes) -> tuple[str, ...]:
    # No archive says which encoding it was without the flag: today's, that of Windows in China, that of DOS.
    found = []
    for encoding in ("utf-8", "gb18030", "cp437"):
        try:
            name = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if name not in found:
            found.append(name)
        if encoding == "utf-8":  # other encodings' bytes are hardly ever this by chance
            break
    return tuple(found)


def _time_of(info: zipfile.ZipInfo) -> datetime | None:
    stamp = _extra(info, _EXTENDED_TIME)
    if len(stamp) >= 5 and stamp[0] & 1:  # seconds of UTC; the field beside it is the packer's own clock
        return datetime.fromtimestamp(struct.unpack_from("<L", stamp, 1)[0], UTC)
    try:
        return datetime(*info.date_time).astimezone(UTC) if info.date_time > (1980, 1, 1, 0, 0, 0) else None
    except (ValueError, OverflowError, OSError):
        return None


def _extra(info: zipfile.ZipInfo, wanted: int) -> bytes:
    rest = info.extra
    while len(rest) >= 4:
        kind, length = struct.unpack_from("<HH", rest)
        if kind == wanted:
            return rest[4 : 4 + length]
        rest = rest[4 + length :]
    return b""


def _bad_name(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "has an absolute name"
    if ".." in parts:
        return "has a name with .. in it"
    if "\0" in name:
        return "has a name with a zero in it"
    if len(name) > MAX_NAME:
        return "has a name longer than any learner's"
    return ""
