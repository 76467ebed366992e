"""A user of the moment: all its processes are ended, whatever they do about it, and nobody else's."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.isolation import users
from autograder.isolation.users import USERS, WARDEN, end_all, processes

pytestmark = pytest.mark.skipif(os.getuid() != 0 or sys.platform != "linux", reason="only root can be somebody else")
USER = USERS[-1]
# As a learner's processes that were left behind: one that makes others, one that kills whoever comes next.
FORKS = "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(30)\n    time.sleep(0.01)"
KILLS = """
import os, time
while True:
    last = int(open("/proc/loadavg").read().split()[4])
    for number in range(last + 1, last + 4):
        try: os.kill(number, 9)
        except OSError: pass
    time.sleep(0.00001)
"""


def started(script: str) -> int:
    """A process of that user's, which nobody waits for."""

    def become() -> None:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)

    python = Path("/usr/bin/python3")  # one that everybody may read
    if not python.exists():
        pytest.skip(f"there is no {python}")
    return subprocess.Popen([python, "-c", script], preexec_fn=become, start_new_session=True).pid


@pytest.mark.parametrize("script", [FORKS, KILLS])
def test_all_are_ended_by_one_who_cannot_be_ended(script):
    """Guards against a killer of the learner's own user: one in forty was killed before its call."""
    bystander = subprocess.Popen(["sleep", "60"], user=USERS[0])
    for _ in range(10):
        pids = [started(script) for _ in range(3)]
        until = time.monotonic() + 20
        while not processes(USER) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert processes(USER)
        end_all(USER)
        assert processes(USER) == []
        for pid in pids:
            os.waitpid(pid, 0)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_the_one_who_ends_them_is_none_of_them():
    assert WARDEN not in USERS
    assert users.choose() in (None, *USERS)
