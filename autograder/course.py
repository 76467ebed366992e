"""Where things lie: the course's root, its units, and nbgrader's configuration for them."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

CATALOGS = "locale"  # folder of translations
GITHUB = "https://github.com/"
# What stands before owner/name: https://github.com/, git@github.com: and their relatives.
_HOST = re.compile(r"(?:(?:https?|ssh|git)://)?(?:[^/@\s]+@)?(?:www\.)?github\.com(?::\d+)?[:/]+", re.IGNORECASE)
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.{1,2}$)[A-Za-z0-9._-]+")


class CourseError(Exception):
    """Something about the course's files is wrong. The message says what to do."""


@dataclass(frozen=True)
class Unit:
    """One unit of the course: a master, its pair, its release."""

    root: Path
    name: str  # 03-kv-cache
    notebook: str  # kv_cache

    @property
    def master(self) -> Path:
        """The text that authors edit: jupytext py:percent, with solutions and hidden tests."""
        return self.root / "solutions" / self.name / f"{self.notebook}.py"

    @property
    def pair(self) -> Path:
        """The master as a notebook, with outputs."""
        return self.master.with_suffix(".ipynb")

    @property
    def release(self) -> Path:
        """The handout."""
        return self.root / "course" / self.name / f"{self.notebook}.ipynb"

    @property
    def translations(self) -> list[Path]:
        """The same handout in other languages."""
        return sorted((self.root / "course").glob(f"[a-z][a-z]/{self.name}/{self.release.name}"))

    @property
    def submissions(self) -> Path:
        """Whole sets of answers, good and bad, that test the unit's tests."""
        return self.root / "tests" / "submissions" / self.name


def find_root(start: Path | None = None) -> Path:
    """The course's root: the nearest folder upwards that has nbgrader_config.py and solutions/.

    Raises:
        CourseError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "nbgrader_config.py").is_file() and (folder / "solutions").is_dir():
            return folder
    raise CourseError(
        f"{start} is not inside a course: no nbgrader_config.py beside solutions/. cd to the clone first."
    )


def find_units(root: Path, names: list[str] | None = None) -> list[Unit]:
    """All units, or those named, in the course's order. A folder without a master is none: `unfinished` lists them.

    Raises:
        CourseError: an unknown name, or a named folder without exactly one master.
    """
    masters = {folder.name: _masters(folder) for folder in _unit_folders(root)}
    for name in names or []:
        if name not in masters:
            raise CourseError(f"no unit {name}; there are {', '.join(masters)}")
        if len(masters[name]) != 1:
            raise CourseError(_finding(root, name, len(masters[name])))
    return [
        Unit(root, name, found[0].stem)
        for name, found in masters.items()
        if len(found) == 1 and (not names or name in names)
    ]


def unfinished(root: Path) -> list[str]:
    """A sentence for each folder in solutions/ that doesn't hold exactly one master."""
    counts = {folder.name: len(_masters(folder)) for folder in _unit_folders(root)}
    return [_finding(root, name, count) for name, count in counts.items() if count != 1]


def _unit_folders(root: Path) -> list[Path]:
    folders = sorted(path for path in (root / "solutions").iterdir() if path.is_dir())
    return [folder for folder in folders if not folder.name.startswith((".", "_"))]


def _masters(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.py")) if "nbgrader=" in path.read_text(encoding="utf-8")]


def _finding(root: Path, name: str, count: int) -> str:
    return f"{root / 'solutions' / name} must hold one master (a .py file with nbgrader cells); found {count}"


def repository(root: Path) -> str:
    """The repository's address on GitHub, without .git; it stands in pyproject.toml and nowhere else.

    Raises:
        CourseError: it is another host's, or no address.
    """
    return f"{GITHUB}{repository_slug(root)}"


def repository_slug(root: Path) -> str:
    """The repository as owner/name. Raises CourseError as `repository` does."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return slug(project["urls"]["Repository"])


def slug(address: str) -> str:
    """owner/name of a repository on GitHub, given so, or as its page's address, or as git gives it.

    Raises:
        CourseError: it is none of these; Colab and Binder open notebooks by the addresses that are made from it.
    """
    host = _HOST.match(address.strip())
    said = address.strip()[host.end() :] if host else address.strip()
    said = said.rstrip("/").removesuffix(".git")
    if not _SLUG.fullmatch(said):
        raise CourseError(
            f"{address!r} is no repository on GitHub, where badges lead: give owner/name or the address as GitHub "
            "shows it, fridge-school/course-2027 or https://github.com/fridge-school/course-2027.git, say"
        )
    return said


def nbgrader_configuration(root: Path) -> Config:
    """nbgrader_config.py as nbgrader's own commands read it."""
    (root / "grading").mkdir(exist_ok=True)  # SQLite makes a file, not its folder
    return PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
