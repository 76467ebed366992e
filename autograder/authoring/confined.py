"""`autograder render --limit 2G`: a unit's notebook in the memory that Binder has, beside a JupyterLab that is open.

mybinder.org gives a pod 2 GB at most and promises 1, for JupyterLab and the kernel together; the kernel's memory alone
says little. Everything runs in one control group here, and the kernel ends what takes more, as it does there.

A file's page counts for the group that read it first. So the model and the libraries are dropped from memory before,
which works for those that no other process has open: measure where nothing else runs.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient.exceptions import DeadKernelError

from autograder.authoring.render import LOOK_SECONDS, Watch, execute
from autograder.course import CourseError, Unit, find_units
from autograder.isolation.cgroup import ControlGroup
from fridge import models

START_SECONDS = 300  # seen: 8 s
SETTLED_SECONDS = 3.0
LARGE = 2**20  # bytes; the smaller files of an environment are many, and little together

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the machine's knows no loopback


@dataclass(frozen=True)
class Confined:
    """A notebook that ran in so much memory, or didn't.

    Attributes:
        seconds: from the kernel's start to the last cell's end.
        lab_bytes: what JupyterLab had, before the notebook ran.
        peak_bytes: the most that both had together.
        file_bytes: how much of that were pages of files, which the kernel drops before it ends anybody.
        killed: processes that the system ended for want of memory.
    """

    unit: Unit
    seconds: float
    lab_bytes: int
    peak_bytes: int
    file_bytes: int
    killed: int


def measure(root: Path, limit: int, names: list[str] | None = None) -> list[Confined]:
    """Execute the pairs of the named units (default all), with all answers, and keep nothing of it.

    Args:
        limit: bytes, for JupyterLab and the kernel together.

    Raises:
        CourseError: this host gives no control groups to this user, or a cell failed.
    """
    return [_measure(unit, limit) for unit in find_units(root, names)]


def table(measured: list[Confined], limit: int) -> str:
    """Times and peaks."""
    lines = [
        f"{'unit':26}{'seconds':>9}{'JupyterLab, MB':>16}{'peak, MB':>10}{'files, MB':>11}   of {limit / 1e6:.0f} MB"
    ]
    for one in measured:
        ended = f"   {one.killed} processes were ended for want of memory" if one.killed else ""
        lines.append(
            f"{one.unit.name:26}{one.seconds:>9.0f}{one.lab_bytes / 1e6:>16.0f}{one.peak_bytes / 1e6:>10.0f}"
            f"{one.file_bytes / 1e6:>11.0f}{ended}"
        )
    return "\n".join(lines)


def _measure(unit: Unit, limit: int) -> Confined:
    notebook = nbformat.read(unit.pair, as_version=4)
    _drop_from_memory(models.folder(), Path(sys.prefix))
    with _group(limit) as group, _jupyterlab(unit.root, group):
        time.sleep(SETTLED_SECONDS)
        lab, start = group.memory(), time.perf_counter()
        with _Peak(group) as peak:
            try:
                execute(unit, notebook, preexec_fn=group.enter)
            except DeadKernelError:
                if not group.killed():
                    raise
        return Confined(unit, time.perf_counter() - start, lab, peak.bytes, peak.of_files, group.killed())


def _drop_from_memory(*folders: Path) -> None:
    for path in (path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and path.stat().st_size >= LARGE:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def _group(limit: int) -> Iterator[ControlGroup]:
    try:
        group = ControlGroup(memory=limit, processes=None, quota=None)
    except OSError as error:
        raise CourseError(f"this host gives no control groups to this user ({error}): run it as root") from error
    try:
        yield group
    finally:
        group.remove()


@contextlib.contextmanager
def _jupyterlab(root: Path, group: ControlGroup) -> Iterator[None]:
    """JupyterLab as `make lab` and Binder start it, with its page asked for once."""
    with tempfile.TemporaryDirectory() as folder:
        lab = subprocess.Popen(
            [sys.executable, root / "binder" / "start.py", "lab", "--no-browser"],
            env=os.environ | {"JUPYTER_RUNTIME_DIR": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=group.enter,
        )
        try:
            server = _server(Path(folder), lab)
            _direct.open(f"{server['url']}lab?token={server['token']}", timeout=START_SECONDS).close()
            yield
        finally:
            lab.kill()
            lab.wait()


def _server(folder: Path, lab: subprocess.Popen) -> dict:
    """What JupyterLab says of itself once it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and lab.poll() is None:
        for path in folder.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # half written
                return json.loads(path.read_text(encoding="utf-8"))
        time.sleep(LOOK_SECONDS)
    raise CourseError("JupyterLab did not start: `make lab` says why")


class _Peak(Watch):
    """The most memory that a group has meanwhile."""

    def __init__(self, group: ControlGroup) -> None:
        self.bytes, self.of_files, self._group = 0, 0, group

    def look(self) -> None:
        self.bytes, self.of_files = max((self.bytes, self.of_files), (self._group.memory(), self._group.read_files()))
