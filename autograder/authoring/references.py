"""`autograder references`: a unit's solutions in a file that an instructor may give out, for `fridge.reveal`."""

import json
from pathlib import Path

from autograder.course import CourseError, find_units
from fridge.notebook.references import of_master


def references(root: Path, name: str, out: Path) -> list[str]:
    """Write a unit's solutions as JSON; return the names of the exercises' cells.

    Raises:
        CourseError: no such unit, or the file would lie in course/, which everybody gets.
    """
    unit = find_units(root, [name])[0]
    if (root / "course").resolve() in out.resolve().parents:
        raise CourseError(f"{out} is in course/, which learners get as a whole: write it elsewhere.")
    found = of_master(unit.name, unit.master.read_text(encoding="utf-8"))
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return list(found["exercises"])
