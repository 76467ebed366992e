"""When something breaks around `autograder grade`: a sentence, and nothing lost. A scripted crew grades here."""

import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import msgpack
import nbformat
import pytest
from grading_class import BODIES, UNIT, graded, hand_in, made, points, rows
from nbformat import NotebookNode
from sqlalchemy import event
from sqlalchemy.exc import DataError, IntegrityError

from autograder.batch import grade as grade_module
from autograder.batch import gradebook, merge, spool
from autograder.batch.grade import grade, table
from autograder.batch.workers import LocalWorkers, Worker, WorkerDied
from autograder.course import CourseError, find_units
from autograder.notebooks import is_test
from autograder.submissions import outputs, pipe, submission, worker
from autograder.submissions.record import BadRecord, Record, unpack
from autograder.submissions.release import GRADING, Release, read_release
from autograder.submissions.verdict import STARVED


def notebook_of(task: bytes) -> NotebookNode:
    return nbformat.reads(msgpack.unpackb(task)["submission"].decode(), as_version=4)


def record_of(task: bytes) -> bytes:
    """What a worker would answer, without a sandbox: all points for whoever adds."""
    message, notebook = msgpack.unpackb(task), notebook_of(task)
    right = any(body in cell.source for cell in notebook.cells for body in (BODIES["ada"], BODIES["dia"]))
    score = 3.0 if right else 0.0
    (test,) = filter(is_test, notebook.cells)
    test.outputs = [nbformat.from_dict(outputs.score(score))]
    record = Record(message["key"], UNIT, scores={"add-test": score}, messages={"add-test": ""}, notebook=notebook)
    return pipe.RECORD + record.pack()


class ScriptedCrew:
    """Answers tasks by functions in turn; the last one goes on."""

    width = 1

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def submit(self, task: bytes) -> Future[bytes]:
        self.asked += 1
        future: Future[bytes] = Future()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            future.set_result(answer(task))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def class_made(tmp_path_factory) -> Path:
    """A class that is handed in, made once."""
    return made(tmp_path_factory.mktemp("made") / "mini")


@pytest.fixture
def course(class_made, tmp_path) -> Path:
    return Path(shutil.copytree(class_made, tmp_path / "mini"))


@pytest.fixture
def crew(monkeypatch):
    """Hire a scripted crew."""

    def hire(*answers) -> ScriptedCrew:
        scripted = ScriptedCrew(*(answers or [record_of]))
        monkeypatch.setattr(grade_module, "hired", lambda *_: contextlib.nullcontext(scripted))
        return scripted

    return hire


def db(course: Path) -> str:
    return f"sqlite:///{course}/grading/gradebook.db"


def fails(error: Exception):
    def raise_(*_, **__):
        raise error

    return raise_


# --- disks and databases ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EROFS, "can't be written"),
        (errno.EACCES, "can't be written"),
        (errno.EIO, "The run stopped"),
    ],
)
def test_a_disk_that_fails_is_said_in_a_sentence_and_the_next_run_goes_on(course, crew, monkeypatch, code, words):
    """Guards against a traceback, a half-written file that is believed, and finished work that is lost."""
    first = crew()
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 7:  # behind the first student's record and notebook
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(spool.os, "fsync", fsync)
    with pytest.raises(CourseError, match=words):
        grade(course, UNIT)
    monkeypatch.setattr(spool.os, "fsync", real)
    again = crew()
    grade(course, UNIT)
    assert points(db(course)) == {"ada": 3.0, "bea": 0.0, "cem": 0.0, "dia": 3.0}
    assert 0 < again.asked < 4
    assert first.asked + again.asked <= 4 + 2
    assert not list((course / "grading").rglob(".*.new"))


