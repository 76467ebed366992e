"""`autograder publish`: what learners get and nothing else, as a folder or a git branch, for a repository of its own.

The course's repository holds solutions and hidden tests, so learners need another one. Only what is named here is
copied, and before anything is put in its place, every handout is searched for its masters' secret lines.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat

from autograder.authoring.made import MARKER, made, mark
from autograder.course import GITHUB, CourseError, Unit, find_units, repository_slug
from autograder.course import slug as slug_of
from autograder.notebooks import is_for_real
from autograder.translating.catalogs import languages
from fridge.notebook import references

FILES = (".gitattributes", "LICENSE", "environment.yml", "requirements.lock")
FOLDERS = ("binder", "course/fridge", "course/images")
NOT_COPIED = ("__pycache__", "*.pyc", ".ipynb_checkpoints")
CONTRIBUTORS_PAGE = "binder/README.md"
# Of the Makefile: variables, then rules.
MAKE = ("PYTHON ?=", "PORT ?=", "BROWSER ?=", "unexport ", "JUPYTER =", "help:", "lab:", "for-learners:")
RENAMED = (".ipynb", ".md")  # files that name the repository, in badges and links
LEARNERS_SECTIONS = ("The units", "For learners")  # of README.md; the rest of the page is for others
REVEAL = f"course/fridge/{references.CHOICE.name}"
MARKERS = tuple(f"### {end} {what}" for what in ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME") for end in ("BEGIN", "END"))
SHORTEST_SECRET = 12  # characters of a line that gives something away


def publish(root: Path, folder: Path, repo: str | None = None, reveal: str = references.FILES) -> int:
    """Make `folder` the learners' repository, built beside it and renamed; return the number of files.

    Args:
        folder: new, empty, or made by an earlier `publish` and not changed since.
        repo: owner/name on GitHub, or its address there, for the badges; default pyproject.toml's.
        reveal: where `fridge.reveal` may take references from: `references.LIBRARY`, `FILES` or `NO`.

    Raises:
        CourseError: `folder` holds something else, `repo` isn't on GitHub, or a handout shows a secret.
    """
    with made(root, folder) as tree:
        return make(root, tree, repo, reveal)


def publish_branch(root: Path, branch: str, repo: str | None = None, reveal: str = references.FILES) -> str:
    """Commit the learners' repository to a branch of this one, without touching files or index; return the commit.

    The branch shares no history with the others, and is for pushing to a repository of its own.

    Raises:
        CourseError: the branch is checked out or holds something else, git failed, or a handout shows a secret.
    """
    ref = f"refs/heads/{branch}"
    if _git(root, "symbolic-ref", "--quiet", "HEAD", check=False) == ref:
        raise CourseError(f"the branch {branch} is checked out: name another one")
    before = _git(root, "rev-parse", "--verify", "--quiet", ref, check=False)
    if before and not _git(root, "ls-tree", before, MARKER):
        raise CourseError(f"the branch {branch} was not made by `autograder publish`: name another one")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        make(root, tree, repo, reveal)
        where = {"GIT_DIR": _git(root, "rev-parse", "--absolute-git-dir"), "GIT_WORK_TREE": str(tree)}
        where["GIT_INDEX_FILE"] = str(Path(folder) / "index")
        _git(tree, "add", "--all", "--force", ".", **where)
        content = _git(tree, "write-tree", **where)
        if before and _git(root, "rev-parse", f"{before}^{{tree}}") == content:
            return before  # nothing has changed
        parent = ("-p", before) if before else ()
        commit = _git(root, "commit-tree", content, *parent, "-m", "The course, as learners get it")
        _git(root, "update-ref", ref, commit, before or "0" * len(commit))  # fails if somebody else moved it
    return commit


def make(root: Path, tree: Path, repo: str | None = None, reveal: str = references.FILES) -> int:
    """Fill a new folder with the learners' repository; return the number of files. Raises as `publish` does."""
    old = repository_slug(root)
    slug = slug_of(repo) if repo else old
    units = find_units(root)
    _copy(root, tree, units)
    for path in tree.rglob("*"):
        if path.suffix in RENAMED:
            path.write_text(path.read_text(encoding="utf-8").replace(old, slug), encoding="utf-8")
    page = _readme(root, units[0].release.relative_to(root).as_posix())
    (tree / "README.md").write_text(page.replace(old, slug), encoding="utf-8")
    (tree / "pyproject.toml").write_text(_pyproject(root, f"{GITHUB}{slug}"), encoding="utf-8")
    (tree / "Makefile").write_text(_makefile(root), encoding="utf-8")
    (tree / ".gitignore").write_text(_template("gitignore"), encoding="utf-8")
    (tree / REVEAL).write_text(json.dumps({"reveal": reveal}) + "\n", encoding="utf-8")
    if found := leaks(tree, units):
        shown = "\n".join(f"  {line}" for line in found[:10])
        raise CourseError(f"nothing was published: learners would see\n{shown}\nRun `make course`, then publish again.")
    return mark(tree)


