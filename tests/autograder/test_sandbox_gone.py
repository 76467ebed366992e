"""A sandbox that is ended while it grades, for want of memory say: no grade, for nothing is known of the answer."""

import contextlib
import copy
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from ending import end_all
from grading_class import UNIT, made, skip_without_sandbox
from three_exercises import GOOD, master_with, opened

from autograder.course import find_units
from autograder.isolation import sandbox as sandbox_module
from autograder.isolation import zygote
from autograder.isolation.children import ChildFailed, in_child
from autograder.isolation.sandbox import Sandbox, SandboxGone
from autograder.notebooks import grade_id
from autograder.submissions import pipe, split
from autograder.submissions.paper import Paper
from autograder.submissions.release import read_release
from autograder.submissions.worker import Desk, pack_task

KILL = "import ending; ending.end_all({})\n"
# A test cell that ends the sandbox, before it calls an answer or behind it; {{0}} is the exercise.
BEFORE_THE_CALL = GOOD.replace("    expect_equal", f"    {KILL}    expect_equal")
BEHIND_THE_CALL = f"{GOOD}\n    {KILL}"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """One that a test may spoil."""
    warm = opened()
    yield warm
    warm.close()


@pytest.mark.parametrize("test", [BEFORE_THE_CALL, BEHIND_THE_CALL])
def test_a_sandbox_that_ends_during_a_test_gives_no_grade(sandbox, test):
    """Guards against 0 points, and a cause that is made up, for what the machine did."""
    spoilt = test.replace("{}", str(sandbox._process.pid))
    with pytest.raises(ChildFailed, match="SandboxGone"):
        grade(sandbox, spoilt)


def test_a_sandbox_that_ends_during_a_learners_cell_gives_no_grade(sandbox):
    """Guards against an answer that is said to have crashed, and was ended with all else."""
    slow = "import time\ntime.sleep(60)\ndef one(a, b):\n    return a + b"
    with (
        subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {sandbox._process.pid}"]),
        pytest.raises(ChildFailed, match="SandboxGone"),
    ):
        grade(sandbox, GOOD, slow)


def test_a_sandbox_that_ended_before_gives_no_grade(sandbox):
    """Guards against "this test cell is broken", said of a cell for which no process could be had."""
    end_all(sandbox._process.pid)
    with pytest.raises(ChildFailed, match="SandboxGone"):
        grade(sandbox, GOOD)


def test_a_sandbox_that_ends_while_its_time_is_asked_for_gives_no_grade(sandbox):
    """Guards against a limit that is taken for a learner's error because nobody could say how much of it is left."""
    usage = sandbox.usage

    def ends() -> object:
        end_all(sandbox._process.pid)
        return usage()

    sandbox.usage = ends
    with pytest.raises(ChildFailed, match="SandboxGone"):
        grade(sandbox, GOOD, "import time\ndef one(a, b):\n    time.sleep(5)\n    return a + b")


def test_a_sandbox_that_does_not_answer_is_gone(sandbox, monkeypatch):
    """Guards against a limit that is told from a use of nothing."""
    sandbox.learner()
    monkeypatch.setattr(sandbox_module, "START_SECONDS", 0.5)
    for process in psutil.Process(sandbox._process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that made others, and is done
            process.suspend()
    with pytest.raises(SandboxGone, match="doesn't say what"):
        sandbox.usage()
    with pytest.raises(SandboxGone, match="doesn't say what"):
        sandbox.end_learner()


def test_a_warm_process_that_ended_is_not_alive_while_bubblewrap_is(sandbox):
    """Guards against the next submission, which was given a sandbox whose end nobody had been told of yet."""
    outer, *inner = [psutil.Process(sandbox._process.pid), *psutil.Process(sandbox._process.pid).children(True)]
    assert sandbox.alive()
    outer.suspend()
    for process in reversed(inner):
        with contextlib.suppress(psutil.NoSuchProcess):  # one goes with another
            process.kill()
    wait_until(lambda: not sandbox.alive())
    outer.resume()


def test_a_fork_knows_no_status(sandbox):
    """Guards against "exit status 0", which Python says of every process that another one started."""
    with pytest.raises(ChildFailed) as failed:
        in_child(lambda: (_ for _ in ()).throw(SandboxGone(sandbox._complaint())), 30)
    assert "exit status" not in str(failed.value)
    end_all(sandbox._process.pid)
    wait_until(lambda: "exit status -9" in sandbox._complaint())


def test_why_it_ended_is_told_to_all_who_ask(sandbox):
    """Guards against "no reason given", for somebody had asked before: the next learner's maker, or another fork."""
    os.write(sandbox._words.fileno(), b"MemoryError: of the warm process's")
    end_all(sandbox._process.pid)
    sandbox.prepare()
    for _ in range(2):
        with pytest.raises(ChildFailed, match="MemoryError: of the warm process's"):
            in_child(sandbox.learner, 30)


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_a_learners_processes_are_waited_for_however_late_that_begins(late):
    """Guards against a signal that comes before anybody listens: it ended the one who waits, or was never heard."""
    told, tell = os.pipe()
    outlasts = os.fork()
    if outlasts == 0:
        signal.pthread_sigmask(signal.SIG_BLOCK, zygote._OUTLASTS)
        first = os.fork()
        if first == 0:
            time.sleep(60)
            os._exit(0)
        os.write(tell, str(first).encode())
        time.sleep(late)
        zygote._outlast(first)
        os._exit(7)
    first = int(os.read(told, 20))
    os.kill(first, signal.SIGSTOP)  # of which one hears as of an end
    os.kill(first, signal.SIGCONT)
    os.kill(outlasts, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(outlasts, 0)[1]) == 7
    assert not psutil.pid_exists(first)


def test_a_worker_says_that_it_failed_and_the_next_one_grades_it(tmp_path, monkeypatch):
    """Guards against a verdict of a worker whose sandbox is gone, and a submission that is not tried again."""
    skip_without_sandbox()
    unit = find_units(made(tmp_path / "mini"), [UNIT])[0]
    task = pack_task(read_release(unit), "key", unit.release.read_bytes())
    desk, graded = Desk(), Desk._grade

    def spoilt(self: Desk, *submission: object) -> object:
        end_all(self._sandbox._process.pid)
        return graded(self, *submission)

    with monkeypatch.context() as patch:
        patch.setattr(Desk, "_grade", spoilt)
        answer = desk.answer(task)
    assert answer.startswith(pipe.FAILED), answer
    assert b"SandboxGone" in answer
    assert desk.answer(task).startswith(pipe.RECORD)
    desk.close()


def grade(sandbox: Sandbox, test: str, answer: str = "") -> None:
    """Grade three right answers, or another one in the first one's place, by that test."""
    master = master_with(test)
    notebook = copy.deepcopy(master)
    for cell in notebook.cells:
        if answer and grade_id(cell) == "one":
            cell.source = answer
    in_child(lambda: split.grade(notebook, Paper(master), sandbox).as_json(), 300)


def wait_until(so: Callable[[], bool]) -> None:
    """For half a minute at most."""
    deadline = time.monotonic() + 30
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
