"""Why what a learner handed in isn't in the gradebook, asked of the files as they lie there now.

`autograder grade` and `nbgrader autograde` say it once, on a terminal. Here the same steps say the same sentence again,
of those submissions alone that the gradebook lacks, or has from another file.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.course import Unit
from autograder.failures import sentence
from autograder.isolation.children import ChildFailed, in_child
from autograder.printing import shown
from autograder.submissions.folder import handed_in, submissions
from autograder.submissions.rebuild import rebuild
from autograder.submissions.submission import Refused, find_notebook, read_notebook

SECONDS = 60  # for reading one submission
WAITS = "not graded yet"
CHANGED = "changed since it was graded"


def ungraded(unit: Unit, submitted: Path, graded: Mapping[str, str | None]) -> dict[str, str]:
    """Learner -> why today's file has no grade: the refusal's sentence, `WAITS` or `CHANGED`.

    Args:
        submitted: the folder of all submissions.
        graded: learner -> SHA-256 of the file that the gradebook's points come from; None where that isn't known.
    """
    handout = nbformat.read(unit.release, as_version=4) if unit.release.is_file() else None
    return dict(_each(unit, submitted, graded, handout))


def _each(
    unit: Unit, submitted: Path, graded: Mapping[str, str | None], handout: NotebookNode | None
) -> Iterator[tuple[str, str]]:
    for folder in submissions(submitted, unit.name):
        learner = folder.parent.name
        if learner in graded and graded[learner] is None:
            continue
        try:
            data = handed_in(folder, unit.notebook)
            if hashlib.sha256(data).hexdigest() == graded.get(learner):
                continue
            why = _refusal(find_notebook(folder, f"{unit.notebook}.ipynb"), handout)
        except Exception as error:  # a stranger's folder
            yield shown(learner), shown(_without_folder(sentence(error), unit.root))
            continue
        yield learner, why or (CHANGED if learner in graded else WAITS)


def _refusal(path: Path, handout: NotebookNode | None) -> str:
    def read() -> str:
        try:
            notebook = read_notebook(path)
            if handout is not None:
                rebuild(notebook, handout)
        except Refused as refused:
            return str(refused)
        return ""

    try:
        return in_child(read, SECONDS)  # a stranger's file: reading it, too, may break a process
    except ChildFailed:
        return f"{path.name} can't be read: have a look at it."


def _without_folder(sentence: str, root: Path) -> str:
    return sentence.replace(f"{root}/", "")
