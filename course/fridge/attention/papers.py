"""What the FlashAttention papers measured on GPUs: their numbers, each with its place, and none of them ours."""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("papers.json")
TERAFLOPS, MILLISECONDS = "TFLOP/s", "ms"


def published(**wanted: Any) -> list[dict[str, Any]]:
    """The figures and tables whose entries are as wanted: published(card="H100-80", causal=False).

    Returns:
        Each with "paper", "arxiv", "place" and "read" (how the numbers were read there); "card", "pass" ("forward",
        "forward and backward"), "causal", "head_dim", "dtype"; "unit"; and "series", a dict from what was measured to
        {positions: value}, None where it ran out of memory.
    """
    figures = json.loads(FILE.read_text(encoding="utf-8"))["figures"]
    return [_with_numbers(figure) for figure in figures if wanted.items() <= figure.items()]


def _with_numbers(figure: dict[str, Any]) -> dict[str, Any]:
    series = {name: {int(length): value for length, value in row.items()} for name, row in figure["series"].items()}
    return {**figure, "series": series}
