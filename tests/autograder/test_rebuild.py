"""A submission rebuilt from its handout: laws that hold whatever happened to it."""

import ast
import copy
import time
from pathlib import Path
from random import Random

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mishaps import MISHAPS, befall, is_solution
from nbformat import NotebookNode

from autograder.course import find_units
from autograder.notebooks import grade_id
from autograder.submissions.rebuild import (
    MOST_OF_NOTEBOOK,
    MOST_PICTURES,
    REPAIRS,
    REVEALED,
    _write_text,
    rebuild,
)
from autograder.submissions.submission import Refused
from autograder.trials.generated import answers_of
from fridge.notebook.cells import parsed
from fridge.notebook.matching import pieces

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("02-int4-quantization", "03-kv-cache")  # exercises of one function, of two, of classes
SLOW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Books:
    """A unit's handout, and the same solved."""

    def __init__(self, name: str):
        unit = find_units(ROOT, [name])[0]
        self.handout = nbformat.read(unit.release, as_version=4)
        self.solved, answers = copy.deepcopy(self.handout), answers_of(unit, [])
        for cell in self.solved.cells:
            cell.source = answers.get(grade_id(cell), cell.source)


@pytest.fixture(scope="module", params=UNITS)
def books(request) -> Books:
    return Books(request.param)


@pytest.fixture(scope="module")
def kv_cache() -> Books:
    return Books("03-kv-cache")


def definitions(source: str) -> dict[str, str]:
    """The last definition of each name, without what editors change; nothing of code that doesn't parse."""
    try:
        tree = ast.parse("\n".join(line.rstrip() for line in source.splitlines()))
    except SyntaxError:
        return {}
    return {node.name: ast.dump(node) for node in tree.body if hasattr(node, "name")}


def answers(notebook: NotebookNode, solved: NotebookNode) -> dict[str, dict[str, str]]:
    """What the exercises' names mean when the cell of the exercise has been run, all cells run in order."""
    names = {grade_id(cell): set(definitions(cell.source)) for cell in solved.cells if is_solution(cell)}
    known: dict[str, str] = {}
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            known |= definitions(cell.source)
        if is_solution(cell):
            found[grade_id(cell)] = {name: known[name] for name in names[grade_id(cell)] if name in known}
    return found


def is_the_handouts(notebook: NotebookNode, handout: NotebookNode) -> bool:
    """Whether all but the answers is as handed out, in its order, once."""
    of_handout = {cell.id for cell in handout.cells}
    kept = [cell for cell in notebook.cells if cell.id in of_handout]
    return [(cell.id, cell.cell_type, cell.metadata, None if is_solution(cell) else cell.source) for cell in kept] == [
        (cell.id, cell.cell_type, cell.metadata, None if is_solution(cell) else cell.source) for cell in handout.cells
    ]


@given(mishaps=st.sets(st.integers(0, len(MISHAPS) - 1), max_size=6), random=st.randoms(use_true_random=False))
@SLOW
def test_mishaps_cost_no_answer(books, mishaps: set[int], random: Random) -> None:
    """Guards against an answer that is lost by a combination of mishaps, and against a changed test that counts."""
    handout, solved = books.handout, books.solved
    sent = befall(solved, handout, sorted(mishaps), random)
    rebuilt = rebuild(sent, handout).notebook
    assert answers(rebuilt, solved) == answers(solved, solved)
    assert is_the_handouts(rebuilt, handout)
    nbformat.validate(rebuilt)


@given(mishaps=st.sets(st.integers(0, len(MISHAPS) - 1), max_size=5), random=st.randoms(use_true_random=False))
@settings(SLOW, max_examples=25)
def test_a_rebuilt_notebook_needs_no_repair(books, mishaps: set[int], random: Random) -> None:
    """Guards against repairs that aren't: rebuilding what was rebuilt changes nothing."""
    handout, solved = books.handout, books.solved
    once = rebuild(befall(solved, handout, sorted(mishaps), random), handout).notebook
    twice = rebuild(once, handout)
    assert twice.repairs == []
    assert [(cell.cell_type, cell.source) for cell in twice.notebook.cells] == [
        (cell.cell_type, cell.source) for cell in once.cells
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
odd_cells = st.fixed_dictionaries(
    {},
    optional={
        "cell_type": st.sampled_from(["code", "markdown", "raw"]) | anything,
        "source": st.sampled_from(["def rope(x):\n    return x", "  x", "with exercise('rope'):\n    pass", ""])
        | anything,
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "nbgrader": st.fixed_dictionaries(
                    {}, optional={"grade_id": st.sampled_from(["rope", "rope-test"]) | anything, "solution": anything}
                )
                | anything,
                "tags": anything,
                "id": anything,
            },
        )
        | anything,
        "id": st.sampled_from(["rope", "own-1"]) | anything,
        "execution_count": anything,
        "attachments": anything,
    },
)


