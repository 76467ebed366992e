"""The master's own answers as Python objects, for scripts in solutions/ that measure with them."""

from pathlib import Path
from typing import Any

from autograder.course import find_units
from autograder.notebooks import grade_id, is_exercise, read_master


def answers(root: Path, unit: str) -> dict[str, Any]:
    """The functions and classes of a unit, by name: its first code cell, which imports, then each exercise's."""
    found: dict[str, Any] = {}
    cells = [cell for cell in read_master(find_units(root, [unit])[0]).cells if cell.cell_type == "code"]
    for cell in (cells[0], *filter(is_exercise, cells)):
        exec(compile(cell.source, grade_id(cell) or "imports", "exec"), found)
    return found
