"""What a learner gets back: every result with its reason, no line of a hidden test."""

import nbformat

from autograder.results.feedback import HideTests, ShowRepairs
from autograder.submissions.outputs import score

SOURCE = """with exercise("add"):
    expect_equal(add(1, 2), 3, "1 + 2")
    ### BEGIN HIDDEN TESTS
    expect_equal(add(-1, 2), 1, "a negative number")
    ### END HIDDEN TESTS
    print("visible again")"""


def hidden(source: str, metadata: dict) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(source, metadata=metadata)
    error = {"output_type": "error", "ename": "NotRight", "evalue": "x", "traceback": ["x"]}
    cell.outputs = [nbformat.from_dict(score(0.0)), nbformat.from_dict(error)]
    return HideTests().preprocess_cell(cell, {}, 0)[0]


def test_the_hidden_region_goes_and_the_visible_lines_stay():
    cell = hidden(SOURCE, {"nbgrader": {"grade": True}})
    assert "negative number" not in cell.source
    assert "HIDDEN TESTS" not in cell.source
    assert 'expect_equal(add(1, 2), 3, "1 + 2")' in cell.source
    assert cell.source.endswith('print("visible again")')
    compile(cell.source, "cell", "exec")


def test_a_region_without_an_end_stays_hidden_to_the_end():
    """A missing marker must not show what it should have hidden."""
    assert (
        "negative" not in hidden(SOURCE.replace("    ### END HIDDEN TESTS\n", ""), {"nbgrader": {"grade": True}}).source
    )


def test_the_reason_stays_and_the_bare_number_goes():
    kept = hidden(SOURCE, {"nbgrader": {"grade": True}}).outputs
    assert [output.output_type for output in kept] == ["error"]


def test_a_learners_own_cell_keeps_its_value():
    assert len(hidden("1 + 1", {}).outputs) == 2


def test_what_was_revealed_is_listed():
    """Guards against 0 points for a right answer, and no word at the page's top; and against metadata of any form."""
    for metadata, words in (
        ({"revealed": ["rope-test", "work-test"]}, ["- `rope-test`, `work-test`"]),
        ({"revealed": [], "repairs": ["The cell is missing."]}, ["- The cell is missing."]),
        ({"revealed": "rope", "repairs": {"a": 1}}, []),
        ({"revealed": [3, None]}, []),
    ):
        notebook = nbformat.v4.new_notebook(metadata=metadata)
        cells = ShowRepairs().preprocess(notebook, {})[0].cells
        assert [cell.source.splitlines()[-1] for cell in cells] == words
