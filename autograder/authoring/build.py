"""`autograder build`: masters -> pairs (outputs kept where the code is unchanged) -> handouts, and JSON for `fridge`.

The handout is nbgrader's own `generate_assignment`; nothing in course/ but fridge/ is edited by hand.
"""

import filecmp
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.authoring.navigation import title
from autograder.course import CourseError, Unit, find_units, nbgrader_configuration
from autograder.notebooks import (
    because,
    exercise_name,
    exercise_titles,
    is_by_hand,
    is_test,
    looks_at,
    read_master,
    with_header,
)
from autograder.translating import catalogs
from autograder.translating.handouts import edition, update_catalogs, write_handout, write_pages, write_words
from fridge.notebook.handing_in import FOLDER

UNITS_JSON = Path("course/fridge/notebook/units.json")
HANDOUTS_JSON = Path("course/fridge/notebook/handouts.json")


def build(root: Path, names: list[str] | None = None) -> list[Path]:
    """Write the pairs and handouts of the named units (default all), units.json, handouts.json; return the files.

    Raises:
        CourseError: nbgrader could not make a handout.
    """
    written = []
    for unit in find_units(root, names):
        write_pair(unit)
        _write_release(unit)
        written += [unit.pair, unit.release]
    syllabus = {unit.name: _listed(unit) for unit in find_units(root)}
    (root / UNITS_JSON).parent.mkdir(parents=True, exist_ok=True)  # a course may have the library installed
    (root / UNITS_JSON).write_text(json.dumps(syllabus, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    written.append(root / UNITS_JSON)
    written.append(_write_handouts(root, {unit: unit.release for unit in find_units(root)}))
    for language in catalogs.languages(root):
        written += update_catalogs(root, language)
        translation = edition(root, language)
        written += [write_handout(unit, translation) for unit in find_units(root, names)]
        written += [*write_pages(root, translation), write_words(root, language)]
        written.append(_write_handouts(root, {unit: translation.release(unit) for unit in find_units(root)}, language))
    return written


def differences(root: Path) -> list[str]:
    """Files that a build would change, as paths from the root. Builds a copy; the root stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "course"
        skip = shutil.ignore_patterns(".venv*", ".git", "grading", "tests", "node_modules", "__pycache__", "artifacts")
        shutil.copytree(root, copy, ignore=skip)
        for unit in find_units(copy):
            unit.release.unlink(missing_ok=True)
        written = [path.relative_to(copy) for path in build(copy)]
        changed = [path for path in written if not _same(root / path, copy / path)]
        extra = [
            path.relative_to(root)
            for path in (root / "course").rglob("*.ipynb")
            if not {".ipynb_checkpoints", FOLDER} & set(path.parts) and path.relative_to(root) not in written
        ]
        return [str(path) for path in changed + extra]


def _listed(unit: Unit) -> dict[str, Any]:
    """A unit as units.json has it, for the learner's tables of points."""
    master = read_master(unit)
    titles = exercise_titles(master)
    exercises = {}
    for cell in master.cells:
        if is_test(cell) or is_by_hand(cell):
            name = exercise_name(cell)
            exercises[name] = {"title": titles[name], "points": cell.metadata.nbgrader.points}
            exercises[name] |= (
                {"by_hand": True} if is_by_hand(cell) else {"looks_at": looks_at(cell), "because": because(cell)}
            )
    return {"title": title(unit), "notebook": f"{unit.name}/{unit.release.name}", "exercises": exercises}


def _write_handouts(root: Path, releases: dict[Unit, Path], language: str = "") -> Path:
    """Exercises and tests as they were handed out, in one language, for learners whose notebook lost one."""
    file = root / (HANDOUTS_JSON.with_suffix(f".{language}.json") if language else HANDOUTS_JSON)
    found = {unit.name: _graded_cells(path) for unit, path in releases.items() if path.exists()}
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def _graded_cells(release: Path) -> list[dict[str, Any]]:
    cells = nbformat.read(release, as_version=4).cells
    keys = ("cell_type", "id", "metadata", "source")
    return [{key: cell[key] for key in keys} for cell in cells if "nbgrader" in cell.metadata]


def write_pair(unit: Unit) -> None:
    """Write the master as a notebook in solutions/, with the outputs of cells whose code is unchanged."""
    notebook = with_header(unit, read_master(unit))
    if unit.pair.exists():
        _keep_outputs(notebook, nbformat.read(unit.pair, as_version=4))
    write(notebook, unit.pair)


def _keep_outputs(notebook: NotebookNode, rendered: NotebookNode) -> None:
    # Only of cells whose code is the same to the letter; jupytext's own matching keeps those of edited cells too.
    known = {(cell.id, cell.source): cell for cell in rendered.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if old := known.get((cell.get("id"), cell.source)):
            cell.outputs, cell.execution_count = old.outputs, old.execution_count


def _write_release(unit: Unit) -> None:
    from nbgrader.apps import NbGraderAPI  # five seconds of imports that `--help` shouldn't pay for

    api = NbGraderAPI(config=nbgrader_configuration(unit.root))
    result = api.generate_assignment(unit.name, force=True, create=True)
    if not result["success"]:
        raise CourseError(f"nbgrader could not make the handout of {unit.name}:\n{result['log']}")
    notebook = nbformat.read(unit.release, as_version=4)
    notebook.metadata.pop("celltoolbar", None)
    write(notebook, unit.release)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a valid notebook, without time stamps."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # nbclient's time stamps
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)
