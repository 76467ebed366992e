"""`autograder new`: a unit to write into: a master that lints, builds and grades, with its samples and its rows.

What it makes is a whole unit in small: the notebook's seven parts, one exercise, right and wrong answers to it.
"""

import json
import re
from pathlib import Path

from autograder.authoring import maps
from autograder.authoring.build import build
from autograder.authoring.lint import GRADE_IDS, RECALL
from autograder.course import CourseError, Unit, find_units
from autograder.notebooks import template

_NAME = re.compile(r"([0-9]{2})-([a-z0-9]+(?:-[a-z0-9]+)*)")
LONGEST_NAME = 60  # characters; files have it in their names, and no name of a file is longer than 255
_TITLE = re.compile(r"[^\s|\[\]`#][^|\[\]`#\n]*")


def new(root: Path, name: str, title: str) -> list[Path]:
    """Make a unit; return the files that are new or changed.

    Args:
        name: "07-gptq-awq": two digits, and words that make the notebook's name, gptq_awq.
        title: "GPTQ and AWQ", for the heading, the links and the maps.

    Raises:
        CourseError: the name or the title can't be a unit's, or there is something of that name. Nothing has changed.
    """
    unit, number = _unit(root, name), name[:2]
    if not (_TITLE.fullmatch(title) and title.isprintable()):
        raise CourseError(f"{title!r} can't be a title: one line of words, without | [ ] ` and #")
    exercise = f"{name[3:]}-blocks"
    words = {"number": number, "title": title, "unit": name, "exercise": exercise, "function": "blocks_for"}
    made = {
        unit.master: "master.py",
        unit.submissions / "right" / "quotient_and_remainder.py": "right.py",
        unit.submissions / "right" / "filled_up.py": "also_right.py",
        unit.submissions / "wrong" / f"{exercise}.toml": "wrong.toml",
        root / RECALL / f"{name}.toml": "recall.toml",
    }
    for path, source in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(template(f"new/{source}"), words), encoding="utf-8")
    _release(root, name, [exercise, f"{exercise}-test"])
    pages = [root / page for page in maps.add_row(root, unit)]
    return [*made, root / GRADE_IDS, *pages, *_built(root)]


def _unit(root: Path, name: str) -> Unit:
    found = _NAME.fullmatch(name)
    if not found or len(name) > LONGEST_NAME:
        raise CourseError(f"{name[:100]!r} can't be a unit's name: 07-gptq-awq, say, two digits and small words")
    unit = Unit(root, name, found[2].replace("-", "_"))
    for one in find_units(root):
        if one.name[:2] == name[:2]:
            raise CourseError(f"there is a unit {one.name}: take another number")
    for path in (unit.master.parent, unit.release.parent, unit.submissions, root / RECALL / f"{name}.toml"):
        if path.exists():
            raise CourseError(f"{path} is there already: take another name, or move it away")
    return unit


def _built(root: Path) -> list[Path]:
    # The unit before this one gets a link to it.
    notebooks = [path for unit in find_units(root) for path in (unit.pair, unit.release) if path.exists()]
    before = {path: path.read_bytes() for path in notebooks}
    return [path for path in build(root) if before.get(path) != path.read_bytes()]


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{(number|title|unit|exercise|function)\}", lambda found: words[found[1]], text)


def _release(root: Path, name: str, ids: list[str]) -> None:
    path = root / GRADE_IDS
    released = json.loads(path.read_text(encoding="utf-8")) | {name: ids}
    path.write_text(json.dumps(dict(sorted(released.items())), indent=2) + "\n", encoding="utf-8")
