"""What cells showed is cut to size, all of it: an error's name and words, too, and outputs that show nothing."""

import numpy as np
import pytest

from autograder.submissions import outputs

LONG = "x" * 10**6


def size(shown) -> int:
    return sum(len(str(output)) for output in shown)


def failure(number: int) -> dict:
    return {"output_type": "error", "ename": LONG, "evalue": LONG, "traceback": str(number)}


def test_an_errors_name_and_words_are_in_the_budget():
    """Guards against 2000 cells of 100 errors, each with 2100 characters that nobody counted: 400 MB."""
    budget = outputs.Budget()
    shown = [output for _ in range(2000) for output in budget.clean([failure(number) for number in range(100)])]
    assert size(shown) < 2 * outputs.PER_NOTEBOOK


def test_outputs_of_nothing_are_counted():
    """Guards against 200,000 outputs without a character, which a notebook holds all the same."""
    budget = outputs.Budget()
    nothing = {"output_type": "stream", "name": "stdout", "text": ""}
    shown = [output for _ in range(2000) for output in budget.clean([nothing] * 100)]
    assert size(shown) < 2 * outputs.PER_NOTEBOOK


def test_what_the_grader_says_of_a_cell_is_counted():
    """Guards against a sentence for each cell that was stopped, beside all that the learner's code shows."""
    budget = outputs.Budget()
    shown = [output for _ in range(20_000) for output in budget.take([outputs.error("Lost", "y" * 2000)])]
    assert size(shown) < 3 * outputs.PER_NOTEBOOK


@pytest.mark.parametrize("name", ["output_type", "name", "text", "data", "ename"])
def test_an_array_where_a_word_should_be_is_left_out(name):
    """Guards against a grader that compares what has no truth value, and ends with it."""
    whole = [
        {"output_type": "stream", "name": "stdout", "text": "a"},
        {"output_type": "display_data", "data": {"text/plain": "a"}},
        {"output_type": "error", "ename": "a", "evalue": "b", "traceback": "c"},
    ]
    odd = [output | {name: np.array([1, 2])} for output in whole if name in output]
    assert outputs.Budget().clean([*odd, whole[0]]) == [whole[0]]


def test_an_error_that_is_cut_keeps_its_name():
    """Guards against a last error that says nothing."""
    budget = outputs.Budget(left=200 + outputs.EACH)
    (shown,) = budget.clean([{"output_type": "error", "ename": "ValueError", "evalue": "why", "traceback": LONG}])
    assert (shown["ename"], shown["evalue"]) == ("ValueError", "why")
    assert shown["traceback"][0].startswith("xxx")
    assert outputs.CUT.strip() in shown["traceback"][0]
    assert len(str(shown)) < 700
    assert budget.clean([failure(1)]) == []
