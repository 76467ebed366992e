"""The learner's points in this notebook by the visible tests. Works without nbgrader, in Colab too.

Titles and points of all exercises stand in `units.json`, which `make course` writes from the masters.
"""

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from fridge import checkup, tables
from fridge.notebook import runs

UNITS = Path(__file__).with_name("units.json")
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
    outcome = _outcomes.get(name, untested(_listed(name)))
    return STALE if outcome == RIGHT and _versions.get(name) != runs.version(name) else outcome


def points(name: str) -> float:
    """Points of an exercise, 0 for one that no unit lists (yet)."""
    return next((listed[name] for listed in units().values() if name in listed), 0)


def title(name: str) -> str:
    """An exercise as its heading names it ("2 · Memory"); its bare name if no unit lists it (yet)."""
    return _listed(name).get("title", name)


def notebook(name: str) -> str:
    """What the notebook of an exercise's unit is called, "kv_cache.ipynb"; empty if no unit lists the exercise."""
    found = (unit["notebook"] for unit in syllabus().values() if name in unit["exercises"] and "notebook" in unit)
    return Path(next(found, "")).name


def looks_at(name: str) -> str:
    """The kinds of cases that an exercise's hidden tests look at: "an empty reply; one token"."""
    return "; ".join(_listed(name).get("looks_at", []))


def because(name: str) -> str:
    """One sentence on why an exercise's answer is right."""
    return _listed(name).get("because", "")


def ready(*names: str) -> bool:
    """Whether these exercises are solved, or a reference runs instead; if not, say which cell is waiting for which."""
    missing = [name for name in names if _outcomes.get(name) not in (RIGHT, REVEALED)]
    if missing:
        exercises = "; ".join(map(title, missing))
        print(f"This cell waits for your code: solve {exercises}. Run the tests, then run it again.")
    return not missing


def show(unit: str) -> "Scores":
    """The table of a unit's exercises: displayed by JupyterLab and Colab, printable in a shell.

    Raises:
        KeyError: no such unit.
    """
    if unit not in units():
        raise KeyError(f"no unit {unit!r} in {UNITS}, which lists {', '.join(units()) or 'none'}")
    rows = [(name, worth, _outcome(name)) for name, worth in units()[unit].items()]
    notes = checkup.look(Path(syllabus()[unit].get("notebook", "")).name, unit)
    return Scores(rows, [*notes, checkup.advice(unit)] if notes else [])


def untested(listed: dict[str, Any]) -> str:
    """The outcome of an exercise of `units.json` that no test has looked at: NOT_ATTEMPTED, or BY_HAND."""
    return BY_HAND if listed.get("by_hand") else NOT_ATTEMPTED


def units() -> dict[str, dict[str, float]]:
    """Unit -> exercise -> points, in the order of the course."""
    return {
        name: {exercise: listed["points"] for exercise, listed in unit["exercises"].items()}
        for name, unit in syllabus().items()
    }


@cache
def syllabus() -> dict[str, dict[str, Any]]:
    """Unit -> its title, its notebook's path and its exercises: all of `units.json`, in the order of the course."""
    return json.loads(UNITS.read_text(encoding="utf-8")) if UNITS.exists() else {}


def _listed(name: str) -> dict[str, Any]:
    listed = (unit["exercises"] for unit in syllabus().values())
    return next((exercises[name] for exercises in listed if name in exercises), {})


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
        width = max((len(title(name)) for name, _, _ in self.rows), default=0)
        lines = [f"{MARKS[outcome]} {title(name):<{width}}{worth:>5g}  {outcome}" for name, worth, outcome in self.rows]
        return "\n".join([*lines, self._summary(), *self.notes])

    def _repr_html_(self) -> str:
        rows = [(MARKS[outcome], title(name), f"{worth:g}", outcome) for name, worth, outcome in self.rows]
        return tables.html(("", "Exercise", "Points", "Outcome"), rows, self._summary(), numbers=(2,)) + "".join(
            f"<p>{escape(note)}</p>" for note in self.notes
        )

    def _summary(self) -> str:
        said = f"{self.earned:g} of {self.total:g} points by the visible tests. Hidden tests look further at grading."
        return f"{said} A person gives {self.by_hand:g} more." if self.by_hand else said
