"""Who runs this process: a learner in a kernel of their own, or a grader.

The grader says so in its own process and in the learners' processes that it makes. nbgrader says so to the kernels that
it starts, by a variable of its own.
"""

import os
from enum import Enum


class Role(Enum):
    """What a process is for."""

    LEARNING = "a learner's own kernel"
    TESTING = "a grader's process: test cells have their hidden part here"
    GRADED = "a learner's code in the hands of a grader"


_NBGRADERS = {"autograde": Role.TESTING, "validate": Role.GRADED}
_said = Role.LEARNING


def begin(role: Role) -> None:
    """Say what this process is for, from now on."""
    global _said
    _said = role


def role() -> Role:
    """What this process is for."""
    if _said is not Role.LEARNING:
        return _said
    return _NBGRADERS.get(os.environ.get("NBGRADER_EXECUTION", ""), Role.LEARNING)


def is_learning() -> bool:
    """Whether a learner works here, and nobody grades."""
    return role() is Role.LEARNING


def has_hidden_tests() -> bool:
    """Whether the test cells that run here are whole."""
    return role() is Role.TESTING
