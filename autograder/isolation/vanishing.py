"""Folders whose entries come and go while somebody looks: processes, their threads, control groups."""

from pathlib import Path


def entries(folder: Path) -> list[Path]:
    """What is in a folder at one moment; nothing if it is gone, or is none.

    `Path.glob` looks twice, and raises where the folder goes in between.
    """
    try:
        return list(folder.iterdir())
    except OSError:
        return []
