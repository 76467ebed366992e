"""Each rule of the linter finds the mistake that it is for."""

import pytest

from autograder.authoring.lint import lint
from autograder.course import find_units


def test_the_masters_are_in_order(root):
    assert lint(root) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('"grade_id": "add-test"', '"grade_id": "add"', "'add' is used 2 times"),
        ('"grade_id": "add"', '"grade_id": "plus"', "'add' is gone"),
        ('"grade_id": "add"', '"grade_id": "Add It"', "must be lower-case words"),
        ("Add (3 points)", "Add (4 points)", "the heading says 4 points, its test cells have 3"),
        ("| Points | 3,", "| Points | 5,", "the table at the top says 5 points"),
        ("Exercise 1", "Exercise 2", "this is exercise number 1"),
        ("    ### END SOLUTION\n", "", "1 BEGIN SOLUTION, 0 END SOLUTION"),
        (
            "    ### BEGIN SOLUTION\n    return a + b  # the answer\n    ### END SOLUTION\n",
            "    pass\n",
            "no ### BEGIN SOLUTION",
        ),
        ('"solution": true', '"solution": false', "in a cell that nbgrader won't clear of it"),
        ('    expect_equal(add(1, 2), 3, "1 + 2")\n', "", "no expectation in its visible part"),
        ('    expect_equal(add(-1, 2), 1, "a negative number")\n', "", "no expectation in its hidden part"),
        ('with exercise("add"):', 'with exercise("sum"):', 'hold `with exercise("add"):`'),
        ('"grade_id": "add-test", "locked": true', '"grade_id": "add-test", "locked": false', "must be locked"),
    ],
)
def test_a_mistake_is_found(mini, old, new, finding):
    master = find_units(mini)[0].master
    assert lint(mini) == []
    assert old in master.read_text()
    master.write_text(master.read_text().replace(old, new, 1))
    assert finding in "\n".join(lint(mini))
