"""What doesn't fit a cell of JupyterLab is found where a learner sees it, and nowhere else."""

import nbformat
import pytest

from autograder.authoring.lint import lint
from autograder.authoring.widths import WIDTH, too_wide
from autograder.course import find_units

FITS, WIDE = "x" * (WIDTH - 4), "x" * (WIDTH - 3)  # behind four spaces


def of(source: str, markdown: bool = False) -> list[str]:
    make = nbformat.v4.new_markdown_cell if markdown else nbformat.v4.new_code_cell
    return too_wide(nbformat.v4.new_notebook(cells=[make(source)]))


@pytest.mark.parametrize(
    "source",
    [
        'def add(a, b):\n    """Add.\n\n    {line}\n    """',
        'class Adder:\n    """Add.\n\n    {line}\n    """',
        'class Adder:\n  def add(self):\n    """Add.\n\n    {line}\n    """\n    return 1',
    ],
)
def test_a_docstring_of_a_function_a_class_and_a_method(source: str) -> None:
    """Guards against a limit that is off by one, and against docstrings inside a class that nobody measures."""
    assert of(source.format(line=FITS)) == []
    [finding] = of(source.format(line=WIDE))
    assert finding.endswith(f": a line of a docstring has {WIDTH + 1} columns, {WIDTH} fit: {'x' * 50}…")


def test_what_a_learner_never_sees_may_be_wide() -> None:
    """Guards against findings about solutions and hidden tests, and about code, which no sentence is."""
    helper = f'    def helper():\n        """{WIDE}"""\n'
    assert of(f"def add(a, b):\n    ### BEGIN SOLUTION\n{helper}    ### END SOLUTION") == []
    assert of(f"if True:\n    pass\n    ### BEGIN HIDDEN TESTS\n{helper}    ### END HIDDEN TESTS") == []
    assert len(of(f"if True:\n    pass\n    ### BEGIN HIDDEN TESTS\n    ### END HIDDEN TESTS\n{helper}")) == 1
    assert of(f'print("    {WIDE}")') == of(f"%pip {WIDE} and more") == []


def test_a_drawing_and_not_the_prose_around_it() -> None:
    """Guards against a drawing that wraps, and against a finding about prose, which may."""
    assert of(f"{WIDE}{WIDE}\n\n```\n    {FITS}\n```\n{WIDE}{WIDE}", markdown=True) == []
    [finding] = of(f"A drawing:\n\n```python\n    {WIDE}\n```\n", markdown=True)
    assert finding.endswith(f"a line of a block has {WIDTH + 1} columns, {WIDTH} fit: {'x' * 50}…")


def test_lint_says_so(mini) -> None:
    """Guards against a rule that nobody runs."""
    master = find_units(mini)[0].master
    master.write_text(master.read_text().replace('"""The sum."""', f'"""{WIDE}"""'))
    assert any(f"add: a line of a docstring has {WIDTH + 7} columns" in finding for finding in lint(mini))
