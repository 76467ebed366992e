"""What a submission is graded against: the tests, points and handout of one unit, and the version of the grader.

It is plain data, so that it can go to a worker on another machine, and it holds no solution: of a master's exercises
only the names that they define are kept.
"""

import hashlib
import json
import platform
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from autograder.course import CourseError, Unit
from autograder.notebooks import grade_id, is_test, read_master
from autograder.submissions.paper import Paper

# What decides what a submission gets, and what it is told, below autograder/.
GRADING = ("isolation", "submissions", "notebooks.py", "pythons.py")
LIBRARIES = ("torch", "numpy", "transformers")


@dataclass(frozen=True)
class Release:
    """One unit's release.

    Attributes:
        unit: 03-kv-cache.
        notebook: kv_cache.
        tests: JSON of a notebook of the master's tests, the names that its exercises define, and its imports.
        handout: JSON of what the learner got.
        translations: JSON of the same handout in other languages.
        words: what the tests say, language -> English -> translated. Neither of the two changes a grade, so the digest
            leaves them out.
    """

    unit: str
    notebook: str
    tests: str
    handout: str
    translations: tuple[str, ...] = ()
    words: dict[str, dict[str, str]] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The same for releases that grade alike."""
        return _digest(self.unit, self.notebook, self.tests, self.handout)

    @cached_property
    def points(self) -> dict[str, float]:
        """Test cell's grade_id -> what it is worth, in the master's order."""
        cells = nbformat.reads(self.tests, as_version=4).cells
        return {grade_id(cell): float(cell.metadata.nbgrader.points) for cell in cells if is_test(cell)}

    @cached_property
    def graded_cells(self) -> list[tuple[str, dict[str, Any]]]:
        """The handout's `graded_cells`."""
        return graded_cells(json.loads(self.handout))

    @property
    def paper(self) -> Paper:
        """The tests, compiled."""
        return Paper(nbformat.reads(self.tests, as_version=4))

    def key(self, submission: bytes) -> str:
        """Names the verdict of a submitted file: the same file, release and grader give the same."""
        return _digest(hashlib.sha256(submission).hexdigest(), self.digest, grader_version())

    def as_json(self) -> dict[str, Any]:
        """For a task."""
        return {name: getattr(self, name) for name in ("unit", "notebook", "tests", "handout", "translations", "words")}


def graded_cells(notebook: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(type, nbgrader's metadata) of a notebook's exercises and tests, in order."""
    cells = [(cell["cell_type"], cell["metadata"].get("nbgrader")) for cell in notebook["cells"]]
    return [(kind, metadata) for kind, metadata in cells if metadata is not None]


def read_release(unit: Unit) -> Release:
    """The release as it lies in solutions/ and course/.

    Raises:
        CourseError: there is no handout, or a translation of it is older.
    """
    if not unit.release.is_file():
        raise CourseError(f"{unit.release} is missing: type `autograder build {unit.name}` first.")
    handout, *others = (
        nbformat.writes(nbformat.read(path, as_version=4)) for path in (unit.release, *unit.translations)
    )
    for other in others:
        if graded_cells(json.loads(other)) != graded_cells(json.loads(handout)):
            raise CourseError(f"a translation of {unit.release} has other cells: type `autograder build {unit.name}`")
    tests = nbformat.writes(_without_solutions(read_master(unit)))
    from autograder.translating.catalogs import languages  # a worker, who gets a release, reads no catalogs
    from autograder.translating.handouts import words_of

    words = {language: words_of(unit, language) for language in languages(unit.root)}
    return Release(unit.name, unit.notebook, tests, handout, tuple(others), words)


@lru_cache(maxsize=1)
def grader_version() -> str:
    """Changes with the modules that grade, the course's library, and the libraries that compute."""
    parts = [*platform.python_version_tuple()[:2], *(f"{name} {version(name)}" for name in LIBRARIES)]
    places = [*(files("autograder").joinpath(name) for name in GRADING), files("fridge")]
    for path in (path for place in places for path in sorted([place] if place.is_file() else place.rglob("*.py"))):
        parts += [path.name, path.read_text(encoding="utf-8")]
    return _digest(*parts)


def _without_solutions(master: NotebookNode) -> NotebookNode:
    paper, cells = Paper(master), []
    cells.append(new_code_cell("\n".join(paper.handout_imports)))
    names = "\n".join(f"{name} = None" for name in sorted(paper.exports))
    cells.append(new_code_cell(names, metadata={"nbgrader": {"solution": True, "grade": False, "grade_id": "names"}}))
    cells += [new_code_cell(cell.source, metadata=cell.metadata) for cell in master.cells if is_test(cell)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same master gives the same text
    return new_notebook(cells=cells)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
