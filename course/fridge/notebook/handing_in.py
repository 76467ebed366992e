"""The file to hand in: a copy of the saved notebook, checked and whole, with a few sentences about what is in it.

It lies in the folder `hand-in` beside the units' folders and is named as the unit's notebook, for that is how a grader
finds it. The learner's own notebook stays as it is. Nothing here raises at a learner: what can't be done is said.
"""

import copy
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fridge.notebook import checkup, contents, on_disk, progress, syllabus, this_notebook
from fridge.notebook.cells import UnreadableCells, read_cells
from fridge.notebook.contents import SAVE, NothingToHandIn

FOLDER = "hand-in"
MADE = "made_for_handing_in"  # key in the file's metadata: a hash of its cells, which tells whether somebody edited it
LARGEST_OUTPUT = 1_000_000  # characters; a figure has some 100,000
LARGEST_FILE = 20 * 10**6  # what the grader reads


@dataclass(frozen=True)
class HandIn:
    """What came of it: sentences, and the file if one was made. JupyterLab and Colab display it, a shell prints it."""

    sentences: Sequence[str]
    path: Path | None = None

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        return "".join(f"<p>{self._linked(sentence)}</p>" for sentence in self.sentences)

    def _linked(self, sentence: str) -> str:
        text = escape(sentence)
        if self.path is None or this_notebook.on_colab():
            return text
        link = f'<a href="{escape(_relative(self.path))}" download>{escape(str(self.path))}</a>'
        return text.replace(escape(str(self.path)), link)


def submit(unit: str) -> HandIn:
    """Check this notebook and make the file to hand in: hand-in/kv_cache.ipynb, from what is saved.

    On Colab the file is made from what the browser shows, and downloaded.

    Args:
        unit: 03-kv-cache, or the beginning of it that tells it from others: 03.
    """
    try:
        unit = _unit_named(unit)
        if this_notebook.on_colab() and (text := this_notebook.colab_text()):
            return _from_colab(unit, text)
        return _from_file(unit, _this_file(unit))
    except NothingToHandIn as error:
        return HandIn([str(error)])


def submit_from(folder: Path, which: str | None = None) -> list[HandIn]:
    """The same in a shell.

    Args:
        folder: where the learner is.
        which: a unit or a notebook's path; default the unit of the folder, or else each that was begun.

    Raises:
        NothingToHandIn: the message says why.
        NoNotebooks: `folder` is in no course.
    """
    if which and which.endswith(".ipynb"):
        path = folder / which
        return [_from_file(_unit_of(_read(path), path), path)]
    course = progress.find_notebooks(folder)
    units = [which or folder.absolute().name]
    if which is None and units[0] not in syllabus.whole():
        units = [unit for unit, listed in syllabus.whole().items() if _is_begun(unit, course / listed["notebook"])]
    if not units:
        raise NothingToHandIn(f"Nothing to hand in yet: no exercise is attempted in the notebooks of {course}.")
    units = [_unit_named(unit) for unit in units]
    return [_from_file(unit, course / syllabus.whole()[unit]["notebook"]) for unit in units]


def _unit_named(name: str) -> str:
    units = list(syllabus.whole())
    found = [unit for unit in units if unit == name] or [unit for unit in units if name and unit.startswith(name)]
    if len(found) != 1:
        raise NothingToHandIn(f"There is no unit {name!r}. The units are {', '.join(units)}.")
    return found[0]


# --- the notebook ---------------------------------------------------------------------------------------------------


