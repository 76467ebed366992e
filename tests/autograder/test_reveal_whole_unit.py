"""A learner who reveals a whole unit: every cell behind comes to life, and no point is left, here and in grading."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from autograder.course import find_units
from autograder.notebooks import TEST_SUFFIX, exercise_points, grade_id, is_for_real, is_solution, is_test
from autograder.submissions.rebuild import REVEALED, rebuild
from fridge.notebook import progress, scoreboard, syllabus
from fridge.notebook.cells import STUB

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1200  # seen: 60 s on two idle cores


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 60)
def test_every_exercise_revealed(tmp_path):
    """Guards against a reference that the real model's cells can't use, and points that stay."""
    unit = find_units(ROOT, ["03-kv-cache"])[0]
    shutil.copytree(ROOT / "course" / unit.name, tmp_path / unit.name)
    notebook = nbformat.read(unit.release, as_version=4)
    cells = []
    for cell in notebook.cells:
        if is_solution(cell):
            cell.source = cell.source.replace(STUB, "return None")
        cells.append(cell)
        if is_test(cell):
            name = grade_id(cell).removesuffix(TEST_SUFFIX)
            cells += [new_code_cell(f'import fridge\n\nfridge.reveal("{name}")')]
    notebook.cells = cells
    where = {"metadata": {"path": str(tmp_path / unit.name)}}
    NotebookClient(notebook, timeout=SECONDS, allow_errors=True, resources=where).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    failed = [(grade_id(cell), cell.source, _error(cell)) for cell in code if not is_test(cell) and _error(cell)]
    assert not failed, "nothing but the attempts fails"
    assert {_error(cell).partition(":")[0] for cell in code if is_test(cell)} == {"Wrong", ""}
    texts = "\n".join(_text(cell) for cell in code if is_for_real(cell))
    assert "This cell waits for your code" not in texts
    assert " tokens are the same" in texts
    score = next(cell for cell in code if "scoreboard.show" in cell.source)
    assert _text(score).count("◇") == 8
    found = progress.outcomes(notebook)
    assert found == dict.fromkeys(syllabus.units()[unit.name], scoreboard.REVEALED)
    handout = nbformat.read(unit.release, as_version=4)
    assert rebuild(notebook, handout).notebook.metadata[REVEALED] == [
        name + TEST_SUFFIX for name in exercise_points(handout)
    ]


def _error(cell: nbformat.NotebookNode) -> str:
    return next((f"{o.ename}: {o.evalue}" for o in cell.outputs if o.output_type == "error"), "")


def _text(cell: nbformat.NotebookNode) -> str:
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
