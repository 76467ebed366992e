"""Limits of memory, processes and processor for several processes together, by a control group where this user may."""

import contextlib
import os
import time
from pathlib import Path

from autograder.isolation.vanishing import entries

MOUNT = Path("/sys/fs/cgroup")
MEMORY = 4 * 2**30  # bytes, the warm process and a learner's processes together
PROCESSES = 256  # and threads
QUOTA = 110_000  # microseconds of the processor in PERIOD: one processor for a learner, a tenth for the warm process
PERIOD = 100_000
LEFT_SECONDS = 600  # since it was made, after which an empty group of nobody's was left behind

_NOT_EVERYWHERE = {"memory.swap.max", "cpu.max", "cpu.cfs_period_us", "cpu.cfs_quota_us"}


class ControlGroup:
    """A control group that limits whoever enters. Remove it when all have left.

    Args:
        memory: bytes that all together may take; a sandbox's, the warm process and a learner's processes.
        processes: and threads; None for no limit.
        quota: microseconds of the processor in PERIOD; None for no limit.

    Attributes:
        shares_processor: whether it limits the use of processors, too.

    Raises:
        OSError: this user may not make one here, or the host's kernel has none.
    """

    def __init__(self, memory: int = MEMORY, processes: int | None = PROCESSES, quota: int | None = QUOTA) -> None:
        sweep()
        self._unified = (MOUNT / "cgroup.controllers").exists()
        trees = (_version_2 if self._unified else _version_1)(memory, processes, quota)
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

    def memory(self) -> int:
        """Bytes that the group has now, without pages of files that would be dropped first: as Kubernetes counts."""
        used = "memory.current" if self._unified else "memory.usage_in_bytes"
        return self._number(used) - self._files("inactive_file")

    def read_files(self) -> int:
        """Bytes of it that are pages of files in use, a model's say: dropped only where nothing else is left."""
        return self._files("active_file")

    def _files(self, kind: str) -> int:
        return self._number("memory.stat", kind if self._unified else f"total_{kind}")

    def killed(self) -> int:
        """How many of its processes the kernel ended for want of memory."""
        return self._number("memory.events" if self._unified else "memory.oom_control", "oom_kill")

    def _number(self, name: str, key: str = "") -> int:
        text = (self._folders[0] / name).read_text()
        return int(dict(line.split() for line in text.splitlines())[key] if key else text)

    def remove(self) -> None:
        """Remove the group, once the last killed process has left it."""
        for folder in self._folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)


# Version 1 has a tree for each controller, version 2 one for all: controller's tree -> {file: limit}.
def _version_1(memory: int, processes: int | None, quota: int | None) -> dict[str, dict[str, object]]:
    trees: dict[str, dict[str, object]] = {"memory": {"memory.limit_in_bytes": memory}}
    if processes is not None:
        trees["pids"] = {"pids.max": processes}
    if quota is not None:
        trees["cpu"] = {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": quota}
    return trees


def _version_2(memory: int, processes: int | None, quota: int | None) -> dict[str, dict[str, object]]:
    limits: dict[str, object] = {"memory.max": memory, "memory.swap.max": 0}
    if processes is not None:
        limits["pids.max"] = processes
    if quota is not None:
        limits["cpu.max"] = f"{quota} {PERIOD}"
    return {"": limits}


def sweep() -> None:
    """Remove groups whose makers were killed. One that somebody is in stays, whatever is tried."""
    places = [MOUNT, *entries(MOUNT)]
    for folder in (folder for place in places for folder in entries(place) if folder.name.startswith("autograder-")):
        with contextlib.suppress(OSError):
            maker = Path("/proc") / folder.name.split("-")[1]
            if not maker.exists() and time.time() - folder.stat().st_mtime > LEFT_SECONDS:
                folder.rmdir()
