"""Why a learner lost an exercise, as grading kept it in the autograded notebook. Messages aren't read for it.

What a test cell shows holds a learner's words, an exception's name and message, and they may be a forged verdict.
"""

from typing import Any

from autograder.submissions.verdict import Reason

NOT_ATTEMPTED = Reason("not attempted")


def reason(notebook: dict[str, Any], test: str) -> Reason | None:
    """Why a test cell was lost; None if that wasn't kept, as by an older grader."""
    kept = notebook.get("metadata", {}).get("autograder", {}).get("reasons", {}).get(test)
    return Reason.of(*kept) if kept else None
