"""The file to hand in: made from what is saved or from Colab's window, checked, named, and never a traceback."""

import copy
import os
import shutil
import sys
import time
import types
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import fridge
from fridge.notebook import checkup, cli, handing_in, on_disk, progress, scoreboard, this_notebook

COURSE = Path(__file__).resolve().parents[2] / "course"
UNIT, NOTEBOOK = "03-kv-cache", "kv_cache.ipynb"
WORK = "def positions_processed(prompt_tokens, new_tokens):\n    return (0, 0)\n"
ROPE = "def apply_rope(x, start, theta=10_000.0):\n    return x\n"
PASSES = {"output_type": "stream", "name": "stdout", "text": "✓ work: these tests pass (2 points).\n"}


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner's course, `work` answered and tested, `rope` answered; this process sits in unit 03's folder."""
    for name in ("JPY_SESSION_NAME", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    for folder in COURSE.glob("[0-9]*"):
        shutil.copytree(folder, tmp_path / "course" / folder.name)
    path = tmp_path / "course" / UNIT / NOTEBOOK
    monkeypatch.chdir(path.parent)
    change(path, work={"source": WORK}, rope={"source": ROPE}, **{"work-test": {"outputs": [PASSES]}})
    return tmp_path / "course"


def change(path: Path, **cells: dict) -> None:
    """Change cells of a notebook, by their ids; None takes one away."""
    data = on_disk.read(path)
    assert cells.keys() <= {cell.get("id") for cell in data["cells"]}
    for cell in data["cells"]:
        cell |= cells.get(cell.get("id")) or {}
    data["cells"] = [cell for cell in data["cells"] if cells.get(cell.get("id"), {}) is not None]
    on_disk.write(path, data)


def sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in on_disk.read(path)["cells"]]


def test_the_file_and_what_is_said_about_it(course: Path) -> None:
    """Guards against a file of another name or place than a grader looks for, and points that aren't in it."""
    made = fridge.submit(UNIT)
    assert made.path == course / "hand-in" / NOTEBOOK
    assert repr(made).splitlines() == [
        f"Ready to hand in: {made.path}",
        "2 of 25 points by the visible tests, as saved just now.",
        "Answered, and not tested since, or not saved: 4 · Where a token stands.",
        "Not attempted: 2 · Memory; 3 · Attention that continues a sequence; 5 · The cache: kv-update; "
        "5 · The cache: kv-state; 6 · The loop; 7 · A long prompt in chunks.",
    ]
    assert sources(made.path) == sources(course / UNIT / NOTEBOOK)
    assert '<a href="../hand-in/kv_cache.ipynb" download>' in made._repr_html_()
    assert progress.read(course).units[3].earned == 2, "the file in hand-in/ isn't the work"


def test_every_exercise_is_accounted_for(course: Path) -> None:
    """Guards against an answer of which nothing is said: its test is of before it, or its points were given up."""
    untouched = {"output_type": "error", "ename": "NotAttempted", "evalue": "○ rope: …", "traceback": []}
    stale = untouched | {"ename": "Stale", "evalue": "↻ memory: …"}
    change(
        course / UNIT / NOTEBOOK,
        memory={"source": "def kv_cache_bytes():\n    return 1\n"},
        **{"rope-test": {"outputs": [untouched]}, "memory-test": {"outputs": [stale]}},
    )
    said = repr(fridge.submit(UNIT))
    assert "Answered, and not tested since, or not saved: 2 · Memory; 4 · Where a token stands." in said
    data = on_disk.read(course / UNIT / NOTEBOOK)
    call = {"cell_type": "code", "id": "r", "metadata": {}, "source": 'import fridge\nfridge.reveal("rope")'}
    data["cells"].append(call | {"outputs": [], "execution_count": None})
    on_disk.write(course / UNIT / NOTEBOOK, data)
    said = repr(fridge.submit(UNIT))
    assert "Revealed, points given up: 4 · Where a token stands." in said
    assert "Answered, and not tested since, or not saved: 2 · Memory.\n" in said


