"""A class in a small course of one exercise, handed in and ready to be graded; and the gradebook as plain rows."""

import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import nbformat
import pytest
from mini_course import MASTER, ROOT
from sqlalchemy import MetaData, create_engine, select

from autograder.authoring.build import build
from autograder.course import Unit, find_units
from autograder.isolation.sandbox import Sandbox, SandboxError
from autograder.trials.generated import submit

UNIT = "00-mini"
BODIES = {
    "ada": "return a + b",
    "bea": "return a - b",
    "cem": 'raise NotImplementedError("not attempted yet")',
    "dia": "return sum((a, b))",
}
OWN = ("autograder_merged",)  # our table beside nbgrader's


@lru_cache(maxsize=1)
def skip_without_sandbox() -> None:
    """Skip where nothing can be graded for credit."""
    try:
        Sandbox().close()
    except SandboxError as error:
        pytest.skip(f"this host gives no sandbox: {error}")


def hand_in(unit: Unit, student: str, body: str, timestamp: str = "") -> Path:
    """Put a student's notebook under grading/submitted, in place of an earlier one."""
    folder = unit.root / "grading" / "submitted" / student / unit.name
    shutil.rmtree(folder, ignore_errors=True)
    submit(unit, student, {"add": f"def add(a, b):\n    {body}"})
    if timestamp:
        (folder / "timestamp.txt").write_text(timestamp)
    return folder / f"{unit.notebook}.ipynb"


def made(root: Path) -> Path:
    """Make the course, its handout and gradebook in a new folder, and hand in `BODIES`."""
    (root / "solutions" / UNIT).mkdir(parents=True)
    (root / "course/fridge/notebook").mkdir(parents=True)
    (root / "solutions" / UNIT / "mini.py").write_text(MASTER)
    (root / "solutions" / "grade_ids.json").write_text('{"00-mini": ["add", "add-test"]}')
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    build(root, [UNIT])
    unit = find_units(root, [UNIT])[0]
    for student, body in BODIES.items():
        hand_in(unit, student, body)
    return root


def rows(db_url: str, without: Sequence[str] = ()) -> dict[str, list[tuple]]:
    """Every table of the gradebook as sorted rows; ids are replaced by what they stand for."""
    engine, meta = create_engine(db_url), MetaData()
    meta.reflect(engine)
    with engine.connect() as connection:
        found = {
            name: [dict(row._mapping) for row in connection.execute(select(table))]
            for name, table in meta.tables.items()
        }
    engine.dispose()
    names = _names(found)
    return {
        table: sorted(
            (tuple((key, str(names.get(value, value))) for key, value in sorted(row.items())) for row in rows), key=str
        )
        for table, rows in found.items()
        if table not in (*without, "alembic_version")
    }


def points(db_url: str) -> dict[str, float | None]:
    """Student -> points of the one test."""
    found = rows(db_url)["grade"]
    return {dict(row)["notebook_id"].split("/")[0]: float(dict(row)["auto_score"]) for row in found}


def graded(root: Path, student: str) -> nbformat.NotebookNode:
    """A student's autograded notebook."""
    return nbformat.read(root / "grading" / "autograded" / student / UNIT / "mini.ipynb", as_version=4)


def _names(found: dict[str, list[dict]]) -> dict[str, str]:
    # nbgrader's ids are random; what they stand for isn't.
    names: dict[str, str] = {}
    for table in ("assignment", "notebook", "base_cell", "source_cell"):
        names |= {row["id"]: f"{table} {row['name']}" for row in found[table]}
    for row in found["submitted_assignment"]:
        names[row["id"]] = f"{row['student_id']}/{names[row['assignment_id']]}"
    for row in found["submitted_notebook"]:
        names[row["id"]] = f"{names[row['assignment_id']]}/{names[row['notebook_id']]}"
    for table in ("grade", "comment"):
        for row in found[table]:
            names[row["id"]] = f"{table} of {names[row['notebook_id']]}/{names[row['cell_id']]}"
    return names
