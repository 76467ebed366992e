"""Ends a process with all that stands below it, as the system does for want of memory."""

import contextlib
import time

import psutil


def end_all(pid: int) -> None:
    """Kill a process, and return when it and what was below it have ended: on a busy machine that takes a while."""
    ending = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ending[0].kill()
    while any(map(_lives, ending)):
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