def test_an_answer_that_is_newer_than_its_test(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against `not saved` for what is saved and was changed after its test."""
    monkeypatch.setattr(scoreboard, "outcomes", lambda: {"rope": scoreboard.STALE})
    assert repr(fridge.submit(UNIT)).startswith("! Changed since their tests ran: 4 · Where a token stands. Run the")


def test_the_learners_notebook_stays_as_it_is(course: Path) -> None:
    """Guards against a check that changes the work, or a file that lies in its place."""
    lone = course.parent / "Downloads" / "my copy.ipynb"
    lone.parent.mkdir()
    shutil.copy(course / UNIT / NOTEBOOK, lone)
    for path in (course / UNIT / NOTEBOOK, lone):
        before = path.read_bytes()
        (made,) = handing_in.submit_from(path.parent, path.name)
        assert made.path.name == NOTEBOOK
        assert made.path != path
        assert path.read_bytes() == before
    assert made.path.parent == lone.parent / "hand-in"


def test_nothing_is_made_of_nothing(course: Path) -> None:
    """Guards against a file with 0 points that Run All leaves, or a learner who hands in what isn't saved."""
    shutil.copy(COURSE / UNIT / NOTEBOOK, course / UNIT / NOTEBOOK)
    made = fridge.submit(UNIT)
    assert made.path is None
    assert repr(made).startswith("Nothing to hand in yet: no exercise is attempted, as saved just now. Save (Ctrl+S")
    assert not (course / "hand-in").exists()


def test_missing_and_copied_cells(course: Path) -> None:
    """Guards against hearing with the grade that an answer was deleted or that another copy counted."""
    path = course / UNIT / NOTEBOOK
    data = on_disk.read(path)
    place = next(place for place, cell in enumerate(data["cells"]) if cell["id"] == "rope")
    data["cells"].insert(place + 1, data["cells"][place] | {"id": "twin", "source": ROPE.replace("x\n", "-x\n")})
    on_disk.write(path, data)
    change(path, memory=None, **{"chunked-prefill-test": None})
    said = repr(fridge.submit(UNIT))
    assert "! `rope`: 2 cells hold an answer; the last one in front of its tests counts." in said
    assert "! `memory`: the cell is missing; it counts as not attempted." in said
    assert 'checkup.repair("03-kv-cache")' in said
    made = on_disk.read(course / "hand-in" / NOTEBOOK)
    assert {"memory", "chunked-prefill-test"} <= {cell["id"] for cell in made["cells"]}, "whole for any grader"


def test_lost_marks_are_put_back_into_the_file(course: Path) -> None:
    """Guards against a notebook from Colab that nbgrader's own tools can't grade, and against alarm about it."""
    path = course / UNIT / NOTEBOOK
    data = on_disk.read(path)
    for number, cell in enumerate(data["cells"]):
        cell["metadata"] = {"id": f"x{number}"}
    on_disk.write(path, data)
    assert "nbgrader's marks" not in repr(fridge.submit(UNIT))
    made = on_disk.read(course / "hand-in" / NOTEBOOK)
    assert [cell["metadata"].get("nbgrader") for cell in made["cells"]] == [
        cell["metadata"].get("nbgrader") for cell in on_disk.read(COURSE / UNIT / NOTEBOOK)["cells"]
    ]


def test_large_outputs_are_left_out(course: Path) -> None:
    """Guards against an upload that an LMS or the grader refuses for one figure."""
    large = PASSES | {"text": "x" * 2_000_000}
    change(course / UNIT / NOTEBOOK, **{"rope-test": {"outputs": [large, PASSES]}})
    made = fridge.submit(UNIT)
    assert "Outputs of more than a megabyte are left out of it: 1." in repr(made)
    assert made.path.stat().st_size < 500_000
    change(course / UNIT / NOTEBOOK, work={"source": WORK + "# " + "x" * 21_000_000})
    said = repr(fridge.submit(UNIT))
    assert "more than 5000000" in said, "cells that the grader refuses"


def test_an_edited_file_is_kept(course: Path) -> None:
    """Guards against the work of a learner who went on in the wrong copy."""
    made = fridge.submit(UNIT).path
    change(course / UNIT / NOTEBOOK, memory={"source": "def kv_cache_bytes(): return 1"})
    fridge.submit(UNIT)
    assert [path.name for path in made.parent.iterdir()] == [NOTEBOOK], "ours, and unedited, is replaced"
    change(made, memory={"source": "edited = 'there'"})
    said = repr(fridge.submit(UNIT))
    assert "it is kept as kv_cache-edited.ipynb" in said
    assert "edited = 'there'" in sources(made.with_name("kv_cache-edited.ipynb"))


def test_in_the_copy_itself(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against hand-in/hand-in/, and a copy that is replaced by itself while it is open."""
    made = fridge.submit(UNIT).path
    before = made.read_bytes()
    monkeypatch.chdir(made.parent)
    assert repr(fridge.submit(UNIT)).startswith(f"This notebook is the file to hand in: {made}. Save (")
    assert made.read_bytes() == before
    assert list(made.parent.iterdir()) == [made]


def test_what_ran_and_is_not_saved(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against yesterday's answer handed in, because today's wasn't saved."""
    ran = ["1 + 1", WORK, ROPE]
    shell = types.SimpleNamespace(history_manager=types.SimpleNamespace(input_hist_raw=ran), user_ns={})
    monkeypatch.setattr(this_notebook, "shell", lambda: shell)
    assert "!" not in repr(fridge.submit(UNIT)), "all is saved"
    ran.append(ROPE.replace("return x", "return x * 1"))
    said = repr(fridge.submit(UNIT))
    assert said.startswith("! What ran last isn't in the file: 4 · Where a token stands. Save (Ctrl+S")
    assert "\nMade of what is saved: " in said
    shutil.copy(COURSE / UNIT / NOTEBOOK, course / UNIT / NOTEBOOK)
    assert "no exercise is attempted, as saved just now. ! What ran last isn't in the" in repr(fridge.submit(UNIT))
    change(course / UNIT / NOTEBOOK, work={"source": WORK}, rope={"source": ROPE})
    ran.append(ROPE + "\n")
    assert "!" not in repr(fridge.submit(UNIT)), "the same but for an empty line"
    scoreboard.record("rope", scoreboard.RIGHT)
    scoreboard.record("weight-gigabytes", scoreboard.RIGHT)
    assert "! Not saved since these tests ran: 4 · Where a token stands." in repr(fridge.submit(UNIT))


def test_how_old_the_save_is(course: Path) -> None:
    """Guards against a learner who takes last week's file for today's."""
    path = course / UNIT / NOTEBOOK
    for seconds, words in ((5, "just now"), (150, "2 minutes ago"), (3_700, "1 hour ago"), (9 * 86_400, "9 days ago")):
        moment = time.time() - seconds
        os.utime(path, (moment, moment))
        assert f"as saved {words}." in repr(fridge.submit(UNIT))


def test_a_notebook_of_another_name(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against the untouched handout handed in for `kv_cache-Copy1.ipynb`, in which the learner works."""
    own = course / UNIT / "kv_cache-Copy1.ipynb"
    shutil.move(course / UNIT / NOTEBOOK, own)
    shutil.copy(COURSE / UNIT / NOTEBOOK, course / UNIT / NOTEBOOK)
    monkeypatch.setenv("JPY_SESSION_NAME", str(own))
    made = fridge.submit(UNIT)
    assert WORK in sources(made.path)
    assert made.path.name == NOTEBOOK
    monkeypatch.setenv("JPY_SESSION_NAME", str(course / "00-start-here" / "start_here.ipynb"))
    assert fridge.submit(UNIT).path is None, "another unit's notebook asks; in unit 03's own nothing is attempted"


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"cells": [3]}', '{"cells": []}', "[" * 100_000])
def test_what_is_no_notebook_is_a_sentence(course: Path, text: str | None) -> None:
    """Guards against a traceback at the last moment before a deadline."""
    (course / UNIT / NOTEBOOK).unlink()
    if text is not None:
        (course / UNIT / NOTEBOOK).write_text(text)
    made = fridge.submit(UNIT)
    assert made.path is None
    assert str(course / UNIT / NOTEBOOK) in repr(made)


def test_a_folder_that_can_not_be_written(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against OSError on a full disk or in a read-only folder."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(on_disk, "write", full)
    made = fridge.submit(UNIT)
    assert made.path is None
    assert "can't be written (No space left on device): free some space" in repr(made)


def test_an_author_hands_nothing_in(course: Path) -> None:
    """Guards against solutions in a hand-in folder whenever the masters are rendered."""
    shutil.copy(COURSE.parent / "solutions" / UNIT / NOTEBOOK, course / UNIT / NOTEBOOK)
    assert repr(fridge.submit(UNIT)).startswith("This is an author's notebook")
    assert not (course / "hand-in").exists()


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch, course: Path) -> types.SimpleNamespace:
    """A runtime whose browser window shows unit 03's notebook; what was downloaded."""
    seen = types.SimpleNamespace(notebook=on_disk.read(course / UNIT / NOTEBOOK), downloads=[], content=course.parent)
    package = types.ModuleType("google.colab")
    package._message = types.SimpleNamespace(
        blocking_request=lambda what, timeout_sec: (
            {"ipynb": copy.deepcopy(seen.notebook)} if what == "get_ipynb" else {}
        )
    )
    package.files = types.SimpleNamespace(download=seen.downloads.append)
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.chdir(course.parent)
    return seen


def test_on_colab_the_window_is_handed_in(colab: types.SimpleNamespace) -> None:
    """Guards against a learner on Colab, where no file is, who would have to know of File, Download."""
    made = fridge.submit(UNIT)
    assert made.path == colab.content / "hand-in" / NOTEBOOK
    assert colab.downloads == [str(made.path)]
    assert repr(made).splitlines()[:2] == [
        f"Ready to hand in: {made.path}",
        "2 of 25 points by the visible tests, as it stands in this window.",
    ]
    assert repr(made).endswith("Your browser downloads kv_cache.ipynb: hand that in.")
    assert "<a" not in made._repr_html_(), "Colab has no server that would follow the link"


def test_on_colab_without_its_help(colab: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a traceback where Colab's undocumented call is gone, slow or of another form."""

    def blocked(_: str) -> None:
        raise RuntimeError("downloads are blocked")

    sys.modules["google.colab"].files.download = blocked
    assert "To download it: the folder symbol on the left, hand-in" in repr(fridge.submit(UNIT))
    for answer in ({}, {"ipynb": None}, {"ipynb": {"cells": 3}}, None):
        sys.modules["google.colab"]._message.blocking_request = lambda *_, answer=answer, **__: answer
        assert "Choose File, Download, Download .ipynb, and hand in that file, named kv_cache" in repr(
            fridge.submit(UNIT)
        )
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert "Choose File, Download" in repr(fridge.submit(UNIT))


def test_the_command(course: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a command that works in one folder only."""
    path = course / "hand-in" / NOTEBOOK
    for where, arguments in (
        (course, []),
        (course / UNIT, []),
        (course.parent, ["03"]),
        (course / "00-start-here", ["03-kv-cache"]),
        (course / "00-start-here", [f"../{UNIT}/{NOTEBOOK}"]),
    ):
        monkeypatch.chdir(where)
        assert cli.main(["submit", *arguments]) == 0
        assert f"Ready to hand in: {path}\n2 of 25 points" in capsys.readouterr().out
        path.unlink()
    for arguments, words in (
        (["7"], "There is no unit '7'. The units are 00-start-here, 01-"),
        (["0"], "There is no unit '0'"),
        (["02"], "Nothing to hand in yet"),
        (["gone.ipynb"], "gone.ipynb can't be read: No such file"),
        ([str(course / "hand-in" / ".." / UNIT / "notes.ipynb")], "has none of the course's tests"),
    ):
        (course / UNIT / "notes.ipynb").write_text('{"cells": []}')
        assert cli.main(["submit", *arguments]) == 2, arguments
        said = capsys.readouterr()
        assert said.out == ""
        assert words in said.err
    monkeypatch.chdir(course / "00-start-here")
    assert cli.main(["submit"]) == 2
    (course / UNIT / NOTEBOOK).unlink()
    monkeypatch.chdir(course)
    assert cli.main(["submit"]) == 2
    assert "no exercise is attempted in the notebooks of" in capsys.readouterr().err


def test_what_ipython_remembers() -> None:
    """Guards against a history of another form than the one above: cells run by IPython itself."""
    shell = InteractiveShell.instance()
    shell.run_cell("seen = 1\n", store_history=True)
    assert this_notebook.ran()[-1].text == "seen = 1"
    assert checkup.last_answers(this_notebook.ran(), UNIT) == {}
