"""A submitted notebook as a file: found in a student's folder, read as bytes from a stranger, returned clean.

Whatever can't be graded is refused with one sentence for the instructor. Nothing here executes, unpickles or follows
a link, and sizes are looked at before anything is read or built.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder import pythons
from fridge.notebook.cells import cell_source

MAX_BYTES = 20 * 10**6
MAX_OBJECTS = (
    2_000_000  # objects and lists in the JSON: what they take in memory is many times what they take in a file
)
MAX_CELLS = 20_000  # empty ones, too
MAX_ENTRIES, MAX_DEPTH = 5_000, 8  # files and folders in a student's folder, folders within folders
IGNORED_FOLDERS = {".ipynb_checkpoints", "__macosx", "__pycache__", "node_modules"}
# What a browser, a file manager, an LMS or JupyterLab adds to a name; what may stand for a space.
_ADDED = re.compile(r"(?:[-_ ]*(?:copy|kopie|副本)\s*\d*|\s*\(\d+\)|[-_ ]\d+)+$", re.IGNORECASE)
_BEFORE = re.compile(
    r"^(?:copy of|copie de|kopie von|copia de|副本)[-_ ]*", re.IGNORECASE
)  # what Drive and Colab put there
_ENDINGS = (".ipynb", ".ipynb.json", ".ipynb.txt")
_CELL_TYPES = {"code": "code", "markdown": "markdown", "heading": "markdown"}  # all else is raw
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BEGINNINGS = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"\x1f\x8b": "a compressed archive: unpack it",
    b"%PDF": "a PDF: ask the learner for the notebook itself",
    b"<": "a web page: ask the learner for the notebook itself",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself",
}


class Refused(Exception):
    """A submission that can't be graded: one sentence for the instructor, what is wrong and what to do."""


def find_notebook(folder: Path, name: str) -> Path:
    """The notebook `name` in one student's folder of a unit; renamed, nested or in another case if it is clearly it.

    Raises:
        Refused: none, several that differ, a symlink.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise Refused(f"{folder} is not a folder: put the student's files into one.")
    files = _files(folder)
    expected = folder / name
    if expected in files and not _is_link(expected):
        return expected
    wanted = plain_name(name)
    exact = [path for path in files if _last_part(path) == name]
    near = [path for path in files if wanted and plain_name(_last_part(path)) == wanted]
    notebooks = [path for path in files if _last_part(path).lower().endswith(_ENDINGS)]
    for candidates in (exact, near, notebooks):
        if candidates:
            return _only_one(candidates, folder, name)
    raise Refused(_nothing(folder, name, files))


def read_notebook(path: Path) -> NotebookNode:
    """The notebook in a file: format 4.5, only what grading needs, cells with metadata and counts but no outputs.

    Raises:
        Refused: too large, not a notebook, broken off, of an unknown version.
    """
    text = _decode(read_bytes(path), path)
    if text.count("{") + text.count("[") > MAX_OBJECTS:
        raise Refused(f"{path.name} has millions of parts, more than any notebook: have a look at it.")
    try:
        data = json.loads(text, parse_constant=lambda _: None)  # NaN is no JSON, and nothing that grading reads
    except RecursionError:
        raise Refused(f"{path.name} is nested too deeply to be a notebook: have a look at it.") from None
    except ValueError as error:
        raise Refused(_why_no_json(path, text, error)) from None
    try:
        return _clean(_version_4(data, path), path)
    except RecursionError:
        raise Refused(f"{path.name} is nested too deeply to be a notebook: have a look at it.") from None


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    waiting, seen = [(folder, 0)], 0
    while waiting:
        inside, depth = waiting.pop()
        with os.scandir(inside) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                seen += 1
                if seen > MAX_ENTRIES or depth > MAX_DEPTH:
                    raise Refused(f"{folder} holds too many files or folders: leave only the notebook in it.")
                if entry.is_dir(follow_symlinks=False):
                    if entry.name.lower() not in IGNORED_FOLDERS:
                        waiting.append((Path(entry.path), depth + 1))
                elif not entry.name.startswith("."):  # `._kv_cache.ipynb` is what a Mac puts into archives
                    found.append(Path(entry.path))
    return sorted(found)


def _only_one(candidates: list[Path], folder: Path, name: str) -> Path:
    if links := [path for path in candidates if _is_link(path)]:
        raise Refused(f"{links[0]} is a link to another file or no file at all: ask the learner for the file itself.")
    first = candidates[0]
    if len(candidates) > 1 and len({read_bytes(path) for path in candidates}) > 1:
        listed = ", ".join(str(path.relative_to(folder)) for path in candidates[:5])
        raise Refused(
            f"{folder} holds {len(candidates)} notebooks that differ ({listed}): ask which one counts, "
            f"and put it there as {name}."
        )
    return first


def _nothing(folder: Path, name: str, files: list[Path]) -> str:
    if not files:
        return f"{folder} is empty: there is no {name} to grade."
    listed = ", ".join(str(path.relative_to(folder)) for path in files[:5])
    archive = any(path.suffix.lower() in (".zip", ".gz", ".tar", ".7z", ".rar") for path in files)
    advice = "unpack the archive" if archive else "ask the learner for the notebook itself"
    return f"{folder} holds no notebook, only {listed}: {advice}."


def _last_part(path: Path) -> str:
    return path.name.rpartition("\\")[2]  # a zip made on Windows can give a file with folders in its name


def plain_name(name: str) -> str:
    """A notebook's name without ending, case, signs and what copies get added; empty for another kind of file."""
    lower = name.lower()
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if lower.endswith(ending):
            stem = _ADDED.sub("", _BEFORE.sub("", lower.removesuffix(ending)))
            return re.sub(r"[\W_]+", "", stem)
    return ""


