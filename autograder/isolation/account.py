"""What one learner's processes use of processors and memory, added up by the warm process that made them.

Everything in its pid namespace but the first process and itself belongs to the learner of the moment. Most of it may
end before anybody looks: the numbers that were given away say how much there was.
"""

import os
import sys
import time
from pathlib import Path

from autograder.isolation import users
from autograder.isolation.patience import Usage, delays_of, processor_of

POLL_SECONDS = 0.1
UNSEEN = POLL_SECONDS  # that count for each process or thread that was made: most that passes between two looks
FIRST_NUMBER = 300  # of a process, when the kernel begins to count anew
TREE_MEMORY = 3 * 2**30  # bytes resident in all of a learner's processes together
COUNT_SECONDS = 2.0  # of the processor, in which the sum can be made; seen for 50 forks that do nothing: 0.5 s
MOST_TABLES = 128 * 2**20  # bytes of tables of what they have mapped; 60 forks that do nothing have 50 MB


class Account:
    """What one learner's processes had of the processors, with those that have ended and nobody saw the end of.

    The warm process's own work is a part of it: they make it, and wait for the processor that they share with it.
    """

    def __init__(self, child: int, bare: bool, user: int | None = None) -> None:
        self._child, self._bare, self._user = child, bare, user
        self._began = time.process_time()
        self._made, self._last = 0, _last_number()
        self._there: dict[str, tuple[int, float]] = {}  # process -> (when it began, what it had when it was last seen)
        self._ended = 0.0  # what those had that are no longer there

    def look(self) -> list[Path]:
        """Note what each has used by now; those that are there. What comes after the last look, `UNSEEN` stands for."""
        there = [Path(f"/proc/{self._child}")] if self._bare and self._user is None else _theirs(self._user)
        before, self._there = self._there, {}
        for process in there:
            began, seconds = processor_of(process)
            if process.name in before and before[process.name][0] == began:
                del before[process.name]
            if began:
                self._there[process.name] = began, seconds
        self._ended += sum(seconds for _, seconds in before.values())
        last = _last_number()
        self._made += last - self._last
        if last < self._last:  # all numbers were given away, and they begin anew
            self._made += _most_numbers() - FIRST_NUMBER
        self._last = last
        return there

    def usage(self) -> Usage:
        """Of all so far."""
        delays = {
            thread: seconds
            for process in self.look()
            for thread, seconds in delays_of(process, str(self._child)).items()
        }
        seen = self._ended + sum(seconds for _, seconds in self._there.values())
        unseen = 0.0 if self._bare else UNSEEN * self._made
        return Usage(seen + unseen + time.process_time() - self._began, delays)


def _last_number() -> int:
    # The last number that was given to a process or thread of this pid namespace.
    return int(Path("/proc/loadavg").read_text().split()[4]) if sys.platform == "linux" else 0


def _most_numbers() -> int:
    return int(Path("/proc/sys/kernel/pid_max").read_text())


class Memory:
    """The sum of what a learner's processes have: one process after the other, for many take long.

    Args:
        user: whose they are, where they aren't alone. What they share is then counted for each of them: to see what
            is shared takes a right that root has in no container.
    """

    def __init__(self, user: int | None = None) -> None:
        self._user = user
        self._left: list[Path] = []
        self._total, self._seconds = 0, 0.0

    @property
    def is_added_up(self) -> bool:
        """Whether no process is left to look at."""
        return not self._left

    def look(self) -> bool:
        """Look at one process; whether they have more than they may, or so much mapped that nobody can say."""
        if self.is_added_up:
            return self._begins()
        began = time.thread_time()
        self._total += _memory(self._left.pop(), "smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:"))
        self._seconds += time.thread_time() - began
        return self._total > TREE_MEMORY or self._seconds > COUNT_SECONDS

    def _begins(self) -> bool:
        # The first sum counts what processes share for each of them. It is cheap; the second is right, and takes time
        # by the size of the tables.
        there = _theirs(self._user)
        tables = sum(_memory(process, "status", (b"VmPTE:",)) for process in there)
        resident = sum(_memory(process, "status", (b"RssAnon:", b"RssShmem:")) for process in there)
        if self._user is not None:
            return resident + tables > TREE_MEMORY
        if resident + tables > TREE_MEMORY:
            self._left, self._total, self._seconds = there, 0, 0.0
        return tables > MOST_TABLES


def _memory(process: Path, table: str, kinds: tuple[bytes, ...]) -> int:
    try:
        # A process gives itself its name, of any bytes: it need be no text, and what text takes for the end of a line
        # would let it write lines of its own here.
        lines = (process / table).read_bytes().split(b"\n")
    except OSError:  # it has ended
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(kinds))


def _theirs(user: int | None) -> list[Path]:
    return _others() if user is None else users.processes(user)


def _others() -> list[Path]:
    own = {"1", str(os.getpid())}
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and entry.name not in own]
