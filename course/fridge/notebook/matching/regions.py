"""Which cell of a learner's notebook is which cell of the handout, whatever editors and mishaps did to it.

A learner's regions are the handout's solution cells. They are found by nbgrader's grade_id or the cell's id, then by
what the cells define (the stub's `def name(` or `class Name`; a test cell's `with exercise("name")`), then by likeness.
The grader rebuilds a submission with it, and `fridge.notebook.checkup` tells learners what the grader will see.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fridge.notebook.cells import FOR_REAL, Cell, likeness, read_cells
from fridge.notebook.matching.pieces import (
    ALIKE,
    MOST_COMPARED,
    Piece,
    is_attempted,
    join_halves,
    most_alike,
    most_attempted,
    of_kind,
)

RELATED = 0.2  # share in common with the cell that a changed one says, by its id, that it is
MERGED = 20  # characters from which a cell's text inside another is no chance
LOST_MARKS = (
    "The notebook has lost nbgrader's marks, as can happen in Colab and VS Code; its cells were recognised by what "
    "they hold."
)


@dataclass
class Match:
    """What became of each cell. Numbers are places in the notebooks' lists of cells.

    Attributes:
        answers: handout's solution cell -> the learner's source.
        places: learner's cell -> handout's cell that it is, or is a version of.
        changed: learner's cells that are changed versions of cells that aren't solutions.
        extras: the learner's own cells.
        superseded: handout's solution cell -> cells with other answers to it.
        missing: handout's graded cells of which the notebook has no trace.
        oddities: sentences, for the learner and the instructor: what is odd, and what counts.
    """

    answers: dict[int, str] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)
    extras: list[int] = field(default_factory=list)
    superseded: dict[int, list[int]] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)


def match(submitted: Sequence[Any], handout: Sequence[Any], whole: bool = True) -> Match:
    """Match a learner's cells (nbformat's, or dictionaries) with the handout's.

    Args:
        whole: whether `handout` has all of the handout's cells, its text too; if not, nothing is found by its place.

    Raises:
        UnreadableCells: too many cells, or too long ones.
    """
    return _Matching(read_cells(submitted), read_cells(handout), whole).run()


class _Matching:
    def __init__(self, submitted: list[Cell], handout: list[Cell], whole: bool):
        self._cells, self._whole = submitted, whole
        self._handout = {cell.index: cell for cell in handout}
        self._regions = [cell for cell in handout if cell.solution]
        self._names = {region.index: _names_of(region) for region in self._regions}
        self._tests = _tests_of(handout)
        self._by_id = {key: cell for cell in reversed(handout) for key in (cell.id, cell.grade_id) if key}
        self._seen: set[int] = set()  # handout's cells of which there is a trace
        self._said: dict[str, list[str]] = {}  # sentence -> cells that it is about
        self._match = Match()

    def run(self) -> Match:
        self._pieces = join_halves(self._take_copies(), self._claim)
        for region in self._regions:
            self._answer(region)
        self._answer_by_likeness()
        if self._whole:
            self._answer_by_place()
        for cells in self._match.superseded.values():
            cells[:] = [index for index in cells if index not in self._match.places]
        self._take_changed()
        self._note_missing()
        self._match.oddities += [f"{', '.join(names)}: {what}." for what, names in self._said.items()]
        return self._match

    # --- before the regions -------------------------------------------------------------------------------------

    def _take_copies(self) -> list[Cell]:
        """Take cells that are the handout's to the letter; the rest must be looked at."""
        same: dict[str, list[Cell]] = {}
        for cell in self._handout.values():
            same.setdefault(cell.text, []).append(cell)
        left = []
        for cell in self._cells:
            if not cell.text:
                self._note_empty(cell)
            elif twins := same.get(cell.text):
                twin = next((twin for twin in twins if twin.index not in self._seen), None)
                if twin is not None:  # of a further copy nothing is kept: it has nothing of the learner's
                    self._seen.add(twin.index)
                    self._match.places[cell.index] = twin.index
            else:
                left.append(cell)
        return left

    def _note_empty(self, cell: Cell) -> None:
        said = self._by_id.get(cell.grade_id)
        if said is not None and said.solution and said.index not in self._seen:
            self._seen.add(said.index)
            self._match.places[cell.index] = said.index

    def _claim(self, cell: Cell) -> int | None:
        said = self._said_by(cell)
        if said is None or not said.solution:
            return None
        others = set().union(*(names for index, names in self._names.items() if index != said.index))
        # A copied cell into which another exercise's answer was written keeps the first one's id.
        strange = said.kind == "code" and cell.functions & others and not cell.defines & self._names[said.index]
        return None if strange else said.index

    def _said_by(self, cell: Cell) -> Cell | None:
        return self._by_id.get(cell.grade_id) or self._by_id.get(cell.id)

    # --- the regions --------------------------------------------------------------------------------------------

    def _answer(self, region: Cell) -> None:
        names = self._names[region.index]
        candidates = [piece for piece in self._pieces if piece.claim == region.index]
        if not any(names <= piece.defines and is_attempted(piece, region) for piece in candidates):
            candidates += self._elsewhere(names)
        candidates = most_attempted(of_kind(candidates, region), region)
        if not candidates:
            return
        whole = [piece for piece in candidates if names <= piece.defines]
        if whole:
            self._take(region, [self._last(region, whole)])
        else:
            self._take(region, [piece for piece in candidates if piece.defines & names] or candidates)

    def _elsewhere(self, names: frozenset[str]) -> list[Piece]:
        """Pieces without a claim that define some of these names; else one with another's claim that defines all."""
        found = [piece for piece in self._pieces if piece.claim is None and self._may_answer(piece, names)]
        merged = [piece for piece in self._pieces if piece.claim is not None and names and names <= piece.defines]
        return found or merged[-1:]

    def _may_answer(self, piece: Piece, names: frozenset[str]) -> bool:
        if any(cell.functions & names for cell in piece.cells):
            return True
        return bool(piece.defines & names) and self._said_by(piece.cells[0]) is None  # `rope = …` in a demonstration

    def _last(self, region: Cell, whole: list[Piece]) -> Piece:
        """Of several answers the one that the learner's last run of the tests saw."""
        by_count = len({piece.ran for piece in whole} - {None}) == len(whole)
        moment = [(piece.ran if by_count else piece.index) for piece in whole]
        tests = [cell for cell in self._cells if self._tests_region(cell, region)]
        tested = (
            max([cell.ran for cell in tests if cell.ran] or [0])
            if by_count
            else min([cell.index for cell in tests], default=0)
        )
        chosen = max(zip(moment, whole, strict=True), key=lambda pair: (pair[0] < tested, pair[0]))[1]
        others = [piece for piece in whole if piece.source.strip() != chosen.source.strip()]
        if others:
            which = "the one that its tests last ran with" if by_count else "the last one in front of its tests"
            which = "the last one" if region.by_hand else which
            self._say(region, f"{len(whole)} cells hold an answer; {which} counts")
        same = [piece for piece in whole if piece is not chosen and piece not in others]
        for cell in (cell for piece in same for cell in piece.cells):
            self._match.places.setdefault(cell.index, region.index)
        self._match.superseded[region.index] = [cell.index for piece in others for cell in piece.cells]
        return chosen

    def _tests_region(self, cell: Cell, region: Cell) -> bool:
        tests = self._tests[region.index]
        return any(cell.grade_id == test.grade_id or cell.tests & test.tests for test in tests)

    def _take(self, region: Cell, pieces: list[Piece]) -> None:
        pieces = sorted(pieces, key=lambda piece: piece.index)
        cells = [cell for piece in pieces for cell in piece.cells]
        answer = "\n\n".join(piece.source for piece in pieces)
        self._match.answers[region.index] = self._without_courses(answer) if region.kind == "code" else answer
        if any(cell.kind != region.kind for cell in cells):
            self._say(region, f"the cell is not a {region.kind} cell any more; its text counts as {region.kind}")
        if len(cells) > 1:
            self._say(region, f"the answer is spread over {len(cells)} cells; they count as one")
        elif strange := [piece for piece in pieces if piece.claim != region.index]:
            other = next((self._handout[piece.claim] for piece in strange if piece.claim is not None), None)
            if other is not None:
                self._say(region, f"the answer stands in the cell of `{_name(other)}`; it counts")
            elif self._has_marks():
                self._say(region, "the answer stands in a cell without nbgrader's mark; it counts")
        self._seen.add(region.index)
        for cell in cells:
            self._match.places.setdefault(cell.index, region.index)

    def _without_courses(self, source: str) -> str:
        # Merged with the course's cells: a test may stand before what it calls, and grading has no time for the model.
        for cell in self._handout.values():
            if (cell.test or FOR_REAL in cell.tags) and len(cell.text) >= MERGED and cell.text in source:
                source = source.replace(cell.text, "")
                self._seen.add(cell.index)
        return source

    def _answer_by_likeness(self) -> None:
        for region in self._regions:
            free = [piece for piece in self._free() if piece.claim is None and piece.cells[0].kind == region.kind]
            if region.index not in self._seen and (alike := most_alike(region, free)):
                self._take(region, [alike])

    def _answer_by_place(self) -> None:
        """Questions for a person: an answer defines nothing, but it stands where its cell was, or below it."""
        for region in self._regions:
            if not region.by_hand or region.index in self._match.answers:
                continue
            before, behind = self._neighbours(region)
            free = [piece for piece in self._free() if before < piece.index < behind and self._is_own(piece, region)]
            if free:
                self._take(region, free)

    def _neighbours(self, region: Cell) -> tuple[int, int]:
        """The learner's cells nearest to a region's place that are the handout's: the one before, or the region's own
        as it was handed out, and the one behind."""
        places = self._match.places
        before = max((place for place in places.values() if place <= region.index), default=None)
        behind = min((place for place in places.values() if place > region.index), default=None)
        return (
            max((index for index, place in places.items() if place == before), default=-1),
            min(
                (index for index, place in places.items() if place == behind),
                default=max((cell.index for cell in self._cells), default=0) + 1,
            ),
        )

    def _is_own(self, piece: Piece, region: Cell) -> bool:
        cell = piece.cells[0]
        return piece.claim is None and cell.kind == region.kind and self._said_by(cell) is None and not cell.tests

    # --- after the regions --------------------------------------------------------------------------------------

    def _take_changed(self) -> None:
        open_ = [cell for cell in self._handout.values() if not cell.solution and cell.index not in self._seen]
        by_test = {name: cell for cell in self._handout.values() if cell.test for name in cell.tests}
        for count, piece in enumerate(self._free()):
            cell = piece.cells[0]
            said = self._said_by(cell)
            tested = next((by_test[name] for name in sorted(cell.tests) if name in by_test), None)
            version = said if said and not said.solution and likeness(cell, said) >= RELATED else tested
            if version is None and count < MOST_COMPARED and cell.kind == "code":
                alike = [other for other in open_ if other.kind == "code" and other.index not in self._seen]
                version = max(alike, key=lambda other: likeness(cell, other), default=None)
                version = version if version and likeness(cell, version) >= ALIKE else None
            if version is not None:
                self._match.changed.append(cell.index)
            else:
                self._match.extras.extend(cell.index for cell in piece.cells)
                version = said if said and said.test else None  # all its text is the learner's, but it isn't missing
            if version is not None:
                self._match.places[cell.index] = version.index
                if version.test and version.index not in self._seen:
                    self._say(version, "the cell was changed; the grader uses its own")
                self._seen.add(version.index)

    def _note_missing(self) -> None:
        if not self._has_marks() and self._match.places:
            self._match.oddities.append(LOST_MARKS)
        for cell in self._handout.values():
            if cell.solution and cell.index in self._seen and not self._has_text(cell):
                self._say(cell, "the cell is empty; it counts as not attempted")
            elif (cell.solution or cell.test) and cell.index not in self._seen:
                self._match.missing.append(cell.index)
                what = "it counts as not attempted" if cell.solution else "the grader uses its own"
                self._say(cell, f"the cell is missing; {what}")

    def _has_text(self, region: Cell) -> bool:
        texts = {cell.index for cell in self._cells if cell.text}
        return any(place == region.index and index in texts for index, place in self._match.places.items()) or (
            region.index in self._match.answers
        )

    def _free(self) -> list[Piece]:
        taken = set(self._match.places).union(*self._match.superseded.values())
        return [piece for piece in self._pieces if piece.index not in taken]

    def _has_marks(self) -> bool:
        return any(cell.grade_id in self._by_id for cell in self._cells if cell.grade_id)

    def _say(self, cell: Cell, what: str) -> None:
        self._said.setdefault(what, []).append(f"`{_name(cell)}`")


def _tests_of(handout: list[Cell]) -> dict[int, list[Cell]]:
    """Solution cell -> the test cells behind it."""
    tests: dict[int, list[Cell]] = {}
    for cell in handout:
        if cell.solution:
            tests[cell.index] = []
        elif cell.test and tests:
            tests[max(tests)].append(cell)
    return tests


def _names_of(region: Cell) -> frozenset[str]:
    """What an answer to it defines; nothing in text, which may begin a line with `class`."""
    return (region.functions or region.defines) if region.kind == "code" else frozenset()


def _name(cell: Cell) -> str:
    return cell.grade_id or cell.id or f"cell {cell.index + 1}"
