"""The learner's points over all units, from the notebooks as they were last run and saved. No code is executed.

A test cell leaves its outcome in its own output: a line `✓ work: …`, or an error named `Wrong` or `NotAttempted`. Code
that was edited after its test ran can't be told from code that wasn't.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fridge import scoreboard, tables
from fridge.cells import UnreadableCells, read_cells
from fridge.notebook import handouts, reveals
from fridge.notebook.handouts import TEST_SUFFIX
from fridge.scoreboard import MARKS, NOT_ATTEMPTED, REVEALED, RIGHT, SKIPPED, STALE, WRONG

DONE = (RIGHT, SKIPPED)
_ERRORS = {"NotAttempted": NOT_ATTEMPTED, "Stale": STALE}


class NoNotebooks(Exception):
    """There is no notebook of the course where one was looked for. The message says what to do."""


@dataclass(frozen=True)
class Row:
    """One exercise."""

    name: str
    title: str
    points: float
    outcome: str


@dataclass(frozen=True)
class UnitProgress:
    """One unit; `trouble` says why its notebook could not be read, and is empty if it could."""

    title: str
    rows: list[Row]
    trouble: str = ""

    @property
    def earned(self) -> float:
        """Points by the visible tests; a skipped exercise costs none."""
        return sum(row.points for row in self.rows if row.outcome in DONE)

    @property
    def total(self) -> float:
        """Points to be had."""
        return sum(row.points for row in self.rows)

    @property
    def started(self) -> bool:
        """Whether any exercise was attempted."""
        return any(row.outcome != NOT_ATTEMPTED for row in self.rows)

    @property
    def heading(self) -> str:
        """Title, points, a mark for each exercise, and the trouble, in a line."""
        marks = "".join(MARKS[row.outcome] for row in self.rows)
        return f"{self.title}: {self.earned:g} of {self.total:g} points  {marks}  {self.trouble}".rstrip()


class Progress:
    """All units with their exercises, as a table in a notebook and as lines in a shell."""

    def __init__(self, units: list[UnitProgress], note: str = ""):
        self.units = units
        self.note = note

    @property
    def next(self) -> tuple[UnitProgress, Row] | None:
        """The first exercise that is open, None when none is."""
        closed = (*DONE, REVEALED)
        return next(((unit, row) for unit in self.units for row in unit.rows if row.outcome not in closed), None)

    def __repr__(self) -> str:
        width = max((len(row.title) for unit in self.units for row in unit.rows if unit.started), default=0)
        lines = []
        for unit in self.units:
            lines.append(unit.heading)
            if unit.started:
                lines += [
                    f"  {MARKS[row.outcome]} {row.title:<{width}}{row.points:>5g}  {row.outcome}" for row in unit.rows
                ]
        return "\n".join([*lines, "", self._summary()])

    def _repr_html_(self) -> str:
        rows: list[tuple[str, ...]] = []
        for unit in self.units:
            rows.append((unit.heading,))
            if unit.started:
                rows += [(MARKS[row.outcome], row.title, f"{row.points:g}", row.outcome) for row in unit.rows]
        return tables.html(("", "Exercise", "Points", "Outcome"), rows, self._summary(), numbers=(2,))

    def _summary(self) -> str:
        earned, total = sum(unit.earned for unit in self.units), sum(unit.total for unit in self.units)
        said = f"{earned:g} of {total:g} points by the visible tests. "
        said += self.note or "Counted as last run and saved."
        if self.next is None:
            return f"{said} All is done."
        unit, row = self.next
        return f"{said} Next: {row.title}, in {unit.title}."


def show() -> Progress:
    """The progress of the course around this notebook: displayed by JupyterLab and Colab, printable in a shell.

    What this kernel has tested counts before what is saved. Where no notebook is saved nearby, as on Colab, it is all
    that counts, and the table says so.
    """
    live = scoreboard.outcomes()
    try:
        return read(Path.cwd(), live)
    except NoNotebooks:
        listed = scoreboard.syllabus().values()
        note = "No saved notebook is near this one, so only this notebook's own tests count."
        return Progress([UnitProgress(unit["title"], _rows(unit, live)) for unit in listed], note)


def read(start: Path, live: dict[str, str] | None = None) -> Progress:
    """The progress of the course around a folder; `live`, exercise -> outcome, counts before what is saved.

    Raises:
        NoNotebooks: there is no notebook of the course there, nor in a folder above.
    """
    folder = find_notebooks(start)
    return Progress([_unit(folder / unit["notebook"], unit, live or {}) for unit in scoreboard.syllabus().values()])


def find_notebooks(start: Path) -> Path:
    """The folder that holds the units' folders: the nearest one, at `start`, in its `course/`, or above.

    Raises:
        NoNotebooks: there is none.
    """
    notebooks = [listed["notebook"] for listed in scoreboard.syllabus().values()]
    for above in (start.resolve(), *start.resolve().parents):
        for folder in (above, above / "course"):
            if any((folder / notebook).is_file() for notebook in notebooks):
                return folder
    raise NoNotebooks(
        f"No notebook of the course is in {start.resolve()} or above it. Change to the folder that holds "
        "00-start-here, or name it: `fridge progress FOLDER`."
    )


def outcomes(notebook: dict[str, Any]) -> dict[str, str]:
    """Exercise -> outcome, from the saved outputs of a notebook's test cells; those never run are left out.

    What the notebook gives up by a call of `fridge.reveal` is REVEALED, whatever its test says.
    """
    found: dict[str, str] = {}
    for stub in reveals.given_up(read_cells(notebook["cells"]), handouts.stubs()):
        found |= dict.fromkeys(stub.exercises, REVEALED)
    for cell in notebook["cells"]:
        name = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
        if cell.get("cell_type") == "code" and name.endswith(TEST_SUFFIX):
            name = name.removesuffix(TEST_SUFFIX)
            if name not in found and (outcome := _outcome(name, cell.get("outputs", []))):
                found[name] = outcome
    return found


def _outcome(name: str, outputs: list[dict[str, Any]]) -> str | None:
    # An error decides before any line does: a learner's code may print whatever it likes.
    errors = [output.get("ename", "") for output in outputs if output.get("output_type") == "error"]
    if errors:
        return _ERRORS.get(errors[-1], WRONG)
    texts = ("".join(output.get("text", "")) for output in outputs if output.get("output_type") == "stream")
    lines = (line for text in texts for line in text.splitlines() if ": " in line)
    said = {line.partition(": ")[0] for line in lines}
    return next((outcome for outcome in (*DONE, REVEALED) if f"{MARKS[outcome]} {name}" in said), None)


def _unit(path: Path, listed: dict[str, Any], live: dict[str, str]) -> UnitProgress:
    saved, trouble = {}, ""
    try:
        saved = outcomes(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        trouble = "(not in this folder)"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UnreadableCells):
        trouble = f"({path.name} can't be read: open it in JupyterLab and save it again)"
    return UnitProgress(listed["title"], _rows(listed, saved | live), trouble)


def _rows(listed: dict[str, Any], known: dict[str, str]) -> list[Row]:
    return [
        Row(name, exercise["title"], exercise["points"], known.get(name, NOT_ATTEMPTED))
        for name, exercise in listed["exercises"].items()
    ]
