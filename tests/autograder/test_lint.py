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
        (
            "    # Looks at: negative numbers; numbers that are long,\n    #   very long; zero.\n",
            "    # Looks at: ; .\n",
            "add-test: its hidden part lacks `# Looks at:",
        ),
        (
            "    # Right because: a sum has\n    #   no order.\n",
            "    # Right as: a sum.\n",
            "add-test: its hidden part lacks `# Right because:",
        ),
        ('"negative ones" | ', "", "it looks at 3 kinds of cases, and `# Stated by:` has 2 quotations for them"),
        ('"negative ones" | ', '"ones below 0" | ', "“negative numbers” is stated by 'ones below 0', which isn't in"),
        ('"negative ones" | ', '"ones" | ', "“negative numbers” is stated by 'ones', which isn't in"),
        ("# ones and zero, too.", "# ones, too.", "“zero” is stated by 'and zero, too', which isn't in"),
        ('"grade_id": "add-test", "locked": true', '"grade_id": "add-test", "locked": false', "must be locked"),
    ],
)
def test_a_mistake_is_found(mini, old, new, finding):
    master = find_units(mini)[0].master
    assert lint(mini) == []
    assert old in master.read_text()
    master.write_text(master.read_text().replace(old, new, 1))
    assert finding in "\n".join(lint(mini))


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("[[question]]", "[[questions]]", "0 questions, not 3 to 5"),
        ('options = ["1", "2", "3"]', 'options = ["1", "2"]', "question 1: 3 or 4 options, each a text"),
        ('options = ["1", "2", "3"]', 'options = ["1", "2", 3]', "question 1: 3 or 4 options, each a text"),
        ('options = ["1", "2", "3"]', 'options = ["1", "2", "1"]', "question 1: two options are the same"),
        ("right = 1", "right = 3", "question 1: `right` is 3, and the options count from 0 to 2"),
        ("right = 1", "right = -1", "question 1: `right` is -1"),
        ("right = 1", 'right = "2"', "question 1: `right` must be a number"),
        ('ask = "What is 1 + 1?"', 'ask = " "', "question 1: `ask` is empty"),
        ('because = "One and one is two."', "", "question 1: `because` must be a text"),
        ("right = 1", "right = 1\nhint = 'Count.'", "question 1: nobody reads `hint`"),
        ("[[question]]", "[[question", "00-mini.toml is no TOML"),
    ],
)
def test_questions_that_are_not_in_order(mini, old, new, finding):
    """A learner meets them last, in front of a traceback."""
    file = mini / "course" / "fridge" / "notebook" / "recall" / "00-mini.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    where = "00-mini: course/fridge/notebook/recall: " + ("" if "TOML" in finding else "00-mini.toml: ")
    assert f"{where}{finding}" in "\n".join(lint(mini))


def test_every_unit_has_questions(mini):
    (mini / "course" / "fridge" / "notebook" / "recall" / "00-mini.toml").unlink()
    assert "there are no questions about '00-mini'" in "\n".join(lint(mini))
