"""Time limits that a busy machine doesn't use up.

What counts of a learner's time is what passes by the clock while it isn't kept waiting for a processor (`run_delay` of
the kernel's schedstat), nor the grader; or its own use of the processor, if that is more. So an honest answer isn't
late because somebody else's processes run, and who starts many of his own ends by their use. Of threads that work
beside one another the one that waited longest counts, never their sum: a hundred that wake at once wait a hundredfold
for next to no use, and whoever sleeps beside them would have all the time in the world. A wide limit by the clock
stands over all; where that was reached, nothing is known of the answer.
"""

import contextlib
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.isolation.cgroup import PERIOD, QUOTA
from autograder.isolation.vanishing import entries

PROCESSORS = QUOTA / PERIOD  # that a sandbox may use: who does so all the time has what the clock says
WIDE = 10  # times a limit, by the clock
FIRST_LOOK = 0.05  # of a limit; what ends before that needs no look
LOOK_SECONDS = 0.05  # at least between two looks
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # of /proc's, in a second

Thread = tuple[str, str]  # whose turn it was, and which of its threads


@dataclass(frozen=True)
class Usage:
    """What processes had so far, in seconds.

    Attributes:
        processor: used, in all threads together.
        delays: of each thread, ready to run, and kept waiting for a processor. The grader and each of a learner's
            processes have turns of their own, one after the other.
    """

    processor: float = 0.0
    delays: Mapping[Thread, float] = field(default_factory=dict)

    @property
    def delay(self) -> float:
        """What all turns together were kept waiting: in each, the thread that waited longest."""
        longest: dict[str, float] = defaultdict(float)
        for (turn, _), seconds in self.delays.items():
            longest[turn] = max(longest[turn], seconds)
        return sum(longest.values())

    def __add__(self, other: "Usage") -> "Usage":
        threads = {**self.delays, **other.delays}
        delays = {one: self.delays.get(one, 0.0) + other.delays.get(one, 0.0) for one in threads}
        return Usage(self.processor + other.processor, delays)

    def __sub__(self, other: "Usage") -> "Usage":
        delays = {one: seconds - other.delays.get(one, 0.0) for one, seconds in self.delays.items()}
        return Usage(self.processor - other.processor, delays)


Meter = Callable[[], Usage]


class Limit:
    """So many seconds from now on.

    Args:
        meter: what the processes at hand had so far. It is asked after a twentieth of the time, and when that is over
            by the clock; then no more often than it can matter. An answer takes a while on a busy machine, and a call
            that asks the test's objects for something a thousand times has none to lose.
    """

    def __init__(self, seconds: float, meter: Meter) -> None:
        self.seconds = seconds
        self._meter = meter
        self._began = time.monotonic()
        self._before: Usage | None = None
        self._next = 0.0  # look, by the clock

    @property
    def starved(self) -> bool:
        """Whether the clock alone says that it is over: the machine gave hardly any time."""
        return self._clock() >= WIDE * self.seconds and self._had() < self.seconds

    def left(self) -> float:
        """Seconds that may pass before this is asked again; 0 when the time is over."""
        clock, first = self._clock(), FIRST_LOOK * self.seconds
        if clock < first:
            return first - clock
        if self._before is None:
            self._before = self._meter()
        if clock < self.seconds:
            return self.seconds - clock
        if clock >= WIDE * self.seconds:
            return 0.0
        if clock < self._next:
            return self._next - clock
        left = self.seconds - self._had()
        if left <= 0:
            return 0.0
        self._next = clock + max(LOOK_SECONDS, left)
        return self._next - clock

    def _clock(self) -> float:
        return time.monotonic() - self._began

    def _had(self) -> float:
        return had(self._clock(), self._meter() - (self._before or Usage()))


def had(clock: float, used: Usage) -> float:
    """What counts of so many seconds by the clock."""
    return min(clock, max(used.processor / PROCESSORS, clock - used.delay))


def endless() -> float:
    """Of no limit."""
    return math.inf


def own_usage() -> Usage:
    """This thread's delay; its work is what others wait for, and is no use of theirs."""
    return Usage(0.0, _delays("grader", [Path("/proc/thread-self")]))


def processor_of(process: Path) -> tuple[int, float]:
    """When one process began, and what it used, by its folder in /proc; zeros if it is gone.

    The use is with that of the children that it has seen the end of. Another process has its number later, but began
    at another time.
    """
    try:
        fields = (process / "stat").read_bytes().rpartition(b")")[2].split()  # behind its name, which may be no text
    except OSError:
        return 0, 0.0
    return int(fields[19]), sum(map(int, fields[11:15])) / TICKS  # its own in user and system mode, its children's


def delays_of(process: Path, turn: str) -> dict[Thread, float]:
    """How long each of one process's threads was kept waiting; nothing if it is gone."""
    return _delays(turn, entries(process / "task"))


def _delays(turn: str, threads: Iterable[Path]) -> dict[Thread, float]:
    found = {}
    for thread in threads:
        with contextlib.suppress(OSError, IndexError, ValueError):  # a thread that ended, a kernel that doesn't say
            found[turn, thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return found
