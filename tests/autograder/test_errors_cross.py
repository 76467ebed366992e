"""A learner's exception as it crosses to the grader: what of its traceback arrives."""

import linecache
import re

import pytest

from autograder.isolation import errors
from fridge.testing import Wrong, exercise

CELL = "<ipython-input-1-of-a-learner>"


def raised(code):
    """What a learner's cell raises."""
    linecache.cache[CELL] = (len(code), None, code.splitlines(keepends=True), CELL)  # as IPython does
    try:
        exec(compile(code, CELL, "exec"), {})
    except Exception as error:
        return error
    raise AssertionError("it raises nothing")


def test_the_innermost_lines_cross():
    """Guards against 2,000 characters of the outermost lines, where the notebook shows the five that matter."""
    depth = 40
    calls = "\n".join(f"def f{n}():\n    f{n + 1}()" for n in range(depth))
    error = errors.learners_error(*errors.describe(raised(f"{calls}\ndef f{depth}():\n    1 / 0\nf0()")))
    assert len(error.learner_lines) == errors.INNERMOST
    assert error.learner_lines[-1].startswith(f"  line {2 * depth + 2}, in f{depth}")


def test_long_lines_leave_the_innermost_its_room():
    """Guards against an outer line of 700 characters in the place of the line that raised."""
    long = f"def f(n):\n    if not n:\n        1 / 0\n    f(n - 1)  # {'x' * 700}\nf(9)"
    error = errors.learners_error(*errors.describe(raised(long)))
    assert error.learner_lines[-1] == "  line 3, in f:  1 / 0"


@pytest.mark.parametrize(
    "odd",
    [
        "class C(Exception, metaclass=M):\n    pass\nraise C('why')",
        "class C(Exception):\n    def __str__(self):\n        exit()\nraise C",
        "class C(Exception):\n    def __str__(self):\n        return N('why')\nraise C",
    ],
)
def test_an_error_of_any_class_is_told(odd):
    """Guards against a process that ends over the words for an error, and says that the answer crashed."""
    classes = (
        "class M(type):\n    __name__ = property(lambda cls: 5)\n    __mro__ = property(lambda cls: exit())\n"
        "class N(str):\n    def __getitem__(self, key):\n        return 7\n"
    )
    names, words, _ = errors.describe(raised(classes + odd))
    assert names[0] == "C"
    assert words in ("why", "")


def test_a_message_shows_five_and_that_there_are_more():
    many = errors.learners_error(["ValueError"], "no", "\n".join(f"  line {n}, in f" for n in range(20)))
    with pytest.raises(Wrong) as wrong, exercise("deep"):
        raise many
    assert re.findall(r"line (\d+)", str(wrong.value)) == ["15", "16", "17", "18", "19"]
    assert "  …\n" in str(wrong.value)
