"""Folders that a command makes as a whole: built aside, put in place by a rename, never over a stranger's files."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autograder.course import CourseError

MARKER = ".published.json"  # path -> SHA-256 of all that was made


@contextlib.contextmanager
def made(root: Path, folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes `folder`'s place when the block ends without an error.

    Args:
        folder: new, empty, or made by an earlier run and not changed since; not in the course.

    Raises:
        CourseError: `folder` holds something else.
    """
    folder = folder.resolve()
    if {root / "course", root / "solutions"} & {folder, *folder.parents} or folder in {root, *root.parents}:
        raise CourseError(f"{folder} is the course itself: name a folder outside it")
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():  # killed between the two renames below
        old.rename(folder)
    _refuse_strangers(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        tree = Path(beside) / "tree"
        yield tree
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)  # killed before the last line of this function
            folder.rename(old)
        tree.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def mark(tree: Path) -> int:
    """Write down what was made, for the next run; return the number of files."""
    found = _hashes(tree)
    (tree / MARKER).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return len(found)


def _refuse_strangers(folder: Path) -> None:
    if not folder.exists():
        return
    present = _hashes(folder) if folder.is_dir() else {folder.name: ""}
    known = json.loads((folder / MARKER).read_text(encoding="utf-8")) if (folder / MARKER).is_file() else {}
    if strangers := sorted(path for path, digest in present.items() if known.get(path) != digest):
        listed = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise CourseError(
            f"{folder} holds what `autograder publish` didn't make ({listed}), and would be replaced as a whole. "
            "Name another folder, or move that away; for a folder under git use --branch"
        )


def _hashes(tree: Path) -> dict[str, str]:
    files = sorted(path for path in tree.rglob("*") if not path.is_dir() and path != tree / MARKER)
    return {path.relative_to(tree).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