@given(cells=st.lists(odd_cells | anything, max_size=6))
@SLOW
def test_nothing_that_stands_in_a_cell_breaks_the_rebuild(kv_cache, cells: list) -> None:
    """Guards against a run that ends at a notebook written by hand: any metadata, any types."""
    handout, solved = kv_cache.handout, kv_cache.solved
    sent = nbformat.from_dict({"cells": [*cells, solved.cells[12]], "metadata": {}})
    try:
        rebuilt = rebuild(sent, handout).notebook
    except Refused:
        return
    assert is_the_handouts(rebuilt, handout)
    nbformat.validate(rebuilt)
    nbformat.writes(rebuilt).encode()


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param([{"source": "(" * 200_000}] * 20, id="brackets"),
        pytest.param([{"source": "-" * 150_000 + "1"}] * 20, id="signs"),
        pytest.param([{"source": "a." * 90_000 + "b"}] * 20, id="attributes"),
        pytest.param([{"source": "f(" * 60_000}] * 20, id="calls"),
        pytest.param([{"source": "lambda: " * 20_000 + "1"}] * 20, id="lambdas"),
        pytest.param([{"source": " " * 100 + "\n" * 200_000 + "x"}] * 20, id="line-ends"),
        pytest.param([{"source": "x\n" * 200_000}] * 10, id="lines"),
        pytest.param([{"source": "def rope(x):\n    return x\n" * 80}] * 2000, id="answers"),
        pytest.param([{"source": "    return x\n" * 190}] * 2000, id="halves"),
        pytest.param([{"source": "ab" * 100}] * 2000, id="alike"),
        pytest.param([{"source": "!" + "python " * 300_000}] * 2, id="installs"),
        pytest.param([{"source": "<<<<<<< \n" * 300_000}], id="conflicts"),
    ],
)
def test_bombs_cost_no_more_than_their_size(kv_cache, cells: list[dict]) -> None:
    """Guards against text that makes parsing or comparing it take for ever, or ends Python by its depth."""
    handout = kv_cache.handout
    marks = {"nbgrader": {"grade_id": "rope", "solution": True}}
    bomb = [{"cell_type": "code", "metadata": marks, **cell} for cell in cells]
    bomb[0] |= {"source": "def rope(x):\n    y = x\n" + bomb[0]["source"]}
    sent = nbformat.from_dict({"cells": bomb, "metadata": {}})
    assert is_the_handouts(rebuild(sent, handout).notebook, handout)


