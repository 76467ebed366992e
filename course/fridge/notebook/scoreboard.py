"""The learner's points in this notebook by the visible tests. Works without nbgrader, in Colab too."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from fridge.notebook import checkup, runs, syllabus
from fridge.notebook.language import said
from fridge.workbench import tables

RIGHT, WRONG, NOT_ATTEMPTED, SKIPPED = "right", "wrong", "not attempted", "skipped"
BY_HAND = "graded by a person"
STALE = "run again"  # what was tested isn't what the exercise's cell shows
REVEALED = "revealed"  # a reference stands in the exercise's place: its points are given up
MARKS = {RIGHT: "✓", WRONG: "✗", NOT_ATTEMPTED: "○", SKIPPED: "–", STALE: "↻", REVEALED: "◇", BY_HAND: "✎"}

_outcomes: dict[str, str] = {}  # exercise -> outcome of its last run in this kernel
_versions: dict[str, object] = {}  # exercise -> what its cell had defined then
_attempted: set[str] = set()  # exercises whose tests have called an answer wrong in this kernel


def record(name: str, outcome: str) -> None:
    """Note the outcome, a key of MARKS, of an exercise's tests."""
    _outcomes[name] = outcome
    _versions[name] = runs.version(name)
    if outcome in (WRONG, STALE):
        _attempted.add(name)


def outcomes() -> dict[str, str]:
    """Exercise -> outcome of its last run in this kernel; exercises whose tests have not run are left out.

    What was right is STALE once the exercise's cell has run again with another text, or failed.
    """
    return {name: _outcome(name) for name in _outcomes}


def attempted(name: str) -> bool:
    """Whether an exercise's tests have called an answer wrong in this kernel."""
    return name in _attempted


def _outcome(name: str) -> str:
    outcome = _outcomes.get(name, untested(syllabus.exercise(name)))
    return STALE if outcome == RIGHT and _versions.get(name) != runs.version(name) else outcome


def ready(*names: str) -> bool:
    """Whether these exercises are solved, or a reference runs instead; if not, say which cell is waiting for which."""
    missing = [name for name in names if _outcomes.get(name) not in (RIGHT, REVEALED)]
    if missing:
        exercises = "; ".join(map(syllabus.title, missing))
        print(f"This cell waits for your code: solve {exercises}. Run the tests, then run it again.")
    return not missing


def show(unit: str) -> "Scores":
    """The table of a unit's exercises: displayed by JupyterLab and Colab, printable in a shell.

    Raises:
        KeyError: no such unit.
    """
    if unit not in syllabus.units():
        raise KeyError(f"no unit {unit!r} in {syllabus.UNITS}, which lists {', '.join(syllabus.units()) or 'none'}")
    rows = [(name, worth, _outcome(name)) for name, worth in syllabus.units()[unit].items()]
    notes = checkup.look(Path(syllabus.whole()[unit].get("notebook", "")).name, unit)
    return Scores(rows, [*notes, checkup.advice(unit)] if notes else [])


def untested(listed: dict[str, Any]) -> str:
    """The outcome of an exercise of `units.json` that no test has looked at: NOT_ATTEMPTED, or BY_HAND."""
    return BY_HAND if listed.get("by_hand") else NOT_ATTEMPTED


class Scores:
    """Rows of (exercise, points, outcome) with a total, and notes about the saved notebook."""

    def __init__(self, rows: list[tuple[str, float, str]], notes: Sequence[str] = ()):
        self.rows = rows
        self.notes = [f"! {note}" for note in notes]

    @property
    def earned(self) -> float:
        """Points by the visible tests; a skipped exercise costs none."""
        return sum(worth for _, worth, outcome in self.rows if outcome in (RIGHT, SKIPPED))

    @property
    def total(self) -> float:
        """Points to be had by tests."""
        return sum(worth for _, worth, outcome in self.rows if outcome != BY_HAND)

    @property
    def by_hand(self) -> float:
        """Points that a person gives."""
        return sum(worth for _, worth, outcome in self.rows if outcome == BY_HAND)

    def __repr__(self) -> str:
        width = max((len(said(syllabus.title(name))) for name, _, _ in self.rows), default=0)
        lines = [
            f"{MARKS[outcome]} {said(syllabus.title(name)):<{width}}{worth:>5g}  {said(outcome)}"
            for name, worth, outcome in self.rows
        ]
        return "\n".join([*lines, self._summary(), *self.notes])

    def _repr_html_(self) -> str:
        rows = [
            (MARKS[outcome], said(syllabus.title(name)), f"{worth:g}", said(outcome))
            for name, worth, outcome in self.rows
        ]
        names = ("", said("Exercise"), said("Points"), said("Outcome"))
        return tables.html(names, rows, self._summary(), numbers=(2,)) + "".join(
            f"<p>{escape(note)}</p>" for note in self.notes
        )

    def _summary(self) -> str:
        words = f"{self.earned:g} of {self.total:g} points by the visible tests. Hidden tests look further at grading."
        return said(f"{words} A person gives {self.by_hand:g} more." if self.by_hand else words)
