"""Do the two ways to grade agree, tests beside the learner's code and apart from it? In points and in messages."""

import math
import re

from autograder.submissions.verdict import Verdict

SAME = 1e-4  # relative: two orders of one sum differ by less; of six digits in a message the last may round either way
_TOO_SLOW = re.compile(r"no answer within \d+ seconds|the cell ran for too long")  # learners see the first
_TOO_DEEP = re.compile(r"RecursionError: maximum recursion depth")  # at another line when more stands on the stack
# Two processes draw other random numbers: what shows a mistake first, and how clearly, differs.
_BY_CHANCE = re.compile(r"too far off for chance|, \d+ times of \d+")
_BYTES = re.compile(r"bytes of memory that")  # as Python's allocator counts them: two processes differ by some hundreds
_FRACTION = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")


def disagreements(
    beside: dict[str, dict[str, Verdict]], apart: dict[str, dict[str, Verdict]], expected: set[str]
) -> list[str]:
    """A sentence for each test of a sample that says one thing beside the answer and another apart from it.

    Tests that ran in one way alone aren't compared.

    Args:
        beside, apart: sample -> test -> verdict.
        expected: the samples whose messages can't be the same; that they are is said, too.
    """
    found = []
    for name, verdicts in beside.items():
        differ = []
        for test in filter(apart[name].__contains__, verdicts):
            one, other = _said(verdicts[test]), _said(apart[name][test])
            if not same(one, other):
                differ.append(f"{name}: {test}: beside the answer {one}, apart {other}")
        if bool(differ) != (name in expected):
            found += differ or [f"{name}: modes_differ, and the messages are the same"]
    return found


def same(one: tuple[float, str], other: tuple[float, str]) -> bool:
    """The same points and words; fractions as near as sums in floating point are."""
    if one[0] != other[0] or _FRACTION.sub("", one[1]) != _FRACTION.sub("", other[1]):
        return False
    pairs = zip(_FRACTION.findall(one[1]), _FRACTION.findall(other[1]), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=SAME) for a, b in pairs)


def _said(verdict: Verdict) -> tuple[float, str]:
    if verdict.passed:
        return verdict.points, ""
    if _TOO_SLOW.search(verdict.message):
        return verdict.points, "too slow"
    if _TOO_DEEP.search(verdict.message):
        return verdict.points, "too deep"
    if _BY_CHANCE.search(verdict.message):
        return verdict.points, "seen by counting draws"
    if _BYTES.search(verdict.message):
        return verdict.points, "seen by the memory that it takes"
    return verdict.points, verdict.message