@pytest.mark.parametrize(
    ("first", "half"),
    [
        ("class C:\n" + "    x = 1\n" * 19_000, "    y = 2\n"),
        ("class C:\n" + "    x = 1\n" * 2_000, "    y = 2\n" * 2_000),
        ("def rope(x):\n" + "    x = [1]\n" * 15_000, "    return x\n"),
        ('def rope(x):\n    "' + "a" * 190_000 + '"\n', "    (\n"),
    ],
    ids=["long", "even", "function", "broken"],
)
def test_halves_are_read_within_a_budget(kv_cache, monkeypatch, first: str, half: str) -> None:
    """Guards against an answer in eight halves that is parsed sixteen times, again and again in one notebook."""
    read = []
    monkeypatch.setattr(pieces, "parsed", lambda source: read.append(len(source)) or parsed(source))
    cells = ([first] + [half] * 7) * (4_900_000 // (len(first) + 7 * len(half)))
    sent = nbformat.from_dict({"cells": [nbformat.v4.new_code_cell(source) for source in cells], "metadata": {}})
    sent.cells.append(kv_cache.solved.cells[12])
    assert is_the_handouts(rebuild(sent, kv_cache.handout).notebook, kv_cache.handout)
    assert sum(read) <= pieces.MOST_READ + 3 * 200_000


def test_an_answer_with_many_pictures_is_read_once_for_each_of_a_hundred() -> None:
    """Guards against 20,000 attachments whose names are looked for one by one, each with all others."""
    source = "![](attachment:1.png) " * 1000
    pictures = {f"{number}.png": {"image/png": ""} for number in range(20_000)}
    part = nbformat.v4.new_markdown_cell(source, attachments=pictures)
    cell = nbformat.v4.new_markdown_cell("")
    began = time.process_time()
    _write_text(cell, source, [part])
    assert time.process_time() - began < 5
    assert len(cell.attachments) == MOST_PICTURES


@pytest.mark.parametrize(
    "attachments",
    [
        {"\ud800.png": {"image/png": "aa"}},
        {"a.png": {"\ud800": "aa", "image/png": "aa"}},
        {"a.png": {"image/png": "\ud800"}},
        {"a.svg": {"image/svg+xml": "<svg onload=alert(1)>"}, "a.html": {"text/html": "<script>"}},
        {"a.png": [1], "b.png": {"image/png": 5}},
    ],
    ids=["half a character in a name", "in a kind", "in a body", "no pictures", "no bundles"],
)
def test_odd_attachments_cost_no_other_cell_its_points(kv_cache, attachments) -> None:
    """Guards against a notebook that can't be written to a file, so that all its points are lost."""
    sent = copy.deepcopy(kv_cache.solved)
    sent.cells.append(nbformat.v4.new_markdown_cell("![](attachment:good.png)"))
    sent.cells[-1].attachments = {**attachments, "good.png": {"image/png": "aa"}}
    rebuilt = rebuild(sent, kv_cache.handout).notebook
    nbformat.writes(rebuilt).encode()
    (kept,) = (cell.attachments for cell in rebuilt.cells if "attachments" in cell)
    assert kept["good.png"] == {"image/png": "aa"}
    assert {kind for bundle in kept.values() for kind in bundle} == {"image/png"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"display_name": "<script>", "language": "<b>", "name": "'; alert(1)"}},
        {"language_info": {"name": "<script>", "version": "3.12.<script>", "pygments_lexer": "'><script>"}},
        {"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"a": {"model_name": "HTMLModel"}}}}},
        {"title": "</title><script>", "authors": [{"name": "<script>"}], "autograder": {"layers": "<script>"}},
    ],
    ids=lambda metadata: next(iter(metadata)),
)
def test_a_notebooks_own_metadata_stay_behind(kv_cache, metadata) -> None:
    """Guards against names of kernels and languages, widgets and titles, which pages put where they like."""
    sent = copy.deepcopy(kv_cache.solved)
    sent.metadata.update(nbformat.from_dict(metadata))
    rebuilt = rebuild(sent, kv_cache.handout).notebook
    assert "<script>" not in nbformat.writes(rebuilt)
    assert set(rebuilt.metadata) <= {*kv_cache.handout.metadata, "language_info", REPAIRS, REVEALED}


def test_a_hundred_thousand_attachments_are_kept_by_hundreds(kv_cache) -> None:
    """Guards against what a check of each takes: 23 seconds for these, minutes for a file of 20 MB."""
    sent = copy.deepcopy(kv_cache.solved)
    for number in range(50):
        cell = nbformat.v4.new_markdown_cell(f"text {number}")
        cell.attachments = {f"{one}.png": {"image/png": "aa"} for one in range(2_000)}
        sent.cells.append(cell)
    began = time.process_time()
    rebuilt = rebuild(sent, kv_cache.handout).notebook
    assert time.process_time() - began < 5
    assert sum(len(cell.get("attachments", ())) for cell in rebuilt.cells) == MOST_OF_NOTEBOOK


def test_what_was_revealed_is_noted_wherever_the_call_stands(kv_cache) -> None:
    """Guards against a call that the rebuild drops with its cell, and a note of the learner's own."""
    handout = kv_cache.handout

    def revealed(source: str, **metadata) -> list[str]:
        sent = copy.deepcopy(kv_cache.solved)
        sent.metadata[REVEALED] = ["work-test"]
        sent.cells.append(nbformat.v4.new_code_cell(source, metadata=metadata))
        rebuilt = rebuild(sent, handout)
        assert rebuilt.revealed == rebuilt.notebook.metadata[REVEALED]
        return rebuilt.revealed

    assert revealed("print(1)") == []
    assert revealed('# fridge.reveal("rope")') == []
    assert revealed('fridge.reveal("rope")') == ["rope-test"]
    assert revealed('fridge.reveal("rope")', tags=["for-real"]) == ["rope-test"]
    assert revealed('fridge.reveal("kv-state")\nfridge.reveal("nothing")') == ["kv-update-test", "kv-state-test"]
    for place in (grade_id(cell) for cell in handout.cells if grade_id(cell)):
        sent = copy.deepcopy(kv_cache.solved)
        cell = next(cell for cell in sent.cells if grade_id(cell) == place)
        cell.source += '\n\nimport fridge\nfridge.reveal("rope")'
        assert rebuild(sent, handout).revealed == ["rope-test"], place
