"""What a learner's window cuts off or breaks: docstrings and preformatted text that are wider than a cell.

In a window of 1280 pixels, JupyterLab shows 96 columns of a preformatted block beside its file browser, 107 of code.
What is longer is cut off or goes on in the next line: a sentence must be scrolled, and a drawing falls apart.
"""

import ast
from collections.abc import Iterator
from contextlib import suppress

from nbformat import NotebookNode

from autograder.notebooks import grade_id

WIDTH = 95
_HIDDEN = (("### BEGIN SOLUTION", "### END SOLUTION"), ("### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"))


def too_wide(notebook: NotebookNode) -> list[str]:
    """A finding for each line of a docstring or a preformatted block that learners see and that doesn't fit."""
    findings = []
    for cell in notebook.cells:
        what, lines = ("a docstring", _docstrings) if cell.cell_type == "code" else ("a block", _preformatted)
        where = grade_id(cell) or repr(cell.source.strip()[:40])
        findings += [
            f"{where}: a line of {what} has {len(line)} columns, {WIDTH} fit: {line.strip()[:50]}…"
            for line in lines(cell.source)
            if len(line) > WIDTH
        ]
    return findings


def _docstrings(source: str) -> Iterator[str]:
    lines, hidden = source.splitlines(), _hidden(source)
    with suppress(SyntaxError):  # a cell with a magic is no Python, and holds no exercise
        for node in ast.walk(ast.parse(source)):
            documented = isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node)
            if documented and node.lineno not in hidden:
                yield from lines[node.body[0].lineno - 1 : node.body[0].end_lineno]


def _hidden(source: str) -> set[int]:
    """Numbers of the lines that the handout doesn't have."""
    numbers, end = set(), None
    for number, line in enumerate(source.splitlines(), start=1):
        end = end or next((stop for start, stop in _HIDDEN if line.strip() == start), None)
        if end:
            numbers.add(number)
            end = None if line.strip() == end else end
    return numbers


def _preformatted(source: str) -> Iterator[str]:
    inside = False
    for line in source.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside:
            yield line
