"""Folders that learners hand in to end a run, to hang it, or to take somebody else's place: a table.

Each entry makes one folder grading/submitted/<id>/<unit>. What is large is sparse; every file is a learner's to make.
"""

import os
import socket
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GIGABYTE = 10**9
NOTEBOOK = "mini.ipynb"
MANY = 25_000  # more than any bound; the long test has 100,000


@dataclass(frozen=True)
class Hostile:
    """One folder.

    Attributes:
        id: of the learner; sorts behind `at`.
        counts: whether the notebook in it is graded all the same, for what is odd only lies beside it.
        says: words of the sentence that refuses it.
    """

    name: str
    make: Callable[[Path, bytes], None]
    id: str = ""
    counts: bool = False
    says: str = ""

    def learner(self, at: str) -> str:
        """The id, so that it sorts behind an honest learner's."""
        return f"{at}-{self.id or self.name.replace(' ', '-')}"


HOSTILE: list[Hostile] = []


def hostile(name: str, **named):
    """Put a maker into the table."""

    def register(make: Callable[[Path, bytes], None]) -> Callable[[Path, bytes], None]:
        HOSTILE.append(Hostile(name, make, **named))
        return make

    return register


def make_folder(submitted: Path, entry: Hostile, at: str, unit: str, handed_in: Path) -> str:
    """Make the folder, with a notebook as an honest learner's; return the learner's id."""
    folder = submitted / entry.learner(at) / unit
    folder.mkdir(parents=True)
    entry.make(folder, handed_in.read_bytes())
    if folder.is_dir() and os.path.lexists(folder / NOTEBOOK):
        (folder / NOTEBOOK).rename(folder / handed_in.name)
    return folder.parent.name


def write(folder: Path, notebook: bytes) -> None:
    (folder / NOTEBOOK).write_bytes(notebook)


def sparse(path: Path, size: int = GIGABYTE) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def bind(path: Path) -> None:
    """Make a socket."""
    here = os.open(path.parent, os.O_RDONLY)  # for a socket's path has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def instead(folder: Path) -> None:
    folder.rmdir()


# --- ids ---------------------------------------------------------------------------------------------------------

for _name, _id in {
    "a name in GBK": os.fsdecode("王伟".encode("gbk")),
    "a name of two lines": "x\n  zed: failed: by me",
    "a name that clears the screen": "x\x1b[2J\x1b]0;mine\x07",
    "a name that turns words around": "x\u202egnp.txt",
    "a name that is a script": "<img src=x onerror=alert(1)>",
    "a name that is a formula": "=1+1",
    "a name that is a pattern": "[a-z]*",
    "a name of 129 letters": "x" * 129,
    "a name of 250 bytes": "王" * 80,
    "a name in decomposed letters": unicodedata.normalize("NFD", "é"),
    "a name with a percent sign": "%s%n{0}",
}.items():
    hostile(_name, id=_id, says="the id")(write)


# --- in the notebook's place ---------------------------------------------------------------------------------------


@hostile("a pipe", says="no file at all")
def pipe(folder, notebook):
    os.mkfifo(folder / NOTEBOOK)


@hostile("a socket", says="no file at all")
def a_socket(folder, notebook):
    bind(folder / NOTEBOOK)


@hostile("a link to itself", says="a link")
def link_to_itself(folder, notebook):
    (folder / NOTEBOOK).symlink_to(NOTEBOOK)


@hostile("a link to endless zeros", says="a link")
def link_to_zeros(folder, notebook):
    (folder / NOTEBOOK).symlink_to("/dev/zero")


@hostile("a link to what anybody wrote", says="a link")
def link_to_another(folder, notebook):
    (folder / NOTEBOOK).symlink_to(f"../../another/{NOTEBOOK}")


@hostile("a folder as the notebook", says="no notebook")
def folder_as_notebook(folder, notebook):
    (folder / NOTEBOOK / "x").mkdir(parents=True)
    (folder / NOTEBOOK / "x.txt").touch()


@hostile("a notebook of a gigabyte", says="1000 MB")
def gigabyte(folder, notebook):
    sparse(folder / NOTEBOOK)


@hostile("a notebook with a name of 255 letters", counts=True)
def long_name(folder, notebook):
    (folder / ("x" * 249 + ".ipynb")).write_bytes(notebook)


