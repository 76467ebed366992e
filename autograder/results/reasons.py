"""Why a learner lost an exercise, from the words that its test left in the autograded notebook.

The verdict's own words and the learner's are kept apart: an exception's name and message are whatever its author
wrote, a forged verdict for instance.
"""

from typing import Any, NamedTuple

LONGEST = 300  # characters that are kept
RAISED = "your code raised "
CAUSE = "  likely cause: "


class Reason(NamedTuple):
    """Why an exercise was lost.

    Attributes:
        words: the verdict's own, without the values of this one learner.
        theirs: the learner's, an exception's name.
    """

    words: str
    theirs: str = ""


NOT_ATTEMPTED = Reason("not attempted")


def reason(notebook: dict[str, Any], test: str, exercise: str) -> Reason | None:
    """What a lost test cell said; None if it said nothing."""
    for cell in notebook.get("cells", []):
        if cell.get("metadata", {}).get("nbgrader", {}).get("grade_id") == test:
            errors = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
            lines = [line for text in errors[0].get("traceback", []) for line in text.splitlines()] if errors else []
            return _from_message(lines, exercise) if lines else None
    return None


def _from_message(lines: list[str], exercise: str) -> Reason:
    # "✗ rope: not right yet.", then the expectation, `expected:`, `got:` and perhaps `likely cause:`, a line each.
    first, *rest = lines
    if first.startswith(f"○ {exercise}: "):
        return NOT_ATTEMPTED
    if first == f"✗ {exercise}: not right yet." and rest:
        cause = [rest[-1].strip()] if rest[-1].startswith(CAUSE) else []  # in between stands what the learner returned
        return Reason(_short(" — ".join([rest[0].strip(), *cause])))
    if not first.startswith("✗ "):
        return Reason(_short(first))  # the grader's own: the test is broken
    words = first.removeprefix(f"✗ {exercise}: ")
    if words.startswith(RAISED):
        return Reason(RAISED.strip(), _short(words.removeprefix(RAISED).partition(": ")[0]))
    if words == first:
        return Reason(RAISED.strip(), _short(first.removeprefix("✗ ").partition(": ")[0]))
    return Reason(_short(words))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
