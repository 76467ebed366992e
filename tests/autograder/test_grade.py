"""`autograder grade` on a small class: the same gradebook as nbgrader's, nothing done twice, nothing lost by a kill."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from grading_class import BODIES, OWN, UNIT, graded, hand_in, made, points, rows, skip_without_sandbox

from autograder.batch import grade as grade_module
from autograder.batch.grade import grade, table
from autograder.batch.regrade import regrade
from autograder.batch.regrade import table as changes
from autograder.batch.workers import LocalWorkers
from autograder.course import CourseError, find_units, nbgrader_configuration


@pytest.fixture(scope="module")
def crew() -> Iterator[LocalWorkers]:
    """One warm worker for all tests of this module."""
    skip_without_sandbox()
    workers = LocalWorkers(1)
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def class_made(tmp_path_factory) -> Path:
    """A class that is handed in, made once."""
    return made(tmp_path_factory.mktemp("made") / "mini")


@pytest.fixture
def course(class_made, tmp_path, crew, monkeypatch) -> Path:
    """The class; `grade` uses the warm worker."""

    @contextlib.contextmanager
    def hired(number: int, scheduler: str):
        yield crew

    monkeypatch.setattr(grade_module, "hired", hired)
    monkeypatch.setattr("autograder.batch.regrade.hired", hired)
    return Path(shutil.copytree(class_made, tmp_path / "mini"))


def db(course: Path) -> str:
    return f"sqlite:///{course}/grading/gradebook.db"


def no_more_grading(monkeypatch) -> None:
    monkeypatch.setattr(LocalWorkers, "submit", lambda self, task: pytest.fail("graded again"))


def stock(course: Path, *students: str) -> None:
    from nbgrader.apps import NbGraderAPI

    api = NbGraderAPI(config=nbgrader_configuration(course))
    for student in students:
        result = api.autograde(UNIT, student)
        assert result["success"], result["log"]


def instructor(course: Path) -> None:
    """What people do in formgrader between two gradings."""
    from nbgrader.api import Gradebook

    with Gradebook(db(course), "elephant-in-the-fridge") as gradebook:
        for student, manual, extra, words in (("ada", 1.5, 0.5, "seen"), ("bea", None, 1.0, None)):
            found = gradebook.find_grade("add-test", "mini", UNIT, student)
            found.manual_score, found.extra_credit, found.needs_manual_grade = manual, extra, False
            gradebook.find_comment("add", "mini", UNIT, student).manual_comment = words
        gradebook.db.commit()


def test_the_gradebook_is_what_nbgrader_autograde_gives(course, tmp_path):
    """Guards against a row that differs: late penalties, manual scores, comments, extra credit, a second hand-in."""
    late = "c.LateSubmissionPlugin.penalty_method = 'zero'\n"
    (course / "nbgrader_config.py").write_text((course / "nbgrader_config.py").read_text() + late)
    from nbgrader.api import Gradebook

    with Gradebook(db(course), "elephant-in-the-fridge") as gradebook:
        gradebook.update_or_create_assignment(UNIT, duedate="2026-11-01 12:00:00 UTC")
    unit = find_units(course, [UNIT])[0]
    hand_in(unit, "dia", BODIES["dia"], "2026-11-02 12:00:00 UTC")
    (course / "grading/submitted/ada" / UNIT / "notes.txt").write_text("mine")
    other = Path(shutil.copytree(course, tmp_path / "other"))

    grade(course, UNIT)
    stock(other, *BODIES)
    assert rows(db(course), without=OWN) == rows(db(other))
    for root in (course, other):
        instructor(root)
        hand_in(find_units(root, [UNIT])[0], "ada", BODIES["bea"], "2026-10-30 12:00:00 UTC")
    grade(course, UNIT)
    shutil.rmtree(other / "grading/autograded/ada")
    stock(other, "ada")
    assert rows(db(course), without=OWN) == rows(db(other))

    files = [
        {path.relative_to(root / "grading"): path.stat().st_mode for path in (root / "grading/autograded").rglob("*")}
        for root in (course, other)
    ]
    assert files[0] == files[1]
    for student in BODIES:
        ours, theirs = graded(course, student), graded(other, student)
        assert set(ours.metadata) == set(theirs.metadata)
        assert set(ours.metadata["autograder"]) == set(theirs.metadata["autograder"])
        assert [(cell.source, cell.metadata, cell.get("outputs")) for cell in ours.cells] == [
            (cell.source, cell.metadata, cell.get("outputs")) for cell in theirs.cells
        ]


def test_feedback_and_export_work_on_what_was_merged(course):
    """Guards against an autograded notebook that nbgrader's next steps can't read."""
    from nbgrader.apps import NbGraderAPI

    grade(course, UNIT)
    result = NbGraderAPI(config=nbgrader_configuration(course)).generate_feedback(UNIT, "bea")
    assert result["success"], result["log"]
    page = (course / "grading/feedback/bea" / UNIT / "mini.html").read_text()
    assert "1 + 2" in page
    assert "BEGIN HIDDEN" not in page


def test_a_second_run_does_nothing(course, monkeypatch):
    """Guards against work that is repeated, and a gradebook that changes when nothing did."""
    first = grade(course, UNIT)
    before = rows(db(course))
    assert (first.graded, first.reused) == (4, 0)
    no_more_grading(monkeypatch)
    second = grade(course, UNIT)
    assert (second.graded, second.reused) == (0, 4)
    assert rows(db(course)) == before


def test_what_the_spool_has_is_merged_without_grading(course, monkeypatch):
    """Guards against a gradebook that was lost or removed and costs all the grading again."""
    grade(course, UNIT)
    before = rows(db(course))
    (course / "grading/gradebook.db").unlink()
    from autograder.authoring.build import build

    build(course, [UNIT])
    no_more_grading(monkeypatch)
    assert grade(course, UNIT).reused == 4
    assert rows(db(course)) == before


def test_points_that_differ_from_the_records_are_not_written(course, monkeypatch):
    """Guards against a grade that an nbgrader of another version works out differently, and nobody sees."""
    monkeypatch.setattr("nbgrader.utils.determine_grade", lambda cell, log: (0.0, 3.0))
    summary = grade(course, UNIT)
    assert set(summary.failed) == {"ada", "dia"}
    assert "nbgrader's steps gave add-test 0.0 points and not 3.0" in summary.failed["ada"]
    assert points(db(course)) == {"bea": 0.0, "cem": 0.0}
    assert not (course / "grading/autograded/ada").exists()


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: data[:60] + b"?" + data[61:], lambda data: b""]
)
def test_a_damaged_record_is_graded_anew(course, damage):
    """Guards against a record that was cut off or altered on disk and is believed."""
    grade(course, UNIT, students=["ada"])
    (record,) = (course / "grading/spool" / UNIT).glob("*.json.gz")
    whole = record.read_bytes()
    record.write_bytes(damage(whole))
    (course / "grading/autograded/ada" / UNIT / "mini.ipynb").unlink()
    summary = grade(course, UNIT, students=["ada"])
    assert (summary.graded, summary.reused) == (1, 0)
    assert points(db(course)) == {"ada": 3.0}


def test_one_student_alone(course):
    """Guards against `--student` that grades others, or accepts a name that isn't there."""
    assert grade(course, UNIT, students=["bea", "ada"]).graded == 2
    assert points(db(course)) == {"ada": 3.0, "bea": 0.0}
    with pytest.raises(CourseError, match="zoe handed in nothing"):
        grade(course, UNIT, students=["zoe"])


