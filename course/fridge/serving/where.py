"""The chapter's table of what to deploy where, with what the course has measured, and nothing where it hasn't.

It reads the records of units 08, 09 and 10, with their machines; nothing here is measured anew.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

from fridge.fusion import peers
from fridge.quantization import formats

SERVING = Path(__file__).with_name("measurements") / "serving.json"
COLUMNS = (
    "where",
    "the chapter's choice",
    "tokens a second, one user",
    "with 32 requests at once",
    "bytes of the weights",
    "measured here with",
)
SHIPPED = "Q4_1, as shipped"


def rows() -> list[tuple[str, ...]]:
    """The table's rows, for SmolLM2-135M; an empty text where nothing was measured."""
    contest = _serving()["contest"]
    shipped = _speed(SHIPPED)
    vllm = contest["vLLM CPU, float32"]
    slots = contest["llama.cpp Q4_1, 8 slots"]
    tab = next((row for row in peers.kept()["rows"] if row["name"] == peers.IN_A_TAB), None)
    return [
        (
            "a laptop",
            "Ollama (llama.cpp)",
            f"{shipped['rate']:.0f} a processor second",
            f"{slots['useful_tokens_per_second']:.0f}",
            f"{shipped['file_bytes']:,}",
            slots["version"],
        ),
        ("a server", "vLLM", "", f"{vllm['useful_tokens_per_second']:.0f}", "", f"{vllm['version']}, on a processor"),
        ("a phone", "MLC LLM", "", "", "", "nothing: the course had no phone"),
        (
            "a browser tab",
            "WebLLM or wllama",
            f"{tab['per_processor_second']:.0f} a processor second" if tab else "",
            "",
            f"{shipped['file_bytes']:,}",
            "wllama on a processor; WebLLM wants a GPU",
        ),
    ]


def machines() -> str:
    """On which machines, when: in a line."""
    found = {"llama.cpp for one user": formats.kept()["machine"], "32 requests": _serving()["machine"]}
    found["a browser tab"] = peers.kept()["machine"]
    return "; ".join(f"{what}: {one['cpu']}, {one['cores']} cores, {one['date']}" for what, one in found.items())


def rates() -> tuple[dict[str, Any], dict[str, Any]]:
    """A device and a server on the same kind of machine: tokens a second of one user, and of one among 32."""
    sweep = {row["batch"]: row["tokens_per_second"] for row in _serving()["sweep"] if row["weights"] == "int8"}
    shipped = _speed(SHIPPED)
    return (
        {"name": f"llama.cpp, {SHIPPED}", "rate": shipped["rate"]},
        {"name": "the course's engine, INT8", "rate": sweep[32] / 32, "alone": sweep[1]},
    )


def candidates() -> list[dict[str, Any]]:
    """Unit 08's formats as exercise 8 takes candidates: all local, for one user, on one machine."""
    found = formats.rows(formats.ALL)
    speeds = {row["format"] for row in formats.kept()["speed"]}
    return [
        {
            "name": row["format"],
            "memory": row["file_bytes"],
            "users": 1,
            "local": True,
            "first_token": 1.0,
            "licence": "Apache-2.0",
            "quality": 1 / row["times_shipped"]["value"],
            "speed": _speed(row["format"])["rate"],
        }
        for row in found
        if row["format"] in speeds
    ]


def _speed(name: str) -> dict[str, Any]:
    row = next(row for row in formats.kept()["speed"] if row["format"] == name)
    return row | {"rate": median(row["per_processor_second"])}


def _serving() -> dict[str, Any]:
    return json.loads(SERVING.read_text(encoding="utf-8"))
