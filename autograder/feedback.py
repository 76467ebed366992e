"""A step of `nbgrader generate_feedback`: the learner reads results and reasons, never the source of a hidden test."""

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.notebooks import is_test

BEGIN, END = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
INSTEAD = "# (Hidden tests looked at more cases here. What they found stands below.)"


class HideTests(NbGraderPreprocessor):
    """Takes the hidden regions out of every cell."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Replace each hidden region by a line that says that there was one; drop the bare score value."""
        if cell.cell_type == "code" and BEGIN in cell.source:
            cell.source = _without_hidden(cell.source)
        if cell.cell_type == "code" and is_test(cell):
            cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]
        return cell, resources


def _without_hidden(source: str) -> str:
    kept, hidden = [], False
    for line in source.splitlines():
        if BEGIN in line:
            hidden = True
            kept.append(line[: len(line) - len(line.lstrip())] + INSTEAD)
        elif END in line:
            hidden = False
        elif not hidden:
            kept.append(line)
    return "\n".join(kept)
