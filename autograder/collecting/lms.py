"""What a file's name says about its learner, in the forms that Canvas and Moodle give to the files of their archives.

Canvas (lib/content_zipper.rb): `lovelaceada_LATE_4711_815_kv_cache.ipynb`: the sortable name without spaces and commas,
LATE, the learner's number, the upload's number, the file's own name; with anonymous grading `anon_` and a code in place
of name and number. Moodle (mod/assign/classes/downloader.php): `Ada Lovelace_1234_assignsubmission_file_`, a folder or
the beginning of a file's name; the number stands for one learner in one assignment, and isn't the learner's in Moodle.
In a plain folder the first name is the learner's: `ada/kv_cache.ipynb`.

Only what an LMS itself writes counts: the leftmost part of a path. What follows is the learner's choice.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from autograder.submissions.submission import IGNORED_FOLDERS

# \w as in Canvas, which takes all else out; it takes `_7_` out of a name, but not `_7` from a name's end.
_CANVAS = re.compile(r"(?P<who>\w+?)_(?P<number>\d+)_(?P<upload>\d+)_(?P<file>.+)", re.DOTALL)
_CANVAS_ANONYMOUS = re.compile(r"(?P<late>LATE_)?anon_(?P<code>[0-9A-Za-z]+)_(?P<upload>\d+)_(?P<file>.+)", re.DOTALL)
_MOODLE = re.compile(r"(?P<who>[^_]*)_(?P<number>\d+)_assignsubmission_(?P<kind>[a-z]+)(?:_(?P<file>.*))?", re.DOTALL)
_LATE = "_LATE"
_NUMBER_OF_COPY = re.compile(r"(?:[-_ ](\d+)|\s*\((\d+)\))(?=(?:\.ipynb)?(?:\.json|\.txt)?$)", re.IGNORECASE)


class Form(StrEnum):
    """Who named a file."""

    CANVAS = "Canvas"
    MOODLE = "Moodle"
    PLAIN = "folders"


@dataclass(frozen=True)
class Label:
    """One reading of a file's name.

    Attributes:
        who: the learner's name as the LMS writes it, or the folder's; empty if grading is blind.
        number: Canvas's number of the learner, or Moodle's of the learner in this assignment; a code if blind.
        late: whether Canvas calls it late; None where names don't say.
        upload: Canvas's number of the upload, higher for a later one; 0 elsewhere.
        file: the learner's own name of the file.
    """

    form: Form
    who: str
    number: str
    file: str
    late: bool | None = None
    upload: int = 0

    @property
    def copy(self) -> int:
        """2 of `kv_cache-2.ipynb` and `kv_cache (2).ipynb`, 0 without a number."""
        found = _NUMBER_OF_COPY.search(self.file)
        return int((found[1] or found[2])[:9]) if found else 0


def parts_of(path: str) -> list[str]:
    """A path's parts, whichever way its slashes lean."""
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def is_litter(parts: list[str]) -> bool:
    """Whether a Mac, Jupyter or a file manager put the file there, and no person."""
    return any(part.startswith("._") or part.lower() in IGNORED_FOLDERS or part == ".DS_Store" for part in parts)


def wrappers(paths: Collection[list[str]], is_known: Callable[[str], bool]) -> int:
    """How many folders stand around all learners: of an archive unpacked by hand, say."""
    count = 0
    while paths and all(len(path) > count + 1 for path in paths):
        first = {path[count] for path in paths}
        (name,) = first if len(first) == 1 else ("",)
        if not name or _MOODLE.fullmatch(name) or is_known(name):
            break
        count += 1
    return count


def labels(parts: list[str], unit: str, notebook: str) -> list[Label]:
    """All readings of a path, without the folders around all of them; none if it doesn't say who.

    Args:
        notebook: its name without ending, `kv_cache`.
    """
    if found := _MOODLE.fullmatch(parts[0]):  # what stands further right, a learner may have chosen
        own = parts[-1] if len(parts) > 1 else found["file"] or ""
        return [Label(Form.MOODLE, found["who"].strip(), found["number"], own)] if found["kind"] == "file" else []
    if len(parts) > 1:
        folder = parts[1] if parts[0] == unit and len(parts) > 2 else parts[0]
        return [Label(Form.PLAIN, folder, "", parts[-1])]
    return _canvas(parts[0]) or _plain_file(parts[0], notebook)


def _canvas(name: str) -> list[Label]:
    if found := _CANVAS_ANONYMOUS.fullmatch(name):
        return [
            Label(
                Form.CANVAS, "", f"anon_{found['code']}", found["file"], bool(found["late"]), int(found["upload"][:18])
            )
        ]
    found = _CANVAS.fullmatch(name)
    readings = [] if found is None else [_reading(found["who"], found["number"], found["upload"], found["file"])]
    # ada_4711_66_77_x.ipynb: a file 77_x of learner 4711, or a file x of learner 66, whose own name ends in _4711.
    if found and (other := re.fullmatch(r"(\d+)_(.+)", found["file"], re.DOTALL)):
        readings.append(_reading(f"{found['who']}_{found['number']}", found["upload"], other[1], other[2]))
    return readings


def _reading(who: str, number: str, upload: str, file: str) -> Label:
    late = who.endswith(_LATE)
    return Label(Form.CANVAS, who.removesuffix(_LATE), number, file, late, int(upload[:18]))


def _plain_file(name: str, notebook: str) -> list[Label]:
    stem = name.split(".ipynb")[0]
    found = [stem]
    for sign in "_-. ":
        found += [stem.removesuffix(sign + notebook), stem.removeprefix(notebook + sign)]
    return [Label(Form.PLAIN, who, "", name) for who in dict.fromkeys(found) if who != notebook]
