"""A forked child gives back a plain result or a reason, and nothing of what it did to its process."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from autograder.isolation import children
from autograder.isolation.children import ChildFailed, in_child


def test_the_result_comes_back_and_the_state_does_not():
    """Grading one notebook must leave no trace in the process that grades the next."""

    def call() -> dict:
        os.environ["CHILD"] = "changed"
        return {"pid": os.getpid(), "text": "é" * 200_000}

    result = in_child(call, 20)
    assert result["pid"] != os.getpid()
    assert result["text"] == "é" * 200_000
    assert "CHILD" not in os.environ


def test_an_exception_comes_back_as_its_traceback():
    with pytest.raises(ChildFailed, match="ZeroDivisionError"):
        in_child(lambda: 1 / 0, 20)


def test_a_death_is_a_failure_not_a_result():
    """A crash in a decoder must not end the grader, nor give points."""
    with pytest.raises(ChildFailed, match="died"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), 20)


def test_a_child_that_is_late_is_killed():
    before = psutil.Process().children()
    started = time.monotonic()
    with pytest.raises(ChildFailed, match=r"no result within 0\.5 seconds"):
        in_child(lambda: time.sleep(60), 0.5)
    assert time.monotonic() - started < 10
    assert psutil.Process().children() == before  # it was reaped


def test_a_result_without_an_end_is_told_as_such(monkeypatch):
    """Guards against "no result within 3060 seconds" of a notebook that took one."""
    monkeypatch.setattr(children, "MAX_RESULT", 2**20)
    with pytest.raises(ChildFailed, match="its result is larger than 1 MB"):
        in_child(lambda: "é" * 2**18, 20)
    assert in_child(lambda: "é" * 2**16, 20)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a child of its parent's end")
def test_a_child_ends_with_who_waits_for_it():
    """Guards against a killed run whose learners' processes burn on for their time."""
    code = "import os, time; from autograder.isolation.children import in_child; in_child(lambda: time.sleep(600), 700)"
    waiting = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not (found := psutil.Process(waiting.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    waiting.kill()
    waiting.wait()
    assert psutil.wait_procs(found, timeout=60)[1] == []
