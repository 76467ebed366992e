"""The learner's points over all units, from the notebooks as they were last run and saved. No code is executed.

A test cell leaves its outcome in its own output: a line `✓ work: …`, or an error named `Wrong` or `NotAttempted`. Code
that was edited after its test ran can't be told from code that wasn't.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fridge.notebook import handouts, on_disk, reveals, scoreboard, syllabus
from fridge.notebook.cells import Cell, UnreadableCells, read_cells
from fridge.notebook.handouts import TEST_SUFFIX
from fridge.notebook.scoreboard import BY_HAND, MARKS, NOT_ATTEMPTED, REVEALED, RIGHT, SKIPPED, STALE, WRONG, untested
from fridge.workbench import tables

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
        """Points to be had by tests."""
        return sum(row.points for row in self.rows if row.outcome != BY_HAND)

    @property
    def started(self) -> bool:
        """Whether any exercise was attempted."""
        return any(row.outcome not in (NOT_ATTEMPTED, BY_HAND) for row in self.rows)

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
        closed = (*DONE, REVEALED, BY_HAND)
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
        listed = syllabus.whole().values()
        note = "No saved notebook is near this one, so only this notebook's own tests count."
        return Progress([UnitProgress(unit["title"], _rows(unit, live)) for unit in listed], note)


def read(start: Path, live: dict[str, str] | None = None) -> Progress:
    """The progress of the course around a folder; `live`, exercise -> outcome, counts before what is saved.

    Raises:
        NoNotebooks: the folder isn't there, or there is no notebook of the course in it, above it or just below.
    """
    folder = find_notebooks(start)
    return Progress([_unit(folder / unit["notebook"], unit, live or {}) for unit in syllabus.whole().values()])


def find_notebooks(start: Path) -> Path:
    """The folder that holds the units' folders: the nearest one, at `start`, in its `course/`, above, or just below.

    Args:
        start: a folder, or a file in one.

    Raises:
        NoNotebooks: there is no `start`, no such folder, or several below.
    """
    here = _existing(start)
    for above in (here, *here.parents):
        if found := _holding([above, above / "course"]):
            return found[0]
    inside = _folders_in(here)
    below = _holding(inside) or _holding([folder / "course" for folder in inside])
    if len(below) == 1:
        return below[0]
    if below:
        listed = " or ".join(f"`fridge progress {folder.relative_to(here)}`" for folder in below[:3])
        raise NoNotebooks(f"{here} holds the course {len(below)} times. Say which one: {listed}.")
    raise NoNotebooks(
        f"No notebook of the course is in {here}, above it or just below. Change to the folder that holds "
        "00-start-here, or name it: `fridge progress FOLDER`."
    )


def _existing(start: Path) -> Path:
    try:
        here = start.resolve()
    except OSError:
        raise NoNotebooks("The folder that you are in is gone. Change to another one: `cd`.") from None
    if not here.exists():
        near = next(above for above in here.parents if above.is_dir())
        inside = ", ".join(folder.name for folder in _folders_in(near)[:8]) or "no folder"
        raise NoNotebooks(f"There is no folder {here}. In {near} there is: {inside}.")
    return here if here.is_dir() else here.parent


def _holding(folders: list[Path]) -> list[Path]:
    notebooks = [listed["notebook"] for listed in syllabus.whole().values()]
    return [folder for folder in folders if any((folder / notebook).is_file() for notebook in notebooks)]


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # a folder that its owner keeps to himself
        return []


def outcomes(notebook: dict[str, Any]) -> dict[str, str]:
    """Exercise -> outcome, from the saved outputs of a notebook's test cells; those never run are left out.

    Of several copies of a test cell, the one that ran last counts. What the notebook gives up by a call of
    `fridge.reveal` is REVEALED, whatever its test says.
    """
    cells = read_cells(notebook["cells"])
    found: dict[str, tuple[int, str]] = {}
    for cell in cells:
        outputs = notebook["cells"][cell.index].get("outputs") or []
        for name in tested_by(cell):
            outcome, ran = _outcome(name, outputs), cell.ran or 0
            if outcome and ran >= found.get(name, (0, ""))[0]:
                found[name] = (ran, outcome)
    given_up = (name for stub in reveals.given_up(cells, handouts.stubs()) for name in stub.exercises)
    return {name: outcome for name, (_, outcome) in found.items()} | dict.fromkeys(given_up, REVEALED)


def tested_by(cell: Cell) -> frozenset[str]:
    """The exercises that a cell tests: by its text, which Colab and exports keep, or else by nbgrader's mark."""
    marked = cell.test and cell.grade_id and cell.grade_id.endswith(TEST_SUFFIX)
    if cell.kind != "code":
        return frozenset()
    return cell.tests or frozenset([cell.grade_id.removesuffix(TEST_SUFFIX)] if marked else [])


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
    known, trouble = {}, ""
    try:
        notebook = on_disk.read(path)
        known = outcomes(notebook)
        tested = {name for cell in read_cells(notebook["cells"]) for name in tested_by(cell)}
        if not tested & listed["exercises"].keys():
            trouble = f"({path.name} has none of this unit's tests: is it another notebook, or half of one?)"
    except FileNotFoundError:
        trouble = "(not in this folder)"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UnreadableCells):
        trouble = f"({path.name} can't be read: open it in JupyterLab and save it again)"
    return UnitProgress(listed["title"], _rows(listed, known | live), trouble)


def _rows(listed: dict[str, Any], known: dict[str, str]) -> list[Row]:
    return [
        Row(name, exercise["title"], exercise["points"], known.get(name, untested(exercise)))
        for name, exercise in listed["exercises"].items()
    ]
