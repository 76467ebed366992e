"""A master's tests, compiled once."""

import jupytext
import pytest

from autograder.submissions.paper import Paper

MASTER = """
# %% nbgrader={{"grade": false, "grade_id": "add", "solution": true}}
SIZE = 3
def add(a, b):
    return a + b
def unused(a): pass

# %% nbgrader={{"grade": true, "grade_id": "add-test", "points": 2, "solution": false}}
{0}
"""


def paper(test: str) -> Paper:
    return Paper(jupytext.reads(MASTER.format(test), fmt="py:percent"))


def test_a_test_takes_what_it_names_and_the_exercises_define():
    """Guards against names that are looked up in the learner's process though the test doesn't use them, or in vain."""
    test = paper("def inner():\n    return add(1, SIZE)\nassert inner() == len('abcd')").tests["add-test"]
    assert (test.name, test.points, test.names) == ("add-test", 2.0, ("SIZE", "add"))


def test_each_run_has_names_of_its_own():
    """Guards against what one submission's run leaves for the next."""
    test = paper("assert 'left' not in globals()\nleft = add(1, 2)").tests["add-test"]
    for _ in range(2):
        test.run({"add": lambda a, b: a + b})


def test_a_test_that_is_no_python_says_so_when_it_runs():
    """Guards against a broken test cell that stops the grading of the whole notebook."""
    test = paper("this is no Python").tests["add-test"]
    with pytest.raises(SyntaxError):
        test.run({})