def _copy(root: Path, tree: Path, units: list[Unit]) -> None:
    pages = ("*.md", *(f"{language}/*.md" for language in languages(root)))
    course = [path.relative_to(root) for pattern in pages for path in sorted((root / "course").glob(pattern))]
    released = [path.relative_to(root) for unit in units for path in (unit.release, *unit.translations)]
    for path in (*map(Path, FILES), *course, *released, *_beside(root, units)):
        if not (root / path).is_file():
            raise CourseError(f"{path} is missing: run `make course`")
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, tree / path)
    for name in FOLDERS:
        if (root / name).is_dir():
            shutil.copytree(root / name, tree / name, ignore=shutil.ignore_patterns(*NOT_COPIED))
    (tree / CONTRIBUTORS_PAGE).unlink(missing_ok=True)


def _beside(root: Path, units: list[Unit]) -> list[Path]:
    # Data that nbgrader handed out with a notebook. What an instructor tried out in course/ isn't in solutions/.
    found = []
    for unit in units:
        for path in sorted(unit.release.parent.rglob("*")):
            inside = path.relative_to(unit.release.parent)
            if path.is_file() and path.suffix != ".ipynb" and (unit.master.parent / inside).is_file():
                found.append(path.relative_to(root))
    return found


def _readme(root: Path, first: str) -> str:
    page = (root / "README.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", page, re.MULTILINE))
    if missing := [name for name in LEARNERS_SECTIONS if name not in sections]:
        raise CourseError(f"README.md has no section {', '.join(missing)}, which the learners' README is made from")
    kept = "\n".join(f"## {name}\n{sections[name].rstrip()}\n" for name in LEARNERS_SECTIONS)
    slug = repository_slug(root)
    return _template("README.md").replace("{slug}", slug).replace("{first}", first).replace("{sections}", kept)


def _makefile(root: Path) -> str:
    # Variables and recipes as they stand in the course's own, so that the two can't differ.
    page = (root / "Makefile").read_text(encoding="utf-8")
    found = {
        begin: re.search(rf"^{re.escape(begin)}.*(?:(?<=\\)\n.*)*(?:\n\t.*)*", page, re.MULTILINE) for begin in MAKE
    }
    if missing := [begin for begin, part in found.items() if part is None]:
        raise CourseError(f"Makefile has no {', '.join(missing)}, which the learners' Makefile is made from")
    parts = [part.group() + ("\n\n" if begin.endswith((":", "JUPYTER =")) else "\n") for begin, part in found.items()]
    return _template("Makefile") + "".join(parts).rstrip() + "\n"


def _pyproject(root: Path, address: str) -> str:
    # The same package without the grader: what `pip install` needs, on Colab too.
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project, tools = data["project"], data["tool"]["setuptools"]
    scripts = {name: call for name, call in project.get("scripts", {}).items() if not call.startswith("autograder")}
    tables: dict[str, dict[str, Any]] = {
        "build-system": data["build-system"],
        "project": {key: value for key, value in project.items() if not isinstance(value, dict)},
        "project.optional-dependencies": {"lab": project["optional-dependencies"]["lab"]},
        "project.scripts": scripts,
        "project.urls": {"Repository": address},
        "tool.setuptools": {"packages": [name for name in tools["packages"] if not name.startswith("autograder")]},
        "tool.setuptools.package-dir": {"fridge": tools["package-dir"]["fridge"]},
        "tool.setuptools.package-data": {"fridge": tools["package-data"]["fridge"]},
    }
    # A string or a list of strings is written in TOML as in JSON.
    lines = {
        name: [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
        for name, table in tables.items()
    }
    return "\n".join("\n".join([f"[{name}]", *table, ""]) for name, table in lines.items() if table)


def leaks(tree: Path, units: list[Unit]) -> list[str]:
    """Lines of solutions and hidden tests, masters' markers, and outputs that stand in a learners' repository."""
    split = {}
    for unit in units:
        lines = _lines(unit.master.read_text(encoding="utf-8"))
        split |= {path.relative_to(unit.root): lines for path in (unit.release, *unit.translations)}
    secrets = set().union(*(secret for secret, _ in split.values()))
    found = []
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        name, text = path.relative_to(tree), path.read_bytes().decode("utf-8", "replace")
        kept: set[str] = set()
        if path.suffix == ".ipynb":
            kept = secrets - split[name][1]
            cells = nbformat.reads(text, as_version=4).cells
            found += [
                f"{name}: outputs of {cell.id}" for cell in cells if cell.get("outputs") and not is_for_real(cell)
            ]
            text = "\n".join(cell.source for cell in cells)
        lines = text.splitlines()  # a marker in the middle of a line is code that speaks of markers
        found += [f"{name}: {line}" for line in lines if line.strip() in kept or line.strip().startswith(MARKERS)]
    return found


def _lines(master: str) -> tuple[set[str], set[str]]:
    """(lines in solutions and hidden tests that say something, all other lines) of a master."""
    secret, public, hidden, in_text = set(), set(), False, False
    for line in master.splitlines():
        if line.startswith("# %%"):
            in_text = line.startswith("# %% [markdown]")
        if any(marker in line for marker in MARKERS):
            hidden = "### BEGIN" in line
        else:
            own = line.strip().removeprefix("# ") if in_text else line.strip()  # a master's text stands in comments
            (secret if hidden else public).add(own)
    return {line for line in secret - public if len(line) > SHORTEST_SECRET}, public


def _template(name: str) -> str:
    return resources.files("autograder").joinpath("templates", "publish", name).read_text(encoding="utf-8")


def _git(folder: Path, *arguments: str, check: bool = True, **environment: str) -> str:
    command, env = ["git", *arguments], {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise CourseError(f"`git {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
    return done.stdout.strip()
