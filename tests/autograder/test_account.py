"""What a learner's processes used, told by the warm process, though most of them end before anybody looks."""

from pathlib import Path

import pytest

from autograder.isolation import account
from autograder.isolation.account import FIRST_NUMBER, UNSEEN, Account

MOST = 32_768


class Processes:
    """A pid namespace that tests fill."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.last = 20_000  # number that was given away
        self.there: dict[str, tuple[int, float]] = {}  # number -> when it began, what it used
        monkeypatch.setattr(account, "_others", lambda: [Path("/proc", name) for name in self.there])
        monkeypatch.setattr(account, "processor_of", lambda process: self.there[process.name])
        monkeypatch.setattr(account, "_last_number", lambda: self.last)
        monkeypatch.setattr(account, "_most_numbers", lambda: MOST)
        self.own = 100.0  # of the warm process's
        monkeypatch.setattr(account.time, "process_time", lambda: self.own)
        self.account = Account(7, bare=False)

    def used(self) -> float:
        return self.account.usage().processor


@pytest.fixture
def processes(monkeypatch):
    return Processes(monkeypatch)


def test_who_uses_up_the_numbers_of_processes_has_used_no_less(processes):
    """Guards against a use below zero: with that, a limit of time was ten times as long."""
    used = []
    for processes.last in (30_000, 3_000, 19_000, 32_000, 1_000):
        used.append(processes.used())
    assert used == sorted(used)
    made = (32_000 - 20_000) + (MOST - FIRST_NUMBER) + (MOST - FIRST_NUMBER) + (1_000 - 32_000)
    assert used[-1] == pytest.approx(UNSEEN * made)


def test_who_has_another_s_number_has_used_its_own(processes):
    """Guards against a process that hides behind one that had its number before, and as much time."""
    processes.there = {"9": (100, 2.0)}
    assert processes.used() == 2
    processes.there = {"9": (100, 2.5)}
    assert processes.used() == 2.5
    processes.there = {"9": (200, 2.5), "10": (200, 1.0)}
    assert processes.used() == 2.5 + 2.5 + 1
    processes.there = {"10": (200, 1.5)}
    assert processes.used() == 2.5 + 2.5 + 1.5
    processes.there = {}
    assert processes.used() == 2.5 + 2.5 + 1.5


def test_who_is_gone_when_it_is_looked_at_keeps_what_it_had(processes):
    """Guards against a use that is lost between a list of processes and a look at one."""
    processes.there = {"9": (100, 2.0)}
    assert processes.used() == 2
    processes.there = {"9": (0, 0.0)}
    assert processes.used() == 2
    assert processes.used() == 2


def test_the_work_of_counting_is_theirs(processes):
    """Guards against who lets the warm process burn their processor, and has time for each moment of waiting for it."""
    processes.there = {"9": (100, 2.0)}
    processes.own += 3
    assert processes.used() == 2 + 3
