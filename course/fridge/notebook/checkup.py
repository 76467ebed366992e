"""A look at the notebook that lies on the disk: is a cell of an exercise missing, copied, or without nbgrader's mark?

The score table shows what it finds, in the words of the grader, which matches cells in the same way. `repair` puts the
handout's cells back. Where no file of the notebook is to be found, as on Colab, there is nothing to say.
"""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fridge.notebook import handouts, on_disk
from fridge.notebook.cells import Cell, read_cells
from fridge.notebook.matching.regions import Match, match

MASTERS = re.compile(r"^\s*### BEGIN (?:SOLUTION|HIDDEN)", re.MULTILINE)  # an author's notebook has nothing to repair


class NothingToRepair(Exception):
    """No notebook is there, or nothing is missing; the message says which."""


def look(notebook: str, unit: str) -> list[str]:
    """What is odd about the exercises in the saved notebook, in sentences. Never raises: it is an extra.

    Args:
        notebook: its path; if there is no such file, there is nothing to say.
        unit: 03-kv-cache.
    """
    try:
        return matched(on_disk.read(Path(notebook)), unit).oddities
    except (OSError, ValueError, KeyError, RecursionError):
        return []


def repair(unit: str, notebook: str | None = None) -> None:
    """Put the handout's cells and nbgrader's marks back into the saved notebook; say what was done.

    Nothing of yours is changed. The notebook as it was stays beside it.

    Args:
        unit: 03-kv-cache.
        notebook: its path; default the unit's own name in this folder.

    Raises:
        NothingToRepair: the notebook isn't there, or has all its cells.
    """
    from fridge.notebook import syllabus

    path = Path(notebook or Path(syllabus.whole()[unit]["notebook"]).name)
    if not path.exists():
        raise NothingToRepair(f"{path.resolve()} isn't there: save the notebook under this name, or say its path.")
    before = path.read_bytes()
    data = on_disk.read(path)
    done = put_back(data, unit)
    if not done:
        raise NothingToRepair(f"{path} has all cells of {unit}'s exercises.")
    backup = on_disk.free_name(path, "before-repair")
    backup.write_bytes(before)
    on_disk.write(path, data)
    print(f"{' '.join(done)} The notebook as it was: {backup.name}. Now choose File, Reload Notebook from Disk.")


def advice(unit: str) -> str:
    """What to do about what `look` found."""
    how = f'from fridge.notebook import checkup; checkup.repair("{unit}")'
    return f"To put missing cells back, save the notebook and run: {how}"


def put_back(data: dict[str, Any], unit: str) -> list[str]:
    """Put the handout's missing cells and nbgrader's marks into a notebook; return what was done, in sentences."""
    cells = data["cells"]
    handout = handouts.of_notebook(unit, cells)
    found = matched(data, unit)
    places = {place: index for index, place in sorted(found.places.items(), reverse=True)}
    marked = [place for place, index in places.items() if _mark(cells[index], handout[place])]
    for place in sorted(found.missing, reverse=True):  # from the end, so that the places before stay what they are
        behind = max((index + 1 for other, index in places.items() if other < place), default=0)
        own = handout[place]["metadata"]["nbgrader"]
        is_exercise = own["solution"] and not own["grade"]
        position = places.get(place + 1, behind) if is_exercise else behind  # an exercise stands in front of its test
        cells.insert(position, _as_handed_out(handout[place], data))
    done = []
    if found.missing:
        done.append(f"Put back: {', '.join(handout[place]['id'] for place in found.missing)}.")
    if marked:
        done.append(f"Marked for nbgrader: {', '.join(handout[place]['id'] for place in sorted(marked))}.")
    return done


def answered(found: Match, unit: str) -> set[str]:
    """Exercises, by the names of their tests, whose cell the learner has changed."""
    return {name for name, region in _regions(unit).items() if region in found.answers}


def last_answers(ran: Sequence[Cell], unit: str) -> dict[str, Cell]:
    """Exercise -> the last of these cells that defines all that its own does; left out where none does."""
    handout = {cell.index: cell for cell in read_cells(handouts.graded_cells()[unit])}
    names = {name: handout[region].functions or handout[region].defines for name, region in _regions(unit).items()}
    return {name: cell for cell in ran for name, wanted in names.items() if wanted and wanted <= cell.defines}


def _regions(unit: str) -> dict[str, int]:
    """Exercise -> the place of its cell among the handout's graded ones: the one in front of its test."""
    regions, region = {}, 0
    for cell in read_cells(handouts.graded_cells()[unit]):
        if cell.solution:
            region = cell.index
        regions |= dict.fromkeys(cell.tests if cell.test else (), region)
    return regions


def _mark(cell: dict[str, Any], original: dict[str, Any]) -> bool:
    own, metadata = original["metadata"]["nbgrader"], cell.get("metadata")
    if not isinstance(metadata, dict):
        metadata = cell["metadata"] = {}
    marks = metadata.get("nbgrader")
    if isinstance(marks, dict) and marks.get("grade_id") == own["grade_id"]:
        return False
    metadata["nbgrader"] = copy.deepcopy(own)
    return True


def _as_handed_out(original: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    cell = copy.deepcopy(original)
    if (data.get("nbformat", 4), data.get("nbformat_minor", 0)) < (4, 5):
        del cell["id"]  # which older formats don't have
    if cell["cell_type"] == "code":
        cell |= {"outputs": [], "execution_count": None}
    return cell


def is_a_master(data: dict[str, Any]) -> bool:
    """Whether a notebook is an author's, with solutions and hidden tests."""
    return any(MASTERS.search(cell.source) for cell in read_cells(data["cells"]))


def matched(data: dict[str, Any], unit: str) -> Match:
    """Which of a notebook's cells is which of the unit's graded ones; nothing for an author's notebook."""
    if is_a_master(data):
        return Match()
    return match(data["cells"], handouts.of_notebook(unit, data["cells"]), whole=False)
