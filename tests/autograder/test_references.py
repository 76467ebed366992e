"""References for `fridge.reveal`: each passes its exercise's whole test, hidden part and all."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from autograder.authoring.references import references
from autograder.cli import main
from autograder.course import CourseError, find_units
from autograder.notebooks import TEST_SUFFIX, grade_id, is_by_hand, is_solution, is_test, read_master
from fridge.notebook.cells import read_cells
from fridge.notebook.handouts import Stub, stubs_of
from fridge.notebook.references import RELATIVES, Reference, _from_library, _made, of_master

ROOT = Path(__file__).resolve().parents[2]
UNITS = [unit.name for unit in find_units(ROOT)]
STUBS = [(unit, stub) for unit in find_units(ROOT) for stub in stubs_of(unit.name, read_cells(read_master(unit).cells))]
PLAIN = [(unit, stub) for unit, stub in STUBS if unit.name == "03-kv-cache"]
FROM_LIBRARY = [(unit, stub) for unit, stub in STUBS if stub.grade_id in RELATIVES]


def passes(unit, stub: Stub, reference: Reference) -> None:
    tests = {grade_id(cell): cell.source for cell in read_master(unit).cells if is_test(cell)}
    assert set(reference.values) == stub.names
    others = {name: value for _, other in STUBS if other.unit == unit.name for name, value in _values(unit, other)}
    for name in stub.exercises:
        source = tests[name + TEST_SUFFIX]
        assert "BEGIN HIDDEN TESTS" in source
        exec(compile(source, f"<test {name}>", "exec"), {"__name__": "test", **others, **reference.values})


def _values(unit, stub: Stub) -> Iterable[tuple[str, Any]]:
    # Of the other exercises: some tests use what an earlier exercise defines.
    return _made(stub, of_master(unit.name, unit.master.read_text()), "the master").values.items()


@pytest.mark.parametrize(("unit", "stub"), FROM_LIBRARY, ids=lambda value: getattr(value, "grade_id", ""))
def test_the_library_s_relatives_do_the_same(unit, stub):
    """Guards against a function of the library in an exercise's place that does something else in some case."""
    passes(unit, stub, _from_library(stub))


def test_all_relatives_are_exercises():
    """Guards against a table that names what was renamed."""
    assert {stub.grade_id for _, stub in FROM_LIBRARY} == set(RELATIVES)


@pytest.mark.parametrize(("unit", "stub"), PLAIN, ids=lambda value: getattr(value, "grade_id", ""))
def test_a_masters_solutions_run_by_themselves(unit, stub):
    """Guards against a reference that needs a cell of the notebook which the learner hasn't run."""
    passes(unit, stub, _made(stub, of_master(unit.name, unit.master.read_text()), "the master"))


@pytest.mark.long
@pytest.mark.parametrize(("unit", "stub"), STUBS, ids=lambda value: getattr(value, "grade_id", ""))
def test_all_masters_solutions_run_by_themselves(unit, stub):
    """The same for every unit."""
    passes(unit, stub, _made(stub, of_master(unit.name, unit.master.read_text()), "the master"))


@pytest.mark.parametrize("name", UNITS)
def test_a_master_is_read_without_jupytext(name):
    """Guards against another reading of the master in a learner's environment, which has no jupytext."""
    unit = find_units(ROOT, [name])[0]
    found = of_master(name, unit.master.read_text())
    cells = [cell for cell in read_master(unit).cells if is_solution(cell) and not is_by_hand(cell)]
    solutions = {grade_id(cell): cell.source for cell in cells}
    assert list(found["exercises"]) == list(solutions)
    for grade, source in solutions.items():
        lines = [line for line in source.splitlines() if "### " not in line]
        assert found["exercises"][grade].splitlines() == lines
    assert "import torch" in found["imports"]


def test_the_command(tmp_path, monkeypatch, capsys):
    """Guards against a file that can't be read back, and solutions written where everybody gets them."""
    monkeypatch.chdir(ROOT)
    out = tmp_path / "references.json"
    assert main(["references", "03-kv-cache", "--out", str(out)]) == 0
    assert "has the solutions of work, memory, causal-attention, rope, kv-cache" in capsys.readouterr().out
    data = json.loads(out.read_text())
    assert "hidden" not in out.read_text().lower()
    assert "expect_" not in out.read_text()
    unit, stub = PLAIN[3]
    passes(unit, stub, _made(stub, data, "a file"))
    with pytest.raises(CourseError, match=r"is in course/, which learners get as a whole"):
        references(ROOT, "03-kv-cache", ROOT / "course" / "03-kv-cache" / "references.json")
    assert main(["references", "33-none", "--out", str(out)]) == 2
