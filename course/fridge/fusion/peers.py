"""What fused engines do with SmolLM2 on one machine: kept in `measurements/`, with the machine, versions and date."""

from pathlib import Path
from typing import Any

from fridge.workbench import records

KEPT = Path(__file__).with_name("measurements") / "engines.json"


def kept() -> dict[str, Any] | None:
    """The record; None if nothing has been measured yet."""
    return records.read(KEPT, {}) or None


def where(record: dict[str, Any]) -> str:
    """On which machine, with which versions, when: in a line."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}; {versions}"
