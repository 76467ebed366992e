"""What is in a saved notebook, in sentences, for somebody who is about to hand it in."""

from collections.abc import Iterable
from typing import Any

from fridge.notebook import checkup, progress, scoreboard, syllabus, this_notebook
from fridge.notebook.cells import read_cells
from fridge.notebook.matching.regions import LOST_MARKS
from fridge.notebook.scoreboard import NOT_ATTEMPTED, REVEALED, RIGHT, SKIPPED, STALE, WRONG

SAVE = "Save (Ctrl+S, on a Mac ⌘S)"


class NothingToHandIn(Exception):
    """There is no file to hand in; the message says why, and what to do."""


def report(unit: str, notebook: dict[str, Any], when: str) -> list[str]:
    """Points by the visible tests, what is wrong, untested, untouched or missing, in sentences.

    Args:
        when: what the notebook is: "as saved just now".

    Raises:
        NothingToHandIn: it is an author's notebook, or nothing in it is attempted.
    """
    if checkup.is_a_master(notebook):
        raise NothingToHandIn("This is an author's notebook, with solutions: there is nothing to hand in.")
    found = checkup.matched(notebook, unit)
    if not found.answers:
        also = " ".join(unsaved(unit, notebook)) or f"{SAVE} what you wrote."
        raise NothingToHandIn(f"Nothing to hand in yet: no exercise is attempted, {when}. {also}")
    known, listed = progress.outcomes(notebook), syllabus.units()[unit]
    answered = checkup.answered(found, unit)
    earned = sum(points for name, points in listed.items() if known.get(name) in (RIGHT, SKIPPED))
    untold = (None, NOT_ATTEMPTED, STALE)  # what a test said that has not seen the answer
    groups = {
        "Wrong": [name for name in listed if known.get(name) == WRONG],
        "Answered, and not tested since, or not saved": [
            name for name in listed if known.get(name) in untold and name in answered
        ],
        "Not attempted": [name for name in listed if known.get(name) in untold and name not in answered],
        "Revealed, points given up": [name for name in listed if known.get(name) == REVEALED],
    }
    return [
        f"{earned:g} of {sum(listed.values()):g} points by the visible tests, {when}.",
        *(f"{what}: {_titles(names)}." for what, names in groups.items() if names),
        *(f"! {oddity}" for oddity in found.oddities if oddity != LOST_MARKS),
        *([checkup.advice(unit)] if found.missing else []),
    ]


def unsaved(unit: str, notebook: dict[str, Any]) -> list[str]:
    """What this kernel knows and the file doesn't."""
    known = progress.outcomes(notebook)
    live = {name: outcome for name, outcome in scoreboard.outcomes().items() if name in syllabus.units()[unit]}
    stale = [name for name, outcome in live.items() if outcome == STALE]
    tested = [name for name, outcome in live.items() if known.get(name) != outcome]
    in_file = {cell.text for cell in read_cells(notebook["cells"])}
    changed = [
        name for name, cell in checkup.last_answers(this_notebook.ran(), unit).items() if cell.text not in in_file
    ]
    if changed:
        return [f"! What ran last isn't in the file: {_titles(changed)}. {SAVE}, then run this cell again."]
    if stale:
        return [f"! Changed since their tests ran: {_titles(stale)}. Run the tests and save, then run this cell again."]
    if tested:
        return [f"! Not saved since these tests ran: {_titles(tested)}. {SAVE}, then run this cell again."]
    return []


def _titles(names: Iterable[str]) -> str:
    return "; ".join(map(syllabus.title, names))
