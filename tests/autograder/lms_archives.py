"""Archives as Canvas and Moodle make them, and as nobody but an attacker does."""

import io
import json
import zipfile
from datetime import datetime
from pathlib import Path

UNIT = "00-mini"
NOON = datetime(2027, 3, 1, 12, 0, 0)


def notebook(text: str = "x") -> bytes:
    """A small notebook with a text of its own."""
    cell = {"cell_type": "markdown", "metadata": {}, "source": text}
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell]}).encode()


def archive(path: Path, files: dict[str, bytes | str], at: datetime | dict[str, datetime] = NOON) -> Path:
    """A zip of files, a text standing for a notebook with that text; all of one time, or each of its own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            when = at if isinstance(at, datetime) else at.get(name, NOON)
            file.writestr(
                zipfile.ZipInfo(name, when.timetuple()[:6]), notebook(data) if isinstance(data, str) else data
            )
    return path


def raw_names(path: Path, name: bytes, text: str) -> Path:
    """A zip of one notebook whose name is these bytes, without the flag for UTF-8: as Windows and old servers do."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("n" * len(name), notebook(text))
    path.write_bytes(data.getvalue().replace(b"n" * len(name), name))
    return path


def text_of(path: Path) -> str:
    """The text of a notebook that `notebook` made."""
    return json.loads(path.read_bytes())["cells"][0]["source"]
