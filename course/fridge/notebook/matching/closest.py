"""Which of a handout's editions a notebook comes from: they are one assignment in several languages."""

from collections.abc import Iterable, Sequence
from typing import Any

from fridge.notebook.cells import read_cells


def closest(cells: Iterable[Any], editions: Sequence[Iterable[Any]]) -> int:
    """The place of the edition whose cells' texts stand in a notebook most often; the first of equals.

    The notebook's own metadata aren't asked: they get lost on the way, and say what a learner likes.

    Args:
        cells: the notebook's, as nbformat has them.
        editions: the cells of each edition.

    Raises:
        UnreadableCells: more of them than any learner writes.
    """
    if len(editions) == 1:
        return 0
    texts = {cell.text for cell in read_cells(cells)}
    return max(range(len(editions)), key=lambda place: sum(one.text in texts for one in read_cells(editions[place])))
