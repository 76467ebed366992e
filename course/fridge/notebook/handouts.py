"""The exercises' and tests' cells as they were handed out, from `handouts.json`: which stub a test belongs to."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fridge.notebook.cells import Cell, read_cells
from fridge.notebook.matching.closest import closest

HANDOUTS = Path(__file__).with_name("handouts.json")  # `make course` writes it, and handouts.zh.json beside it
TEST_SUFFIX = "-test"


@dataclass(frozen=True)
class Stub:
    """An exercise's cell to fill in.

    Attributes:
        unit: 03-kv-cache.
        grade_id: of the cell.
        names: functions and classes that it defines.
        exercises: what tests it: the test cells' grade_ids without `-test`, in order. More than one share a class, say.
    """

    unit: str
    grade_id: str
    names: frozenset[str]
    exercises: tuple[str, ...]


@cache
def graded_cells() -> dict[str, list[dict[str, Any]]]:
    """Unit -> its exercises' and tests' cells; empty where nothing is built yet."""
    return json.loads(HANDOUTS.read_text(encoding="utf-8")) if HANDOUTS.exists() else {}


@cache
def editions() -> tuple[dict[str, list[dict[str, Any]]], ...]:
    """`graded_cells`, and the same of the handouts in other languages."""
    others = sorted(HANDOUTS.parent.glob("handouts.*.json"))
    return graded_cells(), *(json.loads(path.read_text(encoding="utf-8")) for path in others)


def of_notebook(unit: str, cells: Iterable[Any]) -> list[dict[str, Any]]:
    """A unit's exercises' and tests' cells, in the language that a notebook's cells are in.

    Raises:
        KeyError: there is no such unit.
    """
    if unit not in graded_cells():
        raise KeyError(unit)
    found = [edition[unit] for edition in editions() if unit in edition]
    return found[closest(cells, found)]


def stubs_of(unit: str, cells: Iterable[Cell]) -> list[Stub]:
    """The stubs among a handout's cells, each with the tests behind it."""
    found: list[tuple[Cell, list[str]]] = []
    for cell in cells:
        if cell.solution:
            found.append((cell, []))
        elif cell.test and cell.grade_id and found:
            found[-1][1].append(cell.grade_id.removesuffix(TEST_SUFFIX))
    return [
        Stub(unit, cell.grade_id or "", cell.functions or cell.defines, tuple(exercises)) for cell, exercises in found
    ]


def find(name: str, stubs: Iterable[Stub]) -> Stub | None:
    """The stub that an exercise, or the stub itself, is called; None if none is."""
    return next((stub for stub in stubs if name in (stub.grade_id, *stub.exercises)), None)


def stub(name: str) -> Stub | None:
    """The stub of an exercise of this course, None if it has none (yet)."""
    return find(name, stubs())


@cache
def stubs() -> tuple[Stub, ...]:
    """The stubs of all units."""
    return tuple(stub for unit, cells in graded_cells().items() for stub in stubs_of(unit, read_cells(cells)))
