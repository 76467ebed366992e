"""Pieces of a learner's notebook: a cell, or the halves of one that was split; which of them may answer an exercise."""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

from fridge.notebook.cells import STUB, Cell, likeness, parsed

ALIKE = 0.5  # share in common from which a changed cell is taken for the handout's
MOST_COMPARED = 100  # of a learner's cells, by likeness
MOST_HALVES = 8  # cells into which one was split
MOST_READ = 1_000_000  # characters that are parsed in looking for halves, of all cells together
_LEAVES = re.compile(r"^[ \t]+(return|yield)\b", re.MULTILINE)  # what only a function's body has


@dataclass
class Piece:
    """A cell of the learner's, or several that only make sense together."""

    cells: list[Cell]
    claim: int | None  # the region that it says it is
    source: str
    defines: frozenset[str]

    @property
    def index(self) -> int:
        """Place of its first cell in the notebook."""
        return self.cells[0].index

    @property
    def ran(self) -> int | None:
        """The kernel's count when its last cell was last executed."""
        return self.cells[-1].ran


def join_halves(cells: list[Cell], claim_of: Callable[[Cell], int | None]) -> list[Piece]:
    """Make one piece of a cell that was split inside a function or class."""
    pieces: list[Piece] = []
    left = MOST_READ
    for cell in cells:
        claim = claim_of(cell)
        before = pieces[-1] if pieces else None
        if before and left > 0 and claim in (None, before.claim) and _may_be_other_half(before, cell):
            left -= 2 * len(before.source) + len(cell.source)
            if _is_other_half(before, cell, claim is not None):
                before.cells.append(cell)
                before.source += f"\n{cell.source}"
                before.defines |= cell.defines
                continue
        pieces.append(Piece([cell], claim, cell.source, cell.defines))
    return pieces


def is_attempted(piece: Piece, region: Cell) -> bool:
    """Whether it differs from the exercise as it was handed out."""
    return piece.source.count(STUB) < region.source.count(STUB) or any(
        line not in region.lines and not (line.startswith("#") and cell.kind == "code")
        for cell in piece.cells
        for line in cell.lines
    )


def most_attempted(pieces: list[Piece], region: Cell) -> list[Piece]:
    """Those that somebody worked on; all, if none is."""
    # An older release's stub has other lines, too: what counts first is whether the stub's `raise` is gone.
    filled = [piece for piece in pieces if piece.source.count(STUB) < region.source.count(STUB)]
    return filled or [piece for piece in pieces if is_attempted(piece, region)] or pieces


def of_kind(pieces: list[Piece], region: Cell) -> list[Piece]:
    """Those of the exercise's cell type; if none is, those that were of it."""
    right = [piece for piece in pieces if piece.cells[0].kind == region.kind]
    # A note that quotes code is not an answer; a cell whose type was changed is.
    return right or [piece for piece in pieces if piece.claim == region.index or piece.cells[0].is_python]


def _may_be_other_half(before: Piece, cell: Cell) -> bool:
    """Whether a cell begins with an indentation, behind code."""
    first = next(line for line in cell.source.splitlines() if line.strip())
    return first[0] in " \t" and {before.cells[-1].kind, cell.kind} == {"code"} and len(before.cells) < MOST_HALVES


def _is_other_half(before: Piece, cell: Cell, certain: bool) -> bool:
    """Whether a cell begins inside a function or class that the piece before it leaves open."""
    certain = certain or _is_open(before.source) or _LEAVES.search(cell.source) is not None
    return certain and parsed(f"{before.source}\n{cell.source}") is not None


def _is_open(source: str) -> bool:
    """Whether it can't be all: it doesn't parse, or ends in a class, or in a function with a docstring at most."""
    tree = parsed(source)
    last = tree.body[-1] if tree is not None and tree.body else None
    if isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef):
        return len(last.body) == 1 and isinstance(last.body[0], ast.Expr)
    return tree is None or isinstance(last, ast.ClassDef)


def most_alike(region: Cell, pieces: list[Piece]) -> Piece | None:
    """The piece that is most like the exercise as it was handed out, if any is."""
    best = max(pieces[:MOST_COMPARED], key=lambda piece: likeness(piece.cells[0], region), default=None)
    return best if best and likeness(best.cells[0], region) >= ALIKE else None
