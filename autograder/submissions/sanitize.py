"""The first step of `nbgrader autograde`, named in nbgrader_config.py: a submission is rebuilt from the handout.

nbgrader's own steps would refuse two cells with one grade_id, lose the grades of a notebook without metadata, and end
the whole run at metadata of an older version. After this step they see the handout's cells.
"""

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.course import CourseError, find_units
from autograder.submissions.rebuild import rebuild
from autograder.submissions.submission import Refused


class RebuildFromHandout(NbGraderPreprocessor):
    """Replaces a submission by `rebuild`'s; the repairs are kept in its metadata."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Rebuild the notebook.

        Raises:
            Refused: nothing of this unit's handout is in it; nbgrader reports the submission as failed and goes on.
            CourseError: there is no handout.
        """
        own = resources["nbgrader"]
        root = Path(self.config.CourseDirectory.root)  # nbgrader_config.py names it
        unit = find_units(root, [own["assignment"]])[0]
        if not unit.release.exists():
            raise CourseError(f"{unit.release} is missing: run `autograder build {unit.name}`")
        try:
            editions = [nbformat.read(path, as_version=4) for path in (unit.release, *unit.translations)]
            rebuilt = rebuild(nb, *editions)
        except Refused as refused:
            self.log.error("%s of %s is not graded. %s", own["notebook"], own["student"], refused)
            raise
        for repair in rebuilt.repairs:
            self.log.warning("%s of %s: %s", own["notebook"], own["student"], repair)
        return rebuilt.notebook, resources