@hostile("a notebook with a name in GBK", counts=True)
def gbk_name(folder, notebook):
    (folder / os.fsdecode("作业".encode("gbk") + b".ipynb")).write_bytes(notebook)


@hostile("nested deeper than Python counts", says="nested")
def nested(folder, notebook):
    write(folder, b"[" * 100_000)


@hostile("nothing", says="is empty")
def nothing(folder, notebook):
    pass


@hostile("a file as the unit", says="is not a folder")
def file_as_unit(folder, notebook):
    instead(folder)
    folder.write_bytes(notebook)


@hostile("a pipe as the unit", says="is not a folder")
def pipe_as_unit(folder, notebook):
    instead(folder)
    os.mkfifo(folder)


@hostile("a link to itself as the unit", says="is not a folder")
def link_as_unit(folder, notebook):
    instead(folder)
    folder.symlink_to(folder.name)


@hostile("a link to the class as the unit", says="is not a folder")
def class_as_unit(folder, notebook):
    instead(folder)
    folder.symlink_to("../..")


# --- beside the notebook -------------------------------------------------------------------------------------------


@hostile("names of any kind beside it", counts=True)
def odd_names(folder, notebook):
    write(folder, notebook)
    for name in ("x" * 255, os.fsdecode("王".encode("gbk") * 120), "a\nb", "\x1b[2J", " ", "-rf", "~", "figure.shtml"):
        (folder / name).write_text("<script>alert(1)</script>")


@hostile("a pipe and a socket beside it", counts=True)
def special_files(folder, notebook):
    write(folder, notebook)
    os.mkfifo(folder / "data.csv")
    bind(folder / "data.json")


@hostile("links beside it", counts=True)
def links(folder, notebook):
    write(folder, notebook)
    (folder / "zeros").symlink_to("/dev/zero")
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to("..")
    (folder / "root").symlink_to("/")


@hostile("a gigabyte beside it", counts=True)
def gigabyte_beside(folder, notebook):
    write(folder, notebook)
    sparse(folder / "data.bin")


@hostile("many files beside it", says="too many files")
def many(folder, notebook):
    write(folder, notebook)
    (folder / "data").mkdir()
    for number in range(MANY):
        os.close(os.open(folder / "data" / str(number), os.O_CREAT | os.O_WRONLY))


@hostile("folders in folders beside it", says="too many files or folders")
def deep(folder, notebook):
    write(folder, notebook)
    inside = os.open(folder, os.O_RDONLY)
    for _ in range(200):  # a path that is longer than a path may be
        os.mkdir("d" * 200, dir_fd=inside)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = inner
    os.close(inside)


# --- timestamp.txt -------------------------------------------------------------------------------------------------


def dated(folder: Path, notebook: bytes, text: bytes) -> None:
    write(folder, notebook)
    (folder / "timestamp.txt").write_bytes(text)


for _name, _text in {
    "a date that is none": b"yesterday",
    "a date of year 1": b"0001-01-01 00:00:00 UTC",
    "a date of year 9999": b"9999-12-31 23:59:59 -1200",
    "a date with a zone of weeks": b"2026-01-01 00:00:00 +999999",
    "zeros as a date": b"\0" * 100,
    "escapes as a date": b"\x1b[2J\nzed: failed: by me",
    "digits as a date": b"9" * 190,
    "GBK as a date": "二〇二六年".encode("gbk"),
}.items():
    hostile(_name, says="is no date")(lambda folder, notebook, text=_text: dated(folder, notebook, text))


@hostile("a date of a gigabyte", says="more than a date")
def gigabyte_of_date(folder, notebook):
    write(folder, notebook)
    sparse(folder / "timestamp.txt")


@hostile("a pipe as a date", says="timestamp.txt is")
def pipe_as_date(folder, notebook):
    write(folder, notebook)
    os.mkfifo(folder / "timestamp.txt")


@hostile("a folder as a date", says="timestamp.txt is")
def folder_as_date(folder, notebook):
    write(folder, notebook)
    (folder / "timestamp.txt").mkdir()


@hostile("endless zeros as a date", says="timestamp.txt is")
def zeros_as_date(folder, notebook):
    write(folder, notebook)
    (folder / "timestamp.txt").symlink_to("/dev/zero")


@hostile("an old file time", counts=True)
def old(folder, notebook):
    write(folder, notebook)
    os.utime(folder / NOTEBOOK, (10**12, 10**12))
