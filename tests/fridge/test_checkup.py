"""What a learner is told about the saved notebook, and how its cells are put back."""

import copy
import json
from pathlib import Path

import pytest

from fridge.notebook import checkup, scoreboard

UNIT, NOTEBOOK = "03-kv-cache", "kv_cache.ipynb"
RELEASE = Path(__file__).resolve().parents[2] / "course" / UNIT / NOTEBOOK


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner's folder with the handout in it; the notebook's path."""
    monkeypatch.chdir(tmp_path)
    data = json.loads(RELEASE.read_text(encoding="utf-8"))
    graded = {cell["id"]: cell for cell in data["cells"] if "nbgrader" in cell["metadata"]}
    handouts = {UNIT: copy.deepcopy(list(graded.values()))}  # as `make course` would pack it now
    monkeypatch.setattr(checkup.handouts, "graded_cells", lambda: handouts)
    path = tmp_path / NOTEBOOK
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def without(path: Path, *ids: str) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    data["cells"] = [cell for cell in data["cells"] if cell["id"] not in ids]
    path.write_text(json.dumps(data), encoding="utf-8")


def test_a_whole_notebook_is_not_talked_about(saved: Path) -> None:
    """Guards against a false alarm under everybody's score."""
    assert checkup.look(NOTEBOOK, UNIT) == []
    assert scoreboard.show(UNIT).notes == []
    with pytest.raises(checkup.NothingToRepair, match="has all cells"):
        checkup.repair(UNIT)


def test_a_missing_cell_is_named_and_put_back(saved: Path, capsys: pytest.CaptureFixture) -> None:
    """Guards against a deleted exercise that its learner hears of with the grade, and a repair that loses work."""
    before = cells(saved)
    before[3]["source"] = "import torch, mine"
    saved.write_text(json.dumps({"cells": before, "nbformat": 4, "nbformat_minor": 5, "metadata": {"own": 1}}))
    without(saved, "rope", "work-test", "chunked-prefill-test")
    damaged = saved.read_bytes()
    notes = checkup.look(NOTEBOOK, UNIT)
    assert notes == [
        "`work-test`, `chunked-prefill-test`: the cell is missing; the grader uses its own.",
        "`rope`: the cell is missing; it counts as not attempted.",
    ]
    shown = scoreboard.show(UNIT)
    assert "! `rope`: the cell is missing" in repr(shown)
    assert 'checkup.repair("03-kv-cache")' in repr(shown)
    assert "<p>! `rope`: the cell is missing" in shown._repr_html_()

    checkup.repair(UNIT)
    assert [cell["id"] for cell in cells(saved)] == [cell["id"] for cell in before]
    assert [cell["source"] for cell in cells(saved)] == [cell["source"] for cell in before]
    assert json.loads(saved.read_text())["metadata"] == {"own": 1}
    assert saved.with_name("kv_cache-before-repair.ipynb").read_bytes() == damaged
    assert "Put back: work-test, rope, chunked-prefill-test." in capsys.readouterr().out
    assert checkup.look(NOTEBOOK, UNIT) == []


def test_two_answers_are_named_and_both_stay(saved: Path) -> None:
    """Guards against a grade for another answer than the one that a learner has in mind."""
    data = json.loads(saved.read_text())
    place = next(place for place, cell in enumerate(data["cells"]) if cell["id"] == "rope")
    twin = copy.deepcopy(data["cells"][place])
    data["cells"][place]["source"] = "def apply_rope(x, start):\n    return x"
    twin |= {"id": "twin", "source": "def apply_rope(x, start):\n    return -x"}
    data["cells"].insert(place + 1, twin)
    saved.write_text(json.dumps(data))
    assert checkup.look(NOTEBOOK, UNIT) == [
        "`rope`: 2 cells hold an answer; the last one in front of its tests counts.",
    ]
    with pytest.raises(checkup.NothingToRepair):
        checkup.repair(UNIT)


def test_lost_marks_are_put_back(saved: Path, capsys: pytest.CaptureFixture) -> None:
    """Guards against a notebook from Colab that nbgrader's own tools can't read any more."""
    data = json.loads(saved.read_text())
    for number, cell in enumerate(data["cells"]):
        cell["metadata"] = {"id": f"x{number}"}
        del cell["id"]
    data["nbformat_minor"] = 0
    saved.write_text(json.dumps(data))
    assert "lost nbgrader's marks" in checkup.look(NOTEBOOK, UNIT)[0]
    checkup.repair(UNIT)
    assert "Marked for nbgrader: work, work-test," in capsys.readouterr().out
    assert checkup.look(NOTEBOOK, UNIT) == []
    assert all("id" not in cell for cell in cells(saved))


@pytest.mark.parametrize(
    "text", [None, "", "[1]", "{", '{"cells": [1, {"source": 3}]}', '{"cells": "x"}', "[" * 100_000]
)
def test_a_notebook_that_cannot_be_read_costs_nobody_the_score(saved: Path, text: str | None) -> None:
    """Guards against a score table that fails on Colab, where no file is, or on a file that is just being written."""
    saved.unlink()
    if text is not None:
        saved.write_text(text)
    assert isinstance(repr(scoreboard.show(UNIT)), str)


def test_an_authors_notebook_is_left_alone(saved: Path) -> None:
    """Guards against notes in the rendered masters, whose test cells differ from the handout's."""
    data = json.loads(saved.read_text())
    data["cells"][13]["source"] = "### BEGIN HIDDEN TESTS"
    data["cells"].pop(12)
    saved.write_text(json.dumps(data))
    assert checkup.look(NOTEBOOK, UNIT) == []