def test_the_same_bytes_are_graded_once_for_all_who_handed_them_in(course):
    """Guards against a hundred untouched handouts that are graded a hundred times, or credited to one student."""
    unit = find_units(course, [UNIT])[0]
    hand_in(unit, "eva", BODIES["bea"])
    summary = grade(course, UNIT, students=["bea", "eva"])
    assert summary.graded + summary.reused == 2
    assert points(db(course)) == {"bea": 0.0, "eva": 0.0}
    assert len(list((course / "grading/spool" / UNIT).glob("*.json.gz"))) == 1


def test_a_second_run_at_the_same_time_is_refused(course):
    """Guards against two writers of one unit."""
    with (
        grade_module.opened(course, UNIT, (), ""),
        pytest.raises(CourseError, match="being graded by another run"),
    ):
        grade(course, UNIT)


def test_a_submission_that_is_refused_costs_nobody_else_anything(course):
    """Guards against one broken file that stops a run, and against a refusal that removes an earlier grade."""
    grade(course, UNIT)
    before = rows(db(course))
    unit = find_units(course, [UNIT])[0]
    hand_in(unit, "ada", BODIES["ada"]).write_text('{"cells": [')
    (course / "grading/submitted/bea" / UNIT / "mini.ipynb").unlink()
    hand_in(unit, "eva", BODIES["ada"])
    for _ in range(2):  # said each time, not only when it is found
        summary = grade(course, UNIT)
        assert sorted(summary.refused) == ["ada", "bea"]
        assert not summary.fine
        assert "ada: refused: mini.ipynb" in table(summary, UNIT)
    after = rows(db(course), without=OWN)
    assert [row for row in after["grade"] if "eva" not in str(row)] == before["grade"]
    assert points(db(course))["eva"] == 3.0
    assert graded(course, "ada")


