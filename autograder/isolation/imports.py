"""What a master's cells import: done once, in the process that is then forked for each submission.

Only masters' cells are looked at, never a submission's.
"""

import ast
import contextlib
from collections.abc import Iterable

from nbformat import NotebookNode

from autograder.notebooks import is_for_real, is_solution, is_test


def of_tests(master: NotebookNode) -> tuple[str, ...]:
    """Import statements of the test cells, for the grader."""
    return _statements(filter(is_test, master.cells))


def of_handout(master: NotebookNode) -> tuple[str, ...]:
    """Import statements that every learner can read in the handout, for learners' processes."""
    return _statements(
        cell
        for cell in master.cells
        if cell.cell_type == "code" and not (is_test(cell) or is_solution(cell) or is_for_real(cell))
    )


def run(statements: Iterable[str]) -> None:
    """Execute them. One that fails is left to the cell that it stands in."""
    for statement in statements:
        with contextlib.suppress(Exception):
            exec(statement, {})


def _statements(cells: Iterable[NotebookNode]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for cell in cells:
        with contextlib.suppress(SyntaxError, ValueError):  # a magic, say
            nodes = ast.walk(ast.parse(cell.source))
            found |= {ast.unparse(node): None for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)}
    return tuple(found)
