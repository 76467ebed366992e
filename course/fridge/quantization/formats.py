"""What was measured of GGUF's formats: bits, perplexity, and tokens per second in llama.cpp.

`solutions/08-gguf/measure_formats.py` measured it; unit 08 draws it.
"""

import json
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent / "measurements" / "formats.json"
DOWN_PROJ, ALL = "down_proj alone", "all linear layers"


def kept() -> dict[str, Any]:
    """Machine, text, a row for each format and what it was used for, and tokens per second."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def rows(changed: str) -> list[dict[str, Any]]:
    """The rows of those formats, most bits first: `ALL` or `DOWN_PROJ` in which layers."""
    found = [row for row in kept()["rows"] if row["changed"] == changed]
    return sorted(found, key=lambda row: -row["bits"])