def test_a_broken_test_is_said_in_every_run(course):
    """Guards against a fault of the course that only the first run's reader sees."""
    master = find_units(course, [UNIT])[0].master
    master.write_text(master.read_text().replace('with exercise("add"):', 'import no_such\nwith exercise("add"):'))
    from autograder.authoring.build import build

    build(course, [UNIT])
    for _ in range(2):
        summary = grade(course, UNIT)
        assert summary.faults == {"add-test": sorted(BODIES)}
        assert "add-test: broken, which is the course's fault: 4 met it" in table(summary, UNIT)


def test_a_changed_release_waits_for_regrade(course):
    """Guards against grades that change unseen, and against a dry run that writes."""
    grade(course, UNIT)
    master = find_units(course, [UNIT])[0].master
    master.write_text(master.read_text().replace("add(-1, 2), 1,", "add(-1, 2), -3,"))  # now only `a - b` would do
    master.write_text(master.read_text().replace("add(1, 2), 3,", "add(1, 2), -1,"))
    with pytest.raises(CourseError, match="another release of 00-mini"):
        grade(course, UNIT)
    dry = regrade(course, UNIT)  # needs no new handout
    assert points(db(course)) == {"ada": 3.0, "bea": 0.0, "cem": 0.0, "dia": 3.0}
    shown = changes(dry, UNIT)
    assert "3 change (1 up, 2 down), 1 stay" in shown
    assert "bea           0       3      +3  add 0 → 3" in shown
    with pytest.raises(CourseError, match="another release of 00-mini"):
        regrade(course, UNIT, write=True)

    from autograder.authoring.build import build

    build(course, [UNIT])
    assert grade(course, UNIT).earlier == 4
    assert points(db(course))["bea"] == 0.0
    written = regrade(course, UNIT, write=True)
    assert "The gradebook has them now." in changes(written, UNIT)
    assert points(db(course)) == {"ada": 0.0, "bea": 3.0, "cem": 0.0, "dia": 0.0}
    assert grade(course, UNIT).reused == 4


def test_killed_at_any_moment_and_run_again_the_gradebook_is_the_same(course, tmp_path):
    """Guards against half-written grades, a lost submission, a lock that stays, and work done twice."""
    undisturbed = Path(shutil.copytree(course, tmp_path / "undisturbed"))
    grade(undisturbed, UNIT)
    command = [sys.executable, "-m", "autograder.cli", "grade", UNIT]
    spool = course / "grading/spool" / UNIT
    for finished in (1, 3):  # records on disk when the run is killed: while a worker grades, or the writer merges
        run = subprocess.Popen(command, cwd=course, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list(spool.glob("*.json.gz"))) < finished and run.poll() is None:
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        run.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in spool.glob("*.json.gz")}
    assert kept
    grade(course, UNIT)
    assert rows(db(course), without=()) == rows(db(undisturbed), without=())
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in spool.glob("*.json.gz")}.items()


def test_a_repaired_submission_gets_its_points(course):
    """Guards against rebuilding that doesn't reach the gradebook: here a notebook that lost all its metadata."""
    path = course / "grading/submitted/ada" / UNIT / "mini.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
    nbformat.write(notebook, path)
    grade(course, UNIT, students=["ada"])
    assert points(db(course)) == {"ada": 3.0}


def test_what_was_revealed_earns_nothing_until_the_call_is_gone(course, tmp_path):
    """Guards against points for a right answer beside a call of `fridge.reveal` on any way to the gradebook, a
    page that doesn't say why, and points that stay lost when the call is taken out."""
    from nbgrader.apps import NbGraderAPI

    path = course / "grading/submitted/ada" / UNIT / "mini.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell('import fridge\nfridge.reveal("add")'))
    nbformat.write(notebook, path)
    other = Path(shutil.copytree(course, tmp_path / "other"))

    grade(course, UNIT)
    stock(other, *BODIES)
    assert rows(db(course), without=OWN) == rows(db(other))
    assert points(db(course)) == {"ada": 0.0, "bea": 0.0, "cem": 0.0, "dia": 3.0}, "another learner's call costs nobody"
    result = NbGraderAPI(config=nbgrader_configuration(course)).generate_feedback(UNIT, "ada")
    assert result["success"], result["log"]
    page = (course / "grading/feedback/ada" / UNIT / "mini.html").read_text()
    assert "Revealed by <code>fridge.reveal</code>, so their points were given up" in page
    assert "◇ add: revealed: its points were given up; take the call out of the notebook and solve it" in page

    shown = changes(regrade(course, UNIT), UNIT)
    assert "0 change" in shown
    notebook.cells.pop()
    nbformat.write(notebook, path)
    grade(course, UNIT)
    assert points(db(course))["ada"] == 3.0
