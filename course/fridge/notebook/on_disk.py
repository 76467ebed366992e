"""A notebook as it lies on the disk: read whatever an editor made of it, written as a whole file or not at all."""

import json
import os
from pathlib import Path
from typing import Any

MAX_BYTES = 100 * 10**6


class NotANotebook(ValueError):
    """The file is too large, broken off, or something else. The message says which."""


def read(path: Path) -> dict[str, Any]:
    """The notebook in a file. Its `cells` are a list of objects; what stands in these is for the caller to doubt.

    Raises:
        OSError: there is no such file, or it may not be read.
        NotANotebook: it holds something else.
    """
    if path.stat().st_size > MAX_BYTES:
        raise NotANotebook(f"{path} is too large to look at")
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors write a byte order mark
    except (ValueError, RecursionError) as error:
        raise NotANotebook(f"{path} is no whole notebook") from error
    cells = data.get("cells") if isinstance(data, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise NotANotebook(f"{path} is not a notebook")
    return data


def write(path: Path, notebook: dict[str, Any]) -> None:
    """Put a notebook in the place of a file."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
    os.replace(new, path)  # noqa: PTH105 - a whole file or none


def free_name(path: Path, what: str) -> Path:
    """A name beside `path` that no file has: kv_cache-WHAT.ipynb, kv_cache-WHAT2.ipynb, …"""
    names = (path.with_name(f"{path.stem}-{what}{number}{path.suffix}") for number in ("", *range(2, 10_000)))
    return next(name for name in names if not name.exists())
