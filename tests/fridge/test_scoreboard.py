"""The learner's own table of points."""

import json
from pathlib import Path

import pytest

from fridge.notebook import scoreboard, syllabus
from fridge.notebook.scoreboard import NOT_ATTEMPTED, RIGHT, WRONG

UNITS = {
    "03-kv-cache": {
        "title": "03 · The KV cache",
        "notebook": "03-kv-cache/kv_cache.ipynb",
        "exercises": {
            "mask": {"title": "1 · Who sees whom", "points": 2},
            "kv <update>": {"title": "2 · The <cache>", "points": 3},
            "bytes": {"title": "3 · Bytes", "points": 1.5},
        },
    },
    "04-paging": {
        "title": "04 · Paging",
        "notebook": "04-paging/paging.ipynb",
        "exercises": {"allocate": {"title": "1 · Blocks", "points": 4}},
    },
}


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A `units.json` of its own; the file."""
    file = tmp_path / "units.json"
    file.write_text(json.dumps(UNITS))
    monkeypatch.setattr(syllabus, "UNITS", file)
    syllabus.whole.cache_clear()
    yield file
    syllabus.whole.cache_clear()


def test_table(units: Path) -> None:
    """Guards against points of another unit in the sum, and exercises that vanish until they are attempted."""
    scoreboard.record("mask", RIGHT)
    scoreboard.record("bytes", WRONG)
    scoreboard.record("allocate", RIGHT)
    scores = scoreboard.show("03-kv-cache")
    assert scores.rows == [("mask", 2, RIGHT), ("kv <update>", 3, NOT_ATTEMPTED), ("bytes", 1.5, WRONG)]
    assert (scores.earned, scores.total) == (2, 6.5)
    lines = repr(scores).splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == ["✓ 1 · Who sees whom", "○ 2 · The <cache>", "✗ 3 · Bytes"]
    assert lines[3].startswith("2 of 6.5 points by the visible tests")


def test_html(units: Path) -> None:
    """Guards against names that break the page, and a table that says something else than its printed form."""
    scoreboard.record("mask", RIGHT)
    html = scoreboard.show("03-kv-cache")._repr_html_()
    assert "2 · The &lt;cache&gt;" in html
    assert "<cache>" not in html
    assert html.count("<tr>") == 4
    assert html.count("<td") == html.count("</td>") == 12
    assert "2 of 6.5 points" in html


def test_points_and_titles(units: Path) -> None:
    """Guards against an exercise that can't be tried before `make course` has listed it."""
    assert syllabus.title("allocate") == "1 · Blocks"
    assert syllabus.title("brand-new") == "brand-new"
    assert syllabus.points("allocate") == 4
    assert syllabus.points("brand-new") == 0


def test_without_the_list(units: Path, capsys: pytest.CaptureFixture) -> None:
    """Guards against a library that can't be imported or used in a checkout where nothing is built yet."""
    from fridge.testing import exercise

    units.unlink()
    syllabus.whole.cache_clear()
    with exercise("brand-new"):
        pass
    assert (
        capsys.readouterr().out
        == "✓ brand-new: the tests in this cell pass. Its 0 points count when the hidden tests pass, too.\n"
    )
    with pytest.raises(KeyError, match=r"no unit '03-kv-cache' in .*, which lists none"):
        scoreboard.show("03-kv-cache")


def test_ready(units: Path, capsys: pytest.CaptureFixture) -> None:
    """Guards against a demonstration that runs on code known to be wrong, or waits without saying for what."""
    assert not scoreboard.ready("mask", "update")
    scoreboard.record("mask", RIGHT)
    scoreboard.record("update", WRONG)
    assert not scoreboard.ready("mask", "update")
    scoreboard.record("update", RIGHT)
    assert scoreboard.ready("mask", "update")
    assert capsys.readouterr().out.splitlines() == [
        "This cell waits for your code: solve 1 · Who sees whom; update. Run the tests, then run it again.",
        "This cell waits for your code: solve update. Run the tests, then run it again.",
    ]
