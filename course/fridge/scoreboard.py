"""The learner's points in this notebook by the visible tests. Works without nbgrader, in Colab too.

Names and points of all exercises stand in `units.json`, which `make course` writes from the masters.
"""

import json
from functools import cache
from html import escape
from pathlib import Path

UNITS = Path(__file__).with_name("units.json")
RIGHT, WRONG, NOT_ATTEMPTED = "right", "wrong", "not attempted"
_MARKS = {RIGHT: "✓", WRONG: "✗", NOT_ATTEMPTED: "○"}

_outcomes: dict[str, str] = {}  # exercise -> outcome of its last run in this kernel


def record(name: str, outcome: str) -> None:
    """Note the outcome (RIGHT, WRONG, NOT_ATTEMPTED) of an exercise's tests."""
    _outcomes[name] = outcome


def points(name: str) -> float:
    """Points of an exercise, 0 for one that no unit lists (yet)."""
    return next((listed[name] for listed in units().values() if name in listed), 0)


def ready(*names: str) -> bool:
    """Whether these exercises are solved; if not, say which cell is waiting for which."""
    missing = [name for name in names if _outcomes.get(name) != RIGHT]
    if missing:
        print(f"This cell waits for your code: solve {', '.join(missing)}, run the tests, then run it again.")
    return not missing


def show(unit: str) -> "Scores":
    """The table of a unit's exercises: displayed by JupyterLab and Colab, printable in a shell.

    Raises:
        KeyError: no such unit.
    """
    if unit not in units():
        raise KeyError(f"no unit {unit!r} in {UNITS}, which lists {', '.join(units()) or 'none'}")
    return Scores([(name, worth, _outcomes.get(name, NOT_ATTEMPTED)) for name, worth in units()[unit].items()])


@cache
def units() -> dict[str, dict[str, float]]:
    """Unit -> exercise -> points, in the order of the course."""
    return json.loads(UNITS.read_text(encoding="utf-8")) if UNITS.exists() else {}


class Scores:
    """Rows of (exercise, points, outcome) with a total."""

    def __init__(self, rows: list[tuple[str, float, str]]):
        self.rows = rows

    @property
    def earned(self) -> float:
        """Points by the visible tests."""
        return sum(worth for _, worth, outcome in self.rows if outcome == RIGHT)

    @property
    def total(self) -> float:
        """Points to be had."""
        return sum(worth for _, worth, _ in self.rows)

    def __repr__(self) -> str:
        lines = [f"{_MARKS[outcome]} {name:<28}{worth:>4g}  {outcome}" for name, worth, outcome in self.rows]
        return "\n".join([*lines, self._summary()])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{_MARKS[outcome]}</td><td style='text-align:left'>{escape(name)}</td><td>{worth:g}</td>"
            f"<td style='text-align:left'>{outcome}</td></tr>"
            for name, worth, outcome in self.rows
        )
        left = "<th style='text-align:left'>"
        head = f"<tr><th></th>{left}Exercise</th><th>Points</th>{left}Outcome</th></tr>"
        return f"<table>{head}{rows}</table><p>{self._summary()}</p>"

    def _summary(self) -> str:
        return f"{self.earned:g} of {self.total:g} points by the visible tests. Hidden tests look further at grading."
