"""`autograder render`: the pairs in solutions/ executed as a learner would, with outputs, time and memory."""

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from traitlets.config import Config

from autograder.authoring.build import write, write_pair
from autograder.course import CourseError, Unit, find_units

LOOK_SECONDS = 0.1
NEAR_THE_PEAK = 0.95  # of the resident memory seen so far, from which a process is looked at in full
FULL_LOOK_SECONDS = 1.0  # at least, between two full looks
CELL_SECONDS = 600


@dataclass(frozen=True)
class Rendered:
    """An executed pair.

    Attributes:
        seconds: from the kernel's start to the last cell's end.
        peak_bytes: the most memory that the kernel took, mapped files included, each page once.
        peak_resident_bytes: its largest resident memory, which counts a page as often as it is mapped: twice where two
            models were loaded from one file. The same as `peak_bytes` where the system doesn't say more.
    """

    unit: Unit
    seconds: float
    peak_bytes: int
    peak_resident_bytes: int


def render(root: Path, names: list[str] | None = None) -> list[Rendered]:
    """Execute the pairs of the named units (default all), outputs and plots kept.

    Raises:
        CourseError: a cell failed.
    """
    return [_render(unit) for unit in find_units(root, names)]


def table(rendered: list[Rendered]) -> str:
    """Time and memory of each pair."""
    lines = [f"{'unit':24}{'seconds':>9}{'peak, GB':>10}{'resident, GB':>14}"]
    for one in rendered:
        row = (
            f"{one.unit.name:24}{one.seconds:>9.0f}{one.peak_bytes / 1e9:>10.2f}{one.peak_resident_bytes / 1e9:>14.2f}"
        )
        lines.append(row)
    return "\n".join(lines)


def execute(unit: Unit, notebook: NotebookNode, **start: Any) -> None:
    """Run a pair's cells where it lies, outputs in place; `start` is what the kernel's process is started with.

    Raises:
        CourseError: a cell failed.
    """
    where = {"metadata": {"path": str(unit.pair.parent)}}
    encrypted = Config(KernelManager={"transport_encryption": "auto"})
    client = NotebookClient(notebook, timeout=CELL_SECONDS, force_raise_errors=True, resources=where, config=encrypted)
    try:
        client.execute(**start)
    except CellExecutionError as error:
        raise CourseError(f"{unit.pair} failed:\n{error}") from error


class Watch:
    """Looks every LOOK_SECONDS, from a thread, as long as it stands."""

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Once."""
        raise NotImplementedError

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.look()


def _render(unit: Unit) -> Rendered:
    write_pair(unit)
    notebook = nbformat.read(unit.pair, as_version=4)
    start = time.perf_counter()
    with _PeakMemory() as memory:
        execute(unit, notebook)
    notebook.metadata.pop("widgets", None)  # sliders' state, which no reader of the pair needs
    notebook.metadata.language_info = nbformat.from_dict({"name": "python"})
    write(notebook, unit.pair)
    return Rendered(unit, time.perf_counter() - start, memory.peak, memory.peak_resident)


class _PeakMemory(Watch):
    """Of the kernel, the largest process that this one starts."""

    def __init__(self) -> None:
        self.peak, self.peak_resident, self._next = 0, 0, 0.0

    def look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has ended
                self._look(process)

    def _look(self, process: psutil.Process) -> None:
        resident = process.memory_info().rss
        highest = resident > self.peak_resident / NEAR_THE_PEAK
        if not highest and (resident < NEAR_THE_PEAK * self.peak_resident or time.monotonic() < self._next):
            return
        # The kernel counts shares of pages one by one, and meanwhile the notebook's own work stands still.
        memory = process.memory_full_info()
        self._next = time.monotonic() + FULL_LOOK_SECONDS
        self.peak_resident = max(self.peak_resident, memory.rss)
        self.peak = max(self.peak, getattr(memory, "pss", memory.rss))
