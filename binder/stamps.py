"""What an environment was made from, and whether that is still so: asked at each start, without a process or a network.

A stamp, written last, holds a fingerprint of the files, the Python and the folder. A marker is there while something
changes the environment: if the process is killed, the next one knows what may be half done.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
MODEL_LOCK = ROOT / "course" / "fridge" / "weights" / "smollm2.lock"

SATISFIED_BY = {"lab": ("lab", "setup", "test"), "setup": ("setup", "test"), "test": ("test",)}


def is_prepared(prefix: Path, goal: str) -> bool:
    """Whether the environment at `prefix` holds all that `goal` needs."""
    return packages_ready(prefix, goal) and model_ready(prefix)


def packages_ready(prefix: Path, goal: str) -> bool:
    """Whether the packages were installed for `goal` or more, from these files, by this Python, in this place."""
    if not python_of(prefix).exists() or read(marker(prefix)) not in ("", "model"):
        return False
    return any(read(stamp(prefix, name)) == fingerprint(prefix) for name in SATISFIED_BY[goal])


def model_ready(prefix: Path) -> bool:
    """Whether the chosen model was prepared and is still in its cache."""
    choice, _, folder = read(stamp(prefix, "model")).partition("\n")
    return choice == model_choice() and Path(folder).is_dir()


def fingerprint(prefix: Path) -> str:
    """What an environment is made from: the lock, pyproject.toml, a Python, and the folder that its scripts name."""
    digest = hashlib.sha256()
    for path in (LOCK, ROOT / "pyproject.toml", prefix / "pyvenv.cfg"):
        digest.update(f"{read(path)}\0".encode())
    digest.update(f"{prefix}\0{ROOT}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def model_choice() -> str:
    """What decides which model the course loads, and where it is kept."""
    chosen = [os.environ.get(name, "") for name in ("FRIDGE_MODEL", "FRIDGE_CACHE", "XDG_CACHE_HOME")]
    return hashlib.sha256("\0".join([*chosen, read(MODEL_LOCK)]).encode("utf-8", "surrogateescape")).hexdigest()


def stamp(prefix: Path, name: str) -> Path:
    """The file that says what `name` was prepared from."""
    return prefix / f".prepared-{name}"


def marker(prefix: Path) -> Path:
    """The file that names what is being changed, while it is: a killed program leaves what looks installed."""
    return prefix / ".unfinished"


@contextlib.contextmanager
def unfinished(prefix: Path, step: str) -> Iterator[None]:
    """Mark the environment while `step` changes it. The mark stays if the step fails or is killed."""
    write(marker(prefix), step)
    yield
    marker(prefix).unlink()


def python_of(prefix: Path) -> Path:
    """The interpreter of an environment."""
    return prefix / "bin" / "python"


def read(path: Path) -> str:
    """A file's text, or "" if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def write(path: Path, text: str) -> None:
    """Write a file at once, by a rename."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8", errors="surrogateescape")
    new.rename(path)
