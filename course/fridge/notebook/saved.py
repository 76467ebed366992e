"""The notebook of this kernel as it lies on the disk. Where there is none, as on Colab, there is nothing to read."""

from dataclasses import dataclass
from pathlib import Path

from fridge.notebook import on_disk, this_notebook
from fridge.notebook.cells import Cell, UnreadableCells, read_cells

MAX_BYTES = 4 * 10**6  # larger ones take longer to read than a learner should wait for a test


@dataclass(frozen=True)
class Saved:
    """A saved notebook: when it was saved (as `time.time()` counts), and its cells."""

    when: float
    cells: list[Cell]


def read(name: str) -> Saved | None:
    """This kernel's notebook; None where it isn't found or can't be read.

    Args:
        name: what the unit's notebook is called, for kernels that don't know which notebook is theirs.
    """
    path = find(name)
    if path is None:
        return None
    try:
        status = path.stat()
        if status.st_size > MAX_BYTES:
            return None
        cells = read_cells(on_disk.read(path)["cells"])
    except (OSError, ValueError, UnreadableCells):
        return None
    return Saved(status.st_mtime, cells)


def find(name: str) -> Path | None:
    """The file of this kernel's notebook, None if there is none."""
    return next(iter(this_notebook.files(name)), None)
