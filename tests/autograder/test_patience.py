"""Time limits: a busy machine costs nobody points, and nobody gets more time by being busy."""

import contextlib
import os
import time

import pytest
from busy_machine import busy_machine
from grading_class import skip_without_sandbox
from three_exercises import points

from autograder.isolation import patience, sandbox
from autograder.isolation.channel import Channel
from autograder.isolation.patience import FIRST_LOOK, PROCESSORS, WIDE, Limit, Usage, own_usage
from autograder.isolation.remote import Session


class Machine:
    """A clock and a meter that tests wind on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.had, self.looks = 1000.0, Usage(5, {("learner", "1"): 7}), 0
        monkeypatch.setattr(patience.time, "monotonic", lambda: self.now)

    def passes(self, seconds: float, processor: float = 0.0, delay: float = 0.0, threads: int = 1) -> None:
        self.now += seconds
        self.had += Usage(processor, {("learner", str(number + 1)): delay for number in range(threads)})

    def meter(self) -> Usage:
        self.looks += 1
        return self.had

    def limit(self, seconds: float) -> Limit:
        """One that has had its first look."""
        limit = Limit(seconds, self.meter)
        self.passes(FIRST_LOOK * seconds)
        limit.left()
        return limit


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_who_sleeps_or_works_on_an_idle_machine_has_what_the_clock_says(machine):
    for processor in (0, 9):
        limit = machine.limit(10)
        machine.passes(9, processor)
        assert limit.left() == pytest.approx(0.5)
        machine.passes(0.6, processor / 15)
        assert limit.left() == 0
        assert not limit.starved


def test_waiting_for_a_processor_does_not_count(machine):
    """Guards against a grade that depends on who else uses the machine."""
    limit = machine.limit(10)
    machine.passes(60, processor=6, delay=54)
    assert limit.left() == pytest.approx(10 - 6.5)
    machine.passes(34, processor=3.4, delay=30.6)
    assert limit.left() == pytest.approx(0.1)
    machine.passes(2, processor=0.2, delay=1.8)
    assert limit.left() == 0
    assert not limit.starved


def test_waiting_for_ones_own_processes_ends_by_their_use(machine):
    """Guards against a learner who starts so many that they wait for one another, and so for ever."""
    limit = machine.limit(10)
    machine.passes(9.9, processor=PROCESSORS * 9.9, delay=9.8, threads=60)
    assert limit.left() > 0
    machine.passes(0.2, processor=PROCESSORS * 0.2, delay=0.2, threads=60)
    assert limit.left() == 0
    assert not limit.starved


def test_threads_that_wait_beside_one_another_bring_no_more_time_than_one(machine):
    """Guards against a hundred that wake at once: all but one wait, for next to no use, and a sleeper has their sum."""
    limit = machine.limit(10)
    machine.passes(9.9, processor=0.3, delay=0.3, threads=60)
    assert limit.left() < 0.7
    machine.passes(0.7, processor=0.02, delay=0.02, threads=60)
    assert limit.left() == 0
    assert not limit.starved


def test_who_waits_in_turn_has_all_that_each_waited_for():
    """Guards against time that is lost where a learner's process was replaced, or its grader waits as well."""
    before = Usage(1, {("1", "1"): 5.0, ("grader", "self"): 2.0})
    after = Usage(3, {("1", "1"): 7.0, ("2", "1"): 4.0, ("2", "2"): 1.0, ("grader", "self"): 3.0})
    assert (after - before).delay == 2 + 4 + 1
    assert (after - before).processor == 2


def test_many_processors_do_not_shorten_the_time_by_the_clock(machine):
    limit = machine.limit(10)
    machine.passes(5, processor=16 * 5)
    assert limit.left() == pytest.approx(4.5)


def test_the_clock_ends_it_far_out_and_says_that_nothing_is_known(machine):
    limit = machine.limit(10)
    machine.passes(10 * WIDE - 1, processor=0.5, delay=10 * WIDE - 2)
    assert limit.left() > 0
    machine.passes(1, delay=1)
    assert limit.left() == 0
    assert limit.starved


def test_what_ends_soon_costs_no_look(machine):
    limit = Limit(10, machine.meter)
    machine.passes(0.4)
    assert limit.left() == pytest.approx(0.1)
    assert machine.looks == 0


