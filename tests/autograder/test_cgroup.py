"""Control groups of sandboxes: those whose makers were killed don't pile up, and nobody loses one that is in use."""

import os
import time
from pathlib import Path

import pytest

from autograder.isolation import cgroup
from autograder.isolation.cgroup import ControlGroup


@pytest.fixture
def mount(tmp_path, monkeypatch) -> Path:
    """A tree of groups, as folders."""
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    for tree in ("memory", "pids"):
        (tmp_path / tree).mkdir()
    return tmp_path


def test_groups_of_the_killed_are_removed(mount):
    """Guards against a server that has a thousand groups after a term of runs that were killed."""
    gone = next(number for number in range(2, 2**22) if not Path("/proc", str(number)).exists())
    left, young, mine, others = (
        mount / "memory" / name
        for name in (f"autograder-{gone}-7f", f"autograder-{gone}-8f", f"autograder-{os.getpid()}-7f", "docker-1-7f")
    )
    full = mount / "pids" / f"autograder-{gone}-7f"
    for folder in (left, young, mine, others, full):
        folder.mkdir()
    (full / "a process").touch()  # a folder of the kernel's can't be removed while somebody is in it
    for folder in (left, mine, others, full):
        os.utime(folder, (0, time.time() - cgroup.LEFT_SECONDS - 1))
    cgroup.sweep()
    assert not left.exists()
    assert [folder.exists() for folder in (young, mine, others, full)] == [True] * 4


def test_a_new_group_sweeps_first():
    """Guards against a sweep that nobody calls."""
    try:
        group = ControlGroup()
    except OSError:
        pytest.skip("no control groups for this user")
    group.remove()
    left = [folder for folder in cgroup.MOUNT.glob("*/autograder-*") if folder.stat().st_mtime < time.time() - 3600]
    assert not [folder for folder in left if not Path("/proc", folder.name.split("-")[1]).exists()]
