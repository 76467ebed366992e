"""What fused engines do with SmolLM2 on one machine: kept in `measurements/`, with the machine, versions and date."""

from pathlib import Path
from typing import Any

from fridge.workbench import records

WAYS = (  # in the order of the table
    "PyTorch, eager",
    "merged layers, eager",
    "torch.compile",
    "the course's engine",
    "the course's engine, INT8",
    "OpenVINO GenAI",
    "llama.cpp",
    "llama.cpp in a browser tab",
)
IN_A_TAB = WAYS[-1]
OF_USE = ("the course's engine", "the course's engine, INT8", "OpenVINO GenAI", "llama.cpp", IN_A_TAB)  # unit 11's
KEPT = Path(__file__).with_name("measurements") / "engines.json"


def kept() -> dict[str, Any] | None:
    """The record; None if nothing has been measured yet."""
    return records.read(KEPT, {}) or None


def missing(record: dict[str, Any]) -> list[str]:
    """Names of the ways that haven't been measured."""
    there = {row["name"] for row in record["rows"]}
    return [name for name in WAYS if name not in there]


def where(record: dict[str, Any]) -> str:
    """On which machine, with which versions, when: in a line."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}; {versions}"
