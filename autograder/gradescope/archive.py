"""`autograder publish --gradescope DIR`: for each unit the zip that Gradescope makes an assignment's container from.

It holds the grader, the library and the unit's release: its tests, hidden ones too, and no solution. It is the
instructor's file; learners never get it.
"""

import json
import tempfile
import zipfile
from importlib import resources
from pathlib import Path

from autograder.course import CourseError, find_units
from autograder.submissions.release import Release, read_release

# What `binder/prepare.py setup` needs, and what it installs.
FILES = ("LICENSE", "README.md", "pyproject.toml", "requirements.lock")
FOLDERS = ("autograder", "binder", "course/fridge")
NOT_COPIED = ("__pycache__", ".ipynb_checkpoints", "measurements/")
RELEASE = "release.json"
SCRIPTS = ("setup.sh", "run_autograder")  # Gradescope's names, at the root of the zip
# The oldest date that a zip can hold: the same course gives the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)
RUNNABLE, READABLE = 0o755, 0o644


def archives(root: Path, folder: Path) -> list[Path]:
    """Write DIR/<unit>.zip for all units; return their paths.

    Raises:
        CourseError: a handout or a file of the course is missing.
    """
    made = [(unit, read_release(unit)) for unit in find_units(root)]  # all, before anything is written
    common = _common(root)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"{unit.name}.zip", common, release) for unit, release in made]


def _common(root: Path) -> dict[str, bytes]:
    files = [root / name for name in FILES]
    if missing := [path for path in files if not path.is_file()]:
        raise CourseError(f"{missing[0]} is missing: restore it, it is a part of the course's repository")
    for name in FOLDERS:
        files += sorted(path for path in (root / name).rglob("*") if path.is_file())
    named = {path.relative_to(root).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if not any(part in name for part in NOT_COPIED)}


def _write(path: Path, common: dict[str, bytes], release: Release) -> Path:
    scripts = {name: _template(name) for name in SCRIPTS}
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name, data in scripts.items():
            _add(archive, name, data, RUNNABLE)
        _add(archive, RELEASE, json.dumps(release.as_json()).encode(), READABLE)
        for name, data in common.items():
            _add(archive, name, data, READABLE)
    Path(beside.name).chmod(0o600)  # hidden tests
    return Path(beside.name).replace(path)


def _add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def _template(name: str) -> bytes:
    return resources.files("autograder").joinpath("templates", "gradescope", name).read_bytes()
