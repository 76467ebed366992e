"""Attacks as folders: a submission that tries to cheat or to break something, and what must come of it.

`submission.py` is a py:percent file in the form of tests/submissions: a cell with an exercise's grade_id takes the
place of that exercise's answer. Cells without one are put behind the cell that `after="grade_id"` names.
`notebook.json` changes raw fields. The form of `expected.json` stands in README.md.
"""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from autograder.notebooks import grade_id, is_solution, is_test

FOLDER = Path(__file__).parent
UNIT = "03-kv-cache"
SHORTEST_SECRET = 24  # characters of a line of a hidden test or an answer that is worth hiding


@dataclass(frozen=True)
class Attack:
    """One folder.

    Attributes:
        about, threat: what is tried, and the row of the threat table.
        honest: test cell -> points that the same answers deserve without the trick; those not listed deserve all.
        may_lose: test cells whose honest points the attacker may lose by it.
        shows: what the learner's outputs must contain: that the attack ran, and how it ended.
        says: test cell -> part of its message.
        through: "split" or "nbgrader".
    """

    name: str
    about: str
    threat: str
    honest: dict[str, float]
    may_lose: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    says: dict[str, str] = field(default_factory=dict)
    through: str = "split"


def read_attacks(through: str) -> list[Attack]:
    """All attacks that go one way."""
    folders = sorted(path.parent for path in FOLDER.glob("*/expected.json"))
    attacks = [Attack(folder.name, **json.loads((folder / "expected.json").read_text())) for folder in folders]
    return [attack for attack in attacks if attack.through == through]


def submission(attack: Attack, base: NotebookNode) -> NotebookNode:
    """The attack's notebook: `base` with the submission's cells."""
    notebook = copy.deepcopy(base)
    text = (FOLDER / attack.name / "submission.py").read_text(encoding="utf-8")
    for cell in jupytext.reads(text, fmt="py:percent").cells:
        places = {grade_id(other): place for place, other in enumerate(notebook.cells) if grade_id(other)}
        if grade_id(cell):
            notebook.cells[places[grade_id(cell)]].source = cell.source
        elif "after" in cell.metadata:
            place = places[cell.metadata.pop("after")] + 1
            while place < len(notebook.cells) and "extra" in notebook.cells[place].metadata:
                place += 1
            cell.metadata["extra"] = True
            notebook.cells.insert(place, cell)
    for cell in notebook.cells:
        cell.metadata.pop("extra", None)
    patch = FOLDER / attack.name / "notebook.json"
    if patch.exists():
        _patch(notebook, json.loads(patch.read_text(encoding="utf-8")))
    return notebook


def full_points(master: NotebookNode) -> dict[str, float]:
    """Test cell -> all its points."""
    return {grade_id(cell): float(cell.metadata.nbgrader.points) for cell in master.cells if is_test(cell)}


def secrets(master: NotebookNode, release: NotebookNode) -> set[str]:
    """Lines of the hidden tests and of the answers that the handout doesn't have."""
    known = "\n".join(cell.source for cell in release.cells)
    lines = {line.strip() for cell in master.cells if is_test(cell) or is_solution(cell) for line in _lines(cell)}
    return {line for line in lines if len(line) >= SHORTEST_SECRET and line not in known}


def texts(value: Any) -> str:
    """All strings in a nested value, in lines."""
    if isinstance(value, dict):
        return "\n".join(map(texts, value.values()))
    if isinstance(value, list | tuple):
        return "\n".join(map(texts, value))
    return value if isinstance(value, str) else ""


def _lines(cell: NotebookNode) -> list[str]:
    return [line for line in cell.source.splitlines() if "### " not in line]


def _patch(notebook: NotebookNode, patch: dict) -> None:
    notebook.metadata.update(nbformat.from_dict(patch.get("metadata", {})))
    for cell in notebook.cells:
        change = patch.get("cells", {}).get(grade_id(cell))
        if change:
            cell.metadata.nbgrader.update(change.pop("nbgrader", {}))
            cell.metadata.update(change.pop("metadata", {}))
            cell.update(nbformat.from_dict(change))
    for text in patch.get("markdown", []):
        notebook.cells.append(nbformat.v4.new_markdown_cell(text, attachments=patch.get("attachments", {})))
    for addition in patch.get("copies", []):  # a cell with another's metadata, in front of the cell `before`
        place = next(i for i, cell in enumerate(notebook.cells) if grade_id(cell) == addition["before"])
        cell = nbformat.v4.new_code_cell(addition["source"], metadata=addition["metadata"])
        notebook.cells.insert(place, cell)
