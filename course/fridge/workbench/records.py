"""Measured figures as a JSON file, a line for each row of a list: a diff shows which rows have changed."""

import json
from pathlib import Path
from typing import Any


def read(path: Path, new: dict[str, Any]) -> dict[str, Any]:
    """The record that was kept, or `new` where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else new


def keep(record: dict[str, Any], path: Path) -> None:
    """Write the file, and its folder. At any moment it is whole."""
    parts = [f" {json.dumps(name)}: {_text(value)}" for name, value in record.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    new.replace(path)


def _text(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(map(json.dumps, value)) + "\n ]"
    return json.dumps(value, indent=1).replace("\n", "\n ")
