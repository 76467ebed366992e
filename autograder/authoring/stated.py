"""Does an exercise say all that its hidden tests ask for? Each kind of case that they look at has words that state it:

    # Looks at: an empty reply; the stop token as the first one.
    # Stated by: "for 0 the model isn't called" | "isn't part of it"

one quotation a kind, in the same order, from what a learner reads before the test: the exercise's text and docstrings.
"""

import re

from nbformat import NotebookNode

from autograder.notebooks import EXERCISE, is_test, looks_at, stated_by

SHORTEST = 8  # characters of a quotation: fewer would be found anywhere
_SOLUTION = re.compile(r"### BEGIN SOLUTION.*?### END SOLUTION", re.DOTALL)
_MARGIN = re.compile(r"^\s*(?:#+ ?|[-*] )?\s*", re.MULTILINE)  # of a comment, a list or an indented line


def unstated(notebook: NotebookNode) -> list[tuple[NotebookNode, str]]:
    """Test cells with what is off: kinds without a quotation, and quotations that stand nowhere."""
    found, read = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and EXERCISE.search(cell.source):
            read = ""
        if is_test(cell):
            found += [(cell, finding) for finding in _findings(cell, read)]
        else:
            read += "\n" + plain(_SOLUTION.sub("", cell.source))
    return found


def plain(text: str) -> str:
    """A text as its words alone: no margins, no line breaks."""
    return re.sub(r"\s+", " ", _MARGIN.sub("", text)).strip()


def _findings(test: NotebookNode, read: str) -> list[str]:
    kinds, quotations = looks_at(test), stated_by(test)
    if len(kinds) != len(quotations):
        return [
            f"it looks at {len(kinds)} kinds of cases, and `# Stated by:` has {len(quotations)} quotations for them"
        ]
    return [
        f"“{kind}” is stated by {quotation!r}, which isn't in the exercise's text above"
        for kind, quotation in zip(kinds, quotations, strict=True)
        if len(quotation) < SHORTEST or plain(quotation) not in read
    ]
