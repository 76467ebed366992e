"""What a learner's process showed is cut to its budget, whatever part of an output it stands in."""

from typing import Any

import pytest

from autograder.submissions.outputs import CUT, PER_CELL, PER_NOTEBOOK, Budget

LONG = "x" * PER_CELL
OUTPUTS: dict[str, dict[str, Any]] = {
    "an error's name": {"output_type": "error", "ename": LONG, "evalue": "", "traceback": ""},
    "an error's words": {"output_type": "error", "ename": "", "evalue": LONG, "traceback": ""},
    "an error's lines": {"output_type": "error", "ename": "E", "evalue": "x" * 999, "traceback": "x\n" * PER_CELL},
    "a stream": {"output_type": "stream", "name": "stdout", "text": LONG},
    "short streams": {"output_type": "stream", "name": "stdout", "text": "x"},
    "a picture": {"output_type": "display_data", "data": {"text/html": LONG[:100_000]}},
}


def letters(value: Any) -> int:
    """All text in outputs, but for nbformat's own words."""
    if isinstance(value, dict):
        return sum(letters(one) for key, one in value.items() if key not in ("output_type", "name"))
    return sum(map(letters, value)) if isinstance(value, list) else len(value)


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=list(OUTPUTS))
def test_all_of_an_output_counts(output):
    """Guards against errors by the thousand whose names and words, or the remarks behind them, nobody counted."""
    for left in (PER_NOTEBOOK, 10):
        budget, cells = Budget(left), 30
        shown = [budget.clean([output] * 100) for _ in range(cells)]
        assert all(letters(cell) <= PER_CELL + len(CUT) for cell in shown)
        assert letters(shown) <= left + cells * len(CUT)
