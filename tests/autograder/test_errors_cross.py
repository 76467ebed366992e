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


def test_a_message_shows_five_and_that_there_are_more():
    many = errors.learners_error(["ValueError"], "no", "\n".join(f"  line {n}, in f" for n in range(20)))
    with pytest.raises(Wrong) as wrong, exercise("deep"):
        raise many
    assert re.findall(r"line (\d+)", str(wrong.value)) == ["15", "16", "17", "18", "19"]
    assert "  …\n" in str(wrong.value)