def _this_file(unit: str) -> Path:
    name = Path(syllabus.whole()[unit]["notebook"]).name
    files = this_notebook.files(name)
    if files:  # the likeliest that has the unit's tests; what is wrong with the last one will be said
        return next((path for path in files if _exercises_in(path) & syllabus.units()[unit].keys()), files[-1])
    if this_notebook.on_colab():
        raise NothingToHandIn(
            f"Colab doesn't show this notebook to its own code just now. Choose File, Download, Download .ipynb, and "
            f"hand in that file, named {name}."
        )
    raise NothingToHandIn(
        f"{Path(name).absolute()} isn't there. {SAVE} the notebook under this name and run this cell again; or, in a "
        "terminal: `fridge submit NOTEBOOK`, with its path."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return on_disk.read(path)
    except OSError as error:
        raise NothingToHandIn(f"{path} can't be read: {error.strerror}.") from None
    except on_disk.NotANotebook as error:
        raise NothingToHandIn(f"{error}: open it in JupyterLab and save it again.") from None


def _unit_of(notebook: dict[str, Any], path: Path) -> str:
    """The unit whose tests it has most of."""
    tested = _tested(notebook)
    shares = {unit: len(tested & exercises.keys()) for unit, exercises in syllabus.units().items()}
    if not any(shares.values()):
        raise NothingToHandIn(f"{path} has none of the course's tests: is it another notebook, or half of one?")
    return max(shares, key=lambda unit: shares[unit])


def _is_begun(unit: str, path: Path) -> bool:
    try:
        return bool(checkup.matched(on_disk.read(path), unit).answers)
    except (OSError, ValueError):
        return path.exists()  # and what is wrong with it is said


def _exercises_in(path: Path) -> set[str]:
    try:
        return _tested(_read(path))
    except NothingToHandIn:
        return set()


def _tested(notebook: dict[str, Any]) -> set[str]:
    try:
        return {name for cell in read_cells(notebook["cells"]) for name in progress.tested_by(cell)}
    except UnreadableCells as error:
        raise NothingToHandIn(str(error)) from None


# --- the file -------------------------------------------------------------------------------------------------------


def _from_file(unit: str, path: Path) -> HandIn:
    path = path.resolve()
    notebook = _read(path)
    if (own := _unit_of(notebook, path)) != unit:
        raise NothingToHandIn(f"{path} is the notebook of {own}, and not of {unit}.")
    said = contents.report(unit, notebook, f"as saved {_ago(time.time() - path.stat().st_mtime)}")
    unsaved = contents.unsaved(unit, notebook)
    if path.parent.name == FOLDER:
        return HandIn([f"This notebook is the file to hand in: {path}. {SAVE} it.", *said], path)
    beside = path.parent.parent if path.parent.name == unit else path.parent
    made, notes = _make(unit, notebook, beside / FOLDER)
    how = ["On Binder or a server, click its name to download it."] if this_notebook.in_jupyter() else []
    what = "Made of what is saved" if unsaved else "Ready to hand in"
    return HandIn([*unsaved, f"{what}: {made}", *said, *notes, *how], made)


def _from_colab(unit: str, notebook: dict[str, Any]) -> HandIn:
    if (own := _unit_of(notebook, Path("This notebook"))) != unit:
        raise NothingToHandIn(f"This is the notebook of {own}, and not of {unit}.")
    said = contents.report(unit, notebook, "as it stands in this window")
    made, notes = _make(unit, notebook, Path(FOLDER).absolute())
    try:
        from google.colab import files

        files.download(str(made))
        how = f"Your browser downloads {made.name}: hand that in."
    except Exception:  # a browser that blocks it, a runtime of another kind
        how = f"To download it: the folder symbol on the left, {FOLDER}, the three dots beside {made.name}."
    return HandIn([f"Ready to hand in: {made}", *said, *notes, how], made)


def _make(unit: str, notebook: dict[str, Any], folder: Path) -> tuple[Path, list[str]]:
    """Write the file; return it, and sentences about what differs from the notebook."""
    copied = copy.deepcopy(notebook)
    notes = _without_large_outputs(copied)
    checkup.put_back(copied, unit)
    copied["metadata"] = (copied.get("metadata") or {}) | {MADE: _hash(copied)}
    path = folder / Path(syllabus.whole()[unit]["notebook"]).name
    try:
        folder.mkdir(exist_ok=True)
        if path.exists() and _was_edited(path):
            kept = on_disk.free_name(path, "edited")
            path.rename(kept)
            notes.append(f"An older {path.name} there had been edited: it is kept as {kept.name}.")
        on_disk.write(path, copied)
    except OSError as error:
        raise NothingToHandIn(
            f"{path} can't be written ({error.strerror}): free some space, or copy the notebook to a folder of "
            "your own."
        ) from None
    if path.stat().st_size > LARGEST_FILE:
        size, most = path.stat().st_size / 1e6, LARGEST_FILE / 1e6
        notes.append(f"! It has {size:.0f} MB, and the grader reads {most:.0f}: take pictures out of your text cells.")
    return path, notes


def _without_large_outputs(notebook: dict[str, Any]) -> list[str]:
    count = 0
    for cell in notebook["cells"]:
        outputs = cell.get("outputs")
        if isinstance(outputs, list):
            cell["outputs"] = [output for output in outputs if len(json.dumps(output)) <= LARGEST_OUTPUT]
            count += len(outputs) - len(cell["outputs"])
    return [f"Outputs of more than a megabyte are left out of it: {count}."] if count else []


def _was_edited(path: Path) -> bool:
    try:
        notebook = on_disk.read(path)
    except ValueError:
        return True
    return (notebook.get("metadata") or {}).get(MADE) != _hash(notebook)


def _hash(notebook: dict[str, Any]) -> str:
    texts = [(cell.kind, cell.text) for cell in read_cells(notebook["cells"])]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _ago(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def _relative(path: Path) -> str:
    return Path(os.path.relpath(path)).as_posix()
