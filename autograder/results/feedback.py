"""What is shown of a graded notebook: steps of `nbgrader generate_feedback` and of nbgrader's pages.

The learner reads results and reasons, never the source of a hidden test. How a cell's text becomes HTML is in
`markup.py`.
"""

from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.notebooks import grade_id, is_by_hand, is_test
from autograder.results.formgrader import as_text
from autograder.results.markup import NO_DESCRIPTION
from autograder.results.waiting import waits
from autograder.submissions.rebuild import REPAIRS, REVEALED

BEGIN, END = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
MARK_SCHEME = "### BEGIN MARK SCHEME"
WAITING = "**Waiting for a person.** These are not graded yet; the score above doesn't have their points."
PICTURES = {"image/png", "image/jpeg"}
FORMULAS = ("$", "\\begin{")
INSTEAD = "# (Hidden tests looked at more cases here. What they found stands below.)"


class HideTests(NbGraderPreprocessor):
    """Takes the hidden regions out of every cell: tests, and how a person is to mark a task."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Replace each hidden region by a line that says that there was one; drop the bare score value."""
        if cell.cell_type == "code" and BEGIN in cell.source:
            cell.source = _without_hidden(cell.source)
        if MARK_SCHEME in cell.source:
            cell.source = cell.source[: cell.source.index(MARK_SCHEME)].rstrip()  # and what a task has behind it
        if cell.cell_type == "code" and is_test(cell):
            cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]
        return cell, resources


class ShowRepairs(NbGraderPreprocessor):
    """Puts a list of what was repaired before grading, and of what was revealed, at the page's top."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add a Markdown cell, if anything was; the page's filters clean it as every other."""
        tests = [f"`{name}`" for name in _texts(nb, REVEALED)]
        for heading, sentences in (
            ("Revealed by `fridge.reveal`, so their points were given up", [", ".join(tests)] if tests else []),
            ("What was repaired before grading", _texts(nb, REPAIRS)),
        ):
            if sentences:
                listed = "\n".join(f"- {sentence}" for sentence in sentences)
                nb.cells.insert(0, new_markdown_cell(f"**{heading}**\n\n{listed}"))
        return nb, resources


def _texts(nb: NotebookNode, key: str) -> list[str]:
    values = nb.metadata.get(key, [])
    return [text for text in values if isinstance(text, str)] if isinstance(values, list) else []


class ShowWaiting(NbGraderPreprocessor):
    """Says at the page's top which questions wait for a person, so that no 0 is taken for a verdict."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add a Markdown cell, if any does."""
        own = resources["nbgrader"]
        with Gradebook(own["db_url"]) as gradebook:
            grades = gradebook.find_submission_notebook(own["notebook"], own["assignment"], own["student"]).grades
            waiting = {grade.name: grade.max_score for grade in grades if waits(grade)}
        questions = [cell for cell in nb.cells if is_by_hand(cell) and grade_id(cell) in waiting]
        if questions:
            listed = "\n".join(f"- `{grade_id(cell)}` ({waiting[grade_id(cell)]:g} points)" for cell in questions)
            nb.cells.insert(0, new_markdown_cell(f"{WAITING}\n\n{listed}"))
        return nb, resources


class ReadableOutputs(Preprocessor):
    """Gives outputs a form that a page shows without scripts, and pictures a description."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Let a formula, as SymPy's and `display(Math(…))`, go the way of a formula in Markdown."""
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            tex, richer = data.get("text/latex"), {"text/html", "text/markdown"} & set(data)
            if isinstance(tex, str) and tex.lstrip().startswith(FORMULAS) and not richer:
                data["text/markdown"] = data.pop("text/latex").strip()
            for picture in PICTURES & set(data):
                output.metadata.setdefault(picture, NotebookNode()).setdefault("alt", NO_DESCRIPTION)
        return cell, resources


class ValuesAreText(Preprocessor):
    """Makes text of what a page is told beside its notebook: formgrader shows names and ids with their scripts."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Escape the page's values."""
        for name, value in resources.items():
            if isinstance(value, str):
                resources[name] = str(as_text(value))
        return nb, resources


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
