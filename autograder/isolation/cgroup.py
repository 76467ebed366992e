"""Limits of memory, processes and processor for a whole sandbox, by a control group of its own where this user may."""

import contextlib
import os
import time
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
MEMORY = 4 * 2**30  # bytes, the warm process and a learner's processes together
PROCESSES = 256  # and threads
QUOTA = 110_000  # microseconds of the processor in PERIOD: one processor for a learner, a tenth for the warm process
PERIOD = 100_000
LEFT_SECONDS = 600  # since it was made, after which an empty group of nobody's was left behind

# Version 1 has a tree for each controller, version 2 one for all: controller's tree -> {file: limit}.
_VERSION_1 = {
    "memory": {"memory.limit_in_bytes": MEMORY},
    "pids": {"pids.max": PROCESSES},
    "cpu": {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": QUOTA},
}
_VERSION_2 = {
    "": {"memory.max": MEMORY, "memory.swap.max": 0, "pids.max": PROCESSES, "cpu.max": f"{QUOTA} {PERIOD}"},
}
_NOT_EVERYWHERE = {"memory.swap.max", "cpu.max", "cpu.cfs_period_us", "cpu.cfs_quota_us"}


class ControlGroup:
    """A control group that limits whoever enters. Remove it when all have left.

    Attributes:
        shares_processor: whether it limits the use of processors, too.

    Raises:
        OSError: this user may not make one here, or the host's kernel has none.
    """

    def __init__(self) -> None:
        sweep()
        trees = _VERSION_2 if (MOUNT / "cgroup.controllers").exists() else _VERSION_1
        self._folders: list[Path] = []
        self.shares_processor = False
        try:
            for tree, limits in trees.items():
                if tree and not (MOUNT / tree).exists() and _NOT_EVERYWHERE.issuperset(limits):
                    continue
                folder = MOUNT / tree / f"autograder-{os.getpid()}-{id(self):x}"
                folder.mkdir()
                self._folders.append(folder)
                for name, limit in limits.items():
                    if (folder / name).exists() or name not in _NOT_EVERYWHERE:
                        (folder / name).write_text(str(limit))
                        self.shares_processor |= name in ("cpu.max", "cpu.cfs_quota_us")
        except OSError:
            self.remove()
            raise

    def enter(self) -> None:
        """Move this process, and so all that it starts, into the group."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        """Remove the group, once the last killed process has left it."""
        for folder in self._folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)


def sweep() -> None:
    """Remove groups whose makers were killed. One that somebody is in stays, whatever is tried."""
    for folder in [*MOUNT.glob("autograder-*"), *MOUNT.glob("*/autograder-*")]:
        with contextlib.suppress(OSError):
            maker = Path("/proc") / folder.name.split("-")[1]
            if not maker.exists() and time.time() - folder.stat().st_mtime > LEFT_SECONDS:
                folder.rmdir()
