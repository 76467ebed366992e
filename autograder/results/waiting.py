"""Which points a person has yet to give, by nbgrader's gradebook."""

from typing import Any


def waits(grade: Any) -> bool:
    """Whether nobody has given the points of an nbgrader grade yet, neither a test nor a person."""
    return grade.auto_score is None and grade.manual_score is None
