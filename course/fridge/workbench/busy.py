"""What else used the processors while something was measured, and the sentence that says so beside the times.

Whoever measures calls `look` before and after, or uses `watched`. In a notebook the looks of one cell belong together,
and the sentence is printed below the cell unless one of its figures says it (`plots.timed`).
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from IPython import get_ipython
from IPython.core.interactiveshell import ExecutionResult

MUCH = 0.1  # of the processors: an idle desktop with a browser stays below
SHORTEST = 0.5  # seconds; the system counts in steps of 10 ms, too coarse for less
_QUOTAS = ("cpu.max", "cpu/cpu.cfs_quota_us")  # below /sys/fs/cgroup, version 2 and version 1
_IDLE = ("idle", "iowait")
_COUNTED_TWICE = ("guest", "guest_nice")  # within user and nice


@dataclass(frozen=True)
class Look:
    """Seconds at one moment: on the wall, of all processors together, busy and in all, and this process's own."""

    wall: float
    busy: float
    all: float
    own: float


@dataclass
class _Cell:
    first: Look
    last: Look
    said: bool = False
    ended: bool = False  # never, outside of a notebook


_measured: _Cell | None = None  # the latest cell that measured something


def look() -> None:
    """Note how busy the machine has been, at the beginning and at the end of a measurement."""
    global _measured
    now = _now()
    if _measured is None or _measured.ended:
        _measured = _Cell(now, now)
        if shell := get_ipython():  # registering a function again changes nothing
            shell.events.register("post_run_cell", _end_of_cell)
    _measured.last = now


@contextmanager
def watched() -> Iterator[None]:
    """Look before and after, also as a decorator: `@watched()`."""
    look()
    try:
        yield
    finally:
        look()


def note() -> str:
    """A sentence, if something else used much of the processors while the latest cell measured; else "".

    Outside of a notebook all measurements of the process count as one cell's.
    """
    share = others(_measured.first, _measured.last) if _measured else None
    if share is None or share < MUCH:
        return ""
    return (
        f"Something else used {100 * share:.0f} % of the processors while this was measured: "
        "times may be too long, counts aren't."
    )


def said() -> None:
    """The note stands in a figure, so it needn't be printed below the cell too."""
    if _measured:
        _measured.said = True


def others(first: Look, last: Look) -> float | None:
    """The share of all processors that others used between two looks, from 0 to 1.

    None where that can't be known: too short a time, a system that doesn't count, or a container with a quota of its
    own, in which the counts are those of the machine around it.
    """
    counted = last.all - first.all
    if last.wall - first.wall < SHORTEST or counted < SHORTEST or _has_quota():
        return None
    mine = last.own - first.own
    return min(1.0, max(0.0, (last.busy - first.busy - mine) / counted))


def _now() -> Look:
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    busy = total = 0.0
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        if usable is None or number in usable:
            spent = {kind: value for kind, value in times._asdict().items() if kind not in _COUNTED_TWICE}
            total += sum(spent.values())
            busy += sum(value for kind, value in spent.items() if kind not in _IDLE)
    return Look(time.perf_counter(), busy, total, time.process_time())


def _has_quota(folder: Path = Path("/sys/fs/cgroup")) -> bool:
    for name in _QUOTAS:
        with suppress(OSError, ValueError, IndexError):
            return int((folder / name).read_text().split()[0]) > 0  # "max" is no number, and -1 no quota
    return False


def _end_of_cell(_: ExecutionResult) -> None:
    # Of every cell, and behind its figures.
    if _measured and not _measured.ended:
        _measured.ended = True
        if note() and not _measured.said:
            print(note())
