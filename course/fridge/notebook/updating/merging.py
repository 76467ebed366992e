"""A learner's notebook and a newer handout made one: the new cells, the learner's answers, outputs and own cells.

Cells are matched as the grader matches them. What the learner changed in a cell that isn't an exercise's stays where
the course left that cell alone; where both changed it, the course's stands, and the learner's follows as an own cell.
"""

import copy
from dataclasses import dataclass
from typing import Any

from fridge.notebook.cells import Cell, read_cells
from fridge.notebook.matching.regions import Match, match
from fridge.notebook.updating.placing import placed

Notebook = dict[str, Any]


@dataclass(frozen=True)
class Merged:
    """The notebook, the number of the learner's answers and of their own cells in it, and exercises to test again."""

    notebook: Notebook
    answers: int
    own: int
    to_test: list[str]


def merged(mine: Notebook, base: Notebook | None, new: Notebook) -> Merged:
    """Put what is a learner's into a new handout.

    Args:
        mine: the learner's notebook.
        base: the handout that it was made from; None if nobody knows: all that isn't in `new` is then the learner's.
        new: the handout to fill.

    Raises:
        UnreadableCells: one has more cells, or longer ones, than any learner writes.
    """
    return _Merging(mine, base, new).run()


class _Merging:
    def __init__(self, mine: Notebook, base: Notebook | None, new: Notebook):
        self._mine, self._new = mine, new
        self._cells = {cell.index: cell for cell in read_cells(mine["cells"])}
        self._handout = {cell.index: cell for cell in read_cells(new["cells"])}
        self._base = {cell.text for cell in read_cells(base["cells"] if base else [])}
        self._found: Match = match(mine["cells"], new["cells"])
        self._whose: dict[int, Cell] = {}  # handout's cell -> the learner's first version of it
        for index, place in sorted(self._found.places.items()):
            self._whose.setdefault(place, self._cells[index])

    def run(self) -> Merged:
        own = self._own_cells()
        before, behind = placed(self._found, own)
        notebook = copy.deepcopy(self._new)
        notebook["cells"] = []
        for place, original in enumerate(self._new["cells"]):
            notebook["cells"] += [*before.get(place, []), self._filled(place, original), *behind.get(place, [])]
        self._give_ids(notebook)
        return Merged(notebook, len(self._found.answers), len(own), self._to_test())

    def _filled(self, place: int, original: dict[str, Any]) -> dict[str, Any]:
        cell, whose = copy.deepcopy(original), self._whose.get(place)
        if place in self._found.answers:
            cell["source"] = self._found.answers[place]
        elif whose and self._is_the_learners_alone(whose, place):
            cell["source"] = whose.source
        if whose and cell["cell_type"] == "code" and _text(cell) == whose.text:
            theirs = self._mine["cells"][whose.index]
            cell["outputs"] = copy.deepcopy(theirs.get("outputs") or [])
            cell["execution_count"] = whose.ran
        return cell

    def _is_the_learners_alone(self, whose: Cell, place: int) -> bool:
        """Whether the learner changed a cell of the course, and the course didn't."""
        handout = self._handout.get(place)
        course_is_same = handout is not None and not handout.test and handout.text in self._base
        return course_is_same and whose.text not in self._base and whose.kind == handout.kind

    def _own_cells(self) -> dict[int, dict[str, Any]]:
        changed = (index for index in self._found.changed if not self._stays(index))
        superseded = (index for others in self._found.superseded.values() for index in others)
        places = {*self._found.extras, *changed, *superseded}
        return {
            index: _as_own(self._mine["cells"][index])
            for index in sorted(places)
            if self._cells[index].text and self._cells[index].text not in self._base
        }

    def _stays(self, index: int) -> bool:
        """Whether a changed cell of the course needs no copy: it stands in its place, or is a test."""
        place, cell = self._found.places[index], self._cells[index]
        if place in self._handout and self._handout[place].test:
            return True
        return self._whose[place] is cell and self._is_the_learners_alone(cell, place)

    def _to_test(self) -> list[str]:
        """Exercises with an answer whose tests the learner's notebook hasn't."""
        names, answered = [], False
        for cell in self._handout.values():
            if cell.solution:
                answered = cell.index in self._found.answers
            elif cell.test and answered and cell.text not in {mine.text for mine in self._cells.values()}:
                names += sorted(cell.tests)
        return names

    def _give_ids(self, notebook: Notebook) -> None:
        taken = {cell.get("id") for cell in self._new["cells"]}
        for number, cell in enumerate(cell for cell in notebook["cells"] if cell.get("id") is None):
            name = f"own-{number + 1}"
            while name in taken:
                name += "x"
            cell["id"] = name
            taken.add(name)


def _as_own(cell: dict[str, Any]) -> dict[str, Any]:
    own = copy.deepcopy(cell)
    own.pop("id", None)
    own["metadata"] = {
        key: value for key, value in (own.get("metadata") or {}).items() if key not in ("nbgrader", "id")
    }
    return own


def _text(cell: dict[str, Any]) -> str:
    (read,) = read_cells([cell]) or [None]
    return read.text if read else ""
