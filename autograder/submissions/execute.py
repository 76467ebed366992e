"""The execution step of `nbgrader autograde`, named in nbgrader_config.py: how a submission's cells are run.

`SplitExecute` is for credit: tests apart from the learner's code, a sandbox around it, one warm process for all
submissions of a run. `KernelExecute` is nbgrader's own way, one kernel for everything, kept for comparison.
"""

import atexit
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from traitlets import Bool

from autograder.course import Unit, find_units
from autograder.isolation import imports
from autograder.isolation.children import ChildFailed, in_child
from autograder.isolation.patience import WIDE
from autograder.isolation.sandbox import NEEDED, Sandbox, open_sandbox
from autograder.notebooks import FOR_REAL, read_master
from autograder.submissions.paper import Paper
from autograder.submissions.verdict import STARVED, Graded
from autograder.translating.catalogs import languages
from autograder.translating.handouts import words_of

SLACK_SECONDS = 60  # for the child's own work, beyond the notebook's time

_sandbox: Sandbox | None = None


class SplitExecute(NbGraderPreprocessor):
    """Runs a submission with `autograder.submissions.split`; outputs and points appear in the autograded notebook."""

    unsafe = Bool(
        False,
        help="Grade although a layer of the sandbox is missing on this host. The verdict records it.",
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Execute the notebook's cells; outputs of test cells carry their points.

        Raises:
            SandboxError: a layer is missing, and `unsafe` is not set.
            ChildFailed: grading itself broke, or had no time; nbgrader reports the submission as failed.
        """
        root = Path(self.config.CourseDirectory.root)  # nbgrader_config.py names it
        unit = find_units(root, [resources["nbgrader"]["assignment"]])[0]
        paper = _paper(unit, unit.master.stat().st_mtime_ns)
        sandbox = self._warm_sandbox(paper)  # first: its process imports torch while this one does
        from autograder.submissions import split

        spoken = nb.metadata.get("fridge", {}).get("language", "")
        words = {spoken: words_of(unit, spoken)} if spoken in languages(root) else {}
        seconds = WIDE * split.SECONDS_PER_NOTEBOOK + SLACK_SECONDS
        try:
            graded = Graded.from_json(in_child(lambda: split.grade(nb, paper, sandbox, words).as_json(), seconds))
        finally:
            sandbox.prepare()  # for the next submission, while nbgrader saves this one
        if graded.starved:
            raise ChildFailed(STARVED)
        for index, outputs in graded.outputs.items():
            nb.cells[index].outputs = [nbformat.from_dict(output) for output in outputs]
        nb.metadata["autograder"] = graded.for_notebook()
        for name, verdict in graded.verdicts.items():
            if verdict.courses_fault:
                self.log.error("%s: the test cell %s is broken: %s", unit.name, name, verdict.message)
        return nb, resources

    def _warm_sandbox(self, paper: Paper) -> Sandbox:
        global _sandbox
        wanted = set(paper.handout_imports)
        # Killed from outside, or gone with the thread that made it, or made for another unit.
        if _sandbox is not None and not (_sandbox.alive() and wanted <= _sandbox.imports):
            atexit.unregister(_sandbox.close)
            _sandbox.close()
            _sandbox = None
        if _sandbox is None:
            may_lack = NEEDED if self.unsafe else ()
            _sandbox, layers = open_sandbox(may_lack, paper.handout_imports, lambda: imports.run(paper.imports))
            atexit.register(_sandbox.close)
            if layers.missing:
                self.log.warning("UNSAFE: a learner's code is not kept apart by %s", ", ".join(layers.missing))
        return _sandbox


class KernelExecute(Execute):
    """nbgrader's own execution in one kernel, without the cells that run the real model."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.skip_cells_with_tag = FOR_REAL


@lru_cache(maxsize=8)
def _paper(unit: Unit, changed: int) -> Paper:
    return Paper(read_master(unit))  # `changed` makes an edited master a new one
