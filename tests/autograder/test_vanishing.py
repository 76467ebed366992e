"""A process or a control group that goes while the grader looks at it: nobody's grading ends by that."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from autograder.isolation.account import Account
from autograder.isolation.patience import delays_of
from autograder.isolation.vanishing import entries

FORKS = 100


def test_a_folder_that_is_gone_has_nothing_in_it(tmp_path):
    (tmp_path / "a group").mkdir()
    (tmp_path / "a file").touch()
    assert sorted(entries(tmp_path)) == [tmp_path / "a file", tmp_path / "a group"]
    for folder in (tmp_path / "gone", tmp_path / "a file", tmp_path / "a group"):
        assert entries(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "look",
    [
        lambda child: delays_of(Path(f"/proc/{child}"), "learner"),
        lambda child: Account(child, bare=True).usage(),
    ],
    ids=["delays", "account"],
)
def test_a_process_may_end_while_it_is_looked_at(look):
    """Guards against a warm process that dies of a learner's that ended: `Path.glob` raised for one in ten of these."""
    for _ in range(FORKS):
        child = os.fork()
        if child == 0:
            time.sleep(0.001)
            os._exit(0)
        other = threading.Thread(target=os.waitpid, args=(child, 0))  # takes it away, at any moment
        other.start()
        while other.is_alive():
            look(child)