def test_who_is_asked_often_looks_seldom(machine):
    """Guards against a look for each message, a thousand in a call: on a busy machine they took more than the call."""
    limit = machine.limit(10)
    machine.passes(30, processor=3, delay=27)
    looks = machine.looks
    for _ in range(1000):
        machine.passes(0.001)
        assert limit.left() > 0
    assert machine.looks == looks + 1
    machine.passes(6.5)
    assert limit.left() == 0


def test_a_kernel_that_does_not_say_leaves_the_clock(machine):
    limit = Limit(10, Usage)
    machine.passes(1)
    assert limit.left() == pytest.approx(9)
    machine.passes(9.1)
    assert limit.left() == 0


def test_ones_own_delay_is_told_on_a_busy_machine():
    before, end = own_usage().delay, time.monotonic() + 1.5
    with busy_machine():
        while time.monotonic() < end:
            pass
    assert own_usage().delay - before > 0.3


BURN = (
    "import time\n    began = time.process_time()\n    while time.process_time() - began < {}: pass\n    return a + b"
)


def test_an_honest_answer_is_in_time_on_a_busy_machine(grade):
    """Guards against points that go to who has the machine alone. By the clock, the limit of 3 seconds is over."""
    answer = f"def one(a, b):\n    {BURN.format(2)}"
    with busy_machine():
        graded = grade(answers={"one": answer})
    assert graded.seconds["one-test"] > 3
    assert points(graded) == [2, 2, 2]
    assert not graded.starved


@pytest.mark.parametrize("ends", [BURN.format(60), "import time; time.sleep(60)"])
def test_a_loop_is_late_on_a_busy_machine_too(grade, ends):
    """Guards against a limit that never comes where others use the processors."""
    with busy_machine(2):
        graded = grade(answers={"one": f"def one(a, b):\n    {ends}"})
    assert points(graded) == [0, 2, 2]
    assert "no answer within 3 seconds" in graded.verdicts["one-test"].message
    assert not graded.starved


FORKS = """import os
    for _ in range(40):
        if os.fork() == 0: break
    while True: pass"""


def test_many_processes_of_ones_own_bring_no_time(grade):
    """Guards against waiting for oneself."""
    graded = grade(answers={"one": f"def one(a, b):\n    {FORKS}"})
    assert points(graded) == [0, 2, 2]
    assert not graded.starved  # with time for waiting for himself, the wide limit by the clock would be what ended it


WAKE = """import os, time
    began = time.time()
    for _ in range(40):
        if os.fork() == 0:
            for number in range(1, 200):
                time.sleep(max(0, began + number / 2 - time.time()))
                until = time.thread_time() + 0.0008
                while time.thread_time() < until: pass
    time.sleep(100)"""


def test_processes_that_wake_at_once_bring_no_time(grade):
    """Guards against a sleeper whose children wait for one another: before, this limit of 3 seconds took 30."""
    graded = grade(answers={"one": f"def one(a, b):\n    {WAKE}"})
    assert points(graded) == [0, 2, 2]
    assert graded.seconds["one-test"] < 20
    assert not graded.starved


def test_a_machine_without_any_time_gives_no_grade(grade, monkeypatch):
    """Guards against 0 points for what nobody has seen run."""
    monkeypatch.setattr(patience, "WIDE", 1)
    with busy_machine():
        graded = grade(answers={"one": f"def one(a, b):\n    {BURN.format(2)}"})
    assert graded.starved
    assert list(graded.verdicts) == ["one-test", "two-test", "three-test"], "a record has all of them"
    assert list(graded.seconds) == ["one-test"], "what is graded again isn't graded to its end now"


@pytest.mark.skipif(
    len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="one processor, or none to choose"
)
def test_without_a_control_group_a_seat_is_a_processor_of_ones_own(monkeypatch):
    """Guards against a learner who burns all processors where no control group shares them out."""
    skip_without_sandbox()
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor, and so no choice")
    monkeypatch.setattr(sandbox, "_control_group", lambda: None)
    seen = []
    for seat in (0, 1, None):
        with contextlib.closing(sandbox.Sandbox(seat=seat)) as warm:
            connection, _ = warm.learner()
            session = Session(Channel(connection), 20, Limit(60, warm.usage), warm.usage)
            session.run_cell("import os\nfree = list(os.sched_getaffinity(0))")
            seen.append(session.lookup(["free"])["free"])
    assert [len(free) for free in seen] == [1, 1, 1], "on nbgrader's own way and on a cluster nobody knows a seat"
    assert seen[0] != seen[1]