def _is_link(path: Path) -> bool:
    return not stat.S_ISREG(path.lstat().st_mode)


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes, at most MAX_BYTES; no link is followed.

    Raises:
        Refused: a link, a pipe, empty, too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            f"{path.name} can't be opened ({error.strerror}); links aren't followed: put the file there."
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path.name} is not a regular file: ask the learner for the notebook itself.")
        if status.st_size == 0:
            raise Refused(f"{path.name} is empty, 0 bytes: the upload broke off, ask for it again.")
        if status.st_size > MAX_BYTES:
            raise Refused(_too_large(path, status.st_size))
        data = file.read(MAX_BYTES + 1)  # it may have grown since
    if len(data) > MAX_BYTES:
        raise Refused(_too_large(path, len(data)))
    return data


def _too_large(path: Path, size: int) -> str:
    return (
        f"{path.name} has {size / 1e6:.0f} MB, more than {MAX_BYTES // 10**6} MB: ask the learner to clear the outputs "
        "(Kernel, Restart and Clear All Outputs) and to hand in again."
    )


def _decode(data: bytes, path: Path) -> str:
    for beginning, what in _BEGINNINGS.items():
        if data.lstrip().startswith(beginning):
            raise Refused(f"{path.name} is {what}.")
    # Another encoding's letters stand in comments and strings, never in what makes it JSON.
    return data.decode(json.detect_encoding(data), errors="replace").removeprefix("\ufeff")


def _why_no_json(path: Path, text: str, error: ValueError) -> str:
    if "\n<<<<<<< " in text and "\n>>>>>>> " in text:
        return f"{path.name} holds git's marks of a merge conflict: ask the learner to resolve it and to hand in again."
    if not text.strip():
        return f"{path.name} is empty but for spaces: the upload broke off, ask for it again."
    if not text.lstrip().startswith(("{", "[")):
        return f"{path.name} is not a notebook: it is not JSON. Ask the learner for the .ipynb file."
    if isinstance(error, json.JSONDecodeError):
        if not text.rstrip().endswith(("}", "]")):
            lines = text.count("\n") + 1
            return f"{path.name} breaks off in line {lines}: the upload was cut short, ask for it again."
        return (
            f"{path.name} is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}): "
            "ask the learner to open it in Jupyter, to save it and to hand in again."
        )
    return f"{path.name} is not valid JSON: ask the learner to open it in Jupyter, to save it and to hand in again."


def _version_4(data: Any, path: Path) -> dict[str, Any]:
    if type(data) is not dict or not {"cells", "worksheets"} & set(data):
        raise Refused(f"{path.name} is JSON but not a notebook: it has no cells. Ask the learner for the .ipynb file.")
    version = data.get("nbformat", 4 if "cells" in data else 3)
    if version == 4:
        return data
    if version not in (2, 3):
        raise Refused(f"{path.name} is a notebook of version {str(version)[:20]}, which this grader doesn't know.")
    try:
        return nbformat.convert(nbformat.from_dict({"nbformat_minor": 0, **data, "nbformat": version}), 4)
    except Exception as error:  # it was written by a stranger: anything can be missing
        words = f"{path.name} is a damaged notebook of version {version} ({type(error).__name__})"
        raise Refused(f"{words}: ask the learner to open it in Jupyter, to save it and to hand in again.") from None


def _clean(data: dict[str, Any], path: Path) -> NotebookNode:
    cells = data.get("cells")
    if not isinstance(cells, list):
        raise Refused(f"{path.name} is damaged: its cells are not a list. Ask the learner to hand in again.")
    if len(cells) > MAX_CELLS:
        raise Refused(f"{path.name} has {len(cells)} cells, more than {MAX_CELLS}: have a look at it.")
    notebook = nbformat.v4.new_notebook()  # its other metadata are the handout's
    if version := pythons.written_with(data.get("metadata")):
        notebook.metadata["language_info"] = {"name": "python", "version": version}
    taken: set[str] = set()
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict) or (source := cell_source(cell)) is None:
            raise Refused(f"{path.name} is damaged: its cell {number} has no text. Ask the learner to hand in again.")
        notebook.cells.append(_clean_cell(cell, source, number, taken))
    return notebook


def _clean_cell(cell: dict[str, Any], source: str, number: int, taken: set[str]) -> NotebookNode:
    kind = cell.get("cell_type")
    kind = _CELL_TYPES.get(kind, "raw") if isinstance(kind, str) else "raw"
    clean = NotebookNode(cell_type=kind, metadata=nbformat.from_dict(_dictionary(cell.get("metadata"))), source=source)
    own = cell.get("id")
    usable = isinstance(own, str) and own not in taken and _ID.fullmatch(own)
    clean.id = own if usable else f"cell-{number}-of-the-submission"
    taken.add(clean.id)
    if kind == "code":
        count = cell.get("execution_count")
        clean.update(outputs=[], execution_count=count if type(count) is int and count >= 0 else None)
    elif isinstance(cell.get("attachments"), dict):
        clean.attachments = nbformat.from_dict(cell["attachments"])
    return clean


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