def test_a_locked_gradebook_is_waited_for_and_then_said(course, crew, monkeypatch):
    """Guards against a formgrader at work that costs everybody's grading."""
    scripted = crew()
    monkeypatch.setattr(gradebook, "BUSY_SECONDS", 0.3)
    grade(course, UNIT, students=["ada"])
    other = sqlite3.connect(course / "grading/gradebook.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CourseError, match=r"locked by another program for 0\.3 seconds"):
        grade(course, UNIT)
    other.execute("ROLLBACK")
    monkeypatch.setattr(gradebook, "BUSY_SECONDS", 30)
    other = sqlite3.connect(course / "grading/gradebook.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.5, other.execute, ("ROLLBACK",))
    timer.start()
    assert grade(course, UNIT).fine
    timer.join()
    assert len(points(db(course))) == 4
    assert scripted.asked == 4


@pytest.mark.parametrize("place", ["_compare", "_publish", "_through_nbgrader"])
def test_a_merge_that_breaks_leaves_the_gradebook_as_it_was(course, crew, monkeypatch, place):
    """Guards against half a submission in the gradebook, which stock nbgrader leaves behind."""
    crew()
    grade(course, UNIT)
    before, old = rows(db(course)), graded(course, "ada")
    hand_in(find_units(course, [UNIT])[0], "ada", BODIES["bea"])
    monkeypatch.setattr(merge.Writer, place, fails(OSError(errno.EIO, "broken")))
    with pytest.raises(CourseError):
        grade(course, UNIT)
    assert rows(db(course)) == before
    assert graded(course, "ada") == old


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a date\x1b[2J\nzed: failed: by me"),
        RecursionError(),
        MemoryError(),
        UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
        DataError("INSERT", {}, Exception("value too long for type character varying(128)")),
        IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed")),
        PermissionError(errno.EACCES, "Permission denied", "grading/autograded/bea"),
        IsADirectoryError(errno.EISDIR, "Is a directory", "mini.ipynb"),
        OSError(errno.ENAMETOOLONG, "File name too long", "x" * 255),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("place", ["_through_nbgrader", "_publish"])
def test_what_one_submission_raises_costs_nobody_else_anything(course, crew, monkeypatch, place, error):
    """Guards against a run that ends with the first odd submission, and against half of it in the gradebook."""
    crew()
    real = getattr(merge.Writer, place)

    def raises(self, first, second, *rest):
        if (second if place == "_through_nbgrader" else first.student) == "bea":
            raise error
        return real(self, first, second, *rest)

    monkeypatch.setattr(merge.Writer, place, raises)
    summary = grade(course, UNIT)
    assert set(summary.failed) == {"bea"}, summary.failed
    assert points(db(course)) == {"ada": 3.0, "cem": 0.0, "dia": 3.0}
    (line,) = [line for line in table(summary, UNIT).splitlines() if "bea" in line or "by me" in line]
    assert "\x1b" not in line
    monkeypatch.setattr(merge.Writer, place, real)
    assert grade(course, UNIT).fine
    assert points(db(course)) == {"ada": 3.0, "bea": 0.0, "cem": 0.0, "dia": 3.0}


def test_a_folder_that_cannot_be_read_costs_nobody_else_anything(course, crew, monkeypatch):
    """Guards against the rights of somebody's files; a broken disk ends the run all the same."""
    crew()
    real = os.scandir

    def scandir(folder=".", code=errno.EACCES):
        if f"{os.sep}bea" in str(folder):
            raise OSError(code, os.strerror(code), str(folder))
        return real(folder)

    monkeypatch.setattr(submission.os, "scandir", scandir)
    assert "Permission denied" in grade(course, UNIT).refused["bea"]
    assert points(db(course)) == {"ada": 3.0, "cem": 0.0, "dia": 3.0}
    monkeypatch.setattr(submission.os, "scandir", lambda folder=".": scandir(folder, errno.EIO))
    with pytest.raises(CourseError, match="The run stopped"):
        grade(course, UNIT)


def test_a_crash_between_the_notebook_and_the_grades_is_repaired(course, crew, monkeypatch):
    """Guards against a new notebook beside old grades that stays for ever."""
    crew()
    grade(course, UNIT)
    hand_in(find_units(course, [UNIT])[0], "ada", BODIES["bea"])
    real = merge.Writer._publish

    def publish_and_die(self, *arguments) -> None:
        real(self, *arguments)
        raise KeyboardInterrupt  # as good as a kill: nothing of ours catches it

    monkeypatch.setattr(merge.Writer, "_publish", publish_and_die)
    with pytest.raises(KeyboardInterrupt):
        grade(course, UNIT)
    assert points(db(course))["ada"] == 3.0
    monkeypatch.setattr(merge.Writer, "_publish", real)
    crew(fails(AssertionError("graded again")))
    grade(course, UNIT)
    assert points(db(course))["ada"] == 0.0


def test_a_gradebook_on_a_full_disk_is_said_in_a_sentence(course, crew, monkeypatch):
    """Guards against nbgrader's own name for a database's complaint, which says nothing to an instructor."""
    crew()
    real = gradebook.open_engine

    def small(db_url: str):
        engine = real(db_url)

        @event.listens_for(engine, "begin")
        def no_more_pages(connection) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes the present size as the least

        return engine

    monkeypatch.setattr(merge, "open_engine", small)
    unit = find_units(course, [UNIT])[0]
    for number in range(60):
        hand_in(unit, f"student-{number:03}-{'x' * 90}", BODIES["ada"])
    with pytest.raises(CourseError, match="disk of the gradebook is full"):
        grade(course, UNIT)
    monkeypatch.setattr(merge, "open_engine", real)
    grade(course, UNIT)
    assert len(points(db(course))) == 64


# --- workers ------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_once_costs_nothing(course, crew):
    """Guards against a submission that is lost with its worker."""
    scripted = crew(fails(WorkerDied("its worker died")), record_of)
    assert grade(course, UNIT).fine
    assert scripted.asked == 5


def starved(task: bytes) -> bytes:
    """An answer from a machine that had no time: points that mean nothing."""
    message = msgpack.unpackb(task)
    return (
        pipe.RECORD + Record(message["key"], UNIT, {"add-test": 0.0}, starved=True, notebook=notebook_of(task)).pack()
    )


def test_what_had_no_time_is_asked_again_alone_after_the_others(course, crew):
    """Guards against a grade from a machine that was too busy to find one."""
    asked = []

    def answer(task: bytes) -> bytes:
        asked.append(msgpack.unpackb(task)["key"])
        return starved(task) if len(asked) == 1 else record_of(task)

    crew(answer)
    assert grade(course, UNIT).fine
    assert asked.count(asked[0]) == 2
    assert asked[-1] == asked[0]
    assert len(points(db(course))) == 4


def test_what_has_no_time_twice_gets_no_grade(course, crew):
    """Guards against 0 points for what nobody has seen run, and against an answer of that kind that is kept."""
    crew(starved)
    summary = grade(course, UNIT)
    assert summary.failed
    assert set(summary.failed.values()) == {f"tried 2 times: {STARVED}"}
    assert not points(db(course))
    crew(record_of)
    assert grade(course, UNIT).fine


def test_a_submission_that_kills_every_worker_is_listed_and_the_rest_is_graded(course, crew):
    """Guards against a run that tries for ever, or stops."""

    def deadly(task: bytes) -> bytes:
        if BODIES["bea"].encode() in task:
            raise WorkerDied("its worker died (exit status -9)")
        return record_of(task)

    scripted = crew(deadly)
    summary = grade(course, UNIT)
    assert summary.failed == {"bea": "tried 2 times: its worker died (exit status -9)"}
    assert summary.graded == 3
    assert scripted.asked == 5
    assert "bea: failed" in grade_module.table(summary, UNIT)


def test_a_host_without_a_sandbox_stops_the_run(course, crew):
    """Guards against 500 failed submissions where one sentence is due."""
    crew(lambda task: pipe.STOP + b"not graded, for this host gives no sandbox.")
    with pytest.raises(CourseError, match="no sandbox"):
        grade(course, UNIT)


@pytest.mark.parametrize(
    "answer",
    [
        lambda task: pipe.RECORD + b"nonsense",
        lambda task: b"",
        lambda task: record_of(task)[:-9],
        lambda task: record_of(task.replace(msgpack.unpackb(task)["key"].encode(), b"0" * 64)),
    ],
)
def test_what_is_no_record_is_not_believed(course, crew, answer):
    """Guards against a worker, perhaps on another machine, whose word is taken for a grade."""
    crew(answer)
    assert sorted(grade(course, UNIT).failed) == sorted(BODIES)
    assert not list((course / "grading/spool").rglob("*.gz"))


def test_a_worker_process_that_is_killed_is_replaced():
    """Guards against a silent worker that is waited for, and a dead one that is asked again."""
    one = Worker()
    one._start()
    first = one._process
    first.send_signal(signal.SIGSTOP)  # it will not answer
    threading.Timer(0.3, first.kill).start()
    with pytest.raises(WorkerDied, match="exit status -9"):
        one.ask(b"a task")
    with pytest.raises(WorkerDied, match="died"):  # a new one, which can't read this
        one.ask(b"no task")
    one.close()


def test_workers_of_another_version_of_the_grader_say_so(monkeypatch):
    """Guards against a cluster with last month's grader."""
    task = worker.pack_task(Release("u", "n", "{}", "{}"), "k", b"")
    monkeypatch.setattr(worker, "grader_version", lambda: "another")
    answer = worker.Desk().answer(task)
    assert answer.startswith(pipe.STOP)
    assert b"another version" in answer


# --- what goes to a worker, what comes back -----------------------------------------------------------------------


def test_a_task_holds_no_solution(class_made):
    """Guards against solutions on machines of a cluster."""
    release = read_release(find_units(class_made, [UNIT])[0])
    assert "the answer" in find_units(class_made, [UNIT])[0].master.read_text()
    assert "the answer" not in str(release)
    assert release.paper.exports == {"add"}
    assert release.points == {"add-test": 3.0}


def test_the_real_masters_are_the_same_without_their_solutions(root):
    """Guards against a paper that lacks a name or an import when its solutions are taken out."""
    from autograder.notebooks import read_master
    from autograder.submissions.paper import Paper

    for unit in find_units(root):
        whole, without = Paper(read_master(unit)), read_release(unit).paper
        assert whole.tests == without.tests
        assert (whole.exports, set(whole.imports), whole.handout_imports) == (
            without.exports,
            set(without.imports),
            without.handout_imports,
        )


def test_a_key_changes_with_the_submission_and_the_release_but_not_with_a_solution(course):
    """Guards against old verdicts for new tests, and against regrading everybody for a comment in a solution."""
    unit = find_units(course, [UNIT])[0]
    first = read_release(unit)
    text = unit.master.read_text()
    unit.master.write_text(text.replace("# the answer", "# the best answer"))
    assert read_release(unit).key(b"x") == first.key(b"x") != first.key(b"y")
    unit.master.write_text(text.replace('"points": 3', '"points": 4'))
    assert read_release(unit).key(b"x") != first.key(b"x")


def test_the_list_of_grading_modules_is_complete():
    """Guards against a change of the grader that leaves the keys as they are."""
    code = (
        "import sys; from autograder.submissions import worker, split, rebuild, submission\n"
        "from autograder.isolation import zygote, learner\n"
        "print(*sorted(name.removeprefix('autograder.') for name in sys.modules if name.startswith('autograder.')))"
    )
    used = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    # Where files lie, editions of a handout, and links between notebooks.
    others = {"course", "authoring", "authoring.edition", "authoring.navigation"}
    assert {name.partition(".")[0] for name in used - others} == {name.removesuffix(".py") for name in GRADING}


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {"add-test": 4.0}},
        {"scores": {"add-test": float("nan")}},
        {"scores": {"add-test": 3.0, "more": 9.0}},
        {"scores": {}},
        {"key": "1" * 64},
        {"unit": "01-other"},
        {"notebook": {"cells": 7}},
        {"notebook": None},
        {"notebook": nbformat.v4.new_notebook()},
        {"repairs": "text"},
    ],
)
def test_a_record_of_another_form_is_refused(class_made, change):
    """Guards against more points than there are, another submission's record, and a notebook that is another."""
    release = read_release(find_units(class_made, [UNIT])[0])
    notebook = nbformat.reads(release.handout, as_version=4)
    fine = {"key": "0" * 64, "unit": UNIT, "scores": {"add-test": 3.0}, "notebook": notebook}
    assert unpack(Record(**fine).pack(), "0" * 64, release).scores == {"add-test": 3.0}
    with pytest.raises(BadRecord):
        unpack(Record(**(fine | change)).pack(), "0" * 64, release)


def test_local_workers_end_at_once_when_the_run_stops():
    """Guards against Ctrl-C that waits for the submission at hand."""
    workers = LocalWorkers(1)
    future = workers.submit(b"x" * 9)
    workers.close()
    assert future.cancelled() or isinstance(future.exception(), WorkerDied)
