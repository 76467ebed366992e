"""Where a learner's own cells stand in another version of the notebook: behind the cell that they stood behind."""

from collections.abc import Mapping
from typing import TypeVar

from fridge.notebook.matching.regions import Match

Own = TypeVar("Own")


def placed(found: Match, own: Mapping[int, Own]) -> tuple[dict[int, list[Own]], dict[int, list[Own]]]:
    """(before, behind): handout's cell -> the learner's own cells at its side, in their order.

    Args:
        found: which of the learner's cells is which of the handout's.
        own: place in the learner's notebook -> a cell to place.
    """
    superseded = {index for others in found.superseded.values() for index in others}
    before = {region: [own[index] for index in others if index in own] for region, others in found.superseded.items()}
    behind: dict[int, list[Own]] = {}
    anchor: int | None = None
    waiting: list[Own] = []  # in front of the first cell that is the handout's
    for index in sorted({*found.places, *own} - superseded):
        if index in found.places:
            anchor = found.places[index]
            before.setdefault(anchor, [])[:0] = waiting
            waiting = []
        if index in own:
            (waiting if anchor is None else behind.setdefault(anchor, [])).append(own[index])
    if waiting:
        before.setdefault(0, [])[:0] = waiting
    return before, behind
